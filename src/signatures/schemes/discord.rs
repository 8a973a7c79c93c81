//! Discord: Ed25519 over the time and the body without anything between, in `X-Signature-Ed25519` (hex) and
//! `X-Signature-Timestamp`.
//!
//! Since nothing stands between them, bytes could be moved from the time to the body under one signature:
//! so the time must have ten digits and the body must begin as JSON does. When an address is saved, Discord
//! sends a `PING` and wrong signatures, for which it wants a 401.
//! Source: docs.discord.com, "Interactions: receiving and responding".

use super::{Setup, hex, one};
use crate::signatures::delivery::{Delivery, Identity, Proof, Statement, moment};
use crate::signatures::malformed::Malformed;
use crate::signatures::mesh::Failure;
use serde::Deserialize;

/// Digits of a time from 2001 to 2286.
const DIGITS: usize = 10;

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let field = delivery.needed("x-signature-ed25519")?;
    let time = delivery.needed("x-signature-timestamp")?;
    let at = moment(time)?;
    if time.len() != DIGITS || !delivery.body.starts_with(b"{") {
        return Err(Malformed::Moment.into());
    }
    let text = vec![time.as_bytes().into(), delivery.body.into()];
    let identity = Identity::of([b"discord".as_slice(), delivery.body]);
    Ok(one(Proof::Ed25519, hex(field), text, Some(at), identity))
}

#[derive(Deserialize)]
struct Call {
    r#type: u64,
}

/// `PING`.
pub(super) fn setup(body: &[u8]) -> Option<Setup> {
    let call: Call = serde_json::from_slice(body).ok()?;
    (call.r#type == 1).then_some(Setup::Ping)
}
