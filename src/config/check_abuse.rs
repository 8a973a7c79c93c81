//! What addresses get that misbehave, and what each may hold before anyone is known.
//!
//! Everything has a default that is safe and wide; how strikes and budgets count is not known here.

use super::check_server::cidrs;
use super::checked::{Abuse, Strikes};
use super::checker::Checker;
use super::raw;
use super::tree::Spot;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn check(raw: &raw::Abuse, spot: Spot<'_>, checker: &mut Checker) -> Option<Abuse> {
    let spare = match &raw.spare {
        Some(networks) => {
            let networks = cidrs(networks, spot.key("spare"), checker);
            networks.into_iter().map(|(_, network)| network).collect()
        }
        None => this_machine(),
    };
    let strikes = strikes(&raw.strikes, spot.key("strikes"), checker);
    let (budgets, spot) = (&raw.budgets, spot.key("budgets"));
    let half_open = checker.number(spot.key("half_open"), budgets.half_open, 256, (1, 1_000_000));
    let (head, body) = (spot.key("head_bytes"), spot.key("body_bytes"));
    let head_bytes = checker.size(head, budgets.head_bytes.as_ref(), 512 << 10, (1 << 10, 1 << 30));
    let body_bytes = checker.size(body, budgets.body_bytes.as_ref(), 64 << 20, (1 << 10, 1 << 40));
    let time = budgets.head_time.as_deref();
    let head_time = checker.duration(spot.key("head_time"), time, 120 * SECOND, (SECOND, DAY));
    Some(Abuse {
        spare,
        strikes: strikes?,
        half_open: half_open?,
        head_bytes: head_bytes?,
        head_time: head_time?,
        body_bytes: body_bytes?,
    })
}

/// A proxy on this machine that nobody trusts would otherwise cool down for all of its clients.
fn this_machine() -> Vec<IpNet> {
    let four = Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).map(IpNet::V4);
    let six = Ipv6Net::new(Ipv6Addr::LOCALHOST, 128).map(IpNet::V6);
    four.into_iter().chain(six).collect()
}

/// The outer result is whether it could be read.
#[expect(clippy::option_option, reason = "not read, and read as off, are two things")]
fn strikes(raw: &raw::Strikes, spot: Spot<'_>, checker: &mut Checker) -> Option<Option<Strikes>> {
    let limit = raw.limit.unwrap_or(60);
    if limit == 0 {
        let hint = "`enabled: false` counts no strikes";
        checker.hinted(spot.key("limit").at, "at least one strike is let pass", hint);
        return None;
    }
    let per = checker.duration(spot.key("per"), raw.per.as_deref(), 60 * SECOND, (SECOND, DAY));
    let pause = checker.duration(spot.key("pause"), raw.pause.as_deref(), 60 * SECOND, (SECOND, DAY));
    let longest = checker.duration(spot.key("longest"), raw.longest.as_deref(), 3600 * SECOND, (SECOND, DAY));
    let strikes = Strikes { limit, per: per?, pause: pause?, longest: longest? };
    if strikes.longest < strikes.pause {
        checker.problem(spot.key("longest").at, "the longest pause is shorter than the first one");
        return None;
    }
    Some(raw.enabled.unwrap_or(true).then_some(strikes))
}
