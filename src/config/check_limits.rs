//! Named limits: what they count apart, how many, over which span.

use super::check_shared;
use super::checked::{Cost, Dimension, Effect, Limit, LimitKind};
use super::checker::{Checker, Known, shown};
use super::problems::did_you_mean;
use super::raw::{self, Counts};
use super::tree::{Document, Spot};
use crate::openclaw::methods;
use http::HeaderName;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const LONGEST: Duration = Duration::from_hours(31 * 24);
/// Slowest and fastest rates, a second.
const SLOWEST: f64 = 0.001;
const FASTEST: f64 = 1_000_000.0;
const KNOWN_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
const METHODS_HINT: &str = "one of GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, or a gateway's, such as `chat.send` or `config.*`; others count `cost`";
const DEFAULT_ADDRESSES: usize = 200_000;
const DEFAULT_VALUES: usize = 50_000;
/// Fields that say who calls: the edge takes them out, and sets its own.
const NOT_COUNTED: &[&str] = &[
    "authorization",
    "x-api-key",
    "x-tenant-id",
    "x-node-id",
    "x-credential-id",
    "x-credential-scopes",
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
];

/// What this file makes.
pub(super) struct Limits<'a> {
    pub(super) all: Vec<Limit>,
    pub(super) max_addresses: usize,
    pub(super) max_header_values: usize,
    /// By name, for routes that refer to them.
    pub(super) known: Known<'a>,
}

pub(super) fn check<'a>(raw: &'a raw::Config, document: &'a Document, checker: &mut Checker) -> Limits<'a> {
    let top = document.top();
    let mut limits = Vec::new();
    for (name, limit) in &raw.limits {
        limits.extend(check_one(name, limit, raw, top.key("limits"), checker));
    }
    let known = Known {
        names: raw.limits.keys().map(String::as_str).collect(),
        broken: document.written().key("limits").keys().collect(),
    };
    let spot = top.key("limiter").key("max_addresses");
    let addresses = raw.limiter.max_addresses;
    let addresses = checker.number(spot, addresses, DEFAULT_ADDRESSES, (1_000, 50_000_000));
    let spot = top.key("limiter").key("max_header_values");
    let values = raw.limiter.max_header_values;
    let values = checker.number(spot, values, DEFAULT_VALUES, (1_000, 50_000_000));
    Limits {
        all: limits,
        max_addresses: addresses.unwrap_or(DEFAULT_ADDRESSES),
        max_header_values: values.unwrap_or(DEFAULT_VALUES),
        known,
    }
}

/// A limit, and the shadow of the number that is proposed for it.
fn check_one(
    name: &str,
    raw: &raw::Limit,
    config: &raw::Config,
    all: Spot<'_>,
    checker: &mut Checker,
) -> Vec<Limit> {
    let spot = all.key(name);
    let parsed = match crate::ids::Name::parse(name) {
        Ok(name) => Some(name),
        Err(error) => {
            checker.problem(all.key_at(name), format!("the limit's name {error}"));
            None
        }
    };
    let by = dimensions(&raw.by, spot.key("by"), checker);
    let header = header(raw, by.as_deref(), spot, checker);
    let kind = kind(raw, spot, checker);
    let cost = cost(raw, spot, checker);
    let (Some(name), Some(by), Some(Amount { kind, limit, per }), Some(cost), Some(header)) =
        (parsed, by, kind, cost, header)
    else {
        return Vec::new();
    };
    fits(raw, kind, limit, &cost, spot, checker);
    if kind == LimitKind::Quota && !is_kept(&by) {
        let hint = "one of `credential`, `tenant`, `node`, `route`; for others use a `window`";
        checker.hinted(
            spot.key("by").at,
            "a quota lasts, and counts by one thing that the config names",
            hint,
        );
    }
    let effect = if raw.shadow { Effect::Shadow } else { Effect::Refuses };
    let shared = check_shared::limit((raw, &by), kind, limit, config, spot, checker);
    let limit =
        Limit { name, by, kind, limit, per, cost, effect, refund: raw.refund, exempt: 0, header, shared };
    let proposed = proposed(raw, &limit, spot, checker);
    std::iter::once(limit).chain(proposed).collect()
}

/// The field that is counted by; the outer result is whether it could be read.
#[expect(clippy::option_option, reason = "not read, and not there, are two things")]
fn header(
    raw: &raw::Limit,
    by: Option<&[Dimension]>,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<Option<HeaderName>> {
    let is_counted = by.is_some_and(|by| by.contains(&Dimension::Header));
    let Some(text) = &raw.header else {
        if is_counted {
            checker.lacks(spot, "a limit `by: header` says which", "such as `header: X-Device-Id`");
            return None;
        }
        return Some(None);
    };
    let spot = spot.key("header");
    if by.is_some() && !is_counted {
        checker.hinted(spot.at, "this limit does not count by a header", "`by: header`");
        return None;
    }
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if NOT_COUNTED.contains(&name.as_str()) => {
            let hint = "`by: credential`, `tenant`, `node` and `ip` count by what is known of the caller";
            checker.hinted(spot.at, "clients may say what they like here, and the edge knows better", hint);
            None
        }
        Ok(name) => Some(Some(name)),
        Err(_) => {
            checker.problem(spot.at, shown(spot, "this is no field's name:", text));
            None
        }
    }
}

/// Whether counts by this are kept on disk.
fn is_kept(by: &[Dimension]) -> bool {
    matches!(by, [Dimension::Credential | Dimension::Tenant | Dimension::Node | Dimension::Route])
}

/// How much, of what kind.
pub(super) struct Amount {
    pub(super) kind: LimitKind,
    pub(super) limit: u32,
    pub(super) per: Duration,
}

fn kind(raw: &raw::Limit, spot: Spot<'_>, checker: &mut Checker) -> Option<Amount> {
    let kinds = [
        ("window", raw.window.is_some()),
        ("quota", raw.quota.is_some()),
        ("rate", raw.rate.is_some()),
        ("concurrency", raw.concurrency.is_some()),
    ];
    let mut there = kinds.iter().filter(|(_, there)| *there).map(|(key, _)| *key);
    let (first, second) = (there.next(), there.next());
    if let (Some(_), Some(second)) = (first, second) {
        let message = "a limit has either `window`, `quota`, `rate` or `concurrency`, only one";
        checker.problem(spot.key_at(second), message);
        return None;
    }
    if let Some(window) = &raw.window {
        return span(window, LimitKind::Window, spot.key("window"), checker);
    }
    if let Some(quota) = &raw.quota {
        return span(quota, LimitKind::Quota, spot.key("quota"), checker);
    }
    if let Some(rate) = &raw.rate {
        return pace(rate, spot.key("rate"), checker);
    }
    if let Some(limit) = raw.concurrency {
        positive(limit, spot.key("concurrency"), checker);
        return Some(Amount { kind: LimitKind::Concurrency, limit, per: Duration::ZERO });
    }
    checker.lacks(
        spot,
        "a limit needs `window`, `quota`, `rate` or `concurrency`",
        "such as `window: { limit: 60, per: 1m }`",
    );
    None
}

fn span(raw: &raw::Window, kind: LimitKind, spot: Spot<'_>, checker: &mut Checker) -> Option<Amount> {
    positive(raw.limit, spot.key("limit"), checker);
    let shortest = match kind {
        LimitKind::Quota => HOUR,
        LimitKind::Window | LimitKind::Rate { .. } | LimitKind::Concurrency => SECOND,
    };
    let per = Some(raw.per.as_str());
    let per = checker.duration(spot.key("per"), per, SECOND, (shortest, LONGEST))?;
    Some(Amount { kind, limit: raw.limit, per })
}

pub(super) fn pace(raw: &raw::Rate, spot: Spot<'_>, checker: &mut Checker) -> Option<Amount> {
    positive(raw.burst, spot.key("burst"), checker);
    if !(SLOWEST..=FASTEST).contains(&raw.per_second) {
        let hint = "for slower rates use a `window`";
        checker.hinted(spot.key("per_second").at, "a rate lies between 0.001 and 1000000 a second", hint);
        return None;
    }
    let every = Duration::from_secs_f64(1.0 / raw.per_second);
    Some(Amount { kind: LimitKind::Rate { every }, limit: raw.burst, per: every.saturating_mul(raw.burst) })
}

pub(super) fn positive(limit: u32, spot: Spot<'_>, checker: &mut Checker) {
    if limit == 0 {
        checker.problem(spot.at, "a limit lets at least 1 through");
    }
}

fn cost(raw: &raw::Limit, spot: Spot<'_>, checker: &mut Checker) -> Option<Cost> {
    match raw.counts {
        Counts::BodyBytes => {
            for (key, there) in [("cost", raw.cost.is_some()), ("methods", !raw.methods.is_empty())] {
                if there {
                    checker.problem(spot.key_at(key), "a limit that counts bytes has no other cost");
                }
            }
            Some(Cost::BodyBytes)
        }
        Counts::Requests if raw.methods.is_empty() => Some(Cost::Requests(raw.cost.unwrap_or(1))),
        Counts::Requests => {
            let all = spot.key("methods");
            let (mut weights, mut calls) = (Vec::new(), Vec::new());
            for (text, weight) in &raw.methods {
                let called = gateway_methods(text);
                match http::Method::from_bytes(text.as_bytes()) {
                    Ok(method) if KNOWN_METHODS.contains(&method.as_str()) => weights.push((method, *weight)),
                    Ok(_) | Err(_) if !called.is_empty() => {
                        calls.extend(called.into_iter().map(|method| (method, *weight)));
                    }
                    Ok(_) | Err(_) => {
                        let message = "this method has no weight of its own";
                        let hint =
                            did_you_mean(text, methods::names()).unwrap_or_else(|| METHODS_HINT.into());
                        checker.hinted(all.key_at(text), message, hint);
                        return None;
                    }
                }
            }
            Some(Cost::Methods { weights, calls, other: raw.cost.unwrap_or(1) })
        }
    }
}

/// The methods of a gateway that a text names: one, or all that begin so (`config.*`). Names with a star
/// sort before those that they stand for, so that the narrower word is the last one.
fn gateway_methods(text: &str) -> Vec<methods::Method> {
    let Some(front) = text.strip_suffix('*').filter(|front| front.ends_with('.')) else {
        return methods::find(text).into_iter().collect();
    };
    methods::names().filter(|name| name.starts_with(front)).filter_map(methods::find).collect()
}

/// What can never pass is a mistake, and so is what never counts.
fn fits(raw: &raw::Limit, kind: LimitKind, limit: u32, cost: &Cost, spot: Spot<'_>, checker: &mut Checker) {
    if kind == LimitKind::Concurrency && *cost != Cost::Requests(1) {
        let key = if raw.counts == Counts::BodyBytes { "counts" } else { "cost" };
        let at = if raw.methods.is_empty() { spot.key_at(key) } else { spot.key_at("methods") };
        checker.problem(at, "what is in flight counts for 1");
    }
    if raw.cost == Some(0) && raw.methods.is_empty() {
        checker.problem(spot.key("cost").at, "a request that costs nothing is not limited");
    }
    if raw.cost.is_some_and(|cost| cost > limit) && limit > 0 {
        checker.problem(spot.key("cost").at, "one request would cost more than the limit lets through");
    }
    for (method, weight) in &raw.methods {
        if *weight > limit && limit > 0 {
            let at = spot.key("methods").key(method).at;
            checker.problem(at, "one request would cost more than the limit lets through");
        }
    }
}

fn proposed(raw: &raw::Limit, limit: &Limit, spot: Spot<'_>, checker: &mut Checker) -> Option<Limit> {
    let proposed = raw.proposed.as_ref()?;
    let spot = spot.key("proposed");
    positive(proposed.limit, spot.key("limit"), checker);
    match limit.kind {
        LimitKind::Window | LimitKind::Quota | LimitKind::Concurrency => {}
        LimitKind::Rate { .. } => {
            let hint = "name another rate with `shadow: true` beside it";
            checker.hinted(spot.at, "a rate is two numbers, and one is proposed", hint);
            return None;
        }
    }
    match crate::ids::Name::parse(&format!("{}.proposed", limit.name)) {
        Ok(name) => Some(Limit { name, limit: proposed.limit, effect: Effect::Shadow, ..limit.clone() }),
        Err(error) => {
            checker.problem(spot.at, format!("with `.proposed` the limit's name {error}"));
            None
        }
    }
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
