//! Whom a store believes: a secret that it shares with the edge, or keys of its own.

use super::SHORTEST_SECRET;
use super::raw::{RawKey, RawRights, RawTrust};
use crate::config::checker::{Checker, shown};
use crate::config::raw::SecretSource;
use crate::config::tree::Spot;
use crate::config::{Surroundings, secrets};
use crate::ids::{CredentialId, TenantId};
use crate::secret::Secret;
use crate::store::access::{ApiKey, Rights, Trust};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// What the operator means.
pub(super) fn trust(
    raw: &RawTrust,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Trust> {
    match (&raw.shared_secret, &raw.api_keys) {
        (Some(source), None) => {
            secret(source, spot.key("shared_secret"), checker, around).map(Trust::SharedSecret)
        }
        (None, Some(raw)) => Some(Trust::api_keys(api_keys(raw, spot.key("api_keys"), checker, around))),
        (Some(_), Some(_)) => {
            checker.problem(
                spot.key_at("api_keys"),
                "`trust` is either `shared_secret` or `api_keys`, not both",
            );
            None
        }
        (None, None) => {
            checker.problem(spot.at, "`trust` needs `shared_secret` or `api_keys`");
            None
        }
    }
}

fn api_keys(raw: &[RawKey], all: Spot<'_>, checker: &mut Checker, around: Surroundings<'_>) -> Vec<ApiKey> {
    let (mut ids, mut hashes) = (HashSet::new(), HashSet::new());
    let mut keys = Vec::new();
    for (index, one) in raw.iter().enumerate() {
        let spot = all.item(index);
        let Some(key) = api_key(one, spot, checker, around) else { continue };
        if !ids.insert(key.id.clone()) {
            checker.problem(spot.key("id").at, shown(spot.key("id"), "two keys are called", &one.id));
        }
        if !hashes.insert(key.hash) {
            checker.hinted(spot.at, "another entry has the same key", "give each entry a key of its own");
        }
        keys.push(key);
    }
    if raw.is_empty() {
        checker.problem(all.at, "there are no keys, so nobody could call");
    }
    keys
}

fn api_key(raw: &RawKey, spot: Spot<'_>, checker: &mut Checker, around: Surroundings<'_>) -> Option<ApiKey> {
    let id = checker.id(spot.key("id"), "the id", &raw.id, CredentialId::parse);
    let tenant = checker.id(spot.key("tenant"), "the tenant", &raw.tenant, TenantId::parse);
    let hash = match (&raw.hash, &raw.secret) {
        (Some(hash), None) => {
            let parsed = parse_hash(hash);
            if parsed.is_none() {
                // Not shown: it may be the key itself, put in the wrong place.
                checker.hinted(
                    spot.key("hash").at,
                    "this is no hash of a key",
                    "`sha256:` and 64 hexadecimal digits",
                );
            }
            parsed
        }
        (None, Some(source)) => secret(source, spot.key("secret"), checker, around)
            .map(|secret| Sha256::digest(secret.expose()).into()),
        (Some(_), Some(_)) => {
            checker.problem(spot.key_at("secret"), "a key has either `hash` or `secret`, not both");
            None
        }
        (None, None) => {
            checker.problem(spot.at, "a key needs `hash` or `secret`");
            None
        }
    };
    let rights = match raw.access {
        RawRights::Read => Rights::Read,
        RawRights::Write => Rights::Write,
        RawRights::Admin => Rights::Admin,
    };
    Some(ApiKey { id: id?, tenant: tenant?, hash: hash?, rights })
}

fn secret(
    source: &SecretSource,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Secret> {
    let secret = secrets::resolve(source, spot, around, checker)?;
    if secret.expose().len() < SHORTEST_SECRET {
        checker.problem(spot.at, format!("this secret is shorter than {SHORTEST_SECRET} bytes"));
        return None;
    }
    if !secret.expose().iter().all(u8::is_ascii_graphic) {
        let hint = "printable ASCII without spaces: it travels in a header";
        checker.hinted(spot.at, "this secret has characters that cannot be sent", hint);
        return None;
    }
    Some(secret)
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
