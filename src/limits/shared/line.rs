//! One shared rule's part of a question, and how what came back is read.

use super::super::decision::Standing;
use super::super::rule::{CompiledRule, RuleSet};
use super::super::tally::Measure;
use super::Who;
use crate::limits::Subject;

/// The script that decides; what it takes and answers stands at its head.
pub const SCRIPT: &str = include_str!("decide.lua");

/// Values that the script answers for each key.
pub const VALUES: usize = 5;

/// What the script must know of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// `w`, `r` or `c`.
    pub kind: &'static str,
    /// Most.
    pub limit: u32,
    /// Microseconds.
    pub span: Box<str>,
}

/// A shared rule that applies to a request.
pub struct Line<'a> {
    /// The rule's position among the route's.
    pub nth: usize,
    /// The rule.
    pub rule: &'a CompiledRule,
    /// Where it counts.
    pub key: String,
    /// What the request counts for.
    pub cost: u32,
}

/// How long a place in flight is held without renewal, in microseconds.
pub(super) const HELD_MICROS: &str = "30000000";

/// A rule's kind and span, as the script has them.
pub(super) fn terms(measure: &Measure) -> (&'static str, String) {
    match measure {
        Measure::Window(ceiling) | Measure::Quota(ceiling) => {
            ("w", ceiling.per_nanos().div_ceil(1000).to_string())
        }
        // With what is left of a microsecond: fast rates step in fractions of one.
        Measure::Rate(pace) => {
            let every = pace.refill() / u64::from(pace.burst().max(1));
            ("r", format!("{}.{:03}", every / 1000, every % 1000))
        }
        Measure::Held(_) => ("c", HELD_MICROS.to_owned()),
    }
}

impl RuleSet {
    /// The shared rules that apply to a request, with the keys under which they count.
    #[must_use]
    pub fn lines<'a>(&'a self, prefix: &str, who: &Who<'_>, subject: &Subject) -> Vec<Line<'a>> {
        let shared = self.rules().iter().enumerate();
        shared
            .filter_map(|(nth, rule)| {
                let cost = rule.price(subject);
                let key = rule.shared()?.seed.key(prefix, who).filter(|_| cost > 0)?;
                Some(Line { nth, rule, key, cost })
            })
            .collect()
    }
}

impl RuleSet {
    /// Whether a shared rule that applies to a request lets nothing pass while nobody answers.
    #[must_use]
    pub fn closes(&self, who: &Who<'_>, subject: &Subject) -> bool {
        self.rules().iter().filter(|rule| !rule.is_shadow() && rule.price(subject) > 0).any(|rule| {
            rule.shared().is_some_and(|shared| shared.is_closed() && shared.seed.key("", who).is_some())
        })
    }

    /// The shared quotas that count for someone, with their keys; as if one were asked for.
    #[must_use]
    pub fn quota_lines<'a>(&'a self, prefix: &str, who: &Who<'_>) -> Vec<Line<'a>> {
        let lines = self.rules().iter().enumerate().filter_map(|(nth, rule)| {
            let key = rule.shared()?.seed.key(prefix, who)?;
            Some(Line { nth, rule, key, cost: 1 })
        });
        lines.filter(Line::is_quota).collect()
    }
}

impl<'a> Line<'a> {
    /// How the rule stands where nobody has used it.
    #[must_use]
    pub fn untouched(&self) -> Standing {
        let (limit, per) = (i64::from(self.rule.limit()), self.rule.per_nanos() / 1000);
        standing(self, limit, i64::try_from(per).unwrap_or(i64::MAX), self.cost > self.rule.limit())
    }

    /// What the script must know.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let (kind, span) =
            self.rule.shared().map_or(("w", Box::default()), |shared| (shared.kind, shared.span.clone()));
        Terms { kind, limit: self.rule.limit(), span }
    }

    /// What is taken ahead; 0: nothing is.
    #[must_use]
    pub fn block(&self) -> u32 {
        self.rule.shared().map_or(0, |shared| shared.block)
    }

    /// This edge's own count of the same, as far as its share goes.
    #[must_use]
    pub fn mirror(&self) -> Option<&'a RuleSet> {
        self.rule.shared().map(|shared| &shared.mirror)
    }

    /// Whether this is about what is in flight.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.rule.measure(), Measure::Held(_))
    }

    /// Whether it lasts.
    #[must_use]
    pub const fn is_quota(&self) -> bool {
        matches!(self.rule.measure(), Measure::Quota(_))
    }

    /// Whether it is to be given back when the upstream fails.
    #[must_use]
    pub const fn is_refunded(&self) -> bool {
        self.rule.is_refunded()
    }

    /// Whether it refuses nobody.
    #[must_use]
    pub const fn is_shadow(&self) -> bool {
        self.rule.is_shadow()
    }
}

/// How a rule stands by what came back: room left and microseconds until there is more.
#[must_use]
pub fn standing(line: &Line<'_>, remaining: i64, until_micros: i64, short: bool) -> Standing {
    let remaining = u32::try_from(remaining.max(0)).unwrap_or(u32::MAX);
    let nanos = u64::try_from(until_micros.max(0)).unwrap_or(0).saturating_mul(1000);
    let secs = super::super::tick::seconds_rounded_up(nanos);
    // As for counts kept here: who has not to wait is not told of a time beyond the window.
    let window = line.rule.window_secs();
    let secs = if short || remaining == 0 || window == 0 { secs } else { secs.min(window) };
    Standing { rule: line.nth, remaining, effective_secs: secs.min(u32::MAX - 1), cost: line.cost, short }
}
