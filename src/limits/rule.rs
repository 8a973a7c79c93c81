//! A rule, as a policy names it: what is counted apart, the ceiling of the moment, its text for headers.
//!
//! Rules hold no counts. They know their number in the limiter and, for addresses beyond the exact
//! table, their sketch; both stay while any policy names the rule.

use super::dense::Dense;
use super::headers;
use super::key::Subject;
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
    pub(super) home: Home,
    pub(super) sketch: Sketch,
}

/// Where a rule's counts are.
pub(super) enum Home {
    /// In the rule itself, by the number of the one thing that it counts by.
    Dense(Axis, Box<Dense>),
    /// In the limiter's table of known callers: products of what an operator has named.
    Known,
    /// In the limiter's table of strangers: whatever a client can choose.
    Strangers,
}

impl Home {
    /// Notes that one of the rule's own cells counts for the first time.
    #[cold]
    pub(super) fn note_use(&self) {
        match self {
            Self::Dense(_, cells) => cells.note_use(),
            Self::Known | Self::Strangers => {}
        }
    }

    /// Own cells that have counted something.
    pub(super) fn used(&self) -> usize {
        match self {
            Self::Dense(_, cells) => cells.used(),
            Self::Known | Self::Strangers => 0,
        }
    }
}

/// The one thing that a rule counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Credential,
    Tenant,
    Route,
}

impl Axis {
    /// Its number in a request, if the request has one.
    #[inline]
    pub(super) const fn of(self, subject: &Subject) -> Option<u32> {
        match self {
            Self::Credential => subject.credential,
            Self::Tenant => subject.tenant,
            Self::Route => Some(subject.route),
        }
    }
}

impl Rule {
    pub(super) fn new(number: u32, shape: Shape, sketch: Sketch) -> Self {
        let home = match shape.axis() {
            Some(axis) => Home::Dense(axis, Box::new(Dense::new())),
            None if shape.ip() => Home::Strangers,
            None => Home::Known,
        };
        Self { number, shape, home, sketch }
    }
}

/// One rule with its ceiling, ready to be decided by.
#[derive(Clone)]
pub struct CompiledRule {
    rule: Arc<Rule>,
    ceiling: Ceiling,
    name: Name,
    window_secs: u32,
    policy: Arc<str>,
    /// The front of the member for `RateLimit`.
    left: Arc<str>,
}

impl CompiledRule {
    pub(super) fn new(rule: Arc<Rule>, name: &Name, limit: u32, per: Duration) -> Self {
        let ceiling = Ceiling::new(limit, per);
        let window_secs = super::tick::seconds_rounded_up(ceiling.per_nanos());
        let policy = Arc::from(headers::policy_member(name, limit, window_secs));
        let left = Arc::from(headers::limit_member(name));
        Self { rule, ceiling, name: name.clone(), window_secs, policy, left }
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

    /// The member for `RateLimit`, up to the number that is left.
    pub(super) fn left(&self) -> &str {
        &self.left
    }

    #[inline]
    pub(super) const fn ceiling(&self) -> &Ceiling {
        &self.ceiling
    }

    #[inline]
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
pub struct RuleSet {
    rules: Box<[CompiledRule]>,
    /// Positions in `rules` in the order in which their counts are locked: dense ones by the rules'
    /// numbers, then the others by the rules' numbers.
    locking: Box<[u8]>,
}

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
        // At most eight.
        let mut locking: Vec<u8> = (0..).take(distinct.len()).collect();
        locking.sort_by_key(|&nth| {
            let rule = &distinct[usize::from(nth)].rule;
            (!matches!(rule.home, Home::Dense(..)), rule.number)
        });
        Ok(Self { rules: distinct.into_boxed_slice(), locking: locking.into_boxed_slice() })
    }

    /// Every rule with its position, in the order of locking.
    #[inline]
    pub(super) fn in_locking_order(&self) -> impl Iterator<Item = (u8, &CompiledRule)> {
        self.locking.iter().map(|&nth| (nth, &self.rules[usize::from(nth)]))
    }

    /// The rules, in the route's order.
    #[must_use]
    pub fn rules(&self) -> &[CompiledRule] {
        &self.rules
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
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

    /// The one known thing that is counted by, if it is one.
    fn axis(self) -> Option<Axis> {
        [(Self::CREDENTIAL, Axis::Credential), (Self::TENANT, Axis::Tenant), (Self::ROUTE, Axis::Route)]
            .into_iter()
            .find_map(|(bit, axis)| (self.0 == bit).then_some(axis))
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
