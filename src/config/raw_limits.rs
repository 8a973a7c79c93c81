//! What an operator writes about limits, plans, lists of addresses and those who misbehave.

use super::raw::{Size, WhenUnreachable};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A named limit: one of `window`, `quota`, `rate` and `concurrency`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What is counted apart: one word, or several for their product.
    pub by: By,
    /// With `by: header`: the field whose values are counted apart. Requests without it count together.
    pub header: Option<String>,
    /// At most `limit` in **any** trailing `per`.
    pub window: Option<Window>,
    /// The same over hours or days, for writes that are paid for.
    pub quota: Option<Window>,
    /// Smoothly: so many a second, and a burst after a rest.
    pub rate: Option<Rate>,
    /// Most at the same time, open WebSockets included.
    pub concurrency: Option<u32>,
    /// What is added up. Default `requests`.
    #[serde(default)]
    pub counts: Counts,
    /// What one request counts for. Default 1.
    pub cost: Option<u32>,
    /// What requests with certain methods, or calls of certain methods of a gateway, count for; 0 lets them pass
    /// uncounted. Others count `cost`.
    #[serde(default)]
    pub methods: BTreeMap<String, u32>,
    /// When a request is given back. Default `never`.
    #[serde(default)]
    pub refund: Refund,
    /// Refuses nobody; log and metrics tell what it would have refused.
    #[serde(default)]
    pub shadow: bool,
    /// Another number that is tried beside the one in force, as a shadow named `NAME.proposed`.
    pub proposed: Option<Proposed>,
    /// Counted together with all edges that have the same `shared` server.
    #[serde(default)]
    pub shared: bool,
    /// What becomes of requests while that server does not answer. Default `local`.
    pub when_unreachable: Option<WhenUnreachable>,
    /// What this edge lets through alone then. Default: the limit, divided by `shared.edges`.
    pub share: Option<u32>,
    /// Takes so many ahead and counts them here: fewer questions, and at most so many more for each edge.
    pub leases: Option<u32>,
}

/// What tenants on this plan get.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Numbers by the limits' names; limits that are not named keep their own.
    pub limits: BTreeMap<String, Number>,
}

/// Another number of a limit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Number {
    /// In the place of `limit` (or of `concurrency`).
    Limit(u32),
    /// In the place of `rate`.
    Rate(Rate),
}

/// A list of client addresses. The longest prefix over all lists decides; of equally long ones `deny` does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressList {
    /// Its name in logs and metrics.
    pub name: String,
    /// What it does with those on it.
    pub action: ListAction,
    /// Networks (CIDR) and addresses.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Files with one network or address a line; `#` and `;` begin comments. Changes are seen.
    #[serde(default)]
    pub files: Vec<String>,
    /// What those on a `deny` list get. Default `refuse`.
    pub answer: Option<Denial>,
    /// Limits that do not count those on an `allow` list.
    #[serde(default)]
    pub exempt: Vec<String>,
}

/// What a list of addresses does with those on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListAction {
    /// Lets them in, also where a shorter prefix is denied.
    Allow,
    /// Keeps them out, whoever they are.
    Deny,
}

/// What those get who are kept out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Denial {
    /// 403 `address_denied`.
    #[default]
    Refuse,
    /// A closed connection without an answer.
    Close,
}

/// So many a second.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many a second, in the long run; `0.5` is one every two seconds.
    pub per_second: f64,
    /// Most at once.
    pub burst: u32,
}

/// A number that is tried.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// In the place of the limit's own.
    pub limit: u32,
}

/// What a limit adds up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    /// Requests, or what they cost.
    #[default]
    Requests,
    /// Bytes of bodies; one without a length counts as the route's `body.max`.
    BodyBytes,
}

/// When a request is given back to its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refund {
    /// Never.
    #[default]
    Never,
    /// When it was answered with a status of 500 or above.
    UpstreamFailed,
}

/// How clients are told of limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers-11.
    #[default]
    #[serde(rename = "draft-11")]
    Draft11,
    /// As the draft's editors have it now: `a`, `w` and the request's cost `c`.
    Next,
    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset` of the limit with the least left.
    Legacy,
    /// Only `Retry-After`, and only with a 429.
    Off,
}

/// What a limit counts apart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum By {
    /// One dimension.
    One(Dimension),
    /// The product of several.
    Many(Vec<Dimension>),
}

/// One thing that tells requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// The client's address; IPv6 by /64.
    Ip,
    /// The client's network: IPv6 by /48, IPv4 by /24.
    Network,
    /// The API key.
    Credential,
    /// The tenant.
    Tenant,
    /// The mesh node that the API key belongs to.
    Node,
    /// The route.
    Route,
    /// The request's method.
    Method,
    /// The value of the field that `header` names; what clients choose.
    Header,
}

/// A ceiling over a span of time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Most requests.
    pub limit: u32,
    /// The span: `10s`, `1m`, `1h`, `1d`.
    pub per: String,
}

/// Bounds on the limiter's own memory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limiter {
    /// Most client addresses counted exactly; more are counted together, never too low. Default 200000.
    pub max_addresses: Option<usize>,
    /// Most values of fields (`by: header`) counted exactly; more are counted together. Default 50000.
    pub max_header_values: Option<usize>,
    /// How clients are told of limits. Default `draft-11`.
    pub dialect: Dialect,
}

/// What addresses get that misbehave, and what each (IPv6: each /64) may hold before anyone is known.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Abuse {
    /// Networks (CIDR) to which none of this applies. Default: this machine, `127.0.0.0/8` and `::1/128`.
    pub spare: Option<Vec<String>>,
    /// When an address cools down, and for how long.
    pub strikes: Strikes,
    /// What an address may hold before anyone is known.
    pub budgets: Budgets,
}

/// When an address cools down: after too many 401s, bad signatures and malformed heads.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Strikes {
    /// `false` counts none. Default `true`.
    pub enabled: Option<bool>,
    /// Most strikes at once, and in the long run in `per`. Default 60.
    pub limit: Option<u32>,
    /// See `limit`. Default `1m`.
    pub per: Option<String>,
    /// How long the first pause is; each further one is twice as long. Default `1m`.
    pub pause: Option<String>,
    /// The longest pause, and the quiet after which the next one is a first one again. Default `1h`.
    pub longest: Option<String>,
}

/// What an address may hold before anyone is known.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// Most connections that have not sent a whole head yet; further ones are closed. Default 256.
    pub half_open: Option<usize>,
    /// Most bytes of unfinished heads. Default `512KiB`.
    pub head_bytes: Option<Size>,
    /// Most time spent waiting for unfinished heads, all connections together, in any minute. Default `2m`.
    pub head_time: Option<String>,
    /// Most bytes of bodies held for verification where only the signature says who calls. Default `64MiB`.
    pub body_bytes: Option<Size>,
}
