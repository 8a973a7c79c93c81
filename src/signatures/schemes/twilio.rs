//! Twilio: HMAC-SHA1 over the URL as Twilio has it and, for forms, every parameter's name and value in the
//! order of the names; in `X-Twilio-Signature` as base64.
//!
//! JSON bodies are not signed themselves: the URL carries `bodySHA256`, and the body must have that hash.
//! Twilio writes some URLs with the default port and some without, so both are tried, as its own libraries
//! do. Form parameters are signed after decoding: two spellings of the same parameters are one delivery.
//! Source: twilio.com/docs, "Security"; the `twilio` package's `validateRequest`.

use super::base64;
use crate::config::checked::HmacAlgorithm;
use crate::signatures::delivery::{Claim, Delivery, Identity, Proof, Statement, Text};
use crate::signatures::malformed::Malformed;
use crate::signatures::mesh::{Failure, Reason};
use http::header::CONTENT_TYPE;
use sha2::{Digest as _, Sha256};

/// Most parameters of a form.
const MAX_PARAMS: usize = 1024;

pub(super) fn read<'a>(delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    let sig = base64(delivery.needed("x-twilio-signature")?);
    let params = params(delivery)?;
    let texts: Vec<Text<'a>> = origins(delivery.origin)
        .into_iter()
        .map(|origin| {
            let mut text: Text<'a> = vec![origin.into_bytes().into(), delivery.target.as_bytes().into()];
            text.push(params.clone().into_bytes().into());
            text
        })
        .collect();
    let identity = Identity::of([
        b"twilio".as_slice(),
        delivery.origin.as_bytes(),
        delivery.target.as_bytes(),
        params.as_bytes(),
    ]);
    let proof = Proof::Mac(HmacAlgorithm::Sha1);
    let claims = sig.map(|bytes| Claim { proof, bytes }).into_iter().collect();
    Ok(Statement { texts, claims, moment: None, identity })
}

/// What is signed of the body.
fn params(delivery: &Delivery<'_>) -> Result<String, Failure> {
    if let Some(stated) = body_hash(delivery.query().unwrap_or_default())? {
        let is_it = hex::encode(Sha256::digest(delivery.body)).eq_ignore_ascii_case(&stated);
        return if is_it { Ok(String::new()) } else { Err(Reason::SignatureInvalid.into()) };
    }
    if delivery.body.is_empty() {
        return Ok(String::new());
    }
    let kind = delivery.field(CONTENT_TYPE.as_str())?.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        // No signature covers such a body.
        return Err(Malformed::Uncovered.into());
    }
    form(delivery.body)
}

fn body_hash(query: &str) -> Result<Option<String>, Failure> {
    let mut found = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "bodySHA256" && found.replace(value.into_owned()).is_some() {
            return Err(Malformed::Uncovered.into());
        }
    }
    Ok(found)
}

/// Names and values one behind the other, sorted by names and then values, each pair once.
fn form(body: &[u8]) -> Result<String, Failure> {
    let mut pairs: Vec<_> = form_urlencoded::parse(body).take(MAX_PARAMS + 1).collect();
    // Bytes that are no UTF-8 would be signed as a replacement character, whatever they are.
    let unclear = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    if pairs.len() > MAX_PARAMS || pairs.iter().any(|(name, value)| unclear(name) || unclear(value)) {
        return Err(Malformed::Uncovered.into());
    }
    pairs.sort_by(|a, b| {
        a.0.encode_utf16().cmp(b.0.encode_utf16()).then_with(|| a.1.encode_utf16().cmp(b.1.encode_utf16()))
    });
    pairs.dedup();
    Ok(pairs.iter().flat_map(|(name, value)| [&**name, &**value]).collect())
}

/// The origin as it is, and with its default port put in or taken out.
fn origins(origin: &str) -> Vec<String> {
    let port = if origin.starts_with("https://") { ":443" } else { ":80" };
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let other = match origin.strip_suffix(port) {
        Some(bare) => Some(bare.to_owned()),
        None if !has_port(host) => Some(format!("{origin}{port}")),
        None => None,
    };
    std::iter::once(origin.to_owned()).chain(other).collect()
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_tried_both_ways() {
        assert_eq!(origins("https://a.example"), ["https://a.example", "https://a.example:443"]);
        assert_eq!(origins("https://a.example:443"), ["https://a.example:443", "https://a.example"]);
        assert_eq!(origins("http://a.example"), ["http://a.example", "http://a.example:80"]);
        assert_eq!(origins("https://a.example:8443"), ["https://a.example:8443"]);
    }

    #[test]
    fn forms_are_signed_decoded_sorted_and_each_pair_once() {
        assert_eq!(form(b"b=2&a=1+1&a=%2B&a=1%201").unwrap(), "a+a1 1b2");
        assert!(form(b"a=%FF").is_err());
    }
}
