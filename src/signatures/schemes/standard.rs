//! Standard Webhooks: `{id}.{time}.{body}` under HMAC-SHA256 (`v1`) or Ed25519 (`v1a`), in `webhook-id`,
//! `webhook-timestamp` and `webhook-signature` (or with `svix-` in place of `webhook-`).
//!
//! The signature's field is a list of `version,base64` with spaces between, one for each key in rotation.
//! An id with a dot in it is refused: `a.1` at `2` and `a` at `1.2` would be signed alike. The id is signed
//! and stays the same on a retry, so it is what a delivery is known by.
//! Source: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.

use super::base64;
use crate::config::checked::HmacAlgorithm;
use crate::signatures::delivery::{Claim, Delivery, Identity, MAX_CLAIMS, Proof, Statement, moment};
use crate::signatures::malformed::Malformed;
use crate::signatures::mesh::Failure;

/// The names of the three fields.
struct Names {
    id: &'static str,
    time: &'static str,
    sig: &'static str,
}

const PLAIN: Names = Names { id: "webhook-id", time: "webhook-timestamp", sig: "webhook-signature" };
const SVIX: Names = Names { id: "svix-id", time: "svix-timestamp", sig: "svix-signature" };

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let names = if delivery.fields.contains_key(PLAIN.sig) { PLAIN } else { SVIX };
    let (field, id) = (delivery.needed(names.sig)?, delivery.needed(names.id)?);
    let time = delivery.needed(names.time)?;
    if id.is_empty() || id.contains('.') {
        return Err(Malformed::Field.into());
    }
    let at = moment(time)?;
    let dot = || b".".as_slice().into();
    let text = vec![id.as_bytes().into(), dot(), time.as_bytes().into(), dot(), delivery.body.into()];
    let claims = field.split(' ').take(MAX_CLAIMS).filter_map(claim).collect();
    let identity = Identity::of([b"standard-webhooks".as_slice(), id.as_bytes()]);
    Ok(Statement { texts: vec![text], claims, moment: Some(at), identity })
}

fn claim(item: &str) -> Option<Claim> {
    let (version, value) = item.split_once(',')?;
    let proof = match version {
        "v1" => Proof::Mac(HmacAlgorithm::Sha256),
        "v1a" => Proof::Ed25519,
        _ => return None,
    };
    Some(Claim { proof, bytes: base64(value)? })
}
