//! A delivery as a sender would sign it, to try a route with: the other side of [`verify`](super::verify).
//!
//! The signed text is the one that the scheme itself reads out of the request, so what is sent here is right
//! exactly when the scheme is. Only what has a shared secret can be signed: of a public key the other half is the
//! sender's.

use super::super::delivery::{Delivery, Proof};
use super::super::mac;
use super::super::mesh::Failure;
use super::read;
use crate::config::checked::{HmacEncoding, HmacPart, Sender, SenderKind};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};

/// A signed delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its fields.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// There is no secret to sign with.
    #[error("only the sender has the key that signs for this route")]
    NoSecret,
    /// The scheme reads no text out of it.
    #[error("the sample cannot be signed")]
    Unread(#[from] Failure),
}

/// Makes a delivery to `origin` and `target`. `id` tells it from others.
///
/// # Errors
/// [`SampleError`].
pub fn sample(
    sender: &Sender,
    (origin, target): (&str, &str),
    now_unix: u64,
    id: &str,
) -> Result<Sample, SampleError> {
    let draft = draft(sender, now_unix, id)?;
    let mut fields = HeaderMap::new();
    for (name, value) in &draft.fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            fields.insert(name, value);
        }
    }
    let delivery = Delivery { method: "POST", origin, target, fields: &fields, body: &draft.body, now_unix };
    let statement = read(sender, &delivery)?;
    let text: Vec<u8> = statement.texts.first().map(|text| text.concat()).unwrap_or_default();
    let algorithm = match draft.proof {
        Proof::Mac(algorithm) => algorithm,
        // The token stands in the draft.
        Proof::Token | Proof::Ed25519 => return Ok(Sample { fields: draft.fields, body: draft.body }),
    };
    let tag = mac::tag(algorithm, draft.secret, [&*text]);
    let mut fields = draft.fields;
    if let Some(field) = fields.last_mut() {
        field.1 = field.1.replace(PLACE, &(draft.write)(&tag));
    }
    Ok(Sample { fields, body: draft.body })
}

/// Where the signature goes.
const PLACE: &str = "<signature>";

/// A delivery without its signature; the last field is the one with its place.
struct Draft<'s> {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    secret: &'s Secret,
    proof: Proof,
    write: fn(&[u8]) -> String,
}

fn hex(tag: &[u8]) -> String {
    ::hex::encode(tag)
}

fn base64(tag: &[u8]) -> String {
    STANDARD.encode(tag)
}

fn base64url(tag: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(tag)
}

fn draft<'s>(sender: &'s Sender, now: u64, id: &str) -> Result<Draft<'s>, SampleError> {
    use crate::config::checked::HmacAlgorithm::{Sha1, Sha256};
    let json = |body: serde_json::Value| body.to_string().into_bytes();
    let test = || json(serde_json::json!({ "id": id, "test": true }));
    let typed = |fields: &[(&str, String)]| {
        let kind = ("content-type".to_owned(), "application/json".to_owned());
        let given = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        std::iter::once(kind).chain(given).collect::<Vec<_>>()
    };
    let at = now.to_string();
    let first = |secrets: &'s [Secret]| secrets.first().ok_or(SampleError::NoSecret);
    Ok(match &sender.kind {
        SenderKind::Github { secrets } => Draft {
            fields: typed(&[
                ("x-github-event", "ping".into()),
                ("x-hub-signature-256", format!("sha256={PLACE}")),
            ]),
            body: json(serde_json::json!({ "zen": "Design for failure.", "hook_id": id })),
            secret: first(secrets)?,
            proof: Proof::Mac(Sha256),
            write: hex,
        },
        SenderKind::Slack { secrets } => Draft {
            fields: typed(&[("x-slack-request-timestamp", at), ("x-slack-signature", format!("v0={PLACE}"))]),
            body: json(serde_json::json!({ "type": "event_callback", "event_id": id, "event": {} })),
            secret: first(secrets)?,
            proof: Proof::Mac(Sha256),
            write: hex,
        },
        SenderKind::Stripe { secrets } => Draft {
            fields: typed(&[("stripe-signature", format!("t={at},v1={PLACE}"))]),
            body: json(serde_json::json!({ "id": id, "object": "event", "type": "test" })),
            secret: first(secrets)?,
            proof: Proof::Mac(Sha256),
            write: hex,
        },
        SenderKind::StandardWebhooks { secrets, .. } => Draft {
            fields: typed(&[
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", at),
                ("webhook-signature", format!("v1,{PLACE}")),
            ]),
            body: test(),
            secret: first(secrets)?,
            proof: Proof::Mac(Sha256),
            write: base64,
        },
        SenderKind::Telegram { secrets } => {
            let secret = first(secrets)?;
            let token = String::from_utf8_lossy(secret.expose()).into_owned();
            Draft {
                fields: typed(&[(super::SECRET_FIELD, token)]),
                body: json(serde_json::json!({ "update_id": now, "message": { "text": id } })),
                secret,
                proof: Proof::Token,
                write: hex,
            }
        }
        SenderKind::Shopify { secrets } => Draft {
            fields: typed(&[("x-shopify-hmac-sha256", PLACE.to_owned())]),
            body: test(),
            secret: first(secrets)?,
            proof: Proof::Mac(Sha256),
            write: base64,
        },
        SenderKind::Twilio { secrets } => Draft {
            fields: vec![
                ("content-type".into(), "application/x-www-form-urlencoded".into()),
                ("x-twilio-signature".into(), PLACE.into()),
            ],
            body: format!("MessageSid={id}&Body=test").into_bytes(),
            secret: first(secrets)?,
            proof: Proof::Mac(Sha1),
            write: base64,
        },
        SenderKind::GenericHmac { secrets, hmac } => {
            let mut given: Vec<(String, String)> = typed(&[]);
            given.extend(hmac.timestamp_header.iter().map(|name| (name.to_string(), at.clone())));
            given.extend(hmac.id_header.iter().map(|name| (name.to_string(), id.to_owned())));
            let named = hmac.signed.iter().filter_map(|part| match part {
                HmacPart::Header(name) => Some((name.to_string(), "test".to_owned())),
                HmacPart::Literal(_)
                | HmacPart::Body
                | HmacPart::Timestamp
                | HmacPart::Id
                | HmacPart::Method
                | HmacPart::Path
                | HmacPart::Query
                | HmacPart::Url => None,
            });
            let named: Vec<_> = named.filter(|(name, _)| name != "content-type").collect();
            given.extend(named);
            given.push((hmac.header.to_string(), format!("{}{PLACE}", hmac.prefix)));
            let write = match hmac.encoding {
                HmacEncoding::Hex => hex,
                HmacEncoding::Base64 => base64,
                HmacEncoding::Base64url => base64url,
            };
            Draft {
                fields: given,
                body: test(),
                secret: first(secrets)?,
                proof: Proof::Mac(hmac.algorithm),
                write,
            }
        }
        SenderKind::Discord { .. } | SenderKind::HttpSignatures(_) => return Err(SampleError::NoSecret),
    })
}
