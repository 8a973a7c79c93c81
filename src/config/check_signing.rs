//! The edge's own keys, and which routes sign with them: each tenant that can call must have the key.
//!
//! No key is ever shown.

use super::check_identity::Identity;
use super::check_signers::{is_component, usual_components};
use super::check_verify::{long, public_url};
use super::checked::{Access, Sign, SignScheme, SigningKey, SigningSecret};
use super::checker::{Checker, shown};
use super::problems::did_you_mean;
use super::tree::Spot;
use super::{Surroundings, raw, secrets, thumbprint};
use crate::ids::{Name, TenantId};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// Longest name of a key.
const LONGEST_ID: usize = 128;

pub(super) fn keys(
    raw: &raw::Config,
    top: Spot<'_>,
    identity: &Identity<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Vec<Arc<SigningKey>> {
    let mut keys: Vec<Arc<SigningKey>> = Vec::new();
    for (index, one) in raw.signing_keys.iter().enumerate() {
        let spot = top.key("signing_keys").item(index);
        let Some(key) = key(one, spot, identity, around, checker) else { continue };
        if keys.iter().any(|other| other.tenant == key.tenant && other.name == key.name) {
            let message = format!("the tenant `{}` has a signing key `{}` already", key.tenant, key.name);
            checker.hinted(spot.at, message, "give this one another `name`");
        }
        keys.push(Arc::new(key));
    }
    keys
}

fn key(
    raw: &raw::SigningKey,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<SigningKey> {
    let tenant = checker.tenant(spot.key("tenant"), &raw.tenant, &identity.known);
    let name = checker.name(spot.key("name"), "the name", &raw.name);
    let (key, default) = match (&raw.private_key, &raw.secret) {
        (Some(source), None) => {
            let spot = spot.key("private_key");
            let pem = secrets::resolve(source, spot, around, checker)?;
            let text = std::str::from_utf8(pem.expose()).unwrap_or_default().trim();
            let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(text) else {
                let hint = "`openclaw-edge keygen --out edge.pem` makes one";
                checker.hinted(spot.at, "this is no Ed25519 private key as PKCS#8 PEM", hint);
                return None;
            };
            let id = thumbprint(&key.verifying_key());
            (SigningSecret::Ed25519(Box::new(key)), id)
        }
        (None, Some(source)) => {
            let spot = spot.key("secret");
            let secret = secrets::resolve(source, spot, around, checker)?;
            let told =
                long(&secret).inspect_err(|error| checker.hinted(spot.at, error.to_string(), error.hint()));
            (SigningSecret::Hmac(told.ok()?), raw.name.clone())
        }
        (Some(_), Some(_)) | (None, None) => {
            let hint = "`private_key: { file: path }`";
            checker.lacks(spot, "a signing key has one of `private_key` and `secret`", hint);
            return None;
        }
    };
    let id = raw.id.clone().unwrap_or(default);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',');
    if !((1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_plain)) {
        checker.problem(spot.key("id").at, shown(spot.key("id"), "this is no key's id:", &id));
        return None;
    }
    Some(SigningKey { tenant: tenant?, name: name?, id, key })
}

/// What a route signs.
pub(super) fn sign(
    raw: &raw::Sign,
    spot: Spot<'_>,
    access: &Access,
    identity: &Identity<'_>,
    keys: &[Arc<SigningKey>],
    checker: &mut Checker,
) -> Option<Arc<Sign>> {
    strangers(raw, spot, checker);
    let public_url = match &raw.public_url {
        Some(url) => Some(public_url(url, spot.key("public_url"), checker)?),
        None => None,
    };
    let (name, scheme) = match raw.scheme {
        raw::SignScheme::Mesh => ("mesh", SignScheme::Mesh(raw.canonical)),
        raw::SignScheme::StandardWebhooks => ("standard-webhooks", SignScheme::StandardWebhooks),
        raw::SignScheme::HttpSignatures => {
            ("http-signatures", request(raw, spot, public_url.as_ref(), checker)?)
        }
    };
    let mut found = HashMap::new();
    for tenant in callers(access, identity) {
        let key = of(&tenant, &raw.key, keys, spot.key("key"), spot, checker)?;
        found.insert(tenant, in_form(&key, &scheme, spot, checker)?);
    }
    Some(Arc::new(Sign { name, scheme, keys: found, public_url }))
}

/// The signing key of a tenant.
pub(super) fn of(
    tenant: &TenantId,
    name: &str,
    keys: &[Arc<SigningKey>],
    at: Spot<'_>,
    around: Spot<'_>,
    checker: &mut Checker,
) -> Option<Arc<SigningKey>> {
    let found = keys.iter().find(|key| key.tenant == *tenant && key.name.as_str() == name);
    if found.is_none() {
        let own = keys.iter().filter(|key| key.tenant == *tenant).map(|key| key.name.as_str());
        let hint = did_you_mean(name, own).unwrap_or_else(|| {
            format!("`signing_keys: [{{ tenant: {tenant}, private_key: {{ file: path }} }}]`")
        });
        let place = if Name::parse(name).is_ok() && at.at != around.at { at } else { around };
        checker.hinted(place.at, format!("the tenant `{tenant}` has no signing key `{name}`"), hint);
    }
    found.cloned()
}

fn callers(access: &Access, identity: &Identity<'_>) -> Vec<TenantId> {
    match access {
        Access::Public => Vec::new(),
        Access::Signature(tenant) => vec![tenant.clone()],
        Access::Credential(scopes) => {
            let able = identity
                .credentials
                .iter()
                .filter(|one| scopes.iter().all(|scope| one.scopes.contains(scope)));
            let mut tenants: Vec<TenantId> = able.map(|one| one.tenant.clone()).collect();
            tenants.sort_unstable();
            tenants.dedup();
            tenants
        }
    }
}

/// A key as the scheme uses it.
fn in_form(
    key: &Arc<SigningKey>,
    scheme: &SignScheme,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<Arc<SigningKey>> {
    match (scheme, &key.key) {
        (SignScheme::Mesh(_), SigningSecret::Hmac(_)) => {
            let message = format!(
                "the signing key `{}` of `{}` is a secret; messages want a `private_key`",
                key.name, key.tenant
            );
            checker.problem(spot.at, message);
            None
        }
        (SignScheme::StandardWebhooks, SigningSecret::Hmac(secret)) => {
            let text = secret.expose();
            let bytes = STANDARD.decode(text.strip_prefix(b"whsec_").unwrap_or(text)).ok();
            let Some(bytes) = bytes.filter(|bytes| (24..=64).contains(&bytes.len())) else {
                let message = format!(
                    "the signing key `{}` of `{}` is no secret of Standard Webhooks",
                    key.name, key.tenant
                );
                checker.hinted(spot.at, message, "`whsec_` and base64 of 24 to 64 bytes");
                return None;
            };
            let (tenant, name, id) = (key.tenant.clone(), key.name.clone(), key.id.clone());
            Some(Arc::new(SigningKey { tenant, name, id, key: SigningSecret::Hmac(Secret::new(bytes)) }))
        }
        (_, SigningSecret::Ed25519(_)) | (SignScheme::HttpSignatures { .. }, SigningSecret::Hmac(_)) => {
            Some(key.clone())
        }
    }
}

fn request(
    raw: &raw::Sign,
    spot: Spot<'_>,
    public_url: Option<&String>,
    checker: &mut Checker,
) -> Option<SignScheme> {
    let mut all_good = true;
    for (at, name) in raw.components.iter().enumerate() {
        let spot = spot.key("components").item(at);
        all_good &= is_component(name, spot, checker);
        if matches!(name.as_str(), "@scheme" | "@target-uri") && public_url.is_none() {
            let hint = "add `public_url`, or cover `@authority` and `@path`";
            checker.hinted(spot.at, "the edge does not know by which scheme the receiver is reached", hint);
        }
    }
    let is_plain =
        |tag: &String| tag.bytes().all(|byte| (0x20..0x7F).contains(&byte) && !matches!(byte, b'"' | b'\\'));
    if raw.tag.as_ref().is_some_and(|tag| !is_plain(tag)) {
        checker.problem(spot.key("tag").at, "this tag has characters that a signature cannot carry");
        all_good = false;
    }
    let expires = match raw.expires.as_deref() {
        Some(text) => Some(checker.duration(spot.key("expires"), Some(text), SECOND, (SECOND, 31 * DAY))?),
        None => None,
    };
    let components = if raw.components.is_empty() { usual_components() } else { raw.components.clone() };
    all_good.then(|| SignScheme::HttpSignatures { components, tag: raw.tag.clone(), expires })
}

/// Keys of other schemes would do nothing, and an operator would think that they do.
fn strangers(raw: &raw::Sign, spot: Spot<'_>, checker: &mut Checker) {
    for key in spot.keys() {
        let fits = match key {
            "canonical" => raw.scheme == raw::SignScheme::Mesh,
            "components" | "tag" | "expires" => raw.scheme == raw::SignScheme::HttpSignatures,
            _ => true,
        };
        if !fits {
            checker.problem(spot.key_at(key), format!("`{key}` does not go with this scheme"));
        }
    }
}
