//! Shopify: HMAC-SHA256 over the body, in `X-Shopify-Hmac-Sha256` as base64.
//!
//! Neither `X-Shopify-Webhook-Id` nor `X-Shopify-Triggered-At` is signed: a delivery is known by its body.
//! Source: shopify.dev, "Validate the origin of your webhook".

use super::{base64, one};
use crate::config::checked::HmacAlgorithm;
use crate::signatures::delivery::{Delivery, Identity, Proof, Statement};
use crate::signatures::mesh::Failure;

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let sig = base64(delivery.needed("x-shopify-hmac-sha256")?);
    let identity = Identity::of([b"shopify".as_slice(), delivery.body]);
    Ok(one(Proof::Mac(HmacAlgorithm::Sha256), sig, vec![delivery.body.into()], None, identity))
}
