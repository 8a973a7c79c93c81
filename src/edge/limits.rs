//! What clients and operators are told of limits, and what limits get back from a request that failed.
//!
//! Which limits there are and what they said, the trail knows; how they count is not known here.

use super::exchange::Exchange;
use super::live::{Live, Site};
use crate::config::checked::Dialect;
use crate::limits::{Decision, RuleSet, headers as limits};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

const POLICY: HeaderName = HeaderName::from_static(limits::RATE_LIMIT_POLICY);
const LIMIT: HeaderName = HeaderName::from_static(limits::RATE_LIMIT);
/// What ours are called where an upstream has a policy of the same name.
const PREFIX: &str = "edge.";
const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Says in an answer to an admitted request where its limits stand.
pub(super) fn tell(live: &Live, exchange: &Exchange, status: StatusCode, fields: &mut HeaderMap) {
    // A redirect is followed at once: what remains would be stale (draft-ietf-httpapi-ratelimit-headers).
    if status.is_redirection() {
        return;
    }
    let Some((rules, decision)) = exchange.trail.limits(&live.policy) else { return };
    let tariff = exchange.trail.tariff();
    let route = exchange.trail.route.map(|index| live.policy.routes[index].priced(tariff));
    let policy = route.and_then(|priced| priced.policy_text(decision));
    self::fields(rules, decision, policy, live.policy.dialect, fields);
}

/// Says where the limits stand, beside what an upstream says of its own. `policy` is the text of the
/// policies where it is known already: it is the same as long as all of them applied.
pub(super) fn fields(
    rules: &RuleSet,
    decision: &Decision,
    policy: Option<&HeaderValue>,
    dialect: Dialect,
    fields: &mut HeaderMap,
) {
    if let Some(seconds) = decision.retry_after_secs() {
        fields.append(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match dialect {
        Dialect::Draft11 | Dialect::Next => {}
        Dialect::Legacy => return legacy(rules, decision, fields),
        Dialect::Off => return,
    }
    let left = limits::rate_limit(rules, decision, dialect);
    if left.as_bytes().is_empty() {
        return;
    }
    if fields.contains_key(&LIMIT) || fields.contains_key(&POLICY) {
        return beside(rules, decision, left.as_str(), fields);
    }
    if let Ok(value) = HeaderValue::from_bytes(left.as_bytes()) {
        fields.append(LIMIT, value);
    }
    if let Some(policy) = policy {
        fields.append(POLICY, policy.clone());
        return;
    }
    let mut text = String::new();
    limits::write_rate_limit_policy(&mut text, rules, decision);
    if let Ok(value) = HeaderValue::try_from(text) {
        fields.append(POLICY, value);
    }
}

/// Adds ours to an upstream's own. Where both have policies of one name, ours get another: whoever reads one of
/// the two must not take the looser one for the other.
#[cold]
fn beside(rules: &RuleSet, decision: &Decision, left: &str, fields: &mut HeaderMap) {
    let theirs: String = [&LIMIT, &POLICY]
        .into_iter()
        .flat_map(|name| fields.get_all(name))
        .flat_map(|value| [value.to_str().unwrap_or_default(), ","])
        .collect();
    let mut policies = String::new();
    limits::write_rate_limit_policy(&mut policies, rules, decision);
    let mut left = left.to_owned();
    for rule in rules.rules() {
        let own = format!("\"{}\"", rule.name());
        if theirs.contains(&own) {
            let other = format!("\"{PREFIX}{}\"", rule.name());
            left = left.replace(&own, &other);
            policies = policies.replace(&own, &other);
        }
    }
    for (name, text) in [(LIMIT, left), (POLICY, policies)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.append(name, value);
        }
    }
}

/// These have room for one limit. An upstream's own stay where they leave less, and where they cannot be read:
/// what they leave may be less.
fn legacy(rules: &RuleSet, decision: &Decision, fields: &mut HeaderMap) {
    let Some(ours) = limits::tightest(rules, decision) else { return };
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u32>().ok();
    let there = [&LEGACY_LIMIT, &LEGACY_REMAINING, &LEGACY_RESET];
    if there.into_iter().any(|name| fields.contains_key(name)) {
        let mut remaining = fields.get_all(&LEGACY_REMAINING).iter().map(number).peekable();
        let is_looser = remaining.peek().is_some()
            && remaining.all(|theirs| theirs.is_some_and(|theirs| theirs > ours.remaining));
        if !is_looser {
            return;
        }
    }
    fields.insert(LEGACY_LIMIT, HeaderValue::from(ours.limit));
    fields.insert(LEGACY_REMAINING, HeaderValue::from(ours.remaining));
    fields.insert(LEGACY_RESET, HeaderValue::from(ours.reset_secs));
}

/// Gives back what limits want back of a request that came to nothing, and counts what those that are
/// only tried would have refused.
pub(super) fn settle(site: &Site, live: &Live, exchange: &mut Exchange, status: u16) {
    if status >= 500 {
        if let Some(receipt) = &mut exchange.trail.receipt {
            receipt.refund();
        }
        exchange.shared.refund();
    }
    let Some((rules, decision)) = exchange.trail.limits(&live.policy) else { return };
    if rules.has_shadows() {
        for name in decision.would_refuse(rules) {
            site.metrics.would_limit.with_label_values(&[name.as_str()]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
    use crate::ids::Name;
    use crate::limits::{Limiter, Subject, Tick};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    fn told(dialect: Dialect, upstream: &[(&'static str, &'static str)]) -> Vec<String> {
        let limiter = Limiter::new(10);
        let limit = Limit {
            name: Name::parse("api").expect("a name"),
            by: vec![Dimension::Ip],
            kind: LimitKind::Window,
            limit: 1,
            per: Duration::from_mins(1),
            cost: Cost::Requests(1),
            effect: Effect::Refuses,
            refund: Refund::Never,
            exempt: 0,
            header: None,
            shared: None,
        };
        let rules = limiter.compile([&limit]).expect("one limit");
        let subject = Subject::stranger(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let mut head = HeaderMap::new();
        for (name, value) in upstream {
            head.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let _ = limiter.decide(&rules, &subject, Tick::ZERO);
        fields(&rules, &limiter.decide(&rules, &subject, Tick::ZERO), None, dialect, &mut head);
        let mut told: Vec<String> =
            head.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        told.sort();
        told
    }

    #[test]
    fn every_dialect_says_when_to_come_back() {
        let draft = ["ratelimit-policy: \"api\";q=1;w=60", "ratelimit: \"api\";r=0;t=60", "retry-after: 60"];
        assert_eq!(told(Dialect::Draft11, &[]), draft);
        assert_eq!(told(Dialect::Next, &[])[1], "ratelimit: \"api\";a=0;w=60;c=1");
        let legacy =
            ["retry-after: 60", "x-ratelimit-limit: 1", "x-ratelimit-remaining: 0", "x-ratelimit-reset: 60"];
        assert_eq!(told(Dialect::Legacy, &[]), legacy);
        assert_eq!(told(Dialect::Off, &[]), ["retry-after: 60"]);
    }

    #[test]
    fn an_upstreams_own_limits_are_never_loosened() {
        let theirs = [("ratelimit", "\"theirs\";r=0;t=9")];
        assert!(told(Dialect::Draft11, &theirs).contains(&"ratelimit: \"theirs\";r=0;t=9".to_owned()));
        let loose = [("x-ratelimit-remaining", "7"), ("x-ratelimit-limit", "9")];
        assert_eq!(told(Dialect::Legacy, &loose)[1..3], ["x-ratelimit-limit: 1", "x-ratelimit-remaining: 0"]);
        let strict = [("x-ratelimit-remaining", "0"), ("x-ratelimit-limit", "9")];
        assert_eq!(told(Dialect::Legacy, &strict)[1..], ["x-ratelimit-limit: 9", "x-ratelimit-remaining: 0"]);
        for unclear in [
            &[("x-ratelimit-remaining", "7, 0"), ("x-ratelimit-limit", "9")][..],
            &[("x-ratelimit-limit", "9")],
            &[("x-ratelimit-remaining", "7"), ("x-ratelimit-remaining", "0")],
        ] {
            let theirs = unclear.iter().map(|(name, value)| format!("{name}: {value}"));
            let mut wanted: Vec<String> = theirs.chain(["retry-after: 60".to_owned()]).collect();
            wanted.sort();
            assert_eq!(told(Dialect::Legacy, unclear), wanted);
        }
    }

    #[test]
    fn a_policy_of_the_same_name_is_not_mistaken_for_the_upstreams() {
        let theirs = [("ratelimit-policy", "\"api\";q=3;w=9, \"day\";q=9"), ("ratelimit", "\"api\";r=0;t=9")];
        let wanted = [
            "ratelimit-policy: \"api\";q=3;w=9, \"day\";q=9",
            "ratelimit-policy: \"edge.api\";q=1;w=60",
            "ratelimit: \"api\";r=0;t=9",
            "ratelimit: \"edge.api\";r=0;t=60",
            "retry-after: 60",
        ];
        assert_eq!(told(Dialect::Draft11, &theirs), wanted);
    }
}
