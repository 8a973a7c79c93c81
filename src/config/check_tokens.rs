//! Those who issue tokens: what is believed of a token, and what its claims mean.

use super::check_identity::{Identity, scopes};
use super::check_key_feeds;
use super::checked::{IssuerKeys, KeyFeedFrom, TokenIssuer, Whose};
use super::checker::{Checker, shown};
use super::tree::Spot;
use super::{raw, secrets};
use crate::ids::{CredentialId, NodeId, Scope, TenantId};
use crate::jose::TokenKeys;
use std::collections::HashMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
/// Longest text of a claim, an issuer or an audience.
const LONGEST: usize = 512;

pub(super) fn check(
    raw: &raw::Config,
    top: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
) -> Vec<TokenIssuer> {
    let all = top.key("token_issuers");
    let mut issuers: Vec<TokenIssuer> = Vec::new();
    for (index, one) in raw.token_issuers.iter().enumerate() {
        let spot = all.item(index);
        let Some(issuer) = issuer(one, spot, identity, checker) else { continue };
        let is_taken = |name: &CredentialId| {
            identity.credentials.iter().any(|other| other.id == *name)
                || issuers
                    .iter()
                    .any(|other| other.id == *name || other.names.values().any(|own| own == name))
        };
        if is_taken(&issuer.id) || issuer.names.values().any(is_taken) {
            let message = shown(spot.key("id"), "two credentials or issuers are called", &one.id);
            checker.problem(spot.key("id").at, message);
        }
        if issuers.iter().any(|other| other.issuer == issuer.issuer) {
            let hint = "one entry for an issuer, with `tenant_claim` where its tokens are of several tenants";
            checker.hinted(spot.key("issuer").at, "this issuer stands here twice", hint);
        }
        issuers.push(issuer);
    }
    issuers
}

fn issuer(
    raw: &raw::TokenIssuer,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
) -> Option<TokenIssuer> {
    let id = checker.id(spot.key("id"), "the id", &raw.id, CredentialId::parse);
    let issuer = text(&raw.issuer, spot.key("issuer"), checker);
    let audience = audience(&raw.audience, spot.key("audience"), checker);
    let keys = keys(&raw.keys, spot.key("keys"), checker);
    let skew = (raw.clock_skew.as_deref(), 30 * SECOND, (Duration::ZERO, 5 * MINUTE));
    let skew = checker.duration(spot.key("clock_skew"), skew.0, skew.1, skew.2);
    let lifetime = raw.max_lifetime.as_deref();
    let lifetime = checker.duration(spot.key("max_lifetime"), lifetime, DAY, (MINUTE, 30 * DAY));
    let whose = whose(raw, spot, identity, checker);
    let scopes = scopes(&raw.scopes, spot.key("scopes"), checker);
    let scope_map = scope_map(raw, &scopes, spot, checker);
    let claim = |name: &Option<String>, key: &str, checker: &mut Checker| match name {
        Some(name) => text(name, spot.key(key), checker).map(Some),
        None => Some(None),
    };
    let scope_claim = claim(&raw.scope_claim, "scope_claim", checker);
    let node_claim = claim(&raw.node_claim, "node_claim", checker);
    let whose = whose?;
    let names = names(id.as_ref()?, &whose, spot.key("id"), checker);
    let nodes = whose.tenants().map(|tenant| (tenant.clone(), nodes(tenant, identity))).collect();
    Some(TokenIssuer {
        id: id?,
        issuer: issuer?,
        audience: audience?,
        keys: keys?,
        clock_skew: skew?,
        max_lifetime: lifetime?,
        whose,
        names: names?,
        scopes,
        scope_claim: scope_claim?,
        scope_map: scope_map?,
        node_claim: node_claim?,
        nodes,
    })
}

fn text(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<String> {
    if text.is_empty() || text.len() > LONGEST {
        checker.problem(spot.at, format!("this is empty, or longer than {LONGEST} bytes"));
        return None;
    }
    Some(text.to_owned())
}

fn audience(raw: &[String], spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<String>> {
    if raw.is_empty() {
        let hint = "what the issuer writes into `aud` for this site: without it a token for another one would be taken";
        checker.hinted(spot.at, "at least one audience is needed", hint);
        return None;
    }
    raw.iter().enumerate().map(|(index, one)| text(one, spot.item(index), checker)).collect()
}

fn keys(raw: &raw::Jwks, spot: Spot<'_>, checker: &mut Checker) -> Option<IssuerKeys> {
    let Some(file) = raw.file.as_ref().filter(|_| raw.url.is_none()) else {
        return match check_key_feeds::key_set(raw, spot, checker)? {
            KeyFeedFrom::KeySet(at) => Some(IssuerKeys::At(at)),
            KeyFeedFrom::Registry(_) => None,
        };
    };
    check_key_feeds::of_a_file(spot, checker);
    let at = spot.key("file");
    let set = secrets::public_text(file, at, checker)?;
    match TokenKeys::read(set.as_bytes()) {
        Ok(keys) => Some(IssuerKeys::Here(keys)),
        Err(error) => {
            checker.hinted(
                at.at,
                error.to_string(),
                "a JSON Web Key Set: `{\"keys\":[{\"kty\":…,\"kid\":…}]}`",
            );
            None
        }
    }
}

fn whose(
    raw: &raw::TokenIssuer,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
) -> Option<Whose> {
    match (&raw.tenant, &raw.tenant_claim) {
        (Some(tenant), None) if raw.tenants.is_empty() => {
            checker.tenant(spot.key("tenant"), tenant, &identity.known).map(Whose::All)
        }
        (Some(_), None) => {
            checker.problem(
                spot.key("tenants").at,
                "`tenants` says what a `tenant_claim` means, and there is none",
            );
            None
        }
        (None, Some(claim)) => {
            let claim = text(claim, spot.key("tenant_claim"), checker)?;
            let at = spot.key("tenants");
            if raw.tenants.is_empty() {
                let hint = "`tenants: { value-of-the-claim: tenant }`: what is not there is refused";
                checker.lacks(spot, "a `tenant_claim` needs `tenants`", hint);
                return None;
            }
            let mut tenants = HashMap::new();
            for (value, tenant) in &raw.tenants {
                let tenant = checker.tenant(at.key(value), tenant, &identity.known)?;
                tenants.insert(value.clone(), tenant);
            }
            Some(Whose::Claim { claim, tenants })
        }
        (Some(_), Some(_)) | (None, None) => {
            let hint = "`tenant: acme`, or `tenant_claim: org` and `tenants: { acme-corp: acme }`";
            checker.lacks(spot, "an issuer has one of `tenant` and `tenant_claim`", hint);
            None
        }
    }
}

fn scope_map(
    raw: &raw::TokenIssuer,
    most: &[Scope],
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<HashMap<String, Vec<Scope>>> {
    let at = spot.key("scope_map");
    if !raw.scope_map.is_empty() && raw.scope_claim.is_none() {
        checker.problem(at.at, "`scope_map` says what a `scope_claim` means, and there is none");
        return None;
    }
    let mut map = HashMap::new();
    for (word, meant) in &raw.scope_map {
        let spot = at.key(word);
        let meant = scopes(meant, spot, checker);
        if let Some(beyond) = meant.iter().find(|scope| !most.contains(scope)) {
            let hint = "`scopes` is the most that a token of this issuer may do";
            checker.hinted(spot.at, format!("`{}` is not among `scopes`", beyond.as_str()), hint);
            return None;
        }
        map.insert(word.clone(), meant);
    }
    Some(map)
}

fn names(
    id: &CredentialId,
    whose: &Whose,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<HashMap<TenantId, CredentialId>> {
    let name = |tenant: &TenantId| match whose {
        Whose::All(_) => Ok(id.clone()),
        Whose::Claim { .. } => CredentialId::parse(&format!("{}.{}", id.as_str(), tenant.as_str())),
    };
    let all: Result<_, _> = whose.tenants().map(|tenant| Ok((tenant.clone(), name(tenant)?))).collect();
    all.map_err(|error: crate::ids::IdError| {
        checker.problem(spot.at, format!("this id with the name of a tenant behind it {error}"));
    })
    .ok()
}

/// The nodes of a tenant that the config knows: limits count by them, so that their number must be bounded.
fn nodes(tenant: &TenantId, identity: &Identity<'_>) -> Vec<NodeId> {
    let keys = identity.nodes.iter().filter(|key| key.tenant == *tenant).map(|key| &key.node);
    let own = identity.credentials.iter().filter(|one| one.tenant == *tenant);
    let mut all: Vec<NodeId> = keys.chain(own.filter_map(|one| one.node.as_ref())).cloned().collect();
    all.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    all.dedup();
    all
}
