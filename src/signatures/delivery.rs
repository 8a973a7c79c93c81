//! A request as its sender signed it, and what a scheme reads out of it before any secret is looked at.
//!
//! Knows nothing of single schemes, of keys or of the server: the parts of the request are handed in.

use super::malformed::Malformed;
use super::mesh::{Failure, Reason};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::time::Duration;

/// Most signatures in one request that are looked at: a sender in rotation sends two or three.
pub(super) const MAX_CLAIMS: usize = 16;

/// A request, borrowed from whatever holds it.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Method.
    pub method: &'a str,
    /// Scheme, host and port as the sender saw them, such as `https://hooks.example.com`.
    pub origin: &'a str,
    /// Path and query as they came.
    pub target: &'a str,
    /// All fields.
    pub fields: &'a HeaderMap,
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// Unix seconds.
    pub now_unix: u64,
}

impl<'a> Delivery<'a> {
    /// A field that may stand once.
    pub(super) fn field(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        let mut values = self.fields.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        match (value.to_str(), values.next()) {
            (Ok(value), None) => Ok(Some(value)),
            // Readers differ in which of two they take.
            (Ok(_), Some(_)) | (Err(_), _) => Err(Malformed::Field.into()),
        }
    }

    /// A field without which nothing is signed.
    pub(super) fn needed(&self, name: &str) -> Result<&'a str, Failure> {
        self.field(name)?.ok_or_else(|| Reason::SignatureMissing.into())
    }

    /// The path, without the query.
    pub(super) fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The query, without its question mark.
    pub(super) fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}

/// A time in Unix seconds: ASCII digits alone, few enough for any reader's number.
pub(super) fn moment(text: &str) -> Result<u64, Failure> {
    let fits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let moment = if fits { text.parse().ok() } else { None };
    moment.ok_or_else(|| Malformed::Moment.into())
}

/// Whether a time is near enough to now, in either direction.
pub(super) fn is_fresh(at: u64, now_unix: u64, tolerance: Duration) -> bool {
    at.abs_diff(now_unix) <= tolerance.as_secs()
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// HMAC with a shared secret.
    Mac(crate::config::checked::HmacAlgorithm),
    /// Ed25519 with the sender's key.
    Ed25519,
    /// The shared secret itself; nothing is signed.
    Token,
}

/// One signature that came, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// How it was made.
    pub proof: Proof,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A text that is signed, in pieces that follow each other.
pub type Text<'a> = Vec<Cow<'a, [u8]>>;

/// What a request says it proves: read, but not yet believed.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// The texts that may have been signed; any one is enough. More than one only where senders differ in
    /// how they write the same URL.
    pub texts: Vec<Text<'a>>,
    /// The signatures that came.
    pub claims: Vec<Claim>,
    /// The signed time.
    pub moment: Option<u64>,
    /// Which delivery it is: the same for a retry, another for anything else.
    pub identity: Identity,
}

/// SHA-256 over what tells one delivery from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 32]);

impl Identity {
    /// Over the parts, each with its length before it, so that no two lists of parts make one text.
    #[must_use]
    pub fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_digits_and_nothing_else() {
        assert_eq!(moment("1614265330"), Ok(1_614_265_330));
        for bad in ["", "+1", "-1", " 1", "1 ", "1\n", "1.0", "0x1", "١٦١٤", &"9".repeat(5000)] {
            assert_eq!(moment(bad), Err(Malformed::Moment.into()), "{bad}");
        }
    }

    #[test]
    fn tolerance_is_inclusive_both_ways() {
        let five = Duration::from_mins(5);
        assert!(is_fresh(1000, 1300, five) && is_fresh(1300, 1000, five));
        assert!(!is_fresh(1000, 1301, five) && !is_fresh(1301, 1000, five));
    }

    #[test]
    fn parts_cannot_be_moved_over_a_boundary() {
        assert_ne!(Identity::of([b"ab".as_slice(), b"c"]), Identity::of([b"a".as_slice(), b"bc"]));
    }
}
