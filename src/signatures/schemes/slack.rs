//! Slack: HMAC-SHA256 over `v0:{time}:{body}`, in `X-Slack-Signature` as `v0=` and hex, the time in
//! `X-Slack-Request-Timestamp`.
//!
//! A retry is signed anew with a new time, so a delivery is known by its body, which carries an event or
//! trigger id. Source: docs.slack.dev, "Verifying requests from Slack".

use super::{Setup, hex, one};
use crate::config::checked::HmacAlgorithm;
use crate::signatures::delivery::{Delivery, Identity, Proof, Statement, moment};
use crate::signatures::mesh::Failure;
use serde::Deserialize;

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let field = delivery.needed("x-slack-signature")?;
    let time = delivery.needed("x-slack-request-timestamp")?;
    let at = moment(time)?;
    let sig = field.strip_prefix("v0=").and_then(hex);
    let text =
        vec![b"v0:".as_slice().into(), time.as_bytes().into(), b":".as_slice().into(), delivery.body.into()];
    let identity = Identity::of([b"slack".as_slice(), delivery.body]);
    Ok(one(Proof::Mac(HmacAlgorithm::Sha256), sig, text, Some(at), identity))
}

#[derive(Deserialize)]
struct Call {
    r#type: String,
    challenge: String,
}

/// `url_verification`, which Slack sends when an address is saved.
pub(super) fn setup(body: &[u8]) -> Option<Setup> {
    let call: Call = serde_json::from_slice(body).ok()?;
    (call.r#type == "url_verification").then_some(Setup::Challenge(call.challenge))
}
