//! GitHub: HMAC-SHA256 over the body, in `X-Hub-Signature-256` as `sha256=` and hex.
//!
//! There is no signed time and no signed id (`X-GitHub-Delivery` is outside the signature), so a delivery is
//! known by its body. The old `X-Hub-Signature` (SHA-1) is not looked at.
//! Source: docs.github.com, "Validating webhook deliveries".

use super::{hex, one};
use crate::config::checked::HmacAlgorithm;
use crate::signatures::delivery::{Delivery, Identity, Proof, Statement};
use crate::signatures::mesh::Failure;

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let field = delivery.needed("x-hub-signature-256")?;
    let sig = field.strip_prefix("sha256=").and_then(hex);
    let identity = Identity::of([b"github".as_slice(), delivery.body]);
    Ok(one(Proof::Mac(HmacAlgorithm::Sha256), sig, vec![delivery.body.into()], None, identity))
}
