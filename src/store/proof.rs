//! The signed message that a row came with, checked again: whether its signature holds under a key that the
//! store's registry has for the node now.
//!
//! A key counts when it counted at the second at which the store wrote the row: a key that has since gone out of
//! use proves what was signed with it, and one that was taken out of the registry proves nothing.

use super::access::Access;
use super::error::StoreError;
use super::http::App;
use super::json::{Json, write_string};
use super::model::Row;
use crate::config::checked::{Canonical, Envelope, MeshRules, Mode, NodeKey, OnFailure};
use crate::ids::{NodeId, TenantId};
use crate::signatures::{Context, KeyRegistry, Reason, Scratch, verify};
use std::collections::HashMap;
use std::sync::Arc;

/// What is found when a signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It holds, under this key.
    Valid(Arc<str>),
    /// It does not.
    Invalid,
    /// There is no key of the node's that counts.
    KeyUnknown,
}

/// Checks messages of one tenant's rows, and remembers the keys of the nodes that it has met.
pub(super) struct Prover<'a> {
    app: &'a App,
    access: &'a Access,
    nodes: HashMap<String, KeyRegistry>,
    scratch: Scratch,
}

impl<'a> Prover<'a> {
    pub(super) fn new(app: &'a App, access: &'a Access) -> Self {
        Self { app, access, nodes: HashMap::new(), scratch: Scratch::default() }
    }

    /// What a row's `proof` says: the message that it came with and how that stands, or `null`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn tell(&mut self, row: &Row) -> Result<Vec<u8>, StoreError> {
        let Some(message) = &row.proof else { return Ok(b"null".to_vec()) };
        let node = row.content.node();
        if !self.nodes.contains_key(node) {
            let keys = match NodeId::parse(node) {
                Ok(node) => self.app.store.keys_of(self.access, &node).await?,
                // No key can be registered under such a name.
                Err(_) => Vec::new(),
            };
            self.nodes.insert(node.to_owned(), registry(&keys));
        }
        let nobody = KeyRegistry::default();
        let keys = self.nodes.get(node).unwrap_or(&nobody);
        let standing = standing(message, self.access.tenant(), keys, row.stamp.updated_at, &mut self.scratch);
        Ok(told(&standing, node, message))
    }
}

/// What is registered was checked when it was; a key that fails now is none.
fn registry(keys: &[NodeKey]) -> KeyRegistry {
    KeyRegistry::build(keys).unwrap_or_default()
}

fn standing(
    message: &Json,
    tenant: &TenantId,
    keys: &KeyRegistry,
    written: i64,
    scratch: &mut Scratch,
) -> Standing {
    let mut found = Standing::Invalid;
    // Both texts that a route may take for the signed one: who kept the message does not say which it was.
    for canonical in [Canonical::Mesh, Canonical::Jcs] {
        let policy = MeshRules {
            mode: Mode::Required,
            on_failure: OnFailure::Reject,
            envelope: Envelope::None,
            freshness: None,
            canonical,
        };
        #[allow(clippy::cast_precision_loss, reason = "seconds of this age of the world fit into a double")]
        let now_unix = written as f64;
        let context = Context { policy: &policy, tenant, keys, query: None, now_unix, taken: None };
        match verify(message.as_str().as_bytes(), &context, scratch) {
            Ok(verified) => match verified.key_ids.into_iter().next() {
                Some(id) => return Standing::Valid(id),
                None => found = Standing::Invalid,
            },
            Err(failure) => {
                found = match failure.reason {
                    Reason::KeyUnknown => Standing::KeyUnknown,
                    Reason::SignatureMissing
                    | Reason::SignatureInvalid
                    | Reason::Stale
                    | Reason::Replayed
                    | Reason::Malformed
                    | Reason::TooMany => Standing::Invalid,
                };
            }
        }
    }
    found
}

fn told(standing: &Standing, node: &str, message: &Json) -> Vec<u8> {
    let mut out = b"{\"status\":".to_vec();
    match standing {
        Standing::Valid(id) => {
            out.extend_from_slice(b"\"valid\",\"key_id\":");
            write_string(&mut out, id);
        }
        Standing::Invalid => out.extend_from_slice(b"\"invalid\",\"key_id\":null"),
        Standing::KeyUnknown => out.extend_from_slice(b"\"key_unknown\",\"key_id\":null"),
    }
    out.extend_from_slice(b",\"node\":");
    write_string(&mut out, node);
    out.extend_from_slice(b",\"message\":");
    out.extend_from_slice(message.as_str().as_bytes());
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::tenant;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ed25519_dalek::{Signer as _, SigningKey};

    const TEXT: &str = r#"{"key":"k","nodeId":"ceo","scope":"m","ts":1,"type":"memory","value":1}"#;

    fn signed(seed: u8) -> Json {
        let signature = SigningKey::from_bytes(&[seed; 32]).sign(TEXT.as_bytes()).to_bytes();
        let sig = STANDARD.encode(signature);
        Json::parse(&TEXT.replacen('{', &format!("{{\"sig\":\"{sig}\", "), 1)).unwrap()
    }

    fn key(seed: u8) -> NodeKey {
        let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        NodeKey::of(tenant("acme"), NodeId::parse("ceo").unwrap(), key)
    }

    fn look(message: &Json, keys: &[NodeKey], written: i64) -> Standing {
        standing(message, &tenant("acme"), &registry(keys), written, &mut Scratch::default())
    }

    #[test]
    fn a_signature_holds_under_its_own_key_as_it_was_when_the_row_was_written() {
        let own = key(1);
        let id = own.id.clone();
        assert_eq!(look(&signed(1), &[key(2), own], 100), Standing::Valid(id.clone()));
        assert_eq!(look(&signed(1), &[key(2)], 100), Standing::Invalid);
        assert_eq!(look(&signed(1), &[], 100), Standing::KeyUnknown);
        let past = NodeKey { not_after: Some(100), ..key(1) };
        assert_eq!(look(&signed(1), std::slice::from_ref(&past), 99), Standing::Valid(id));
        assert_eq!(look(&signed(1), &[past], 100), Standing::KeyUnknown);
    }

    #[test]
    fn a_message_that_was_changed_or_can_be_read_twice_proves_nothing() {
        let changed = signed(1).as_str().replace("\"value\":1", "\"value\":2");
        assert_eq!(look(&Json::parse(&changed).unwrap(), &[key(1)], 1), Standing::Invalid);
        let twice = signed(1).as_str().replace("\"value\":1", "\"value\":1,\"more\":1,\"more\":1");
        assert_eq!(look(&Json::parse(&twice).unwrap(), &[key(1)], 1), Standing::Invalid);
        assert_eq!(look(&Json::parse(TEXT).unwrap(), &[key(1)], 1), Standing::Invalid);
    }
}
