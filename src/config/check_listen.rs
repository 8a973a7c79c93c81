//! The sockets that clients connect to: addresses, and what is spoken there.

use super::check_server::address;
use super::check_tls;
use super::checked::{Listen, Speaks};
use super::checker::Checker;
use super::tree::{Document, Spot};
use super::{Surroundings, raw};
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) fn check(
    raw: &[raw::Listen],
    document: &Document,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Vec<Listen> {
    let spot = document.top().key("listen");
    let mut all: Vec<Listen> = Vec::new();
    if document.written().key("listen").is_empty_list() {
        checker.problem(spot.at, "at least one address is needed");
    }
    for (index, entry) in raw.iter().enumerate() {
        let spot = spot.item(index);
        let address = address(&entry.address, spot.key("address"), checker);
        let speaks = speaks(entry, spot, around, checker);
        if let Some(address) = address {
            stands_once(&all, address, spot.key("address"), checker);
            all.extend(speaks.map(|speaks| Listen { address, speaks }));
        }
    }
    all
}

fn stands_once(all: &[Listen], address: SocketAddr, spot: Spot<'_>, checker: &mut Checker) {
    if all.iter().any(|other| other.address == address) && address.port() != 0 {
        checker.problem(spot.at, format!("`{address}` stands here twice"));
    }
}

fn speaks(
    raw: &raw::Listen,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Speaks> {
    match (&raw.tls, raw.redirect_to_https) {
        (None, None) => Some(Speaks::Plain),
        (Some(tls), None) => {
            check_tls::check(tls, spot.key("tls"), around, checker).map(|tls| Speaks::Tls(Arc::new(tls)))
        }
        (None, Some(0)) => {
            checker.hinted(spot.key("redirect_to_https").at, "this is no port", "the port of `https`: 443");
            None
        }
        (None, Some(port)) => Some(Speaks::Redirect(port)),
        (Some(_), Some(_)) => {
            let hint =
                "redirect from a socket of its own: `- { address: \"0.0.0.0:80\", redirect_to_https: 443 }`";
            checker.hinted(spot.key_at("redirect_to_https"), "this socket speaks `https` already", hint);
            None
        }
    }
}
