//! A rule, as a policy names it: what is counted apart, the ceiling of the moment, its text for headers.
//!
//! Rules hold no counts. They know their number in the limiter and, for addresses beyond the exact
//! table, their sketch; both stay while any policy names the rule.

use super::cost::Price;
use super::dense::Dense;
use super::headers;
use super::key::Subject;
use super::pace::Pace;
use super::shared::SharedRule;
use super::strangers::Sketch;
use super::sync::Mutex;
use super::sync::atomic::{AtomicU32, Ordering};
use super::tally::Measure;
use super::window::Ceiling;
use crate::config::checked::{Dimension, Effect, Limit, LimitKind, Refund};
use crate::ids::Name;
use http::HeaderName;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
    kind: Kind,
    per: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Window,
    Quota,
    Rate,
    Concurrency,
}

impl Identity {
    pub(super) fn new(limit: &Limit) -> Self {
        let (kind, per) = match limit.kind {
            LimitKind::Window => (Kind::Window, limit.per),
            LimitKind::Quota => (Kind::Quota, limit.per),
            LimitKind::Rate { .. } => (Kind::Rate, Duration::ZERO),
            LimitKind::Concurrency => (Kind::Concurrency, Duration::ZERO),
        };
        Self { name: limit.name.clone(), shape: Shape::of(&limit.by), kind, per }
    }
}

/// What lives as long as any policy names the rule.
pub(super) struct Rule {
    pub(super) number: u32,
    pub(super) shape: Shape,
    pub(super) home: Home,
    /// Counts strangers beyond the table, where the rule is a window.
    pub(super) sketch: Sketch,
    /// Cells that strangers beyond the table share, where it is not.
    pub(super) shared: Dense,
    /// What a quota is called in its journal, and what it lets through now.
    pub(super) quota: Option<QuotaOf>,
}

/// What tells a quota's lines from others'.
#[derive(Debug)]
pub(super) struct QuotaOf {
    pub(super) name: Name,
    pub(super) per: Duration,
    /// The number that the newest config has.
    pub(super) limit: AtomicU32,
    /// The numbers of those who have another.
    pub(super) others: Mutex<HashMap<u32, u32>>,
    /// Whether that is this edge's part of a number that several share.
    pub(super) is_shared: AtomicBool,
}

/// Where a rule's counts are.
pub(super) enum Home {
    /// In the rule itself, by the number of the one thing that it counts by.
    Dense(Axis, Box<Dense>),
    /// In the limiter's table of known callers: products of what an operator has named.
    Known,
    /// In the limiter's table of strangers: whatever address a client can have.
    Strangers,
    /// In the limiter's table of values: whatever a client can say.
    Values,
}

impl Home {
    /// Notes that one of the rule's own cells counts for the first time.
    #[cold]
    pub(super) fn note_use(&self) {
        match self {
            Self::Dense(_, cells) => cells.note_use(),
            Self::Known | Self::Strangers | Self::Values => {}
        }
    }

    /// Own cells that have counted something.
    pub(super) fn used(&self) -> usize {
        match self {
            Self::Dense(_, cells) => cells.used(),
            Self::Known | Self::Strangers | Self::Values => 0,
        }
    }

    /// Its place in the order of locking.
    pub(super) const fn class(&self) -> u8 {
        match self {
            Self::Dense(..) => 0,
            Self::Known => 1,
            Self::Strangers => 2,
            Self::Values => 3,
        }
    }
}

/// The one thing that a rule counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Credential,
    Node,
    Tenant,
    Route,
}

impl Axis {
    /// Its word in the config.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Node => "node",
            Self::Tenant => "tenant",
            Self::Route => "route",
        }
    }

    /// Its number in a request, if the request has one.
    #[inline]
    pub(super) const fn of(self, subject: &Subject) -> Option<u32> {
        match self {
            Self::Credential => subject.credential,
            Self::Node => subject.node,
            Self::Tenant => subject.tenant,
            Self::Route => Some(subject.route),
        }
    }
}

impl Rule {
    pub(super) fn new(number: u32, identity: &Identity, sketch: Sketch) -> Self {
        let shape = identity.shape;
        let quota = || QuotaOf {
            name: identity.name.clone(),
            per: identity.per,
            limit: AtomicU32::new(0),
            others: Mutex::default(),
            is_shared: AtomicBool::new(false),
        };
        let home = match shape.axis() {
            Some(axis) => Home::Dense(axis, Box::new(Dense::new())),
            None if shape.header() => Home::Values,
            None if shape.strange() => Home::Strangers,
            None => Home::Known,
        };
        let quota = (identity.kind == Kind::Quota).then(quota);
        Self { number, shape, home, sketch, shared: Dense::new(), quota }
    }
}

/// One rule with its measure, ready to be decided by.
#[derive(Clone)]
pub struct CompiledRule {
    rule: Arc<Rule>,
    measure: Measure,
    price: Price,
    /// The field that is counted by.
    header: Option<HeaderName>,
    /// Bits of the address lists that free from it.
    exempt: u32,
    effect: Effect,
    refund: Refund,
    name: Name,
    window_secs: u32,
    policy: Arc<str>,
    /// The front of the member for `RateLimit`.
    left: Arc<str>,
    /// Counted by several edges together, and so not here.
    shared: Option<Arc<SharedRule>>,
}

impl CompiledRule {
    pub(super) fn new(rule: Arc<Rule>, limit: &Limit) -> Self {
        let measure = match limit.kind {
            LimitKind::Window => Measure::Window(Ceiling::new(limit.limit, limit.per)),
            LimitKind::Quota => Measure::Quota(Ceiling::new(limit.limit, limit.per)),
            LimitKind::Rate { every } => Measure::Rate(Pace::new(every, limit.limit)),
            LimitKind::Concurrency => Measure::Held(limit.limit),
        };
        if let Some(quota) = &rule.quota {
            quota.limit.store(limit.limit, Ordering::Relaxed);
            quota.is_shared.store(false, Ordering::Relaxed);
        }
        let shared = limit.shared.map(|shared| {
            let alone = Self::new(rule.clone(), &limit.alone(shared.alone));
            if let Some(quota) = &rule.quota {
                quota.is_shared.store(true, Ordering::Relaxed);
            }
            Arc::new(SharedRule::new(limit, &shared, &measure, alone))
        });
        let window_secs = super::tick::seconds_rounded_up(measure.per_nanos());
        let price = Price::of(&limit.cost);
        Self {
            policy: Arc::from(headers::policy_member(&limit.name, &measure, &price)),
            left: Arc::from(headers::limit_member(&limit.name)),
            effect: limit.effect,
            exempt: limit.exempt,
            header: limit.header.clone(),
            refund: limit.refund,
            name: limit.name.clone(),
            rule,
            measure,
            price,
            window_secs,
            shared,
        }
    }

    pub(super) fn shared(&self) -> Option<&SharedRule> {
        self.shared.as_deref()
    }

    pub(super) const fn is_refunded(&self) -> bool {
        match (self.refund, self.measure) {
            (Refund::Never, _) | (_, Measure::Held(_)) => false,
            (Refund::UpstreamFailed, Measure::Window(_) | Measure::Quota(_) | Measure::Rate(_)) => true,
        }
    }

    /// The limit's name in the config.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Most requests in any trailing window.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.measure.limit()
    }

    /// Whether several edges count it together.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether the rule only tells what it would have refused.
    #[must_use]
    pub const fn is_shadow(&self) -> bool {
        match self.effect {
            Effect::Shadow => true,
            Effect::Refuses => false,
        }
    }

    /// Whether it counts what all callers together have in flight.
    #[must_use]
    pub fn is_capacity(&self) -> bool {
        matches!(self.measure, Measure::Held(_)) && !self.rule.shape.is_of_callers()
    }

    pub(super) const fn refund(&self) -> Refund {
        self.refund
    }

    /// What a request costs here.
    #[inline]
    pub(super) fn price(&self, subject: &Subject) -> u32 {
        if self.exempt & subject.freed_by != 0 {
            return 0;
        }
        self.price.price(subject.method, subject.body)
    }

    /// Whether an admitted request may give something back.
    #[inline]
    pub(super) const fn gives_back(&self) -> bool {
        matches!(self.measure, Measure::Held(_)) || matches!(self.refund, Refund::UpstreamFailed)
    }

    /// The window, in whole seconds.
    #[must_use]
    pub const fn window_secs(&self) -> u32 {
        self.window_secs
    }

    /// The window in nanoseconds; 0 for what is held.
    #[must_use]
    pub const fn per_nanos(&self) -> u64 {
        self.measure.per_nanos()
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
    pub(super) const fn measure(&self) -> &Measure {
        &self.measure
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
    counts_bytes: bool,
    has_quotas: bool,
    header: Option<HeaderName>,
    /// What stands in, here, for rules that other edges count too; none where there are none.
    alone: Option<Box<Alone>>,
}

/// This edge's own rules in the place of shared ones, and whose place each has.
#[derive(Debug, Clone)]
struct Alone {
    rules: RuleSet,
    places: Box<[usize]>,
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
        locking.retain(|&nth| distinct[usize::from(nth)].shared.is_none());
        locking.sort_by_key(|&nth| {
            let rule = &distinct[usize::from(nth)].rule;
            (!matches!(rule.home, Home::Dense(..)), rule.number)
        });
        let counts_bytes = distinct.iter().any(|rule| matches!(rule.price, Price::Body));
        let has_quotas =
            distinct.iter().any(|rule| rule.shared.is_none() && matches!(rule.measure, Measure::Quota(_)));
        let alone = Alone::of(&distinct);
        let header = distinct.iter().find_map(|rule| rule.header.clone());
        Ok(Self {
            rules: distinct.into_boxed_slice(),
            header,
            locking: locking.into_boxed_slice(),
            counts_bytes,
            has_quotas,
            alone,
        })
    }

    /// A set of one rule that is not shared.
    pub(super) fn of_one(rule: CompiledRule) -> Self {
        let has_quotas = matches!(rule.measure, Measure::Quota(_));
        let counts_bytes = matches!(rule.price, Price::Body);
        let header = rule.header.clone();
        Self {
            rules: Box::new([rule]),
            locking: Box::new([0]),
            counts_bytes,
            has_quotas,
            header,
            alone: None,
        }
    }

    /// Whether some rules are counted by several edges together. They are not asked here.
    #[inline]
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.alone.is_some()
    }

    /// What stands in for the shared rules while nobody answers, and which positions they have.
    #[must_use]
    pub fn alone(&self) -> Option<(&Self, &[usize])> {
        self.alone.as_ref().map(|alone| (&alone.rules, &*alone.places))
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

    /// Whether something lasts.
    #[inline]
    pub(super) const fn has_quotas(&self) -> bool {
        self.has_quotas
    }

    /// The field that is counted by, if one is: the config lets the limits of a route count by one.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }

    /// Whether something adds up the bytes of bodies.
    #[inline]
    #[must_use]
    pub fn counts_bytes(&self) -> bool {
        self.counts_bytes
    }

    /// Whether something only tells what it would have refused.
    #[must_use]
    pub fn has_shadows(&self) -> bool {
        self.rules.iter().any(CompiledRule::is_shadow)
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Alone {
    fn of(rules: &[CompiledRule]) -> Option<Box<Self>> {
        if rules.iter().all(|rule| rule.shared.is_none()) {
            return None;
        }
        let stand_in = |rule: &CompiledRule| rule.shared.as_ref()?.stand_in().cloned();
        let own = rules.iter().enumerate().filter_map(|(nth, rule)| Some((nth, stand_in(rule)?)));
        let (places, rules): (Vec<usize>, Vec<CompiledRule>) = own.unzip();
        // No more than there are shared ones, none twice and none shared.
        let rules = RuleSet::new(rules).unwrap_or_default();
        Some(Box::new(Self { rules, places: places.into() }))
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
    const NODE: u8 = 16;
    const METHOD: u8 = 32;
    const NETWORK: u8 = 64;
    const HEADER: u8 = 128;

    pub(super) fn of(dimensions: &[Dimension]) -> Self {
        Self(dimensions.iter().fold(0, |bits, dimension| {
            bits | match dimension {
                Dimension::Ip => Self::IP,
                Dimension::Credential => Self::CREDENTIAL,
                Dimension::Tenant => Self::TENANT,
                Dimension::Route => Self::ROUTE,
                Dimension::Node => Self::NODE,
                Dimension::Method => Self::METHOD,
                Dimension::Network => Self::NETWORK,
                Dimension::Header => Self::HEADER,
            }
        }))
    }

    /// The one known thing that is counted by, if it is one.
    fn axis(self) -> Option<Axis> {
        match self.0 {
            Self::CREDENTIAL => Some(Axis::Credential),
            Self::NODE => Some(Axis::Node),
            Self::TENANT => Some(Axis::Tenant),
            Self::ROUTE => Some(Axis::Route),
            _ => None,
        }
    }

    pub(super) const fn header(self) -> bool {
        self.0 & Self::HEADER != 0
    }

    /// Whether clients choose what is counted apart.
    pub(super) const fn strange(self) -> bool {
        self.0 & (Self::IP | Self::NETWORK) != 0
    }

    /// Whether something is counted apart that is a caller's own.
    pub(super) const fn is_of_callers(self) -> bool {
        self.0 & !(Self::ROUTE | Self::METHOD) != 0
    }

    pub(super) const fn network(self) -> bool {
        self.0 & Self::NETWORK != 0
    }

    pub(super) const fn node(self) -> bool {
        self.0 & Self::NODE != 0
    }

    pub(super) const fn method(self) -> bool {
        self.0 & Self::METHOD != 0
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
