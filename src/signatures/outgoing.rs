//! A whole request, signed on its way out: RFC 9421 with a Content-Digest (RFC 9530), or Standard Webhooks.
//!
//! Fields of these schemes that are there already are taken out: what goes on is signed once, by the edge. The
//! text that is signed is made by the code that verification reads it with. Time and the delivery's name are
//! handed in.

use super::delivery::Delivery;
use super::mac;
use super::mesh::Failure;
use super::schemes::http_signatures;
use crate::config::checked::{HmacAlgorithm, SignScheme, SigningKey, SigningSecret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const SVIX: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];

/// A request, but for its fields.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Method.
    pub method: &'a str,
    /// Scheme, host and port as the receiver sees them.
    pub origin: &'a str,
    /// Path and query as they go out.
    pub target: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Names the delivery; printable, without a dot.
    pub id: &'a str,
    /// Unix seconds.
    pub now_unix: u64,
}

/// Why a request cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutgoingError {
    /// A component has no one value.
    #[error("the request has a component that cannot be covered")]
    Component(#[from] Failure),
    /// A value that no field takes.
    #[error("the signature's fields cannot be written")]
    Field,
    /// Messages are signed in the body, not here.
    #[error("this scheme signs messages, not requests")]
    Scheme,
}

impl From<http::header::InvalidHeaderValue> for OutgoingError {
    fn from(_: http::header::InvalidHeaderValue) -> Self {
        Self::Field
    }
}

/// Puts the signature's fields among a request's fields.
///
/// # Errors
/// [`OutgoingError`].
pub fn sign(
    scheme: &SignScheme,
    key: &SigningKey,
    request: Outgoing<'_>,
    fields: &mut HeaderMap,
) -> Result<(), OutgoingError> {
    match scheme {
        SignScheme::Mesh(_) => Err(OutgoingError::Scheme),
        SignScheme::HttpSignatures { components, tag, expires } => {
            let mut params = String::new();
            // Writing to a String cannot fail.
            let _ = write!(params, ";created={}", request.now_unix);
            if let Some(expires) = expires {
                let _ = write!(params, ";expires={}", request.now_unix + expires.as_secs());
            }
            let _ = write!(params, ";keyid=\"{}\";nonce=\"{}\"", key.id, request.id);
            if let Some(tag) = tag {
                let _ = write!(params, ";tag=\"{tag}\"");
            }
            message(components, &params, key, request, fields)
        }
        SignScheme::StandardWebhooks => webhook(key, request, fields),
    }
}

fn message(
    components: &[String],
    params: &str,
    key: &SigningKey,
    request: Outgoing<'_>,
    fields: &mut HeaderMap,
) -> Result<(), OutgoingError> {
    for name in [&CONTENT_DIGEST, &SIGNATURE, &SIGNATURE_INPUT] {
        fields.remove(name);
    }
    if !request.body.is_empty() {
        let digest = STANDARD.encode(Sha256::digest(request.body));
        fields.insert(CONTENT_DIGEST, HeaderValue::from_str(&format!("sha-256=:{digest}:"))?);
    }
    let there = |name: &&String| name.starts_with('@') || fields.contains_key(name.as_str());
    let names: Vec<String> = components.iter().filter(there).map(|name| format!("\"{name}\"")).collect();
    let input = format!("({}){params}", names.join(" "));
    let delivery = Delivery {
        method: request.method,
        origin: request.origin,
        target: request.target,
        fields,
        body: request.body,
        now_unix: request.now_unix,
    };
    let base = http_signatures::base_of(&input, &delivery)?;
    let sig = STANDARD.encode(raw(key, base.as_bytes()));
    fields.insert(SIGNATURE_INPUT, HeaderValue::from_str(&format!("sig1={input}"))?);
    fields.insert(SIGNATURE, HeaderValue::from_str(&format!("sig1=:{sig}:"))?);
    Ok(())
}

fn webhook(key: &SigningKey, request: Outgoing<'_>, fields: &mut HeaderMap) -> Result<(), OutgoingError> {
    for name in SVIX {
        fields.remove(name);
    }
    let Outgoing { id, now_unix, body, .. } = request;
    let text = [format!("{id}.{now_unix}.").as_bytes(), body].concat();
    let version = match key.key {
        SigningSecret::Hmac(_) => "v1",
        SigningSecret::Ed25519(_) => "v1a",
    };
    let sig = STANDARD.encode(raw(key, &text));
    fields.insert(WEBHOOK_ID, HeaderValue::from_str(id)?);
    fields.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now_unix));
    fields.insert(WEBHOOK_SIGNATURE, HeaderValue::from_str(&format!("{version},{sig}"))?);
    Ok(())
}

fn raw(key: &SigningKey, text: &[u8]) -> Vec<u8> {
    match &key.key {
        SigningSecret::Ed25519(key) => key.sign(text).to_bytes().to_vec(),
        SigningSecret::Hmac(secret) => mac::tag(HmacAlgorithm::Sha256, secret, [text]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::{HttpSignatures, Sender, SenderKind, Signer, SignerKey};
    use crate::ids::{Name, TenantId};
    use crate::secret::Secret;
    use crate::signatures::mesh::Reason;
    use crate::signatures::schemes::verify;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::time::Duration;

    fn ed25519() -> SigningKey {
        own(SigningSecret::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&[7; 32]))))
    }

    fn own(key: SigningSecret) -> SigningKey {
        let (tenant, name) = (TenantId::parse("acme").unwrap(), Name::parse("edge").unwrap());
        SigningKey { tenant, name, id: "edge-1".into(), key }
    }

    fn receiver(kind: SenderKind) -> Sender {
        Sender { kind, tolerance: Duration::from_mins(5) }
    }

    fn usual() -> Vec<String> {
        ["@method", "@authority", "@path", "@query", "content-digest"].map(str::to_owned).to_vec()
    }

    fn request(body: &[u8]) -> Outgoing<'_> {
        Outgoing {
            method: "POST",
            origin: "https://a.example",
            target: "/in?x=1",
            body,
            id: "d1",
            now_unix: 1000,
        }
    }

    fn judged(sender: &Sender, request: Outgoing<'_>, fields: &HeaderMap) -> Result<(), Reason> {
        let Outgoing { method, origin, target, body, now_unix, .. } = request;
        let delivery = Delivery { method, origin, target, fields, body, now_unix };
        verify(sender, &delivery).map(drop).map_err(|failure| failure.reason)
    }

    #[test]
    fn our_own_verification_takes_each_scheme_and_nothing_that_was_changed() {
        let secret = Secret::new(vec![5; 32]);
        let public = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let rules = |key| HttpSignatures {
            signers: vec![Signer { id: "edge-1".into(), key }],
            components: usual(),
            tag: Some("t".into()),
        };
        let by_rfc =
            |expires| SignScheme::HttpSignatures { components: usual(), tag: Some("t".into()), expires };
        let minute = Some(Duration::from_mins(1));
        let cases = [
            (by_rfc(None), ed25519(), SenderKind::HttpSignatures(rules(SignerKey::Ed25519(public)))),
            (
                by_rfc(minute),
                own(SigningSecret::Hmac(secret.clone())),
                SenderKind::HttpSignatures(rules(SignerKey::HmacSha256(secret.clone()))),
            ),
            (
                SignScheme::StandardWebhooks,
                own(SigningSecret::Hmac(secret.clone())),
                SenderKind::StandardWebhooks { secrets: vec![secret], keys: vec![] },
            ),
            (
                SignScheme::StandardWebhooks,
                ed25519(),
                SenderKind::StandardWebhooks { secrets: vec![], keys: vec![public] },
            ),
        ];
        for (scheme, key, kind) in cases {
            let (sender, mut fields) = (receiver(kind), HeaderMap::new());
            // What a client says of signatures of its own does not go on.
            for name in
                ["signature", "signature-input", "content-digest", "svix-signature", "webhook-signature"]
            {
                fields.insert(HeaderName::from_static(name), HeaderValue::from_static("forged"));
            }
            sign(&scheme, &key, request(b"{}"), &mut fields).unwrap();
            assert_eq!(judged(&sender, request(b"{}"), &fields), Ok(()), "{scheme:?} {fields:?}");
            assert_eq!(judged(&sender, request(b"{ }"), &fields), Err(Reason::SignatureInvalid));
            let late = Outgoing { now_unix: 2000, ..request(b"{}") };
            assert_eq!(judged(&sender, late, &fields), Err(Reason::Stale));
        }
    }

    #[test]
    fn a_request_without_a_body_is_signed_without_a_digest() {
        let mut fields = HeaderMap::new();
        let scheme = SignScheme::HttpSignatures {
            components: ["@method", "x-trace", "content-digest"].map(str::to_owned).to_vec(),
            tag: None,
            expires: None,
        };
        sign(&scheme, &ed25519(), request(b""), &mut fields).unwrap();
        let input = fields["signature-input"].to_str().unwrap();
        assert_eq!(input, "sig1=(\"@method\");created=1000;keyid=\"edge-1\";nonce=\"d1\"");
        assert!(!fields.contains_key("content-digest"));
    }

    proptest! {
        #[test]
        fn any_body_is_signed_so_that_it_verifies(body in any::<Vec<u8>>(), path in "/[a-z0-9/%-]{0,20}") {
            let mut fields = HeaderMap::new();
            let out = Outgoing { target: &path, ..request(&body) };
            let scheme = SignScheme::HttpSignatures { components: usual(), tag: None, expires: None };
            sign(&scheme, &ed25519(), out, &mut fields).unwrap();
            let public = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
            let signers = vec![Signer { id: "edge-1".into(), key: SignerKey::Ed25519(public) }];
            let kind = SenderKind::HttpSignatures(HttpSignatures { signers, components: usual(), tag: None });
            prop_assert_eq!(judged(&receiver(kind), out, &fields), Ok(()));
        }
    }
}
