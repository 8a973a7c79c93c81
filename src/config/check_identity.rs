//! Who may call: tenants, credentials, the public keys of mesh nodes.

use super::checked::{Credential, KeyFeed, NodeKey};
use super::checker::{Checker, Known, shown};
use super::tree::{Document, Spot};
use super::{Surroundings, check_credentials, check_keys, raw, secrets};
use crate::ids::{Scope, TenantId};
use ed25519_dalek::VerifyingKey;

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
    let credentials = check_credentials::check(raw, top, &known, checker, around);
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
