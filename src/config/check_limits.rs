//! Named limits: what they count apart, how many, over which span.

use super::checked::{Dimension, Limit, LimitKind};
use super::checker::{Checker, Known};
use super::raw;
use super::tree::{Document, Spot};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const LONGEST: Duration = Duration::from_hours(31 * 24);
const DEFAULT_ADDRESSES: usize = 200_000;

/// What this file makes.
pub(super) struct Limits<'a> {
    pub(super) all: Vec<Limit>,
    pub(super) max_addresses: usize,
    /// By name, for routes that refer to them.
    pub(super) known: Known<'a>,
}

pub(super) fn check<'a>(raw: &'a raw::Config, document: &'a Document, checker: &mut Checker) -> Limits<'a> {
    let top = document.top();
    let mut limits = Vec::new();
    for (name, limit) in &raw.limits {
        limits.extend(check_one(name, limit, top.key("limits"), checker));
    }
    let known = Known {
        names: raw.limits.keys().map(String::as_str).collect(),
        broken: document.written().key("limits").keys().collect(),
    };
    let spot = top.key("limiter").key("max_addresses");
    let addresses = raw.limiter.max_addresses;
    let addresses = checker.number(spot, addresses, DEFAULT_ADDRESSES, (1_000, 50_000_000));
    Limits { all: limits, max_addresses: addresses.unwrap_or(DEFAULT_ADDRESSES), known }
}

fn check_one(name: &str, raw: &raw::Limit, all: Spot<'_>, checker: &mut Checker) -> Option<Limit> {
    let spot = all.key(name);
    let name = match crate::ids::Name::parse(name) {
        Ok(name) => Some(name),
        Err(error) => {
            checker.problem(all.key_at(name), format!("the limit's name {error}"));
            None
        }
    };
    let by = dimensions(&raw.by, spot.key("by"), checker);
    let (kind, window, key) = match (&raw.window, &raw.quota) {
        (Some(window), None) => (LimitKind::Window, window, "window"),
        (None, Some(quota)) => (LimitKind::Quota, quota, "quota"),
        (Some(_), Some(_)) => {
            checker.problem(spot.key_at("quota"), "a limit has either `window` or `quota`, not both");
            return None;
        }
        (None, None) => {
            checker.lacks(
                spot,
                "a limit needs `window` or `quota`",
                "such as `window: { limit: 60, per: 1m }`",
            );
            return None;
        }
    };
    let spot = spot.key(key);
    if window.limit == 0 {
        checker.problem(spot.key("limit").at, "a limit lets at least 1 through");
    }
    let shortest = match kind {
        LimitKind::Window => SECOND,
        LimitKind::Quota => HOUR,
    };
    let per = Some(window.per.as_str());
    let per = checker.duration(spot.key("per"), per, SECOND, (shortest, LONGEST));
    Some(Limit { name: name?, by: by?, kind, limit: window.limit, per: per? })
}

fn dimensions(by: &raw::By, spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<Dimension>> {
    let mut list = match by {
        raw::By::One(one) => vec![*one],
        raw::By::Many(many) => many.clone(),
    };
    if list.is_empty() {
        checker.problem(spot.at, "a limit counts by something");
        return None;
    }
    for (index, one) in list.iter().enumerate() {
        if list[..index].contains(one) {
            checker.problem(spot.item(index).at, "this stands here twice");
            return None;
        }
    }
    list.sort_unstable();
    Some(list)
}
