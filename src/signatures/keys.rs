//! Who may sign: the public keys that the operator registered, by tenant and node.
//!
//! Built once, from the checked config and from what other sources told, and then only read: when a source tells
//! something new, another is built that shares what has not changed. Knows nothing of messages, and tells nobody
//! which nodes it holds.

use super::multiples::{Expected, Multiples, Shared};
use crate::config::checked::{Canonical, NodeKey};
use crate::ids::{NodeId, TenantId};
use ed25519_dalek::{Signature, VerifyingKey};
use std::collections::HashMap;
use std::fmt;
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
    /// The text that it signs, where it is not the route's.
    pub canonical: Option<Canonical>,
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
#[derive(Default, Clone)]
pub struct KeyRegistry {
    tenants: HashMap<TenantId, HashMap<NodeId, Arc<Vec<Key>>>>,
    shared: Arc<Shared>,
}

impl fmt::Debug for KeyRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRegistry").field("tenants", &self.tenants).finish_non_exhaustive()
    }
}

/// Where a source stands among those that are asked while the edge runs; the config stands before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A key set at a URL.
    KeySet,
    /// A store's registry.
    Registry,
}

/// The keys of one tenant's nodes as one source told them last.
#[derive(Debug)]
pub struct FedKeys {
    tenant: TenantId,
    nodes: HashMap<NodeId, (Vec<NodeKey>, Arc<Vec<Key>>)>,
}

impl KeyRegistry {
    /// Takes the config's keys. A node that has several may sign with any of them, so that keys can
    /// be changed without a gap.
    ///
    /// # Errors
    /// [`KeysError::SmallOrder`] for a key that anyone can sign for.
    pub fn build<'a>(keys: impl IntoIterator<Item = &'a NodeKey>) -> Result<Self, KeysError> {
        let mut nodes: HashMap<(&TenantId, &NodeId), Vec<Key>> = HashMap::new();
        let mut registry = Self::default();
        for one in keys {
            if one.key.is_weak() {
                let (tenant, node) = (one.tenant.clone(), one.node.clone());
                return Err(KeysError::SmallOrder { tenant, node });
            }
            push(nodes.entry((&one.tenant, &one.node)).or_default(), one, &registry.shared);
        }
        for ((tenant, node), keys) in nodes {
            registry.tenants.entry(tenant.clone()).or_default().insert(node.clone(), Arc::new(keys));
        }
        Ok(registry)
    }

    /// What a source told of a tenant. Nodes whose keys are those of `before` keep what was made for them.
    #[must_use]
    pub fn fed(&self, tenant: &TenantId, keys: Vec<NodeKey>, before: Option<&FedKeys>) -> FedKeys {
        let mut told: HashMap<NodeId, Vec<NodeKey>> = HashMap::new();
        for key in keys.into_iter().filter(|key| key.tenant == *tenant && !key.key.is_weak()) {
            told.entry(key.node.clone()).or_default().push(key);
        }
        let nodes = told.into_iter().map(|(node, told)| {
            let known = before.and_then(|before| before.nodes.get(&node)).filter(|(known, _)| *known == told);
            let made = || {
                let mut keys = Vec::with_capacity(told.len());
                for one in &told {
                    push(&mut keys, one, &self.shared);
                }
                Arc::new(keys)
            };
            let keys = known.map_or_else(made, |(_, keys)| keys.clone());
            (node, (told, keys))
        });
        FedKeys { tenant: tenant.clone(), nodes: nodes.collect() }
    }

    /// These keys and those that sources told. A node has the keys of the first that has any for it: of this one,
    /// then of the sources in their order. So nobody can add a key to a node that an earlier source speaks for.
    #[must_use]
    pub fn with(&self, fed: &[Arc<FedKeys>]) -> Self {
        let mut all = self.clone();
        for FedKeys { tenant, nodes } in fed.iter().map(Arc::as_ref) {
            let own = all.tenants.entry(tenant.clone()).or_default();
            for (node, (_, keys)) in nodes {
                own.entry(node.clone()).or_insert_with(|| keys.clone());
            }
        }
        all
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
        self.tenants.values().flat_map(HashMap::values).map(|keys| keys.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }
}

/// Adds a key to its node's, unless it is there.
fn push(keys: &mut Vec<Key>, one: &NodeKey, shared: &Arc<Shared>) {
    if keys.iter().any(|known| known.key == one.key) {
        return;
    }
    let NodeKey { id, key, not_before, not_after, canonical, .. } = one;
    let multiples = Multiples::of(shared);
    keys.push(Key {
        id: id.clone(),
        key: *key,
        not_before: *not_before,
        not_after: *not_after,
        canonical: *canonical,
        multiples,
    });
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
    fn a_node_has_the_keys_of_the_first_source_that_speaks_for_it() {
        let (acme, globex) = (TenantId::parse("acme").unwrap(), TenantId::parse("globex").unwrap());
        let fixed = KeyRegistry::build(&[key("acme", "ceo", 1)]).unwrap();
        let told = vec![key("acme", "ceo", 2), key("acme", "cto", 3), key("globex", "cto", 4)];
        let first = Arc::new(fixed.fed(&acme, told, None));
        let second = Arc::new(fixed.fed(&acme, vec![key("acme", "cto", 5), key("acme", "coo", 6)], None));
        let all = fixed.with(&[first.clone(), second.clone()]);
        let has = |node: &str, seed: u8| {
            let keys = all.find(&acme, node).unwrap().1;
            keys.len() == 1 && keys[0].key == key("acme", node, seed).key
        };
        assert!(has("ceo", 1) && has("cto", 3) && has("coo", 6));
        // What a source says of another tenant is nobody's.
        assert!(all.find(&globex, "cto").is_none());
        assert!(fixed.with(&[second]).find(&acme, "cto").is_some());
        // What has not changed is not made anew.
        let again = fixed.fed(&acme, vec![key("acme", "cto", 3), key("acme", "ceo", 9)], Some(&first));
        let made = |keys: &FedKeys, node: &str| keys.nodes[&NodeId::parse(node).unwrap()].1.clone();
        assert!(Arc::ptr_eq(&made(&first, "cto"), &made(&again, "cto")));
        assert!(!Arc::ptr_eq(&made(&first, "ceo"), &made(&again, "ceo")));
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
