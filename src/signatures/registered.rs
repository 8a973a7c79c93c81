//! A node's public keys as the store's registry keeps them and tells them: a JSON array, an object a key.
//!
//! The store writes what it took, the edge reads what the store tells; both by these rules. Knows nothing of
//! HTTP or tables.

use crate::config::checked::{Canonical, NodeKey};
use crate::config::public_key::{self, KeyError};
use crate::config::{is_key_id, thumbprint};
use crate::ids::{NodeId, TenantId};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most keys of one node: one in use, those that come and those that go.
pub const MOST_KEYS: usize = 16;

/// Latest second that a key's time may name: the year 9999's last.
const LATEST: u64 = 253_402_300_799;

/// Why a text is no node's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisteredError {
    /// No array of objects with the members that a key has, and no others.
    #[error("this is no list of keys")]
    Form,
    /// None, or more than a node may have.
    #[error("a node has 1 to {MOST_KEYS} keys")]
    Number,
    /// An id that no header field could carry.
    #[error("this is no key's id")]
    Id,
    /// Two keys with one id.
    #[error("two keys have one id")]
    SameId,
    /// The same key twice.
    #[error("a key is there twice")]
    SameKey,
    /// One that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A time that is none, or an end that is not after the beginning.
    #[error("a key ends before it begins")]
    Time,
}

/// A key of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its name, as a message's `kid` has it.
    pub id: Arc<str>,
    /// The key.
    pub key: VerifyingKey,
    /// First second (Unix) at which it counts.
    pub not_before: Option<u64>,
    /// First second (Unix) at which it no longer counts.
    pub not_after: Option<u64>,
    /// The text that it signs, where it is not the route's.
    pub canonical: Option<Canonical>,
}

impl Registered {
    /// The key as one of this tenant's node.
    #[must_use]
    pub fn of(&self, tenant: &TenantId, node: &NodeId) -> NodeKey {
        let Self { id, not_before, not_after, canonical, .. } = self.clone();
        NodeKey {
            id,
            not_before,
            not_after,
            canonical,
            ..NodeKey::of(tenant.clone(), node.clone(), self.key)
        }
    }
}

/// A key as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kid: Option<String>,
    public_key: String,
    not_before: Option<u64>,
    not_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical: Option<Canonical>,
}

/// Reads a node's keys.
///
/// # Errors
/// [`RegisteredError`]; a single bad key makes the whole bad.
pub fn read(text: &str) -> Result<Vec<Registered>, RegisteredError> {
    let written: Vec<Written> = serde_json::from_str(text).map_err(|_| RegisteredError::Form)?;
    if !(1..=MOST_KEYS).contains(&written.len()) {
        return Err(RegisteredError::Number);
    }
    let mut keys: Vec<Registered> = Vec::with_capacity(written.len());
    for one in written {
        let key = one.key()?;
        if keys.iter().any(|other| other.key == key.key) {
            return Err(RegisteredError::SameKey);
        }
        if keys.iter().any(|other| other.id == key.id) {
            return Err(RegisteredError::SameId);
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Writes a node's keys, each with its id and as base64, whatever form they came in.
#[must_use]
pub fn write(keys: &[Registered]) -> String {
    let written = keys.iter().map(|key| Written {
        kid: Some(key.id.to_string()),
        public_key: public_key::write(&key.key),
        not_before: key.not_before,
        not_after: key.not_after,
        canonical: key.canonical,
    });
    serde_json::to_string(&written.collect::<Vec<_>>()).unwrap_or_else(|_| "[]".to_owned())
}

impl Written {
    fn key(self) -> Result<Registered, RegisteredError> {
        let key = public_key::read(self.public_key.trim())?;
        let id = self.kid.unwrap_or_else(|| thumbprint(&key));
        if !is_key_id(&id) {
            return Err(RegisteredError::Id);
        }
        let (not_before, not_after) = (self.not_before, self.not_after);
        let is_late = |second: Option<u64>| second.is_some_and(|second| second > LATEST);
        if is_late(not_before)
            || is_late(not_after)
            || not_before.zip(not_after).is_some_and(|(begin, end)| begin >= end)
        {
            return Err(RegisteredError::Time);
        }
        Ok(Registered { id: id.into(), key, not_before, not_after, canonical: self.canonical })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::{any, proptest};

    fn base64(seed: u8) -> String {
        public_key::write(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    #[test]
    fn what_was_written_is_read_and_a_key_without_an_id_gets_its_thumbprint() {
        let (one, two) = (base64(1), base64(2));
        let text = format!(
            r#"[{{"public_key":"{one}"}},{{"kid":"new","public_key":" {two}\n","not_before":5,"not_after":9,"canonical":"jcs"}}]"#
        );
        let keys = read(&text).unwrap();
        assert_eq!((&*keys[0].id, keys[0].not_before), (&*thumbprint(&keys[0].key), None));
        assert_eq!((&*keys[1].id, keys[1].not_before, keys[1].not_after), ("new", Some(5), Some(9)));
        assert_eq!((keys[0].canonical, keys[1].canonical), (None, Some(Canonical::Jcs)));
        let written = write(&keys);
        assert_eq!(read(&written), Ok(keys));
        assert!(written.ends_with(&format!(
            r#"{{"kid":"new","public_key":"{two}","not_before":5,"not_after":9,"canonical":"jcs"}}]"#
        )));
    }

    #[test]
    fn one_bad_key_makes_the_whole_bad_and_says_why() {
        let (one, two) = (base64(1), base64(2));
        for (text, why) in [
            ("[]".to_owned(), RegisteredError::Number),
            ("{}".to_owned(), RegisteredError::Form),
            (format!(r#"[{{"public_key":"{one}","more":1}}]"#), RegisteredError::Form),
            (format!(r#"[{{"public_key":"{one}","not_after":-1}}]"#), RegisteredError::Form),
            (r#"[{"public_key":"AAAA"}]"#.to_owned(), RegisteredError::Key(KeyError::Length)),
            (format!(r#"[{{"public_key":"{}="}}]"#, "A".repeat(43)), RegisteredError::Key(KeyError::Weak)),
            (
                r#"[{"public_key":"-----BEGIN PRIVATE KEY-----"}]"#.to_owned(),
                RegisteredError::Key(KeyError::Private),
            ),
            (format!(r#"[{{"public_key":"{one}","kid":"a b"}}]"#), RegisteredError::Id),
            (format!(r#"[{{"public_key":"{one}","kid":""}}]"#), RegisteredError::Id),
            (
                format!(r#"[{{"public_key":"{one}","kid":"a"}},{{"public_key":"{two}","kid":"a"}}]"#),
                RegisteredError::SameId,
            ),
            (
                format!(r#"[{{"public_key":"{one}","kid":"a"}},{{"public_key":"{one}","kid":"b"}}]"#),
                RegisteredError::SameKey,
            ),
            (format!(r#"[{{"public_key":"{one}","not_before":9,"not_after":9}}]"#), RegisteredError::Time),
            (format!(r#"[{{"public_key":"{one}","not_after":253402300800}}]"#), RegisteredError::Time),
        ] {
            assert_eq!(read(&text), Err(why), "{text}");
        }
        let many: Vec<String> =
            (1..=17).map(|seed| format!(r#"{{"public_key":"{}"}}"#, base64(seed))).collect();
        assert_eq!(read(&format!("[{}]", many.join(","))), Err(RegisteredError::Number));
        assert_eq!(read(&format!("[{}]", many[..16].join(","))).map(|keys| keys.len()), Ok(16));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_answered(text in any::<String>()) {
            let _ = read(&text);
        }
    }
}
