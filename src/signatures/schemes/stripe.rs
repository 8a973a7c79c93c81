//! Stripe: HMAC-SHA256 over `{time}.{body}`, in `Stripe-Signature` as `t=…,v1=…`, hex.
//!
//! The whole text of the secret, `whsec_` included, is the key. While a secret is rolled there are several
//! `v1`; other versions (`v0` is for test deliveries) are not looked at. A retry is signed anew with a new
//! time, so a delivery is known by its body, which carries the event's id.
//! Source: docs.stripe.com, "Verify webhook signatures manually".

use super::hex;
use crate::config::checked::HmacAlgorithm;
use crate::signatures::delivery::{Claim, Delivery, Identity, MAX_CLAIMS, Proof, Statement, moment};
use crate::signatures::malformed::Malformed;
use crate::signatures::mesh::Failure;

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let field = delivery.needed("stripe-signature")?;
    let mut time = None;
    let mut claims = Vec::new();
    for item in field.split(',') {
        let (name, value) = item.split_once('=').ok_or(Malformed::Field)?;
        match name.trim_start_matches(' ') {
            "t" if time.replace(value).is_some() => return Err(Malformed::Field.into()),
            "v1" if claims.len() < MAX_CLAIMS => {
                let proof = Proof::Mac(HmacAlgorithm::Sha256);
                claims.extend(hex(value).map(|bytes| Claim { proof, bytes }));
            }
            _ => {}
        }
    }
    let time = time.ok_or(Malformed::Field)?;
    let text = vec![time.as_bytes().into(), b".".as_slice().into(), delivery.body.into()];
    let identity = Identity::of([b"stripe".as_slice(), delivery.body]);
    Ok(Statement { texts: vec![text], claims, moment: Some(moment(time)?), identity })
}
