//! What the operator lets tenants keep, and for how long. Knows no engine and no HTTP.

use super::model::{Bounds, Content, Expiry};
use crate::ids::TenantId;
use std::collections::HashMap;
use std::time::Duration;

/// Longest list that a request without `limit` gets in one answer.
const USUAL_LIST: u32 = 10_000;

/// How long the feed goes back.
const USUAL_FEED: Duration = Duration::from_hours(24 * 30);

/// Longest scope and longest key, in bytes.
const USUAL_KEY: usize = 4096;

/// Longest value, in bytes.
const USUAL_VALUE: usize = 8 * 1024 * 1024;

/// The store's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Versions of the past kept of each row.
    pub history: i64,
    /// How long the feed goes back.
    pub feed: Duration,
    /// Time to live of rows that do not say, by scope; of several that fit the longest pattern counts.
    pub ttl: Vec<ScopeTtl>,
    /// Longest list without `limit`.
    pub list_cap: u32,
    /// Longest scope and longest key, in bytes.
    pub max_key: usize,
    /// Longest value, in bytes.
    pub max_value: usize,
    /// What holds for tenants without rules of their own.
    pub usual: TenantRules,
    /// Rules of single tenants.
    pub tenants: HashMap<TenantId, TenantRules>,
}

/// What holds for one tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantRules {
    /// Most rows.
    pub max_rows: Option<i64>,
    /// Most bytes of live rows.
    pub max_bytes: Option<i64>,
    /// Whether writes must say what they have read.
    pub require_match: bool,
    /// Whether texts that look like secrets are refused.
    pub secret_guard: bool,
}

/// A time to live for rows of some scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeTtl {
    /// A scope, or its beginning and `*`.
    pub pattern: String,
    /// Seconds.
    pub seconds: i64,
}

impl ScopeTtl {
    fn fits(&self, scope: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(start) => scope.starts_with(start),
            None => scope == self.pattern,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            history: Bounds::default().history,
            feed: USUAL_FEED,
            ttl: Vec::new(),
            list_cap: USUAL_LIST,
            max_key: USUAL_KEY,
            max_value: USUAL_VALUE,
            usual: TenantRules::default(),
            tenants: HashMap::new(),
        }
    }
}

impl Policy {
    /// What holds for a tenant.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> TenantRules {
        self.tenants.get(tenant).copied().unwrap_or(self.usual)
    }

    /// What a tenant may keep.
    #[must_use]
    pub fn bounds(&self, tenant: &TenantId) -> Bounds {
        let rules = self.of(tenant);
        Bounds { rows: rules.max_rows, bytes: rules.max_bytes, history: self.history }
    }

    /// When a row ends whose writer did not say.
    #[must_use]
    pub fn expiry(&self, content: &Content) -> Expiry {
        let Content::Memory(memory) = content else { return Expiry::Never };
        let fits = self.ttl.iter().filter(|ttl| ttl.fits(&memory.scope));
        fits.max_by_key(|ttl| ttl.pattern.len()).map_or(Expiry::Never, |ttl| Expiry::After(ttl.seconds))
    }

    /// Whether scope, key and value are no longer than may be.
    #[must_use]
    pub fn fits(&self, content: &Content) -> bool {
        match content {
            Content::Memory(memory) => {
                memory.scope.len() <= self.max_key
                    && memory.key.len() <= self.max_key
                    && memory.value.as_str().len() <= self.max_value
            }
            Content::Skill(skill) => {
                let text =
                    |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= self.max_value);
                skill.name.len() <= self.max_key && text(&skill.content) && text(&skill.path)
            }
            // A node's name and the number of its keys have bounds of their own.
            Content::Keys(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{memory, skill};

    #[test]
    fn of_several_patterns_the_longest_that_fits_says_how_long_a_row_lives() {
        let ttl = |pattern: &str, seconds| ScopeTtl { pattern: pattern.into(), seconds };
        let policy = Policy {
            ttl: vec![ttl("*", 9), ttl("user:*", 5), ttl("user:bob", 3), ttl("node", 7)],
            ..Policy::default()
        };
        let of = |scope: &str| policy.expiry(&Content::Memory(memory(scope, "k", "1")));
        assert_eq!(of("mesh"), Expiry::After(9));
        assert_eq!(of("user:alice"), Expiry::After(5));
        assert_eq!(of("user:bob"), Expiry::After(3));
        assert_eq!(of("node"), Expiry::After(7));
        assert_eq!(policy.expiry(&Content::Skill(skill("s", "x"))), Expiry::Never);
        assert_eq!(Policy::default().expiry(&Content::Memory(memory("mesh", "k", "1"))), Expiry::Never);
    }

    #[test]
    fn what_is_too_long_does_not_fit() {
        let policy = Policy { max_key: 4, max_value: 6, ..Policy::default() };
        let memory =
            |scope: &str, key: &str, value: &str| policy.fits(&Content::Memory(memory(scope, key, value)));
        assert!(memory("mesh", "keys", "123456"));
        assert!(
            !memory("mesh5", "k", "1") && !memory("mesh", "keys5", "1") && !memory("mesh", "k", "1234567")
        );
        assert!(policy.fits(&Content::Skill(skill("s", "123456"))));
        assert!(!policy.fits(&Content::Skill(skill("s", "1234567"))));
    }
}
