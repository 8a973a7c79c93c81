//! Those who issue tokens.

use super::checked::KeySetAt;
use crate::ids::{CredentialId, NodeId, Scope, TenantId};
use crate::jose::TokenKeys;
use std::collections::HashMap;
use std::time::Duration;

/// Someone who issues tokens.
#[derive(Debug)]
pub struct TokenIssuer {
    /// What callers with its tokens are called.
    pub id: CredentialId,
    /// The `iss` of its tokens; no two have the same.
    pub issuer: String,
    /// One of these must be among `aud`; at least one.
    pub audience: Vec<String>,
    /// Where its keys are.
    pub keys: IssuerKeys,
    /// How far its clock may be off.
    pub clock_skew: Duration,
    /// Longest time from `iat` to `exp`.
    pub max_lifetime: Duration,
    /// Whose its tokens are.
    pub whose: Whose,
    /// What callers with its tokens are called, by tenant: the issuer's id, with the tenant's name behind it where there may be
    /// several. Limits count each apart.
    pub names: HashMap<TenantId, CredentialId>,
    /// The most that they may do.
    pub scopes: Vec<Scope>,
    /// The claim that says which of them.
    pub scope_claim: Option<String>,
    /// What its words mean; those that are not here mean themselves.
    pub scope_map: HashMap<String, Vec<Scope>>,
    /// The claim with the node.
    pub node_claim: Option<String>,
    /// The nodes that it may name, by tenant.
    pub nodes: HashMap<TenantId, Vec<NodeId>>,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone)]
pub enum IssuerKeys {
    /// In a file, which was read.
    Here(TokenKeys),
    /// At a URL.
    At(KeySetAt),
}

/// Whose an issuer's tokens are.
#[derive(Debug)]
pub enum Whose {
    /// All of one tenant.
    All(TenantId),
    /// What a claim says.
    Claim {
        /// Its name.
        claim: String,
        /// What its values mean.
        tenants: HashMap<String, TenantId>,
    },
}

impl Whose {
    /// All tenants that there are.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        let (one, many) = match self {
            Self::All(tenant) => (Some(tenant), None),
            Self::Claim { tenants, .. } => (None, Some(tenants.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
