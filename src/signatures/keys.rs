//! Who may sign: the public keys that the operator registered, by tenant and node.
//!
//! Built once from the checked config and then only read. Knows nothing of messages, and tells nobody
//! which nodes it holds.

use super::multiples::{Expected, Multiples, Shared};
use crate::config::checked::NodeKey;
use crate::ids::{NodeId, TenantId};
use ed25519_dalek::{Signature, VerifyingKey};
use std::collections::HashMap;
use std::sync::Arc;

/// Why a registry cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// A key of small order: signatures that hold for any message can be made for it without a secret.
    #[error("the public key of node {node} of tenant {tenant} is of small order; make a new one")]
    SmallOrder {
        /// Whose node.
        tenant: TenantId,
        /// The node.
        node: NodeId,
    },
}

/// A key of a node.
#[derive(Debug)]
pub struct Key {
    /// Its name, as a message's `kid` has it.
    pub id: Arc<str>,
    /// The key.
    pub key: VerifyingKey,
    /// First second (Unix) at which it counts.
    not_before: Option<u64>,
    /// First second (Unix) at which it no longer counts.
    not_after: Option<u64>,
    multiples: Multiples,
}

impl Key {
    /// Whether a signature over a text holds, by the strict rules: no key or point of small order, S in its range.
    #[must_use]
    pub fn holds(&self, text: &[u8], sig: &Signature) -> bool {
        self.multiples.hold(&self.key, text, sig)
    }

    /// The point that a signature's `R` must be, for [`are_they`](super::multiples::are_they).
    pub(super) fn expected(&self, text: &[u8], sig: &Signature) -> Expected {
        self.multiples.expected(&self.key, text, sig)
    }

    /// Whether it counts at a moment (Unix seconds), for a message that names this key or none.
    #[must_use]
    pub fn counts(&self, kid: Option<&str>, now_unix: f64) -> bool {
        kid.is_none_or(|kid| *self.id == *kid)
            && self.not_before.is_none_or(|begin| now_unix >= seconds(begin))
            && self.not_after.is_none_or(|end| now_unix < seconds(end))
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds of this age of the world fit into a double")]
fn seconds(unix: u64) -> f64 {
    unix as f64
}

/// Public keys by tenant and node.
#[derive(Debug, Default)]
pub struct KeyRegistry {
    tenants: HashMap<TenantId, HashMap<NodeId, Vec<Key>>>,
}

impl KeyRegistry {
    /// Takes the config's keys. A node that has several may sign with any of them, so that keys can
    /// be changed without a gap.
    ///
    /// # Errors
    /// [`KeysError::SmallOrder`] for a key that anyone can sign for.
    pub fn build<'a>(keys: impl IntoIterator<Item = &'a NodeKey>) -> Result<Self, KeysError> {
        let mut registry = Self::default();
        let shared = Arc::new(Shared::default());
        for NodeKey { tenant, node, key, id, not_before, not_after } in keys {
            if key.is_weak() {
                return Err(KeysError::SmallOrder { tenant: tenant.clone(), node: node.clone() });
            }
            let nodes = registry.tenants.entry(tenant.clone()).or_default();
            let keys = nodes.entry(node.clone()).or_default();
            if !keys.iter().any(|known| known.key == *key) {
                let (not_before, not_after) = (*not_before, *not_after);
                let multiples = Multiples::of(&shared);
                keys.push(Key { id: id.clone(), key: *key, not_before, not_after, multiples });
            }
        }
        Ok(registry)
    }

    /// The keys of a tenant's node, and the name under which they are registered.
    #[must_use]
    pub fn find(&self, tenant: &TenantId, node: &str) -> Option<(&NodeId, &[Key])> {
        let (node, keys) = self.tenants.get(tenant)?.get_key_value(node)?;
        Some((node, keys))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tenants.values().flat_map(HashMap::values).map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn key(tenant: &str, node: &str, seed: u8) -> NodeKey {
        let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        NodeKey::of(TenantId::parse(tenant).unwrap(), NodeId::parse(node).unwrap(), key)
    }

    #[test]
    fn a_node_is_found_in_its_own_tenant_alone() {
        let registry = KeyRegistry::build(&[key("acme", "ceo", 1), key("globex", "sec", 2)]).unwrap();
        let acme = TenantId::parse("acme").unwrap();
        assert_eq!(registry.find(&acme, "ceo").unwrap().1[0].key, key("acme", "ceo", 1).key);
        assert!(registry.find(&acme, "sec").is_none());
        assert!(registry.find(&acme, "").is_none());
        assert_eq!(registry.len(), 2);
    }

    #[test]
    fn a_node_may_have_an_old_key_and_a_new_one() {
        let keys = [key("acme", "ceo", 1), key("acme", "ceo", 2), key("acme", "ceo", 1)];
        let registry = KeyRegistry::build(&keys).unwrap();
        let acme = TenantId::parse("acme").unwrap();
        assert_eq!(registry.find(&acme, "ceo").unwrap().1.len(), 2);
    }

    #[test]
    fn a_key_that_anyone_can_sign_for_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut weak = key("acme", "ceo", 1);
        weak.key = VerifyingKey::from_bytes(&identity).unwrap();
        let error = KeyRegistry::build(&[weak]).unwrap_err();
        assert!(error.to_string().contains("small order"), "{error}");
    }

    #[test]
    fn a_key_counts_by_its_name_and_in_its_time() {
        let mut one = key("acme", "ceo", 1);
        (one.not_before, one.not_after) = (Some(100), Some(200));
        let registry = KeyRegistry::build(&[one]).unwrap();
        let acme = TenantId::parse("acme").unwrap();
        let key = &registry.find(&acme, "ceo").unwrap().1[0];
        let at = |now| key.counts(None, now);
        assert!(!at(99.9) && at(100.0) && at(199.9) && !at(200.0));
        let id = key.id.clone();
        assert!(key.counts(Some(&id), 150.0) && !key.counts(Some("another"), 150.0));
    }
}
