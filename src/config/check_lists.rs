//! Lists of client addresses: who is let in, who is kept out, and which limits do not count whom.
//!
//! Files of networks are read with the config and watched with it: a file that changes is a reload, and one
//! with a mistake leaves the old lists in force. How an address is found in a list is not known here.

use super::check_limits::Limits;
use super::checked::{AddressList, Verdict};
use super::checker::{Checker, shown};
use super::raw::{self, ListAction};
use super::secrets;
use super::tree::{Document, Spot};
use crate::ids::Name;
use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Most lists: limits keep a bit for each.
const MOST_LISTS: usize = 32;
/// Largest file, and most networks of one list.
const MOST_BYTES: usize = 32 << 20;
const MOST_NETWORKS: usize = 1_000_000;
/// Mistakes of one file that are told; more of them are one mistake.
const MOST_TOLD: usize = 5;

pub(super) fn check(
    raw: &raw::Config,
    document: &Document,
    limits: &mut Limits<'_>,
    checker: &mut Checker,
) -> Vec<AddressList> {
    let all = document.top().key("address_lists");
    if raw.address_lists.len() > MOST_LISTS {
        checker.problem(all.at, format!("these are more than {MOST_LISTS} lists"));
        return Vec::new();
    }
    let mut lists: Vec<AddressList> = Vec::new();
    for (index, one) in raw.address_lists.iter().enumerate() {
        let spot = all.item(index);
        let name = checker.name(spot.key("name"), "the list's name", &one.name);
        let verdict = verdict(one, spot, checker);
        // Read all the same, so that all mistakes are told.
        let networks = networks(one, spot, checker);
        let Some(name) = name else { continue };
        if lists.iter().any(|other| other.name == name) {
            checker.problem(spot.key("name").at, shown(spot.key("name"), "two lists are called", &one.name));
        }
        exempt(one, spot, &name, lists.len(), limits, checker);
        lists.push(AddressList { name, verdict, networks });
    }
    lists
}

fn verdict(raw: &raw::AddressList, spot: Spot<'_>, checker: &mut Checker) -> Verdict {
    match raw.action {
        ListAction::Allow => {
            if raw.answer.is_some() {
                checker.problem(spot.key_at("answer"), "an `allow` list keeps nobody out");
            }
            Verdict::Allow
        }
        ListAction::Deny => {
            if !raw.exempt.is_empty() {
                checker.problem(spot.key_at("exempt"), "who is kept out spends no limit");
            }
            Verdict::Deny(raw.answer.unwrap_or_default())
        }
    }
}

/// Notes in limits that those on the list are not counted.
fn exempt(
    raw: &raw::AddressList,
    spot: Spot<'_>,
    list: &Name,
    number: usize,
    limits: &mut Limits<'_>,
    checker: &mut Checker,
) {
    for (at, name) in raw.exempt.iter().enumerate() {
        let spot = spot.key("exempt").item(at);
        if checker.known(spot, "limit", name, &limits.known).is_none() {
            continue;
        }
        let proposed = format!("{name}.proposed");
        let named = |limit: &str| limit == name || limit == proposed;
        for limit in limits.all.iter_mut().filter(|limit| named(limit.name.as_str())) {
            let bit = 1 << number;
            if limit.exempt & bit != 0 {
                checker.problem(spot.at, format!("the list `{list}` is exempt from this limit already"));
            }
            limit.exempt |= bit;
        }
    }
}

fn networks(raw: &raw::AddressList, spot: Spot<'_>, checker: &mut Checker) -> Vec<IpNet> {
    if raw.networks.is_empty() && raw.files.is_empty() {
        checker.lacks(spot, "a list needs `networks` or `files`", "`networks: [203.0.113.0/24]`");
    }
    let mut networks = Vec::new();
    for (at, text) in raw.networks.iter().enumerate() {
        let spot = spot.key("networks").item(at);
        match parse(text) {
            Ok(network) => networks.push(network),
            Err(NetworkError::Form) => {
                let hint = "write CIDR or an address: `10.0.0.0/8`, `2001:db8::/32`, `203.0.113.7`";
                checker.hinted(spot.at, shown(spot, "this is no network", text), hint);
            }
            Err(error @ NetworkError::Bits(_)) => checker.problem(spot.at, error.to_string()),
        }
    }
    for (at, file) in raw.files.iter().enumerate() {
        read(file, spot.key("files").item(at), &mut networks, checker);
    }
    if networks.len() > MOST_NETWORKS {
        checker.problem(spot.at, format!("this list has more than {MOST_NETWORKS} networks"));
    }
    networks
}

/// Adds the networks of a file, one a line.
fn read(file: &str, spot: Spot<'_>, networks: &mut Vec<IpNet>, checker: &mut Checker) {
    let path = Path::new(file);
    // Also one that is not there yet: when it comes it is seen.
    checker.read_file(PathBuf::from(path));
    let bytes = match secrets::read_bounded(path, MOST_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            checker.problem(spot.at, format!("{} {error}", shown(spot, "the file", file)));
            return;
        }
    };
    let mut mistakes = 0;
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let text = line.split(['#', ';']).next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        match parse(text) {
            Ok(network) => networks.push(network),
            Err(error) => {
                mistakes += 1;
                if mistakes <= MOST_TOLD {
                    checker.problem(spot.at, format!("line {} of this file {}", number + 1, error.told()));
                }
            }
        }
    }
    if mistakes > MOST_TOLD {
        let more = mistakes - MOST_TOLD;
        checker.problem(spot.at, format!("and {more} more lines of this file are no networks"));
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NetworkError {
    #[error("this is no network")]
    Form,
    #[error("this network has bits set beyond its prefix; did you mean `{0}`?")]
    Bits(IpNet),
}

impl NetworkError {
    /// Behind the name of a line.
    fn told(&self) -> String {
        match self {
            Self::Form => "is no network".into(),
            Self::Bits(network) => format!("has bits set beyond its prefix; did you mean `{network}`?"),
        }
    }
}

/// A network, or an address as the network of its own. IPv4 mapped into IPv6 is IPv4.
fn parse(text: &str) -> Result<IpNet, NetworkError> {
    let one = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = one.ok_or(NetworkError::Form)?;
    if network.trunc() != network {
        return Err(NetworkError::Bits(network.trunc()));
    }
    let IpNet::V6(six) = network else { return Ok(network) };
    let mapped = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    let four = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    Ok(four.map_or(network, IpNet::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read_and_others_are_not() {
        let told = |text: &str| parse(text).map(|network| network.to_string());
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("203.0.113.7", "203.0.113.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ] {
            assert_eq!(told(text), Ok(network.to_owned()));
        }
        assert_eq!(parse("10.0.0.1/8"), Err(NetworkError::Bits("10.0.0.0/8".parse().expect("a network"))));
        for text in ["", "10.0.0.0/33", "host.example", "10.0.0", "1.2.3.4-1.2.3.9"] {
            assert_eq!(parse(text), Err(NetworkError::Form), "{text}");
        }
    }
}
