//! Who may call: tenants, API keys, the public keys of mesh nodes.

use super::checked::{Credential, KeyFeed, NodeKey};
use super::checker::{Checker, Known, shown};
use super::tree::{Document, Spot};
use super::{Surroundings, check_keys, raw, secrets};
use crate::ids::{CredentialId, NodeId, Scope, TenantId};
use crate::secret::Secret;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;

/// Shortest key: 24 characters of base64 carry 144 bits when they are random.
const SHORTEST_KEY: usize = 24;

/// What this file makes.
pub(super) struct Identity<'a> {
    pub(super) tenants: Vec<TenantId>,
    pub(super) credentials: Vec<Credential>,
    pub(super) nodes: Vec<NodeKey>,
    pub(super) key_feeds: Vec<KeyFeed>,
    /// Tenants by name, for those that refer to them.
    pub(super) known: Known<'a>,
}

pub(super) fn check<'a>(
    raw: &'a raw::Config,
    document: &'a Document,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Identity<'a> {
    let top = document.top();
    let tenants = tenants(raw, top, checker);
    let known = Known {
        names: raw.tenants.keys().map(String::as_str).collect(),
        broken: document.written().key("tenants").keys().collect(),
    };
    let credentials = credentials(&raw.credentials, top.key("credentials"), &known, checker, around);
    let (nodes, key_feeds) = check_keys::check(raw, top, &known, checker, around);
    Identity { tenants, credentials, nodes, key_feeds, known }
}

fn tenants(raw: &raw::Config, top: Spot<'_>, checker: &mut Checker) -> Vec<TenantId> {
    let spot = top.key("tenants");
    let mut tenants = Vec::new();
    for name in raw.tenants.keys() {
        match TenantId::parse(name) {
            Ok(tenant) => tenants.push(tenant),
            Err(error) => checker.problem(spot.key_at(name), format!("the tenant's name {error}")),
        }
    }
    tenants
}

fn credentials(
    raw: &[raw::Credential],
    all: Spot<'_>,
    known: &Known<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Vec<Credential> {
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut hashes: HashMap<[u8; 32], usize> = HashMap::new();
    let mut credentials = Vec::new();
    for (index, one) in raw.iter().enumerate() {
        let spot = all.item(index);
        if let Some(first) = ids.insert(&one.id, index) {
            let line = all.item(first).at.line;
            let message = shown(spot.key("id"), "two credentials are called", &one.id);
            checker.problem(spot.key("id").at, format!("{message}; the other is on line {line}"));
        }
        let Some(credential) = credential(one, spot, known, checker, around) else { continue };
        if let Some(first) = hashes.insert(credential.hash, index) {
            let line = all.item(first).at.line;
            let hint = "give each credential a key of its own";
            let message = format!("this is the same key as that of the credential on line {line}");
            checker.hinted(spot.at, message, hint);
        }
        credentials.push(credential);
    }
    credentials
}

fn credential(
    raw: &raw::Credential,
    spot: Spot<'_>,
    known: &Known<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Credential> {
    let id = checker.id(spot.key("id"), "the id", &raw.id, CredentialId::parse);
    let tenant = checker.tenant(spot.key("tenant"), &raw.tenant, known);
    let node = match &raw.node {
        Some(node) => checker.id(spot.key("node"), "the node", node, NodeId::parse).map(Some),
        None => Some(None),
    };
    let scopes = scopes(&raw.scopes, spot.key("scopes"), checker);
    let expires = match &raw.expires {
        Some(text) => expiry(text, spot.key("expires"), "credential", checker).map(Some),
        None => Some(None),
    };
    let (hash, generated) = key(raw, spot, checker, around)?;
    let (id, tenant, node) = (id?, tenant?, node?);
    Some(Credential { id, tenant, node, hash, scopes, expires: expires?, generated })
}

/// The hash of the key, and the file that was made for it.
fn key(
    raw: &raw::Credential,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<([u8; 32], Option<PathBuf>)> {
    match (&raw.hash, &raw.secret) {
        (Some(hash), None) => Some((parse_hash(hash, spot.key("hash"), checker)?, None)),
        (None, Some(source)) => {
            let spot = spot.key("secret");
            let secret = secrets::resolve(source, spot, around, checker)?;
            judge_key(&secret, spot, checker)?;
            let generated = match source {
                raw::SecretSource::Generated(file) => Some(PathBuf::from(&file.generated)),
                raw::SecretSource::Env(_) | raw::SecretSource::File(_) | raw::SecretSource::Literal(_) => {
                    None
                }
            };
            Some((Sha256::digest(secret.expose()).into(), generated))
        }
        (Some(_), Some(_)) => {
            let at = spot.key_at("secret");
            checker.problem(at, "a credential has either `hash` or `secret`, not both");
            None
        }
        (None, None) => {
            let hint = "`hash: sha256:…` as `openclaw-edge keys hash` prints it, or `secret: { env: NAME }`";
            checker.lacks(spot, "a credential needs `hash` or `secret`", hint);
            None
        }
    }
}

fn judge_key(secret: &Secret, spot: Spot<'_>, checker: &mut Checker) -> Option<()> {
    let key = secret.expose();
    if !key.iter().all(u8::is_ascii_graphic) {
        let hint = "printable ASCII without spaces: it travels in a header";
        checker.hinted(spot.at, "this key has characters that cannot be sent", hint);
        return None;
    }
    if key.len() < SHORTEST_KEY {
        let message = format!("this key is weak: it is shorter than {SHORTEST_KEY} characters");
        checker.hinted(spot.at, message, "`openclaw-edge keys new` makes a good one");
        return None;
    }
    Some(())
}

/// Never shows the text: what stands here by mistake is often the key itself.
fn parse_hash(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<[u8; 32]> {
    let hash = text.strip_prefix("sha256:").and_then(decode_hex);
    if hash.is_none() {
        let hint = "`sha256:` and 64 hex digits, as `openclaw-edge keys hash` prints it";
        checker.hinted(spot.at, "this is no hash of a key", hint);
    }
    hash
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(hash)
}

/// Names of scopes, each once.
pub(super) fn scopes(raw: &[String], spot: Spot<'_>, checker: &mut Checker) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let spot = spot.item(index);
        let Some(scope) = checker.id(spot, "the scope", text, Scope::parse) else { continue };
        if scopes.contains(&scope) {
            checker.problem(spot.at, shown(spot, "this scope stands here twice:", text));
        } else {
            scopes.push(scope);
        }
    }
    scopes
}

/// A day counts to its end, a moment to itself.
pub(super) fn expiry(text: &str, spot: Spot<'_>, what: &str, checker: &mut Checker) -> Option<u64> {
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10);
    let second = match day {
        Some(day) => day
            .tomorrow()
            .and_then(|next| jiff::tz::TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0)))
            .map(jiff::Timestamp::as_second)
            .ok(),
        None => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second),
    };
    let second = second.and_then(|second| u64::try_from(second).ok());
    match second {
        None => {
            let hint = "a day, `2027-06-30`, or a moment, `2027-06-30T12:00:00Z`";
            checker.hinted(spot.at, shown(spot, "this is no date", text), hint);
        }
        Some(second) => {
            let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
            if second <= now {
                checker.warn(spot.at, format!("this {what} has expired"));
            }
        }
    }
    second
}

pub(super) fn public_key(
    raw: &raw::PublicKey,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<VerifyingKey> {
    let (text, spot) = match raw {
        raw::PublicKey::File(source) => {
            let spot = spot.key("file");
            (secrets::public_text(&source.file, spot, checker)?, spot)
        }
        raw::PublicKey::Inline(text) => (text.clone(), spot),
    };
    match super::public_key::read(text.trim()) {
        Ok(key) => Some(key),
        // Never shown: a private key may stand here by mistake.
        Err(error) => {
            let hint = "Ed25519, as PEM (`-----BEGIN PUBLIC KEY-----`) or base64 of 32 bytes";
            checker.hinted(spot.at, error.to_string(), hint);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_to_its_end() {
        let mut checker = Checker::new("t");
        let node = super::super::tree::Node::nothing();
        let spot = Spot::of(&node);
        assert_eq!(expiry("2027-06-30", spot, "credential", &mut checker), Some(1_814_400_000));
        assert_eq!(expiry("2027-06-30T12:00:00Z", spot, "credential", &mut checker), Some(1_814_356_800));
        assert!(checker.is_clean());
        for bad in ["tomorrow", "2027-6-30", "2027-02-29", "1960-01-01", "2027-06-30T12:00:00"] {
            assert_eq!(expiry(bad, spot, "credential", &mut checker), None, "{bad}");
        }
    }
}
