//! HMAC with the three hashes that senders use, compared in constant time.
//!
//! Knows bytes and secrets, and nothing of where they came from.

use crate::config::checked::HmacAlgorithm;
use crate::secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq as _};

/// The tag of a text in pieces.
#[must_use]
pub fn tag<'p>(
    algorithm: HmacAlgorithm,
    secret: &Secret,
    text: impl IntoIterator<Item = &'p [u8]>,
) -> Vec<u8> {
    macro_rules! with {
        ($hash:ty) => {{
            let mut mac =
                Hmac::<$hash>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
            for piece in text {
                mac.update(piece);
            }
            mac.finalize().into_bytes().to_vec()
        }};
    }
    match algorithm {
        HmacAlgorithm::Sha1 => with!(Sha1),
        HmacAlgorithm::Sha256 => with!(Sha256),
        HmacAlgorithm::Sha512 => with!(Sha512),
    }
}

/// Whether two tags are the same; another length is never the same.
pub(super) fn same(one: &[u8], other: &[u8]) -> Choice {
    one.ct_eq(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    #[test]
    fn the_vectors_of_rfc_4231_come_out_as_published() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../tests/vectors/rfc4231_hmac_sha256.json")).unwrap();
        let all = vectors["vectors"].as_array().unwrap();
        assert_eq!(all.len(), 6);
        for case in all {
            let message = bytes(&case["msg_hex"]);
            let found = tag(HmacAlgorithm::Sha256, &Secret::new(bytes(&case["key_hex"])), [&*message]);
            assert_eq!(found, bytes(&case["tag_hex"]), "{case}");
        }
    }

    #[test]
    fn the_vectors_of_project_wycheproof_come_out_as_published() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../tests/vectors/wycheproof_hmac_sha256.json")).unwrap();
        let all = vectors["tests"].as_array().unwrap();
        assert_eq!(all.len(), 174);
        for case in all {
            let message = bytes(&case["msg"]);
            let found = tag(HmacAlgorithm::Sha256, &Secret::new(bytes(&case["key"])), [&*message]);
            let held = bool::from(same(&found, &bytes(&case["tag"])));
            // Truncated tags are sound HMAC, but no webhook's: half a tag is refused.
            let whole = case["tagSize"] == 256;
            assert_eq!(held, whole && case["result"] == "valid", "{case}");
        }
    }
}
