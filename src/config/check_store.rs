//! What a mesh store lets tenants keep: the `rules` of a store inside the edge or alone.

use super::checked_store::{MOST_VALUE, ScopeTtl, StoreRules, TenantRules, narrowest_first};
use super::checker::{Checker, Known, shown};
use super::problems::{did_you_mean, printable};
use super::raw_store as raw;
use super::tree::Spot;
use crate::ids::TenantId;
use std::collections::BTreeMap;
use std::time::Duration;

const MOST_HISTORY: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const CENTURY: Duration = Duration::from_hours(24 * 36_500);
/// More than any disk holds, and far from where sums could overflow.
const MOST_BYTES: usize = 1 << 50;
const MOST_ROWS: usize = 1 << 40;
/// What is longer is a text and no name.
const MOST_KEY: usize = 4096;

/// What the operator means; `known` are the tenants there are, where the file lists them.
pub(crate) fn store_rules(
    raw: &raw::StoreRules,
    spot: Spot<'_>,
    known: Option<&Known<'_>>,
    checker: &mut Checker,
) -> Option<StoreRules> {
    let usual = StoreRules::default();
    let history = checker.number(spot.key("history"), raw.history, whole(usual.history), (0, MOST_HISTORY));
    let mut span = |key: &str, text: &Option<String>| match text {
        Some(text) => checker.duration(spot.key(key), Some(text), CENTURY, (SECOND, CENTURY)).map(Some),
        None => Some(None),
    };
    let history_for = span("history_for", &raw.history_for);
    let tombstones_for = span("tombstones_for", &raw.tombstones_for);
    let feed_for = span("feed_for", &raw.feed_for).map(|span| span.unwrap_or(usual.feed_for));
    let feed_entries = bound(spot.key("feed_entries"), raw.feed_entries, MOST_ROWS, checker);
    let tombstones = bound(spot.key("tombstones"), raw.tombstones, MOST_ROWS, checker);
    let sweep_every = checker.duration(
        spot.key("sweep_every"),
        raw.sweep_every.as_deref(),
        usual.sweep_every,
        (SECOND, DAY),
    );
    let all = raw::TenantRules {
        max_key: raw.max_key.clone(),
        max_value: raw.max_value.clone(),
        max_rows: raw.max_rows,
        max_bytes: raw.max_bytes.clone(),
        require_match: raw.require_match,
        secret_guard: raw.secret_guard,
        ttl: raw.ttl.clone(),
    };
    let usual = tenant_rules(&all, spot, &usual.usual, checker);
    let tenants = tenants(&raw.tenants, spot.key("tenants"), usual.as_ref(), known, checker);
    Some(StoreRules {
        history: signed(history?),
        history_for: history_for?,
        tombstones_for: tombstones_for?,
        tombstones: tombstones.ok()?,
        feed_for: feed_for?,
        feed_entries: feed_entries.ok()?,
        sweep_every: sweep_every?,
        usual: usual?,
        tenants: tenants?,
    })
}

fn tenants(
    raw: &BTreeMap<String, raw::TenantRules>,
    all: Spot<'_>,
    usual: Option<&TenantRules>,
    known: Option<&Known<'_>>,
    checker: &mut Checker,
) -> Option<BTreeMap<TenantId, TenantRules>> {
    let mut checked = Some(BTreeMap::new());
    for (name, one) in raw {
        let tenant = tenant(name, all, known, checker);
        let plain = TenantRules::default();
        let rules = tenant_rules(one, all.key(name), usual.unwrap_or(&plain), checker);
        match (tenant, rules, &mut checked) {
            (Some(tenant), Some(rules), Some(checked)) => drop(checked.insert(tenant, rules)),
            (None, _, _) | (_, None, _) | (_, _, None) => checked = None,
        }
    }
    checked
}

fn tenant(name: &str, all: Spot<'_>, known: Option<&Known<'_>>, checker: &mut Checker) -> Option<TenantId> {
    let at = all.key_at(name);
    let tenant = match TenantId::parse(name) {
        Ok(tenant) => tenant,
        Err(error) => {
            checker.problem(at, format!("the tenant {error}"));
            return None;
        }
    };
    let Some(known) = known else { return Some(tenant) };
    if known.names.contains(&name) {
        return Some(tenant);
    }
    if !known.broken.contains(&name) {
        let hint = did_you_mean(name, known.names.iter().chain(&known.broken).copied());
        checker.told(at, format!("there is no tenant `{}`", printable(name)), hint);
    }
    None
}

fn tenant_rules(
    raw: &raw::TenantRules,
    spot: Spot<'_>,
    usual: &TenantRules,
    checker: &mut Checker,
) -> Option<TenantRules> {
    let max_key = checker.size(spot.key("max_key"), raw.max_key.as_ref(), usual.max_key, (1, MOST_KEY));
    let max_value =
        checker.size(spot.key("max_value"), raw.max_value.as_ref(), usual.max_value, (1, MOST_VALUE));
    let max_rows = match raw.max_rows {
        Some(_) => bound(spot.key("max_rows"), raw.max_rows, MOST_ROWS, checker),
        None => Ok(usual.max_rows),
    };
    let max_bytes = match &raw.max_bytes {
        Some(size) => checker
            .size(spot.key("max_bytes"), Some(size), MOST_BYTES, (1, MOST_BYTES))
            .map(|bytes| Some(signed(bytes))),
        None => Some(usual.max_bytes),
    };
    let own = ttl(&raw.ttl, spot.key("ttl"), checker);
    let ttl = own.map(|own| [own, usual.ttl.clone()].concat());
    Some(TenantRules {
        max_key: max_key?,
        max_value: max_value?,
        max_rows: max_rows.ok()?,
        max_bytes: max_bytes?,
        require_match: raw.require_match.unwrap_or(usual.require_match),
        secret_guard: raw.secret_guard.unwrap_or(usual.secret_guard),
        ttl: ttl?,
    })
}

fn ttl(raw: &BTreeMap<String, String>, all: Spot<'_>, checker: &mut Checker) -> Option<Vec<ScopeTtl>> {
    let mut checked = Some(Vec::new());
    for (pattern, text) in raw {
        let start = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || start.contains('*') {
            let message = format!("`{}` is no pattern of scopes", printable(pattern));
            checker.hinted(all.key_at(pattern), message, "a scope, or its beginning and `*` at the end");
            checked = None;
            continue;
        }
        match (seconds(text, all.key(pattern), checker), &mut checked) {
            (Ok(seconds), Some(checked)) => checked.push(ScopeTtl { pattern: pattern.clone(), seconds }),
            (Err(Told), _) | (_, None) => checked = None,
        }
    }
    checked.map(narrowest_first)
}

/// A mistake that has been told.
struct Told;

/// A time to live, in whole seconds as rows end at; none where it is `never`.
fn seconds(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Result<Option<i64>, Told> {
    if text == "never" {
        return Ok(None);
    }
    let span = checker.duration(spot, Some(text), CENTURY, (SECOND, CENTURY)).ok_or(Told)?;
    if span.subsec_nanos() == 0 {
        return Ok(i64::try_from(span.as_secs()).ok());
    }
    checker.problem(spot.at, format!("{} is not whole seconds", shown(spot, "the time", text)));
    Err(Told)
}

/// A bound that may be left out.
fn bound(
    spot: Spot<'_>,
    number: Option<usize>,
    most: usize,
    checker: &mut Checker,
) -> Result<Option<i64>, Told> {
    match number {
        Some(_) => checker.number(spot, number, 1, (1, most)).map(signed).map(Some).ok_or(Told),
        None => Ok(None),
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn whole(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked_store::SecretGuard;
    use crate::config::{Effects, Reading, Surroundings, read_text};

    fn rules(text: &str, known: &[&str]) -> Result<StoreRules, Vec<String>> {
        let none = |_: &str| None;
        let around = Surroundings { env: &none, effects: Effects::None };
        let Reading { raw, document, mut checker } =
            read_text::<raw::StoreRules>("store.yaml", text, around.env).unwrap();
        let known = Known { names: known.to_vec(), broken: Vec::new() };
        let known = (!known.names.is_empty()).then_some(&known);
        let rules = store_rules(&raw, document.top(), known, &mut checker);
        let told = |problem: &crate::config::Problem| {
            format!("{}:{}: {}", problem.line, problem.column, problem.message)
        };
        match checker.finish(rules) {
            Ok((rules, _, _)) => Ok(rules),
            Err(problems) => Err(problems.iter().map(told).collect()),
        }
    }

    #[test]
    fn what_is_left_out_is_as_usual_and_a_tenant_differs_where_it_says_so() {
        assert_eq!(rules("{}", &[]), Ok(StoreRules::default()));
        let text = "history: 5\nfeed_entries: 100\nmax_rows: 10\nmax_bytes: 1MiB\nsecret_guard: on\n\
             ttl: { \"user:*\": 1d, \"*\": 9d }\n\
             tenants:\n  acme: { max_rows: 20, require_match: true, secret_guard: with_jwt, ttl: { \"user:b*\": never } }\n";
        let rules = rules(text, &["acme"]).unwrap();
        assert_eq!((rules.history, rules.feed_entries), (5, Some(100)));
        let acme = &rules.tenants[&TenantId::parse("acme").unwrap()];
        assert_eq!((rules.usual.max_rows, acme.max_rows), (Some(10), Some(20)));
        assert_eq!((rules.usual.max_bytes, acme.max_bytes), (Some(1 << 20), Some(1 << 20)));
        assert_eq!((rules.usual.require_match, acme.require_match), (false, true));
        assert_eq!((rules.usual.secret_guard, acme.secret_guard), (SecretGuard::On, SecretGuard::WithJwt));
        let patterns: Vec<_> = acme.ttl.iter().map(|ttl| (ttl.pattern.as_str(), ttl.seconds)).collect();
        assert_eq!(patterns, [("user:b*", None), ("user:*", Some(86_400)), ("*", Some(9 * 86_400))]);
    }

    #[test]
    fn every_mistake_is_told_where_it_stands() {
        let text = "history: 10001\nfeed_for: soon\nfeed_entries: 0\nmax_value: 9MiB\n\
             ttl: { \"a*b\": 1d, c: 1500ms, d: ever }\ntenants: { acmee: {}, \"No Name\": {} }\n";
        let told = rules(text, &["acme"]).unwrap_err();
        let places: Vec<_> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(
            places,
            ["1:10", "2:11", "3:15", "4:12", "5:8", "5:22", "5:33", "6:12", "6:23"],
            "{told:#?}"
        );
    }
}
