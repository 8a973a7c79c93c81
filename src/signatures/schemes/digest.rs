//! `Content-Digest` (RFC 9530): hashes of the body, as it came, in a field that a signature can cover.
//!
//! SHA-256 and SHA-512 are known; others are not looked at. At least one known one must be there, and each that
//! is there must be right: a reader who believes the other one must not see another body.

use super::super::delivery::Delivery;
use super::super::malformed::Malformed;
use super::super::mesh::{Failure, Reason};
use super::http_signatures::dictionary;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItem, Item, ListEntry};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// Whether the field tells the truth about the body.
pub(super) fn check(delivery: &Delivery<'_>) -> Result<(), Failure> {
    let (stated, raw) = dictionary(delivery, "content-digest")?.ok_or(Malformed::Uncovered)?;
    let mut known = 0;
    for (name, entry) in &stated {
        let found: Vec<u8> = match name.as_str() {
            "sha-256" => Sha256::digest(delivery.body).to_vec(),
            "sha-512" => Sha512::digest(delivery.body).to_vec(),
            _ => continue,
        };
        let ListEntry::Item(Item { bare_item: BareItem::ByteSequence(stated), .. }) = entry else {
            return Err(Malformed::Field.into());
        };
        let is_spelled = raw.contains(&format!(":{}:", STANDARD.encode(stated)));
        if !is_spelled || !bool::from(stated.ct_eq(&found)) {
            return Err(Reason::SignatureInvalid.into());
        }
        known += 1;
    }
    if known == 0 { Err(Malformed::Uncovered.into()) } else { Ok(()) }
}
