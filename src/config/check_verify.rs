//! What must be signed: which keys go with which scheme, secrets and public keys in their sender's own form,
//! and the signed text of a generic HMAC.
//!
//! No secret and no key is ever shown: what stands in its place by mistake may be one.

use super::checked::{
    Envelope, Hmac, HmacPart, MeshRules, OnFailure, Replay, ReplayAnswer, ReplayCache, Scheme, Sender,
    SenderKind, Verify,
};
use super::checker::{Checker, shown};
use super::problems::did_you_mean;
use super::tree::Spot;
use super::{Surroundings, check_signers, raw, secrets};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// What senders' own libraries allow.
const TOLERANCE: Duration = Duration::from_mins(5);
/// Shortest shared secret: senders that make one make at least 24 characters.
const SHORTEST_SECRET: usize = 16;
/// Most secrets or keys at once.
const MOST_KEYS: usize = 8;

/// The names in a signed text.
const PLACES: &[(&str, HmacPart)] = &[
    ("body", HmacPart::Body),
    ("timestamp", HmacPart::Timestamp),
    ("id", HmacPart::Id),
    ("method", HmacPart::Method),
    ("path", HmacPart::Path),
    ("query", HmacPart::Query),
    ("url", HmacPart::Url),
];

pub(super) fn check(
    raw: &raw::Verify,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Arc<Verify>> {
    strangers(raw, spot, checker);
    let public_url = match &raw.public_url {
        Some(url) => Some(public_url(url, spot.key("public_url"), checker)?),
        None => None,
    };
    let hook_token = match &raw.hook_token {
        Some(source) => Some(bearer(source, spot.key("hook_token"), around, checker)?),
        None => None,
    };
    let scheme = match raw.scheme {
        raw::Scheme::Mesh => Scheme::Mesh(mesh(raw, spot, checker)?),
        _ => Scheme::Sender(Box::new(sender(raw, spot, around, checker)?)),
    };
    let replay = replay(raw, spot, checker).ok()?;
    let setup_calls = raw.setup_calls.unwrap_or_default();
    Some(Arc::new(Verify { name: raw.scheme.as_str(), scheme, public_url, setup_calls, replay, hook_token }))
}

/// Keys of other schemes: they would do nothing, and an operator would think that they do.
fn strangers(raw: &raw::Verify, spot: Spot<'_>, checker: &mut Checker) {
    use raw::Scheme::{Discord, GenericHmac, HttpSignatures, Mesh, Slack, StandardWebhooks, Stripe, Twilio};
    let scheme = raw.scheme;
    for key in spot.keys() {
        let fits = match key {
            "secret" | "secrets" => !matches!(scheme, Mesh | Discord | HttpSignatures),
            "signers" | "components" | "tag" => scheme == HttpSignatures,
            "public_keys" => matches!(scheme, Discord | StandardWebhooks),
            "freshness" => match scheme {
                GenericHmac => raw.hmac.as_ref().is_some_and(|hmac| hmac.timestamp_header.is_some()),
                _ => matches!(scheme, Mesh | Slack | Stripe | StandardWebhooks | Discord | HttpSignatures),
            },
            "public_url" => matches!(scheme, Twilio | GenericHmac | HttpSignatures),
            "setup_calls" => matches!(scheme, Slack | Discord),
            "hmac" => scheme == GenericHmac,
            "mode" | "on_failure" | "envelope" | "canonical" => scheme == Mesh,
            _ => true,
        };
        if !fits {
            let message = format!("`{key}` does not go with the scheme `{}`", scheme.as_str());
            checker.problem(spot.key_at(key), message);
        }
    }
}

/// Something is wrong, and the checker was told.
struct Told;

/// Off by default for mesh messages alone: nodes say again what they said before.
fn replay(raw: &raw::Verify, spot: Spot<'_>, checker: &mut Checker) -> Result<Option<Replay>, Told> {
    let default = match raw.scheme {
        raw::Scheme::Mesh => ReplayAnswer::Off,
        _ => ReplayAnswer::Duplicate,
    };
    let answer = raw.replay.unwrap_or(default);
    let keep = checker
        .duration(spot.key("replay_keep"), raw.replay_keep.as_deref(), 3 * DAY, (SECOND, 31 * DAY))
        .ok_or(Told)?;
    if answer == ReplayAnswer::Off && raw.replay_keep.is_some() {
        checker.hinted(spot.key_at("replay_keep"), "nothing is remembered here", "add `replay: duplicate`");
    }
    Ok((answer != ReplayAnswer::Off).then_some(Replay { answer, keep }))
}

/// The cache's own bounds.
pub(super) fn cache(raw: &raw::ReplayCache, spot: Spot<'_>, checker: &mut Checker) -> Option<ReplayCache> {
    let max = checker.number(spot.key("max_per_tenant"), raw.max_per_tenant, 200_000, (1, 10_000_000));
    Some(ReplayCache { max_per_tenant: max?, sync: raw.sync })
}

fn mesh(raw: &raw::Verify, spot: Spot<'_>, checker: &mut Checker) -> Option<MeshRules> {
    if raw.on_failure == OnFailure::Drop && raw.envelope != Envelope::None {
        let at = spot.key_at("on_failure");
        let hint = "use `on_failure: reject`";
        checker.hinted(at, "nothing can be dropped from inside an envelope", hint);
    }
    let freshness = match raw.freshness.as_deref() {
        Some(text) => {
            Some(checker.duration(spot.key("freshness"), Some(text), SECOND, (SECOND, 31 * DAY))?)
        }
        None => None,
    };
    let (mode, on_failure, envelope) = (raw.mode, raw.on_failure, raw.envelope);
    Some(MeshRules { mode, on_failure, envelope, freshness, canonical: raw.canonical })
}

fn sender(
    raw: &raw::Verify,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Sender> {
    let freshness = raw.freshness.as_deref();
    let tolerance = checker.duration(spot.key("freshness"), freshness, TOLERANCE, (SECOND, DAY));
    let secrets = shared(raw, spot, around, checker);
    let keys = public_keys(raw, spot, checker);
    let hmac = match &raw.hmac {
        Some(hmac) => Some(generic(hmac, spot.key("hmac"), checker)?),
        None => None,
    };
    let (secrets, keys) = (secrets?, keys?);
    if raw.scheme == raw::Scheme::HttpSignatures {
        let rules = check_signers::check(raw, spot, around, checker)?;
        return Some(Sender { kind: SenderKind::HttpSignatures(rules), tolerance: tolerance? });
    }
    if secrets.is_empty() && keys.is_empty() {
        let (message, hint) = match raw.scheme {
            raw::Scheme::Discord => ("this scheme needs `public_keys`", "`public_keys: [ <hex> ]`"),
            _ => ("this scheme needs a `secret`", "`secret: { env: NAME }` or `secret: { file: path }`"),
        };
        checker.lacks(spot, message, hint);
        return None;
    }
    let kind = match raw.scheme {
        // Taken care of by the caller.
        raw::Scheme::Mesh | raw::Scheme::HttpSignatures => return None,
        raw::Scheme::Github => SenderKind::Github { secrets },
        raw::Scheme::Slack => SenderKind::Slack { secrets },
        raw::Scheme::Stripe => SenderKind::Stripe { secrets },
        raw::Scheme::StandardWebhooks => SenderKind::StandardWebhooks { secrets, keys },
        raw::Scheme::Discord => SenderKind::Discord { keys },
        raw::Scheme::Telegram => SenderKind::Telegram { secrets },
        raw::Scheme::Shopify => SenderKind::Shopify { secrets },
        raw::Scheme::Twilio => SenderKind::Twilio { secrets },
        raw::Scheme::GenericHmac => {
            let Some(hmac) = hmac else {
                checker.lacks(spot, "this scheme needs `hmac`", "`hmac: { header: X-Signature }`");
                return None;
            };
            SenderKind::GenericHmac { secrets, hmac }
        }
    };
    Some(Sender { kind, tolerance: tolerance? })
}

/// All secrets, in the form in which they are used.
fn shared(
    raw: &raw::Verify,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Vec<Secret>> {
    let one = raw.secret.iter().map(|source| (source, spot.key("secret")));
    let many = raw.secrets.iter().enumerate().map(|(at, source)| (source, spot.key("secrets").item(at)));
    let all: Vec<_> = one.chain(many).collect();
    if all.len() > MOST_KEYS {
        checker.problem(spot.at, format!("these are too many secrets; at most {MOST_KEYS}"));
    }
    let mut secrets = Vec::new();
    for (source, spot) in &all {
        let Some(secret) = secrets::resolve(source, *spot, around, checker) else { continue };
        match usable(raw.scheme, &secret) {
            Ok(secret) => secrets.push(secret),
            Err(error) => checker.hinted(spot.at, error.to_string(), error.hint()),
        }
    }
    (secrets.len() == all.len()).then_some(secrets)
}

/// Why a secret or key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("this secret is weak: it is shorter than {SHORTEST_SECRET} characters")]
    Short,
    #[error("this is no secret of Standard Webhooks")]
    Standard,
    #[error("a private key stands here; only its public half belongs here")]
    Private,
    #[error("this secret has characters that Telegram does not send")]
    Telegram,
    #[error("this is no public key of the sender")]
    Public,
    #[error("this key is weak: anyone can sign for it")]
    Weak,
}

impl KeyError {
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Short => "make a longer one at the sender: `openssl rand -hex 32`",
            Self::Standard => "`whsec_` and base64 of 24 to 64 bytes, as the sender shows it",
            Self::Private => "`whpk_` and base64 of 32 bytes",
            Self::Telegram => "1 to 256 of `A-Z a-z 0-9 _ -`",
            Self::Public => {
                "Discord's as 64 hex digits, Standard Webhooks' as `whpk_` and base64 of 32 bytes"
            }
            Self::Weak => "make a new key pair at the sender",
        }
    }
}

fn usable(scheme: raw::Scheme, secret: &Secret) -> Result<Secret, KeyError> {
    let bytes = secret.expose();
    match scheme {
        raw::Scheme::StandardWebhooks => {
            if bytes.starts_with(b"whsk_") {
                return Err(KeyError::Private);
            }
            let text = bytes.strip_prefix(b"whsec_").unwrap_or(bytes);
            let key = STANDARD.decode(text).map_err(|_| KeyError::Standard)?;
            if (24..=64).contains(&key.len()) { Ok(Secret::new(key)) } else { Err(KeyError::Standard) }
        }
        raw::Scheme::Telegram => {
            let is_sent = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            if bytes.len() > 256 || !bytes.iter().all(is_sent) {
                return Err(KeyError::Telegram);
            }
            long(secret)
        }
        raw::Scheme::Mesh
        | raw::Scheme::Github
        | raw::Scheme::Slack
        | raw::Scheme::Stripe
        | raw::Scheme::Discord
        | raw::Scheme::Shopify
        | raw::Scheme::Twilio
        | raw::Scheme::HttpSignatures
        | raw::Scheme::GenericHmac => long(secret),
    }
}

pub(super) fn long(secret: &Secret) -> Result<Secret, KeyError> {
    if secret.expose().len() < SHORTEST_SECRET { Err(KeyError::Short) } else { Ok(secret.clone()) }
}

fn public_keys(raw: &raw::Verify, spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<VerifyingKey>> {
    let mut keys = Vec::new();
    if raw.public_keys.len() > MOST_KEYS {
        checker.problem(spot.key("public_keys").at, format!("these are too many keys; at most {MOST_KEYS}"));
    }
    for (at, key) in raw.public_keys.iter().enumerate() {
        let spot = spot.key("public_keys").item(at);
        let text = match key {
            raw::PublicKey::File(source) => secrets::public_text(&source.file, spot.key("file"), checker),
            raw::PublicKey::Inline(text) => Some(text.clone()),
        };
        let Some(text) = text else { continue };
        match public_key(raw.scheme, text.trim()) {
            Ok(key) => keys.push(key),
            Err(error) => checker.hinted(spot.at, error.to_string(), error.hint()),
        }
    }
    (keys.len() == raw.public_keys.len()).then_some(keys)
}

fn public_key(scheme: raw::Scheme, text: &str) -> Result<VerifyingKey, KeyError> {
    if text.starts_with("whsk_") {
        return Err(KeyError::Private);
    }
    let bytes = if scheme == raw::Scheme::Discord {
        hex::decode(text).ok()
    } else {
        text.strip_prefix("whpk_").and_then(|text| STANDARD.decode(text).ok())
    };
    let bytes: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(KeyError::Public)?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Public)?;
    if key.is_weak() { Err(KeyError::Weak) } else { Ok(key) }
}

/// `http(s)://host[:port]`, without anything behind.
pub(super) fn public_url(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<String> {
    let bare = text.strip_suffix('/').unwrap_or(text);
    let uri = bare.parse::<http::Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|host| !host.as_str().contains('@'))
            && uri.path() == "/"
            && uri.query().is_none()
            && !bare.ends_with('/')
    });
    if uri.is_none() {
        let hint = "scheme, host and port alone, such as `https://hooks.example.com`";
        checker.hinted(spot.at, shown(spot, "this is no public URL:", text), hint);
    }
    uri.map(|_| bare.to_owned())
}

fn bearer(
    source: &raw::SecretSource,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<HeaderValue> {
    let token = secrets::resolve(source, spot, around, checker)?;
    let value = HeaderValue::from_bytes(&[b"Bearer ", token.expose()].concat());
    let Ok(mut value) = value else {
        checker.problem(spot.at, "this token has characters that no header field takes");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

fn generic(raw: &raw::Hmac, spot: Spot<'_>, checker: &mut Checker) -> Option<Hmac> {
    let header = field(&raw.header, spot.key("header"), checker);
    let timestamp_header = optional(raw.timestamp_header.as_deref(), spot.key("timestamp_header"), checker);
    let id_header = optional(raw.id_header.as_deref(), spot.key("id_header"), checker);
    let signed = signed(raw.signed.as_deref().unwrap_or("{body}"), spot.key("signed"), checker)?;
    let has = |part: &HmacPart| signed.contains(part);
    if !has(&HmacPart::Body) {
        let hint = "put `{body}` into `signed`";
        checker.hinted(spot.key("signed").at, "the signature would not cover the body", hint);
    }
    let pairs = [
        ("timestamp_header", raw.timestamp_header.is_some(), "{timestamp}", has(&HmacPart::Timestamp)),
        ("id_header", raw.id_header.is_some(), "{id}", has(&HmacPart::Id)),
    ];
    for (key, is_set, place, is_signed) in pairs {
        if is_set != is_signed {
            let message =
                format!("`{key}` and `{place}` in `signed` go together: what is not signed proves nothing");
            checker.problem(spot.at, message);
        }
    }
    if raw.separator.as_deref().is_some_and(str::is_empty) {
        checker.problem(spot.key("separator").at, "an empty text separates nothing");
    }
    Some(Hmac {
        header: header?,
        algorithm: raw.algorithm,
        encoding: raw.encoding,
        prefix: raw.prefix.clone(),
        separator: raw.separator.clone(),
        signed,
        timestamp_header: timestamp_header.ok()?,
        id_header: id_header.ok()?,
    })
}

fn optional(text: Option<&str>, spot: Spot<'_>, checker: &mut Checker) -> Result<Option<HeaderName>, Told> {
    text.map(|text| field(text, spot, checker).ok_or(Told)).transpose()
}

fn field(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        checker.problem(spot.at, shown(spot, "this is no name of a header field:", text));
    }
    name
}

fn signed(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<HmacPart>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(HmacPart::Literal(rest[..open].to_owned()));
        }
        let Some(close) = rest[open..].find('}') else {
            checker.problem(spot.at, shown(spot, "a `{` is not closed in", text));
            return None;
        };
        let name = &rest[open + 1..open + close];
        rest = &rest[open + close + 1..];
        parts.push(match name.strip_prefix("header:") {
            Some(header) => HmacPart::Header(field(header, spot, checker)?),
            None => place(name, spot, checker)?,
        });
    }
    if !rest.is_empty() {
        parts.push(HmacPart::Literal(rest.to_owned()));
    }
    Some(parts)
}

fn place(name: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<HmacPart> {
    let found = PLACES.iter().find(|(known, _)| *known == name).map(|(_, part)| part.clone());
    if found.is_none() {
        let hint = did_you_mean(name, PLACES.iter().map(|(known, _)| *known));
        checker.told(spot.at, shown(spot, "there is nothing to sign that is called", name), hint);
    }
    found
}

#[cfg(test)]
#[path = "check_verify_tests.rs"]
mod tests;
