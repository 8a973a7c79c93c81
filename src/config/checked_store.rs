//! The `rules` of a mesh store as they are meant.

pub use super::raw_store::SecretGuard;

use crate::ids::TenantId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Versions of the past kept of each row, unless the operator says another number.
const USUAL_HISTORY: i64 = 50;

/// How far back the feed goes.
const USUAL_FEED: Duration = Duration::from_hours(24 * 30);

/// How often the store is swept.
const USUAL_ROUND: Duration = Duration::from_mins(1);

/// Longest scope and longest key, in bytes.
const USUAL_KEY: usize = 4096;

/// Longest value, in bytes: no longer than a body may be.
pub(crate) const MOST_VALUE: usize = 8 * 1024 * 1024;

/// What tenants may keep, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRules {
    /// Versions of the past kept of each row.
    pub history: i64,
    /// How long a version of the past is kept after it ended.
    pub history_for: Option<Duration>,
    /// How long it is remembered that a row went.
    pub tombstones_for: Option<Duration>,
    /// Of how many rows of a tenant.
    pub tombstones: Option<i64>,
    /// How far back the feed goes.
    pub feed_for: Duration,
    /// Most entries of a tenant's feed.
    pub feed_entries: Option<i64>,
    /// Time between two sweeps.
    pub sweep_every: Duration,
    /// What holds for tenants without rules of their own.
    pub usual: TenantRules,
    /// Rules of single tenants.
    pub tenants: BTreeMap<TenantId, TenantRules>,
}

/// What holds for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRules {
    /// Longest scope, key and name, in bytes.
    pub max_key: usize,
    /// Longest value, in bytes.
    pub max_value: usize,
    /// Most rows.
    pub max_rows: Option<i64>,
    /// Most bytes of live rows.
    pub max_bytes: Option<i64>,
    /// Whether writes must say what they have read.
    pub require_match: bool,
    /// Which texts are taken for secrets.
    pub secret_guard: SecretGuard,
    /// Time to live of memories that do not say; the first that fits counts.
    pub ttl: Vec<ScopeTtl>,
}

/// A time to live for memories of some scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeTtl {
    /// A scope, or its beginning and `*`.
    pub pattern: String,
    /// Whole seconds; none where they live for ever.
    pub seconds: Option<i64>,
}

impl ScopeTtl {
    /// Whether it is for this scope.
    #[must_use]
    pub fn fits(&self, scope: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(start) => scope.starts_with(start),
            None => scope == self.pattern,
        }
    }
}

/// The same list with the narrower pattern before the wider: whole scopes, then by length.
#[must_use]
pub fn narrowest_first(mut ttl: Vec<ScopeTtl>) -> Vec<ScopeTtl> {
    ttl.sort_by_key(|one| (one.pattern.ends_with('*'), std::cmp::Reverse(one.pattern.len())));
    ttl
}

impl Default for StoreRules {
    fn default() -> Self {
        Self {
            history: USUAL_HISTORY,
            history_for: None,
            tombstones_for: None,
            tombstones: None,
            feed_for: USUAL_FEED,
            feed_entries: None,
            sweep_every: USUAL_ROUND,
            usual: TenantRules::default(),
            tenants: BTreeMap::new(),
        }
    }
}

impl Default for TenantRules {
    fn default() -> Self {
        Self {
            max_key: USUAL_KEY,
            max_value: MOST_VALUE,
            max_rows: None,
            max_bytes: None,
            require_match: false,
            secret_guard: SecretGuard::Off,
            ttl: Vec::new(),
        }
    }
}
