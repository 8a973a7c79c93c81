//! A rule, as a policy names it: what is counted apart, the ceiling of the moment, its text for headers.
//!
//! Rules hold no counts. They know their number in the limiter and, for addresses beyond the exact
//! table, their sketch; both stay while any policy names the rule.

use super::headers;
use super::strangers::Sketch;
use super::window::Ceiling;
use crate::config::checked::{Dimension, LimitKind};
use crate::ids::Name;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Most rules on one request: the decision works in arrays of this length.
pub const MAX_RULES: usize = 8;

/// Why limits did not become rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// More different limits on one route than a decision takes.
    #[error("has {found} limits; at most {MAX_RULES} can apply to one request")]
    TooMany {
        /// How many there were.
        found: usize,
    },
}

/// What tells one rule from another across reloads; the number of requests is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) name: Name,
    pub(super) shape: Shape,
    pub(super) is_quota: bool,
    pub(super) per: Duration,
}

impl Identity {
    pub(super) fn new(name: &Name, by: &[Dimension], kind: LimitKind, per: Duration) -> Self {
        let is_quota = match kind {
            LimitKind::Window => false,
            LimitKind::Quota => true,
        };
        Self { name: name.clone(), shape: Shape::of(by), is_quota, per }
    }
}

/// What lives as long as any policy names the rule.
pub(super) struct Rule {
    pub(super) number: u32,
    pub(super) shape: Shape,
    pub(super) sketch: Sketch,
}

/// One rule with its ceiling, ready to be decided by.
#[derive(Clone)]
pub struct CompiledRule {
    rule: Arc<Rule>,
    ceiling: Ceiling,
    name: Name,
    window_secs: u32,
    policy: Arc<str>,
}

impl CompiledRule {
    pub(super) fn new(rule: Arc<Rule>, name: &Name, limit: u32, per: Duration) -> Self {
        let ceiling = Ceiling::new(limit, per);
        let window_secs = super::tick::seconds_rounded_up(ceiling.per_nanos());
        let policy = Arc::from(headers::policy_member(name, limit, window_secs));
        Self { rule, ceiling, name: name.clone(), window_secs, policy }
    }

    /// The limit's name in the config.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Most requests in any trailing window.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.ceiling.limit()
    }

    /// The window, in whole seconds.
    #[must_use]
    pub const fn window_secs(&self) -> u32 {
        self.window_secs
    }

    /// The member for `RateLimit-Policy`.
    pub(super) fn policy(&self) -> &str {
        &self.policy
    }

    pub(super) const fn ceiling(&self) -> &Ceiling {
        &self.ceiling
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }
}

impl fmt::Debug for CompiledRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledRule")
            .field("name", &self.name)
            .field("number", &self.rule.number)
            .field("limit", &self.limit())
            .field("window_secs", &self.window_secs)
            .finish_non_exhaustive()
    }
}

/// The rules of one route, in its order, none twice and at most [`MAX_RULES`].
#[derive(Debug, Clone, Default)]
pub struct RuleSet(Box<[CompiledRule]>);

impl RuleSet {
    /// Drops repetitions: taking one rule twice would count a request twice.
    pub(super) fn new(rules: impl IntoIterator<Item = CompiledRule>) -> Result<Self, LimitsError> {
        let mut distinct: Vec<CompiledRule> = Vec::new();
        for rule in rules {
            if distinct.iter().all(|other| other.rule.number != rule.rule.number) {
                distinct.push(rule);
            }
        }
        if distinct.len() > MAX_RULES {
            return Err(LimitsError::TooMany { found: distinct.len() });
        }
        Ok(Self(distinct.into_boxed_slice()))
    }

    /// The rules, in the route's order.
    #[must_use]
    pub fn rules(&self) -> &[CompiledRule] {
        &self.0
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which dimensions a rule counts apart, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape(u8);

impl Shape {
    const IP: u8 = 1;
    const CREDENTIAL: u8 = 2;
    const TENANT: u8 = 4;
    const ROUTE: u8 = 8;

    pub(super) fn of(dimensions: &[Dimension]) -> Self {
        Self(dimensions.iter().fold(0, |bits, dimension| {
            bits | match dimension {
                Dimension::Ip => Self::IP,
                Dimension::Credential => Self::CREDENTIAL,
                Dimension::Tenant => Self::TENANT,
                Dimension::Route => Self::ROUTE,
            }
        }))
    }

    pub(super) const fn ip(self) -> bool {
        self.0 & Self::IP != 0
    }

    pub(super) const fn credential(self) -> bool {
        self.0 & Self::CREDENTIAL != 0
    }

    pub(super) const fn tenant(self) -> bool {
        self.0 & Self::TENANT != 0
    }

    pub(super) const fn route(self) -> bool {
        self.0 & Self::ROUTE != 0
    }
}
