//! Any sender that signs with HMAC: the field, its prefix and encoding, and the signed text are the
//! operator's words.

use super::{base64, hex};
use crate::config::checked::{Hmac, HmacEncoding, HmacPart};
use crate::signatures::delivery::{Claim, Delivery, Identity, MAX_CLAIMS, Proof, Statement, Text, moment};
use crate::signatures::malformed::Malformed;
use crate::signatures::mesh::Failure;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

pub(super) fn read<'a>(hmac: &Hmac, delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let field = delivery.needed(hmac.header.as_str())?;
    let proof = Proof::Mac(hmac.algorithm);
    let claims = signatures(hmac, field)
        .take(MAX_CLAIMS)
        .filter_map(|text| decode(hmac.encoding, text))
        .map(|bytes| Claim { proof, bytes })
        .collect();
    let time = hmac.timestamp_header.as_ref().map(|name| delivery.needed(name.as_str())).transpose()?;
    let at = time.map(moment).transpose()?;
    let id = hmac.id_header.as_ref().map(|name| delivery.needed(name.as_str())).transpose()?;
    if id.is_some_and(str::is_empty) {
        return Err(Malformed::Field.into());
    }
    let mut text: Text<'a> = Vec::with_capacity(hmac.signed.len());
    for part in &hmac.signed {
        text.push(match part {
            HmacPart::Literal(literal) => literal.clone().into_bytes().into(),
            HmacPart::Body => delivery.body.into(),
            HmacPart::Timestamp => time.unwrap_or_default().as_bytes().into(),
            HmacPart::Id => id.unwrap_or_default().as_bytes().into(),
            HmacPart::Method => delivery.method.as_bytes().into(),
            HmacPart::Path => delivery.path().as_bytes().into(),
            HmacPart::Query => delivery.query().unwrap_or_default().as_bytes().into(),
            HmacPart::Url => [delivery.origin, delivery.target].concat().into_bytes().into(),
            HmacPart::Header(name) => delivery.needed(name.as_str())?.as_bytes().into(),
        });
    }
    // The config's check sees to it that an id is signed.
    let identity = if let Some(id) = id {
        Identity::of([b"generic-hmac".as_slice(), b"id", id.as_bytes()])
    } else {
        let pieces = text.iter().map(AsRef::as_ref);
        Identity::of([b"generic-hmac".as_slice(), b"text"].into_iter().chain(pieces))
    };
    Ok(Statement { texts: vec![text], claims, moment: at, identity })
}

/// The signatures of the field: one, or several where the sender has something between them.
fn signatures<'f>(hmac: &'f Hmac, field: &'f str) -> impl Iterator<Item = &'f str> {
    let items: Box<dyn Iterator<Item = &'f str>> = match &hmac.separator {
        Some(separator) => Box::new(field.split(separator.as_str())),
        None => Box::new(std::iter::once(field)),
    };
    items.filter_map(|item| item.trim_matches(' ').strip_prefix(hmac.prefix.as_str()))
}

/// Some senders write hex in upper case; never in both.
fn upper(text: &str) -> Option<Vec<u8>> {
    let is_upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    if is_upper { ::hex::decode(text).ok() } else { None }
}

fn decode(encoding: HmacEncoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        HmacEncoding::Hex => hex(text).or_else(|| upper(text)),
        HmacEncoding::Base64 => base64(text),
        HmacEncoding::Base64url if text.ends_with('=') => URL_SAFE.decode(text).ok(),
        HmacEncoding::Base64url => URL_SAFE_NO_PAD.decode(text).ok(),
    }
}
