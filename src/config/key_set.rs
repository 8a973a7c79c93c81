//! A key set (RFC 7517), as far as it concerns Ed25519 (RFC 8037): the same from a file and from a URL.
//!
//! Keys of other kinds are left out; a key of ours that is wrong makes the whole set wrong, so that what was
//! known before stays. Serde's own sentences are never told, as they may quote what stands there.

use super::checked::NodeKey;
use super::public_key::{self, KeyError};
use super::raw::Canonical;
use super::{is_key_id, thumbprint};
use crate::ids::{NodeId, TenantId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Most keys of one set.
pub const MOST_KEYS: usize = 10_000;

/// Why a text is no key set of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// No JSON, or no set.
    #[error("this is no key set")]
    Form,
    /// Too many.
    #[error("more than {MOST_KEYS} keys are in this set")]
    TooMany,
    /// One of its keys is wrong.
    #[error("key {at} of the set {why}")]
    Key {
        /// Its place, from 0.
        at: usize,
        /// What is wrong.
        why: JwkError,
    },
}

/// What is wrong with a key of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// No `x`.
    #[error("has no `x` of 32 bytes")]
    Bytes,
    /// An `x` that is no key, or one that nobody should trust.
    #[error("cannot be used: {0}")]
    Unusable(#[from] KeyError),
    /// No node.
    #[error("names no node, in `node` or `kid`")]
    Node,
    /// A `kid` that is too long or cannot be sent.
    #[error("has a `kid` that is too long or no plain text")]
    Id,
    /// The same node has this key or a key of this name already.
    #[error("is there twice, or another key of its node has its name")]
    Twice,
}

/// What a set holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// In the set's order.
    pub keys: Vec<NodeKey>,
    /// Places of keys that are not Ed25519.
    pub others: Vec<usize>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    kid: Option<String>,
    node: Option<String>,
    nbf: Option<u64>,
    exp: Option<u64>,
    canonical: Option<Canonical>,
}

/// Reads a set of a tenant's keys. `canonical` is what keys sign that do not say.
///
/// # Errors
/// [`KeySetError`].
pub fn read(tenant: &TenantId, text: &str, canonical: Option<Canonical>) -> Result<KeySet, KeySetError> {
    let set: Set = serde_json::from_str(text).map_err(|_| KeySetError::Form)?;
    if set.keys.len() > MOST_KEYS {
        return Err(KeySetError::TooMany);
    }
    let mut found = KeySet { keys: Vec::with_capacity(set.keys.len()), others: Vec::new() };
    let mut names = std::collections::HashSet::new();
    for (at, jwk) in set.keys.iter().enumerate() {
        if jwk.kty != "OKP" || jwk.crv.as_deref() != Some("Ed25519") {
            found.others.push(at);
            continue;
        }
        let mut key = jwk.key(tenant).map_err(|why| KeySetError::Key { at, why })?;
        key.canonical = jwk.canonical.or(canonical);
        let is_new = names.insert((key.node.clone(), key.id.to_string()))
            && names.insert((key.node.clone(), format!(",{}", public_key::write(&key.key))));
        if !is_new {
            return Err(KeySetError::Key { at, why: JwkError::Twice });
        }
        found.keys.push(key);
    }
    Ok(found)
}

impl Jwk {
    /// The node is `node`, else what stands before `@` in `kid`, else the whole `kid`.
    fn key(&self, tenant: &TenantId) -> Result<NodeKey, JwkError> {
        let bytes = self.x.as_deref().and_then(|x| URL_SAFE_NO_PAD.decode(x).ok());
        let bytes: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(JwkError::Bytes)?;
        let key = public_key::from_bytes(&bytes)?;
        let kid = self.kid.as_deref();
        let before_at = kid.map(|kid| kid.split_once('@').map_or(kid, |(node, _)| node));
        let node = self.node.as_deref().or(before_at);
        let node = node.and_then(|node| NodeId::parse(node).ok()).ok_or(JwkError::Node)?;
        let id = kid.map_or_else(|| thumbprint(&key), str::to_owned);
        if !is_key_id(&id) {
            return Err(JwkError::Id);
        }
        let (not_before, not_after) = (self.nbf, self.exp);
        Ok(NodeKey { id: id.into(), not_before, not_after, ..NodeKey::of(tenant.clone(), node, key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn of(keys: &str) -> Result<KeySet, KeySetError> {
        read(&TenantId::parse("acme").unwrap(), &format!("{{\"keys\":[{keys}]}}"), Some(Canonical::Mesh))
    }

    #[test]
    fn a_set_names_nodes_keys_their_time_and_what_they_sign() {
        let set = of(&format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"ceo@7","nbf":5,"exp":9}},
               {{"kty":"RSA","n":"AQ"}},
               {{"kty":"OKP","crv":"Ed25519","x":"{X}","node":"cto","canonical":"jcs"}}"#
        ))
        .unwrap();
        assert_eq!(set.others, [1]);
        let [ceo, cto] = set.keys.as_slice() else { panic!("{set:?}") };
        assert_eq!(
            (ceo.node.as_str(), &*ceo.id, ceo.not_before, ceo.not_after),
            ("ceo", "ceo@7", Some(5), Some(9))
        );
        assert_eq!((ceo.canonical, cto.canonical), (Some(Canonical::Mesh), Some(Canonical::Jcs)));
        assert_eq!(&*cto.id, thumbprint(&cto.key));
    }

    #[test]
    fn one_wrong_key_makes_the_set_wrong() {
        let good = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"a"}}"#);
        for (bad, why) in [
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AQ","kid":"a"}"#.to_owned(), JwkError::Bytes),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#), JwkError::Node),
            (
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}","kid":"a"}}"#, "A".repeat(43)),
                JwkError::Unusable(KeyError::Weak),
            ),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","node":"a","kid":"a,b"}}"#), JwkError::Id),
            (good.clone(), JwkError::Twice),
        ] {
            assert_eq!(of(&format!("{good},{bad}")), Err(KeySetError::Key { at: 1, why }), "{bad}");
        }
        assert_eq!(of("7"), Err(KeySetError::Form));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_answered(text in any::<String>()) {
            let _ = read(&TenantId::parse("acme").unwrap(), &text, None);
        }
    }
}
