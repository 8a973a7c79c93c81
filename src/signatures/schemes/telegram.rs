//! Telegram: the secret that was given to `setWebhook` comes back in `X-Telegram-Bot-Api-Secret-Token`.
//!
//! Nothing is signed, so whoever sees one delivery can make others: this scheme is as good as the TLS before
//! the edge. An update is known by its body, which carries `update_id`.
//! Source: core.telegram.org/bots/api, "setWebhook".

use super::one;
use crate::signatures::delivery::{Delivery, Identity, Proof, Statement};
use crate::signatures::mesh::Failure;

/// The field, which never goes on to the upstream.
pub(super) const FIELD: &str = "x-telegram-bot-api-secret-token";

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let token = delivery.needed(FIELD)?.as_bytes().to_vec();
    let identity = Identity::of([b"telegram".as_slice(), delivery.body]);
    Ok(one(Proof::Token, Some(token), Vec::new(), None, identity))
}
