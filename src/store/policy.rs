//! What the operator lets tenants keep, and for how long. Knows no engine and no HTTP.

use super::guard::{Guard, Pattern};
use super::json::Json;
use super::model::{Bounds, Content, Expiry, Kind, Upkeep};
use super::transfer::Dossier;
use crate::config::checked_store::{StoreRules, TenantRules};
use crate::ids::TenantId;
use std::time::Duration;

/// Longest list that a request without `limit` gets in one answer.
const USUAL_LIST: u32 = 10_000;

/// Bytes that a signed message may have beyond the longest value.
const MORE_OF_PROOF: usize = 64 * 1024;

/// Most rows, versions and entries that upkeep takes away in one transaction: the writer is held for some
/// milliseconds, whatever there is to do.
const MOST_SWEPT: u32 = 200;

/// The store's rules, ready to be asked.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What the operator wrote.
    pub rules: StoreRules,
    /// Longest list without `limit`.
    pub list_cap: u32,
    pub(crate) guard: Guard,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(StoreRules::default())
    }
}

/// Why something is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A scope, key or value is longer than may be.
    TooLong,
    /// It looks like a secret.
    Secret(Pattern),
}

impl Policy {
    /// These rules.
    #[must_use]
    pub fn new(rules: StoreRules) -> Self {
        Self { rules, list_cap: USUAL_LIST, guard: Guard::default() }
    }

    /// What holds for a tenant.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> &TenantRules {
        self.rules.tenants.get(tenant).unwrap_or(&self.rules.usual)
    }

    /// What a tenant may keep.
    #[must_use]
    pub fn bounds(&self, tenant: &TenantId) -> Bounds {
        let rules = self.of(tenant);
        Bounds { rows: rules.max_rows, bytes: rules.max_bytes, history: self.rules.history }
    }

    /// When a row ends whose writer did not say.
    #[must_use]
    pub fn expiry(&self, tenant: &TenantId, content: &Content) -> Expiry {
        let Content::Memory(memory) = content else { return Expiry::Never };
        let fits = self.of(tenant).ttl.iter().find(|ttl| ttl.fits(&memory.scope));
        fits.and_then(|ttl| ttl.seconds).map_or(Expiry::Never, Expiry::After)
    }

    /// Whether this may be kept: short enough, and no secret where the tenant has those refused.
    ///
    /// # Errors
    /// [`Unfit`].
    pub(crate) fn check(
        &self,
        tenant: &TenantId,
        content: &Content,
        proof: Option<&Json>,
    ) -> Result<(), Unfit> {
        let rules = self.of(tenant);
        // A message says what the row does, and a little more.
        let fits_proof = proof.is_none_or(|proof| proof.as_str().len() <= rules.max_value + MORE_OF_PROOF);
        if !fits(rules, content) || !fits_proof {
            return Err(Unfit::TooLong);
        }
        let in_content = self.guard.look(rules.secret_guard, content);
        let in_proof = || proof.and_then(|proof| self.guard.look_at(rules.secret_guard, proof.as_str()));
        in_content.or_else(in_proof).map_or(Ok(()), |found| Err(Unfit::Secret(found)))
    }

    /// The pattern of a secret that this fits, where the tenant has those refused.
    pub(crate) fn secret_in(&self, tenant: &TenantId, content: &Content) -> Option<Pattern> {
        self.guard.look(self.of(tenant).secret_guard, content)
    }

    /// The same for everything that is kept of a row, its past too.
    #[must_use]
    pub fn secret_kept(&self, tenant: &TenantId, dossier: &Dossier) -> Option<&'static str> {
        let guard = self.of(tenant).secret_guard;
        let texts = dossier.versions.iter().flat_map(|one| [&one.value, &one.path, &one.node, &one.proof]);
        let texts = texts.flatten().chain([&dossier.scope, &dossier.name]);
        // Public keys are registered; a private one would not be read as one.
        let mut texts = texts.filter(|_| dossier.kind != Kind::Key.as_str());
        texts.find_map(|text| self.guard.look_at(guard, text))
    }

    /// What upkeep leaves at a Unix second.
    #[must_use]
    pub(crate) fn upkeep(&self, now: i64) -> Upkeep {
        let before = |span: Duration| now.saturating_sub(i64::try_from(span.as_secs()).unwrap_or(i64::MAX));
        Upkeep {
            feed_from: before(self.rules.feed_for),
            feed_entries: self.rules.feed_entries,
            history: self.rules.history,
            history_from: self.rules.history_for.map(before),
            tombstones_from: self.rules.tombstones_for.map(before),
            tombstones: self.rules.tombstones,
            most: MOST_SWEPT,
        }
    }
}

fn fits(rules: &TenantRules, content: &Content) -> bool {
    match content {
        Content::Memory(memory) => {
            memory.scope.len() <= rules.max_key
                && memory.key.len() <= rules.max_key
                && memory.value.as_str().len() <= rules.max_value
        }
        Content::Skill(skill) => {
            let text = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= rules.max_value);
            skill.name.len() <= rules.max_key && text(&skill.content) && text(&skill.path)
        }
        // A node's name and the number of its keys have bounds of their own.
        Content::Keys(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked_store::{ScopeTtl, SecretGuard, narrowest_first};
    use crate::store::testing::{memory, skill, tenant};

    fn usual(rules: TenantRules) -> Policy {
        Policy::new(StoreRules { usual: rules, ..StoreRules::default() })
    }

    #[test]
    fn of_several_patterns_the_narrowest_that_fits_says_how_long_a_row_lives() {
        let ttl = |pattern: &str, seconds| ScopeTtl { pattern: pattern.into(), seconds };
        let list =
            vec![ttl("*", Some(9)), ttl("user:*", Some(5)), ttl("user:bob", None), ttl("user:bob*", Some(3))];
        let policy = usual(TenantRules { ttl: narrowest_first(list), ..TenantRules::default() });
        let acme = tenant("acme");
        let of = |scope: &str| policy.expiry(&acme, &Content::Memory(memory(scope, "k", "1")));
        assert_eq!(of("mesh"), Expiry::After(9));
        assert_eq!(of("user:alice"), Expiry::After(5));
        assert_eq!(of("user:bob"), Expiry::Never);
        assert_eq!(of("user:bobby"), Expiry::After(3));
        assert_eq!(policy.expiry(&acme, &Content::Skill(skill("s", "x"))), Expiry::Never);
        let memory = Content::Memory(memory("mesh", "k", "1"));
        assert_eq!(Policy::default().expiry(&acme, &memory), Expiry::Never);
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let policy = usual(TenantRules { max_key: 4, max_value: 6, ..TenantRules::default() });
        let acme = tenant("acme");
        let memory = |scope: &str, key: &str, value: &str| {
            policy.check(&acme, &Content::Memory(memory(scope, key, value)), None)
        };
        assert_eq!(memory("mesh", "keys", "123456"), Ok(()));
        for (scope, key, value) in [("mesh5", "k", "1"), ("mesh", "keys5", "1"), ("mesh", "k", "1234567")] {
            assert_eq!(memory(scope, key, value), Err(Unfit::TooLong));
        }
        assert_eq!(policy.check(&acme, &Content::Skill(skill("s", "123456")), None), Ok(()));
        assert_eq!(policy.check(&acme, &Content::Skill(skill("s", "1234567")), None), Err(Unfit::TooLong));
    }

    #[test]
    fn a_tenants_own_rules_hold_for_it_alone() {
        let own = TenantRules { max_rows: Some(3), secret_guard: SecretGuard::On, ..TenantRules::default() };
        let rules = StoreRules { tenants: [(tenant("acme"), own)].into(), ..StoreRules::default() };
        let policy = Policy::new(rules);
        assert_eq!(policy.bounds(&tenant("acme")).rows, Some(3));
        assert_eq!(policy.bounds(&tenant("globex")).rows, None);
        let key = Content::Memory(memory("mesh", "k", "\"-----BEGIN PRIVATE KEY-----\""));
        assert!(matches!(policy.check(&tenant("acme"), &key, None), Err(Unfit::Secret(_))));
        assert_eq!(policy.check(&tenant("globex"), &key, None), Ok(()));
        let harmless = Content::Memory(memory("mesh", "k", "1"));
        let proof = Json::parse("{\"more\":\"-----BEGIN PRIVATE KEY-----\"}");
        assert!(matches!(policy.check(&tenant("acme"), &harmless, proof.as_ref()), Err(Unfit::Secret(_))));
    }
}
