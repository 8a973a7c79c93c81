//! Those who issue tokens, compiled: what a token's claims make of its caller.
//!
//! Names, limits and scopes are compiled once for each tenant; a token picks among them and brings in no name of its
//! own, so that neither the limiter's memory nor the number of series grows with what tokens say.

use super::policy::{Compiler, field, scope_words};
use crate::config::checked::{self, IssuerKeys, TokenIssuer, Whose};
use crate::identity::caller::Credential;
use crate::identity::tokens::{self, Issuer, Issuers, Terms, TokenFault};
use crate::ids::{NodeId, Scope, TenantId};
use crate::openclaw::Scopes;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// What is made of the config's issuers.
#[derive(Default)]
pub(super) struct Compiled {
    pub(super) issuers: Issuers,
    /// Callers as they would be with all that an issuer's tokens can have.
    pub(super) prototypes: Vec<Arc<Credential>>,
    pub(super) sources: Vec<KeysAt>,
}

/// An issuer's keys that come from a URL.
#[derive(Debug)]
pub struct KeysAt {
    /// The issuer's id.
    pub issuer: String,
    /// Where.
    pub at: checked::KeySetAt,
    /// Where they are put.
    pub keys: Arc<tokens::IssuerKeys>,
}

pub(super) fn compile(compiler: &Compiler<'_>, all: &[TokenIssuer]) -> Compiled {
    let mut compiled = Compiled::default();
    let mut issuers = Vec::with_capacity(all.len());
    for issuer in all {
        let keys = Arc::<tokens::IssuerKeys>::default();
        match &issuer.keys {
            IssuerKeys::Here(set) => keys.learn(set.clone()),
            IssuerKeys::At(at) => compiled.sources.push(KeysAt {
                issuer: issuer.id.as_str().to_owned(),
                at: at.clone(),
                keys: keys.clone(),
            }),
        }
        let grants = Grants::of(compiler, issuer);
        compiled.prototypes.extend(grants.by_tenant.values().map(|grant| grant.prototype.clone()));
        let terms = Terms {
            audience: issuer.audience.clone(),
            skew: issuer.clock_skew.as_secs(),
            longest: issuer.max_lifetime.as_secs(),
        };
        let grant = Box::new(move |claims: &Map<String, Value>, ends: u64| grants.credential(claims, ends));
        issuers.push((issuer.issuer.as_str().into(), Issuer::new(terms, keys, grant)));
    }
    compiled.issuers = Issuers::new(issuers);
    compiled
}

/// What an issuer's tokens can be.
struct Grants {
    whose: Claimed,
    scope_claim: Option<String>,
    scope_map: HashMap<String, Vec<Scope>>,
    most: Vec<Scope>,
    node_claim: Option<String>,
    by_tenant: HashMap<TenantId, Grant>,
    /// Bits of scopes, as the policy numbers them.
    bits: HashMap<Scope, crate::identity::caller::ScopeSet>,
}

enum Claimed {
    All(TenantId),
    By { claim: String, tenants: HashMap<String, TenantId> },
}

/// What a tenant's callers get.
struct Grant {
    prototype: Arc<Credential>,
    /// The limiter's numbers of nodes.
    nodes: HashMap<Box<str>, (NodeId, u32)>,
}

impl Grants {
    fn of(compiler: &Compiler<'_>, issuer: &TokenIssuer) -> Self {
        let mut by_tenant = HashMap::new();
        for (tenant, name) in &issuer.names {
            let Some(prototype) = compiler.prototype(name, tenant, &issuer.scopes) else { continue };
            let known = issuer.nodes.get(tenant).into_iter().flatten();
            let nodes = known.map(|node| (node.as_str().into(), (node.clone(), compiler.node(tenant, node))));
            by_tenant
                .insert(tenant.clone(), Grant { prototype: Arc::new(prototype), nodes: nodes.collect() });
        }
        let whose = match &issuer.whose {
            Whose::All(tenant) => Claimed::All(tenant.clone()),
            Whose::Claim { claim, tenants } => Claimed::By { claim: claim.clone(), tenants: tenants.clone() },
        };
        let bits =
            issuer.scopes.iter().map(|scope| (scope.clone(), compiler.set(std::slice::from_ref(scope))));
        Self {
            whose,
            scope_claim: issuer.scope_claim.clone(),
            scope_map: issuer.scope_map.clone(),
            most: issuer.scopes.clone(),
            node_claim: issuer.node_claim.clone(),
            by_tenant,
            bits: bits.collect(),
        }
    }

    /// Who comes with these claims, until then.
    fn credential(&self, claims: &Map<String, Value>, ends: u64) -> Result<Credential, TokenFault> {
        let tenant = match &self.whose {
            Claimed::All(tenant) => tenant,
            Claimed::By { claim, tenants } => {
                let value = claims.get(claim).and_then(Value::as_str);
                value.and_then(|value| tenants.get(value)).ok_or(TokenFault::Tenant)?
            }
        };
        let grant = self.by_tenant.get(tenant).ok_or(TokenFault::Tenant)?;
        let node = self.node(grant, claims)?;
        let scopes = self.scopes(claims)?;
        let of = &grant.prototype;
        let set = scopes.iter().filter_map(|scope| self.bits.get(*scope));
        Ok(Credential {
            id: of.id.clone(),
            tenant: of.tenant.clone(),
            node: node.map(|(node, _)| node.clone()),
            scopes: crate::identity::caller::ScopeSet(set.fold(0, |all, one| all | one.0)),
            gateway: Scopes::of(scopes.iter().map(|scope| scope.as_str())),
            begins: None,
            expires: Some(ends),
            last_used: of.last_used.clone(),
            age: of.age,
            number: of.number,
            node_number: node.map(|(_, number)| *number),
            tariff: of.tariff,
            id_field: of.id_field.clone(),
            node_field: node.map(|(node, _)| field(node.as_str())),
            told: of.told.clone(),
            scopes_field: field(&scope_words(scopes.iter().copied())),
        })
    }

    fn node<'g>(
        &self,
        grant: &'g Grant,
        claims: &Map<String, Value>,
    ) -> Result<Option<&'g (NodeId, u32)>, TokenFault> {
        match self.node_claim.as_ref().and_then(|claim| claims.get(claim)) {
            None => Ok(None),
            Some(node) => {
                let known = node.as_str().and_then(|node| grant.nodes.get(node));
                known.map(Some).ok_or(TokenFault::Node)
            }
        }
    }

    /// Those of the issuer's scopes that the claims name; a token that names none has none.
    fn scopes(&self, claims: &Map<String, Value>) -> Result<Vec<&Scope>, TokenFault> {
        let Some(claim) = &self.scope_claim else { return Ok(self.most.iter().collect()) };
        let words: Vec<&str> = match claims.get(claim) {
            None => Vec::new(),
            Some(Value::String(text)) => text.split(' ').collect(),
            Some(Value::Array(list)) => {
                let words: Option<_> = list.iter().map(Value::as_str).collect();
                words.ok_or(TokenFault::Claims)?
            }
            Some(_) => return Err(TokenFault::Claims),
        };
        let named = |scope: &&Scope| {
            words.iter().any(|word| match self.scope_map.get(*word) {
                Some(meant) => meant.contains(scope),
                None => *word == scope.as_str(),
            })
        };
        Ok(self.most.iter().filter(named).collect())
    }
}
