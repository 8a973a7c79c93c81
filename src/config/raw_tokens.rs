//! What an operator writes about those who issue tokens.

use super::raw::Jwks;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Someone who issues JSON Web Tokens (RFC 7519), and what their claims mean here. Callers send one as
/// `Authorization: Bearer`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuer {
    /// What logs, limits and metrics call callers with its tokens.
    pub id: String,
    /// The `iss` of its tokens, to the letter.
    pub issuer: String,
    /// One of these must be among a token's `aud`.
    pub audience: Vec<String>,
    /// Its public keys (JWKS): Ed25519 for `EdDSA`, P-256 for `ES256`, RSA of at least 2048 bits for `RS256`.
    pub keys: Jwks,
    /// How far its clock may be off, up to `5m`. Default `30s`.
    pub clock_skew: Option<String>,
    /// Longest time from `iat` to `exp` that a token may have, `1m` to `30d`. Default `24h`. Both claims must be there.
    pub max_lifetime: Option<String>,
    /// Whose all its tokens are. Either this or `tenant_claim`.
    pub tenant: Option<String>,
    /// The claim that says whose a token is; `tenants` says what its values mean. Either this or `tenant`.
    pub tenant_claim: Option<String>,
    /// Tenants by values of `tenant_claim`. A token with another value is refused.
    #[serde(default)]
    pub tenants: BTreeMap<String, String>,
    /// The most that its tokens may do; routes name the scopes that they need.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim that says which of `scopes` a token has: words in a text or in a list. Default: all of them.
    pub scope_claim: Option<String>,
    /// What words of `scope_claim` mean. A word that is not here means the scope of that name.
    #[serde(default)]
    pub scope_map: BTreeMap<String, Vec<String>>,
    /// The claim with the mesh node that calls. It must be a node that `credentials` or `nodes` have for the tenant; a token
    /// without the claim is of none.
    pub node_claim: Option<String>,
}
