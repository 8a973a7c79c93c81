//! Decides on requests, and keeps every count for as long as some policy asks for it.
//!
//! A decision over several rules is all or nothing, also as other threads see it: the places of all
//! rules are locked, all are asked, then all are taken or none. Places are locked in one order (cells
//! of known callers by their rules' numbers, places of products, strangers' places, values' places, sketch shards by
//! their rules' numbers; ascending in each), so no two decisions can wait for each other. A decision allocates nothing, except where a new caller makes an entry.

use super::budgets::Budgets;
use super::decision::Decision;
use super::familiar::Familiar;
use super::key::Subject;
use super::lasting::Quotas;
use super::names::{Names, number};
use super::receipt::{self, Kept, Receipt};
use super::rule::{CompiledRule, Home, LimitsError, RuleSet};
use super::strikes::{self, Strikes};
use super::sync::Mutex;
use super::table::{Cell, Table};
use super::tick::Tick;
use crate::config::checked::Limit;
use crate::ids::{CredentialId, Name, NodeId, TenantId};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;

/// Most products of known things; what an operator can name stays far below it.
const MAX_KNOWN: usize = 1 << 20;
/// Values of fields, unless it is said.
const DEFAULT_VALUES: usize = 50_000;

/// All counts, and the numbers that stand for names in them. Outlives every policy.
pub struct Limiter {
    pub(super) quotas: Option<Quotas>,
    pub(super) known: Table,
    pub(super) strangers: Table,
    pub(super) values: Table,
    value_hasher: RandomState,
    pub(super) names: Mutex<Names>,
    strikes: Strikes,
    budgets: Budgets,
    max_addresses: usize,
}

/// How full the limiter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Counts of credentials, tenants and routes.
    pub known: usize,
    /// Exact counts of addresses.
    pub strangers: usize,
    /// Most exact counts of addresses.
    pub max_strangers: usize,
    /// Exact counts of values of fields.
    pub values: usize,
    /// Sketch shards in memory, 256 KiB each; above 0 once addresses did not fit.
    pub sketch_shards: usize,
}

impl Limiter {
    /// A limiter that counts at most `max_addresses` keys with an address exactly. A limit that counts
    /// by address makes one such key for each address, so several limits share the bound.
    #[must_use]
    pub fn new(max_addresses: usize) -> Self {
        Self {
            quotas: None,
            known: Table::new(MAX_KNOWN),
            strangers: Table::new(max_addresses),
            values: Table::new(DEFAULT_VALUES),
            value_hasher: RandomState::new(),
            names: Mutex::default(),
            strikes: Strikes::new(strikes::MOST),
            budgets: Budgets::new(),
            max_addresses,
        }
    }

    /// The same with room for so many values of fields.
    #[must_use]
    pub fn with_values(self, max_values: usize) -> Self {
        Self { values: Table::new(max_values), ..self }
    }

    /// What stands for the value of a field: all of its lines, in order. 0 where the field is not there.
    #[must_use]
    pub fn value_of<'a>(&self, lines: impl Iterator<Item = &'a [u8]>) -> u64 {
        let (mut hasher, mut is_there) = (self.value_hasher.build_hasher(), false);
        for line in lines {
            is_there = true;
            line.hash(&mut hasher);
        }
        if is_there { hasher.finish().max(1) } else { 0 }
    }

    /// Makes the rules of one route. A limit that was there before (same name, dimensions, kind and
    /// window) keeps its counts, also under another number of requests; limits named twice count once.
    ///
    /// # Errors
    /// [`LimitsError::TooMany`] for more than [`super::MAX_RULES`] different limits.
    pub fn compile<'a>(&self, limits: impl IntoIterator<Item = &'a Limit>) -> Result<RuleSet, LimitsError> {
        let mut names = self.names.lock();
        RuleSet::new(
            limits.into_iter().map(|limit| CompiledRule::new(names.rule(limit, self.max_addresses), limit)),
        )
    }

    /// The number that stands for a credential, the same in every policy.
    pub fn intern_credential(&self, id: &CredentialId) -> u32 {
        number(&mut self.names.lock().credentials, id)
    }

    /// The number that stands for a tenant, the same in every policy.
    pub fn intern_tenant(&self, id: &TenantId) -> u32 {
        number(&mut self.names.lock().tenants, id)
    }

    /// The number that stands for a tenant's node, the same in every policy.
    pub fn intern_node(&self, tenant: &TenantId, node: &NodeId) -> u32 {
        number(&mut self.names.lock().nodes, &(tenant.clone(), node.clone()))
    }

    /// The number that stands for a route, the same in every policy.
    pub fn intern_route(&self, name: &Name) -> u32 {
        number(&mut self.names.lock().routes, name)
    }

    /// From where a credential was known before; the same in every policy.
    pub fn familiar_credential(&self, number: u32) -> Arc<Familiar> {
        self.names.lock().familiar_credentials.of(number)
    }

    /// From where signers of a route were known before; the same in every policy.
    pub fn familiar_route(&self, number: u32) -> Arc<Familiar> {
        self.names.lock().familiar_routes.of(number)
    }

    /// Who misbehaves.
    #[must_use]
    pub const fn strikes(&self) -> &Strikes {
        &self.strikes
    }

    /// What prefixes hold before anyone is known.
    #[must_use]
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Drops the counts of rules that no policy names any more, and says how many. To be called some
    /// time after a reload and off the request path: it looks at every place, one at a time.
    pub fn forget_removed(&self) -> usize {
        let gone = self.names.lock().remove_dead_rules();
        if gone.is_empty() {
            return 0;
        }
        let is_gone = |rule: u32| gone.contains(&rule);
        self.known.forget(is_gone) + self.strangers.forget(is_gone) + self.values.forget(is_gone)
    }

    /// How full the limiter is. Looks at every shard: for a scrape, not for a request.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let rules: Vec<_> = self.names.lock().rules.values().filter_map(|(_, rule)| rule.upgrade()).collect();
        Occupancy {
            known: self.known.len() + rules.iter().map(|rule| rule.home.used()).sum::<usize>(),
            strangers: self.strangers.len(),
            max_strangers: self.max_addresses,
            values: self.values.len(),
            sketch_shards: rules.iter().map(|rule| rule.sketch.shards_made()).sum(),
        }
    }

    /// Decides on one request: every rule that applies to `subject` counts it, or none does. A rule by
    /// something that the subject lacks does not apply. What rules count only while the request lasts is
    /// given back at once: see [`Self::admit`].
    #[must_use]
    pub fn decide(&self, rules: &RuleSet, subject: &Subject, now: Tick) -> Decision {
        let mut items = Vec::new();
        let decision = self.decide_into(rules, subject, now, &mut items);
        for item in &items {
            receipt::release(self, item, now);
        }
        decision
    }

    /// As [`Self::decide`], with what the request may give back when it is over.
    #[must_use]
    pub fn admit(
        self: &Arc<Self>,
        rules: &RuleSet,
        subject: &Subject,
        now: Tick,
    ) -> (Decision, Option<Receipt>) {
        let mut items = Vec::new();
        let decision = self.decide_into(rules, subject, now, &mut items);
        let receipt = if items.is_empty() { None } else { Receipt::new(self.clone(), items, now) };
        (decision, receipt)
    }

    /// Hands over the cell in which something was counted, if it is still there.
    pub(super) fn with_cell(&self, rule: &CompiledRule, kept: Kept, then: impl FnOnce(&Cell)) {
        let rule = rule.rule();
        match (kept, &rule.home) {
            (Kept::Shared(number), _) => then(rule.shared.cell(number)),
            (Kept::Dense(number), Home::Dense(_, cells)) => then(cells.cell(number)),
            (Kept::Place(key), Home::Known) => self.known.with(&key, then),
            (Kept::Place(key), Home::Strangers) => self.strangers.with(&key, then),
            (Kept::Place(key), Home::Values) => self.values.with(&key, then),
            (Kept::Dense(_), Home::Known | Home::Strangers | Home::Values)
            | (Kept::Place(_), Home::Dense(..)) => {}
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("occupancy", &self.occupancy()).finish_non_exhaustive()
    }
}
