//! What a caller is told of limits: `RateLimit-Policy`, `RateLimit`, `Retry-After`, problem types.
//!
//! The first two follow draft-ietf-httpapi-ratelimit-headers-11, or its editors' next one on request: Structured Field Lists (RFC 9651) of
//! Strings, where `r` is what is available and `t` the seconds within which no more than that is. Only
//! texts are made here; whether an answer gets them (an answer with a 3xx status should not) is not
//! known. Lists may come on several lines, so an upstream's own fields are kept and these added.

use super::cost::Price;
use super::decision::{Decision, Standing};
use super::rule::RuleSet;
use super::tally::Measure;
use super::tick::seconds_rounded_up;
use crate::config::checked::Dialect;
use crate::ids::Name;

/// The field that names the policies.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
/// The field that says what is left of them.
pub const RATE_LIMIT: &str = "ratelimit";

/// A problem of the draft: the `type` and `title` of an `application/problem+json` answer (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// A URI.
    pub type_uri: &'static str,
    /// One sentence, the same every time.
    pub title: &'static str,
}

/// The caller has used up what it is given; goes with 429 and `violated-policies`.
pub const QUOTA_EXCEEDED: Problem = Problem {
    type_uri: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    title: "Request cannot be satisfied as assigned quota has been exceeded",
};

/// The server has less to give than usual; goes with 503.
pub const TEMPORARY_REDUCED_CAPACITY: Problem = Problem {
    type_uri: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    title: "Request cannot be satisfied due to temporary server capacity constraints",
};

/// What comes is not what callers send; goes with 429.
pub const ABNORMAL_USAGE_DETECTED: Problem = Problem {
    type_uri: "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
    // Spelt as the draft spells it: a type's title is always the same.
    title: "Request not satisifed due to detection of abnormal request pattern",
};

/// Appends the value of `RateLimit-Policy`: every rule that applied, a refusing one first. Appends
/// nothing where no rule applied; the field is left out then.
pub fn write_rate_limit_policy(out: &mut String, rules: &RuleSet, decision: &Decision) {
    let policies = decision.worst_first(rules).filter_map(|standing| rules.rules().get(standing.rule));
    for (nth, rule) in policies.enumerate() {
        separate(out, nth);
        out.push_str(rule.policy());
    }
}

/// Appends the value of `RateLimit`, in the order of [`write_rate_limit_policy`].
///
/// `Retry-After` should not be over before any `t` is. On a refusal `t` is therefore cut to it: that no
/// more than `r` are admitted holds for a shorter time as well.
pub fn write_rate_limit(out: &mut String, rules: &RuleSet, decision: &Decision) {
    out.push_str(rate_limit(rules, decision, Dialect::Draft11).as_str());
}

/// The value of `RateLimit`, made without a heap: it is made for every answer. Empty in dialects that
/// do not have the field.
#[must_use]
pub fn rate_limit(rules: &RuleSet, decision: &Decision, dialect: Dialect) -> Text {
    let mut out = Text { bytes: [0; TEXT], len: 0, dialect };
    match dialect {
        Dialect::Draft11 | Dialect::Next => {}
        Dialect::Legacy | Dialect::Off => return out,
    }
    match decision {
        Decision::Admitted(standings) => {
            for standing in standings.as_slice() {
                out.member(rules, standing, u32::MAX);
            }
        }
        Decision::Refused { .. } => {
            let longest = decision.retry_after_secs().unwrap_or(u32::MAX);
            for standing in decision.worst_first(rules) {
                out.member(rules, standing, longest);
            }
        }
    }
    out
}

/// What the older fields have room for: one limit, the one with the least left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tightest {
    /// Most in its window.
    pub limit: u32,
    /// What is left of it.
    pub remaining: u32,
    /// Seconds until there is more.
    pub reset_secs: u32,
}

/// The limit that refused, or else the one with the least left; none where no rule applied.
#[must_use]
pub fn tightest(rules: &RuleSet, decision: &Decision) -> Option<Tightest> {
    let mut all = decision.worst_first(rules);
    let one = match decision {
        Decision::Refused { .. } => all.next(),
        Decision::Admitted(_) => all.min_by_key(|standing| standing.remaining),
    }?;
    let limit = rules.rules().get(one.rule)?.limit();
    Some(Tightest { limit, remaining: one.remaining, reset_secs: one.effective_secs })
}

/// Eight members: a name of 64 with quotes, three numbers of ten digits, what stands between.
const TEXT: usize = 8 * (64 + 2 + 30 + 12);

/// A field's value, in place.
pub struct Text {
    bytes: [u8; TEXT],
    len: usize,
    dialect: Dialect,
}

impl Text {
    /// The value; empty where no rule applied.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The value; visible ASCII and spaces.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn member(&mut self, rules: &RuleSet, standing: &Standing, longest: u32) {
        let Some(rule) = rules.rules().get(standing.rule) else { return };
        if rule.is_shadow() {
            return;
        }
        if self.len > 0 {
            self.push(b", ");
        }
        self.push(rule.left().as_bytes());
        let [available, span]: [&[u8]; 2] = match self.dialect {
            Dialect::Next => [b";a=", b";w="],
            Dialect::Draft11 | Dialect::Legacy | Dialect::Off => [b";r=", b";t="],
        };
        self.push(available);
        self.number(standing.remaining);
        self.push(span);
        self.number(standing.effective_secs.min(longest));
        if self.dialect == Dialect::Next {
            self.push(b";c=");
            self.number(standing.cost);
        }
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        // Whole or not at all; a name is at most 64 bytes, so it always fits.
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    #[inline]
    fn number(&mut self, number: u32) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Appends the value of `Retry-After` in seconds; nothing when admitted.
pub fn write_retry_after(out: &mut String, decision: &Decision) {
    if let Some(seconds) = decision.retry_after_secs() {
        out.push_str(itoa::Buffer::new().format(seconds));
    }
}

/// One member of `RateLimit-Policy`, made once a rule.
pub(super) fn policy_member(name: &Name, measure: &Measure, price: &Price) -> String {
    let mut digits = itoa::Buffer::new();
    let mut out = String::new();
    write_string(&mut out, name.as_str());
    out.push_str(";q=");
    out.push_str(digits.format(measure.limit()));
    match (measure, price) {
        (Measure::Held(_), _) => out.push_str(";qu=\"concurrent-requests\""),
        (Measure::Window(_) | Measure::Quota(_) | Measure::Rate(_), Price::Body) => {
            out.push_str(";qu=\"content-bytes\"")
        }
        (Measure::Window(_) | Measure::Quota(_) | Measure::Rate(_), Price::Flat(_) | Price::ByMethod(_)) => {}
    }
    if measure.per_nanos() > 0 {
        out.push_str(";w=");
        out.push_str(digits.format(seconds_rounded_up(measure.per_nanos())));
    }
    out
}

/// The front of a member of `RateLimit`, made once a rule.
pub(super) fn limit_member(name: &Name) -> String {
    let mut out = String::new();
    write_string(&mut out, name.as_str());
    out
}

fn separate(out: &mut String, nth: usize) {
    if nth > 0 {
        out.push_str(", ");
    }
}

/// A String as RFC 9651, section 4.1.6, writes it. It holds visible ASCII and spaces only; anything
/// else is left out, so that no text can break out of the field.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars().filter(|c| matches!(c, ' '..='~')) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::{Limiter, Subject, Tick};
    use super::*;
    use crate::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
    use serde_json::Value;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    fn subject() -> Subject {
        Subject::stranger(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
    }

    fn limit(name: &str, limit: u32, secs: u64) -> Limit {
        Limit {
            name: Name::parse(name).expect("a name"),
            by: vec![Dimension::Ip],
            kind: LimitKind::Window,
            limit,
            per: Duration::from_secs(secs),
            cost: Cost::Requests(1),
            effect: Effect::Refuses,
            refund: Refund::Never,
            exempt: 0,
            header: None,
            shared: None,
        }
    }

    fn fields(rules: &RuleSet, decision: &Decision) -> [String; 3] {
        let mut out = [const { String::new() }; 3];
        write_rate_limit_policy(&mut out[0], rules, decision);
        write_rate_limit(&mut out[1], rules, decision);
        write_retry_after(&mut out[2], decision);
        out
    }

    fn vectors() -> Value {
        let text = include_str!("../../tests/vectors/ratelimit_headers_draft.json");
        serde_json::from_str(text).expect("the vectors are JSON")
    }

    fn whole(value: &Value) -> u32 {
        value.as_u64().and_then(|n| u32::try_from(n).ok()).expect("a number")
    }

    #[test]
    fn policies_read_as_in_the_draft() {
        let mut checked = 0;
        for case in vectors()["policy_ok"].as_array().expect("cases") {
            let members = case["parsed"].as_array().expect("members");
            // Partition keys and other units are not ours to send.
            if members.iter().any(|member| !member["pk"].is_null()) {
                continue;
            }
            let limits: Vec<_> = members
                .iter()
                .map(|member| {
                    limit(
                        member["name"].as_str().expect("a name"),
                        whole(&member["q"]),
                        u64::from(whole(&member["w"])),
                    )
                })
                .collect();
            let limiter = Limiter::new(10);
            let rules = limiter.compile(&limits).expect("few limits");
            let decision = limiter.decide(&rules, &subject(), Tick::ZERO);
            let expected = case["text"].as_str().expect("a text").replace(",\"", ", \"");
            assert_eq!(fields(&rules, &decision)[0], expected);
            checked += 1;
        }
        assert_eq!(checked, 3);
    }

    #[test]
    fn what_is_left_reads_as_in_the_draft() {
        let limiter = Limiter::new(10);
        let vectors = vectors();
        let texts: Vec<_> =
            [0, 3].iter().map(|&n| vectors["limit_ok"][n]["text"].as_str().expect("a text")).collect();

        // "default";r=50;t=30: fifty left, the first comes back in thirty seconds.
        let rules = limiter.compile(&[limit("default", 52, 60)]).expect("one limit");
        let at = |secs| Tick::after(Duration::from_secs(secs));
        let _ = limiter.decide(&rules, &subject(), at(0));
        let decision = limiter.decide(&rules, &subject(), at(31));
        assert_eq!(fields(&rules, &decision)[1], texts[0]);

        // "problemPolicy";r=0;t=10, and the time to wait is no shorter.
        let rules = limiter.compile(&[limit("problemPolicy", 1, 15)]).expect("one limit");
        let _ = limiter.decide(&rules, &subject(), at(0));
        let decision = limiter.decide(&rules, &subject(), at(5));
        assert_eq!(fields(&rules, &decision)[1..], [texts[1], "10"]);
    }

    #[test]
    fn a_refusal_names_the_refusing_rule_first_and_no_t_outlasts_the_wait() {
        let limiter = Limiter::new(10);
        let rules = limiter.compile(&[limit("day", 100, 86_400), limit("burst", 1, 10)]).expect("two");
        let admitted = limiter.decide(&rules, &subject(), Tick::ZERO);
        let expected =
            ["\"day\";q=100;w=86400, \"burst\";q=1;w=10", "\"day\";r=99;t=86400, \"burst\";r=0;t=10", ""];
        assert_eq!(fields(&rules, &admitted), expected);
        assert_eq!(admitted.violated_policies(&rules).count(), 0, "r=0 after admission violates nothing");

        let refused = limiter.decide(&rules, &subject(), Tick::from_nanos(2_500_000_000));
        let expected =
            ["\"burst\";q=1;w=10, \"day\";q=100;w=86400", "\"burst\";r=0;t=8, \"day\";r=99;t=8", "8"];
        assert_eq!(fields(&rules, &refused), expected);
        let violated: Vec<_> = refused.violated_policies(&rules).map(Name::as_str).collect();
        assert_eq!(violated, ["burst"]);
    }

    #[test]
    fn the_next_dialect_says_what_a_request_cost_and_older_ones_have_no_such_field() {
        let limiter = Limiter::new(10);
        let three = Limit { cost: Cost::Requests(3), ..limit("api", 10, 60) };
        let rules = limiter.compile(&[three, limit("day", 5, 86_400)]).expect("two");
        let decision = limiter.decide(&rules, &subject(), Tick::ZERO);
        let text = |dialect| rate_limit(&rules, &decision, dialect).as_str().to_owned();
        assert_eq!(text(Dialect::Next), "\"api\";a=7;w=60;c=3, \"day\";a=4;w=86400;c=1");
        assert_eq!([text(Dialect::Legacy), text(Dialect::Off)], ["", ""]);
        let expected = Tightest { limit: 5, remaining: 4, reset_secs: 86_400 };
        assert_eq!(tightest(&rules, &decision), Some(expected));
    }

    #[test]
    fn no_rule_means_no_field() {
        let limiter = Limiter::new(10);
        let rules = RuleSet::default();
        let decision = limiter.decide(&rules, &subject(), Tick::ZERO);
        assert!(decision.is_admitted());
        assert_eq!(fields(&rules, &decision), ["", "", ""]);
    }

    #[test]
    fn a_string_cannot_break_out_of_its_field() {
        let mut out = String::new();
        write_string(&mut out, "a\"b\\c\r\nd e\u{e9}\u{7f}");
        assert_eq!(out, r#""a\"b\\cd e""#);
    }

    #[test]
    fn problem_types_are_the_drafts() {
        let vectors = vectors();
        for (nth, problem) in
            [(0, QUOTA_EXCEEDED), (1, TEMPORARY_REDUCED_CAPACITY), (2, ABNORMAL_USAGE_DETECTED)]
        {
            let body = &vectors["problem_types"][nth]["body"];
            assert_eq!(body["type"], problem.type_uri);
            assert_eq!(body["title"], problem.title);
        }
    }
}
