//! What an operator writes about the edge's own connection to a gateway.

use super::raw::SecretSource;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How the edge itself connects to the gateway, for Mission Control.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Operator {
    /// By what the gateway knows the edge. Default `secret`.
    pub access: OperatorAccess,
    /// Who the edge is, for `trusted_proxy`: a name in the gateway's `auth.identityScopes`.
    pub user: Option<String>,
    /// The field that says so: the gateway's `trustedProxy.userHeader`. Default `x-forwarded-user`.
    pub user_header: Option<String>,
    /// The address that the gateway is told in `X-Forwarded-For`, as the edge's own client's. For gateways that list the
    /// edge in `trustedProxies`: not on loopback, and not in that list.
    pub address: Option<String>,
    /// Fields sent along, such as the gateway's `trustedProxy.requiredHeaders`.
    pub headers: BTreeMap<String, SecretSource>,
}

/// By what a gateway knows the edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperatorAccess {
    /// By `token`. For a gateway on the same host: others give such a client no scopes.
    #[default]
    Secret,
    /// By a key of the edge's own, which somebody approves once: `openclaw-edge gateways pair`.
    Device,
    /// By a field of the request, as a proxy that the gateway trusts.
    TrustedProxy,
    /// Not by itself: the API knows nothing of the gateway. `/ws` connects as with `secret`.
    Off,
}
