//! Who may sign HTTP messages, and what their signatures must cover.

use super::check_identity::public_key;
use super::check_verify::long;
use super::checked::{HttpSignatures, Signer, SignerKey, WEB_BOT_AUTH};
use super::checker::{Checker, shown};
use super::tree::Spot;
use super::{Surroundings, raw, secrets};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};

/// What makes a request one request.
const USUAL: &[&str] = &["@method", "@authority", "@path", "@query", "content-digest"];
/// What the edge can put into a signed text, beside fields.
const DERIVED: &[&str] =
    &["@method", "@authority", "@scheme", "@target-uri", "@request-target", "@path", "@query"];

pub(super) fn check(
    raw: &raw::Verify,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<HttpSignatures> {
    if raw.signers.is_empty() {
        let hint = "`signers: [{ id: KEYID, public_key: { file: path } }]`";
        checker.lacks(spot, "this scheme needs `signers`", hint);
    }
    let mut signers: Vec<Signer> = Vec::new();
    for (at, one) in raw.signers.iter().enumerate() {
        let spot = spot.key("signers").item(at);
        let Some(signer) = signer(one, spot, around, checker) else { continue };
        if signers.iter().any(|known| known.id == signer.id) {
            checker.problem(spot.at, "two signers have this id: give each key an id of its own");
        }
        signers.push(signer);
    }
    let components = components(raw, spot.key("components"), checker);
    (!signers.is_empty()).then(|| HttpSignatures { signers, components, tag: raw.tag.clone() })
}

fn signer(
    raw: &raw::Signer,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Signer> {
    let (key, default) = match (&raw.public_key, &raw.secret) {
        (Some(key), None) => {
            let key = public_key(key, spot.key("public_key"), checker)?;
            (SignerKey::Ed25519(key), Some(thumbprint(&key)))
        }
        (None, Some(source)) => {
            let spot = spot.key("secret");
            let secret = secrets::resolve(source, spot, around, checker)?;
            let told =
                long(&secret).inspect_err(|error| checker.hinted(spot.at, error.to_string(), error.hint()));
            (SignerKey::HmacSha256(told.ok()?), None)
        }
        (Some(_), Some(_)) | (None, None) => {
            checker.lacks(
                spot,
                "a signer has one of `public_key` and `secret`",
                "`public_key: { file: path }`",
            );
            return None;
        }
    };
    let id = raw.id.clone().or(default);
    if id.is_none() {
        checker.lacks(
            spot,
            "a signer with a `secret` needs an `id`",
            "`id: KEYID`, as its signatures name it",
        );
    }
    Some(Signer { id: id?, key })
}

/// SHA-256 over the key as RFC 7638 and RFC 8037 write it: a name that a key has by itself.
#[must_use]
pub fn thumbprint(key: &VerifyingKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
}

fn components(raw: &raw::Verify, spot: Spot<'_>, checker: &mut Checker) -> Vec<String> {
    if raw.components.is_empty() {
        let is_bot = raw.tag.as_deref() == Some(WEB_BOT_AUTH);
        return if is_bot { vec!["@authority".to_owned()] } else { usual_components() };
    }
    for (at, name) in raw.components.iter().enumerate() {
        is_component(name, spot.item(at), checker);
    }
    raw.components.clone()
}

/// What makes a request one request.
pub(super) fn usual_components() -> Vec<String> {
    USUAL.iter().map(|&name| name.to_owned()).collect()
}

/// Whether the edge can put this into a signed text.
pub(super) fn is_component(name: &str, spot: Spot<'_>, checker: &mut Checker) -> bool {
    let is_field = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_good = DERIVED.contains(&name) || is_field && is_lower && !name.starts_with('@');
    if !is_good {
        let hint = format!("a field's name in lower case, or one of {}", DERIVED.join(", "));
        checker.hinted(spot.at, shown(spot, "this cannot be covered:", name), hint);
    }
    is_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprints_of_rfc_8037_come_out_as_published() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/rfc8037_jws_rfc7638_thumbprint.json"))
                .unwrap();
        for case in [
            (&vectors["jwk"]["x"], &vectors["thumbprint_sha256"]),
            (&vectors["second"]["x"], &vectors["second"]["thumbprint_sha256"]),
        ] {
            let bytes = URL_SAFE_NO_PAD.decode(case.0.as_str().unwrap()).unwrap();
            let key = VerifyingKey::from_bytes(&bytes.try_into().unwrap()).unwrap();
            assert_eq!(thumbprint(&key), case.1.as_str().unwrap());
        }
    }
}
