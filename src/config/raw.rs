//! What an operator writes, word for word: one struct a section, every key documented.
//!
//! The JSON Schema (`openclaw-edge schema`), the shape check and `docs/configuration.md` are all made
//! from these types, so a key exists in all of them or in none. What the words mean is decided in
//! [`checked`](super::checked); nothing here is trusted.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

pub use super::raw_federation::{Border, Grant, GrantEntry, Mesh, Outbox, Sign, SignScheme, SigningKey};
pub use super::raw_shared::{Shared, SharedServer, WhenUnreachable};
pub use super::raw_store::StoreRules;
pub use super::raw_verify::{
    Canonical, Hmac, HmacAlgorithm, HmacEncoding, ReplayAnswer, ReplayCache, ReplaySync, Scheme, SetupCalls,
    Signer, Verify,
};

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect: one entry a socket.
    pub listen: Vec<Listen>,
    /// Address of the admin listener (`/metrics`, `/healthz`, `/readyz`); keep it private.
    #[serde(default = "default_admin")]
    pub admin: String,
    /// Folder for what the edge keeps: the embedded store and its socket. Relative to where the edge starts.
    #[serde(default = "default_data")]
    pub data: String,
    /// Accept secrets written straight into this file. Off by default.
    #[serde(default)]
    pub allow_literal_secrets: bool,
    /// Threads, draining.
    #[serde(default)]
    pub server: Server,
    /// Bounds on a request's head.
    #[serde(default)]
    pub head: Head,
    /// The operator's log (standard error).
    #[serde(default)]
    pub log: Log,
    /// One JSON line a finished request.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Who may say for whom a request came.
    #[serde(default)]
    pub client_address: ClientAddress,
    /// The tenants, by name.
    pub tenants: BTreeMap<String, Tenant>,
    /// API keys: which tenant each belongs to and what it may do.
    #[serde(default)]
    pub credentials: Vec<Credential>,
    /// Public keys for mesh signatures.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// Where more public keys for mesh signatures come from.
    #[serde(default)]
    pub key_sources: Vec<KeySource>,
    /// Limits by name; routes say which of them apply.
    #[serde(default)]
    pub limits: BTreeMap<String, Limit>,
    /// Other numbers of limits, by plan; tenants say which plan they are on.
    #[serde(default)]
    pub plans: BTreeMap<String, Plan>,
    /// Lists of client addresses that are let in, or kept out before anything else is asked.
    #[serde(default)]
    pub address_lists: Vec<AddressList>,
    /// Bounds on the limiter's own memory.
    #[serde(default)]
    pub limiter: Limiter,
    /// What addresses get that misbehave, and what each may hold before anyone is known.
    #[serde(default)]
    pub abuse: Abuse,
    /// The Redis or Valkey in which several edges count limits and remember deliveries together.
    pub shared: Option<Shared>,
    /// The cache of deliveries that were taken.
    #[serde(default)]
    pub replay_cache: ReplayCache,
    /// The edge's own keys, for what it signs on the way out.
    #[serde(default)]
    pub signing_keys: Vec<SigningKey>,
    /// Other meshes, with which tenants share messages.
    #[serde(default)]
    pub meshes: Vec<Mesh>,
    /// What waits for other meshes.
    #[serde(default)]
    pub outbox: Outbox,
    /// The services behind the edge, by name.
    #[serde(default)]
    pub upstreams: BTreeMap<String, Upstream>,
    /// OpenClaw gateways.
    #[serde(default)]
    pub gateways: Vec<Gateway>,
    /// What is served, and on which terms.
    pub routes: Vec<Route>,
    /// What happens to requests that no route takes.
    #[serde(default)]
    pub unmatched: Unmatched,
}

fn default_admin() -> String {
    "127.0.0.1:9090".into()
}

fn default_data() -> String {
    "./data".into()
}

/// One socket for clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port, such as `0.0.0.0:8080` or `[::]:8080`.
    pub address: String,
}

/// Threads, draining.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Worker threads; one for each processor by default.
    pub threads: Option<usize>,
    /// How long requests in flight and open sockets get after SIGTERM. Default `30s`.
    pub drain: Option<String>,
    /// How long an idle client connection is kept. Default `60s`.
    pub keepalive: Option<String>,
    /// Most WebSockets open at once, over all tenants. Default 10000.
    pub max_websockets: Option<usize>,
    /// Most bytes of request bodies held at once for verification. Default `256MiB`.
    pub max_held_bodies: Option<Size>,
}

/// Bounds on a request's head; beyond them 431 (or 408 for `timeout`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Head {
    /// Most bytes of request line and fields. Default `16KiB`.
    pub max_bytes: Option<Size>,
    /// Most fields. Default 64.
    pub max_fields: Option<usize>,
    /// Time from the first byte of a head to its last. Default `10s`.
    pub timeout: Option<String>,
}

/// A number of bytes: `1048576`, `64KiB`, `1MiB`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// With a unit: `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB`.
    Text(String),
}

/// The operator's log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Least level that is written. Default `info`.
    pub level: Option<Level>,
    /// Default `json`; `text` is for a terminal.
    pub format: Option<LogFormat>,
}

/// Levels of the operator's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only what needs a person.
    Error,
    /// Also what may need one.
    Warn,
    /// Also what changed.
    Info,
    /// Also why.
    Debug,
}

/// Shape of the operator's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// Where the access log goes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `stdout` (default), `stderr`, `off`, or a file's path (reopened on reload).
    pub to: Option<String>,
}

/// Who may say for whom a request came.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientAddress {
    /// Networks (CIDR) whose `X-Forwarded-For` is believed, read from right to left.
    pub trusted_proxies: Vec<String>,
}

/// One customer or team.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// A name for people; in no header and no log.
    pub name: Option<String>,
    /// Whose numbers its limits have; without one, the limits' own.
    pub plan: Option<String>,
}

/// Where a secret comes from.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretSource {
    /// An environment variable.
    Env(EnvSource),
    /// A file; one line end after the secret is not part of it.
    File(FileSource),
    /// A file that the edge makes with a fresh key (mode 0600) when it is not there.
    Generated(GeneratedSource),
    /// The secret itself; refused unless `allow_literal_secrets: true`.
    Literal(String),
}

// By hand: a literal must not print itself.
impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(source) => source.fmt(f),
            Self::File(source) => source.fmt(f),
            Self::Generated(source) => source.fmt(f),
            Self::Literal(_) => f.write_str("Literal(…)"),
        }
    }
}

/// `{ env: NAME }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvSource {
    /// Name of the environment variable.
    pub env: String,
}

/// `{ file: path }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Path of the file.
    pub file: String,
}

/// `{ generated: path }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratedSource {
    /// Path of the file.
    pub generated: String,
}

/// An API key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// What logs and metrics call it; never the key.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The mesh node that calls with it; told to upstreams as `X-Node-Id`.
    pub node: Option<String>,
    /// `sha256:` and the hex of the whole key text (`openclaw-edge keys hash`). Either this or `secret`.
    pub hash: Option<String>,
    /// The key itself, from elsewhere. Either this or `hash`.
    pub secret: Option<SecretSource>,
    /// What it may do; routes name the scopes that they need.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Last day (UTC, `2027-06-30`) or moment (`2027-06-30T12:00:00Z`) on which it is taken.
    pub expires: Option<String>,
    /// Numbers of limits for this credential alone, before those of its tenant's plan.
    #[serde(default)]
    pub limits: BTreeMap<String, Number>,
}

/// A mesh node's public key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Whose node it is. A node may have several keys: while they are changed each counts.
    pub tenant: String,
    /// The node's name, as its messages carry it in `nodeId` or `sourceNode`.
    pub node: String,
    /// Ed25519 public key: PEM (SPKI) or base64 of its 32 bytes.
    pub public_key: PublicKey,
    /// The key's name, for messages that name it in `kid`. Default: its thumbprint (RFC 7638).
    pub id: Option<String>,
    /// First day (UTC, `2027-06-01`) or moment on which it counts.
    pub not_before: Option<String>,
    /// Last day or moment on which it counts.
    pub not_after: Option<String>,
    /// The text that this key signs, where it is not the route's.
    pub canonical: Option<Canonical>,
}

/// Where public keys of a tenant's nodes come from: one of `directory`, `jwks` and `registry`. Changes are seen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySource {
    /// Whose nodes they are. A `registry` without it is for all tenants.
    pub tenant: Option<String>,
    /// A folder with one key a file: `<node>.pem` or `<node>@<id>.pem`.
    pub directory: Option<String>,
    /// A key set (RFC 7517): `kid` is the key's id and, up to an `@`, its node, unless `node` says that; `nbf` and
    /// `exp` are its time, `canonical` is what it signs.
    pub jwks: Option<Jwks>,
    /// The registry of a mesh store; `{}` is the one inside this process. Followed while the edge runs.
    pub registry: Option<Registry>,
    /// The text that these keys sign, where it is not the route's and they do not say themselves.
    pub canonical: Option<Canonical>,
}

/// A key set: one of `file` and `url`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// Path of the file.
    pub file: Option<String>,
    /// `https://host/path`; `http://` on this machine alone, unless `allow_http`.
    pub url: Option<String>,
    /// Longest time until it is fetched again, `5s` to `1d`; a shorter `Cache-Control: max-age` counts. Default `10m`.
    pub refresh: Option<String>,
    /// Time for one fetch, `100ms` to `1m`. Default `5s`.
    pub timeout: Option<String>,
    /// Most bytes of the set. Default `1MiB`.
    pub max: Option<Size>,
    /// Fetch over `http://` from another machine: whoever is on the way can put keys of their own in. Off by default.
    #[serde(default)]
    pub allow_http: bool,
}

/// The registry of a mesh store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Where the store is, `https://host/path`; `http://` on this machine alone, unless `allow_http`. Without it, the
    /// store inside this process.
    pub url: Option<String>,
    /// The secret that the edge shares with the store at `url`.
    pub secret: Option<SecretSource>,
    /// Ask over `http://` on another machine: whoever is on the way sees the secret. Off by default.
    #[serde(default)]
    pub allow_http: bool,
}

/// A public key, here or in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PublicKey {
    /// In a file.
    File(FileSource),
    /// PEM or base64, here.
    Inline(String),
}

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

/// A service behind the edge: one of `servers` and `embedded`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `host:port`, taken in turn.
    #[serde(default)]
    pub servers: Vec<String>,
    /// The mesh store, run inside this process.
    pub embedded: Option<Embedded>,
    /// Time to connect. Default `2s`.
    pub connect_timeout: Option<String>,
    /// Longest silence while waiting for an answer or its next piece. Default `60s`.
    pub read_timeout: Option<String>,
    /// Longest stall while sending. Default `30s`.
    pub write_timeout: Option<String>,
    /// How long an unused connection is kept; keep it below the server's own (Node's is 5 s). Default `4s`.
    pub idle_timeout: Option<String>,
    /// Fields set on every request to it, such as a secret that it shares with the edge.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretSource>,
}

/// The mesh store, run inside this process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// The SQLite file; made when it is not there.
    pub database: String,
    /// Tenant that rows of an existing, untenanted database get. Default `default`.
    pub legacy_tenant: Option<String>,
    /// Where vectors for `mode=semantic` come from. Default: the vectorizer that is built in.
    #[serde(default)]
    pub embeddings: Embeddings,
    /// What tenants may keep, and for how long.
    #[serde(default)]
    pub rules: StoreRules,
}

/// Where vectors for `mode=semantic` come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Embeddings {
    /// Which kind. Default `builtin`.
    pub source: EmbeddingsSource,
    /// The service's address: `http://127.0.0.1:11434`, `https://api.openai.com/v1`.
    pub url: Option<String>,
    /// The service's model.
    pub model: Option<String>,
    /// The service's key, sent as `Authorization: Bearer`.
    pub api_key: Option<SecretSource>,
    /// Most texts in one call, 1 to 2048. Default 32.
    pub batch: Option<usize>,
    /// Time for one call, `1s` to `10m`. Default `30s`.
    pub timeout: Option<String>,
}

/// Kinds of sources of vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingsSource {
    /// Words and pieces of words, hashed: needs no service and knows no meaning.
    #[default]
    Builtin,
    /// A service in Ollama's shape, `POST /api/embed`.
    Ollama,
    /// A service in OpenAI's shape, `POST /v1/embeddings`.
    Openai,
    /// No semantic search.
    None,
}

/// An OpenClaw gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Its name in paths and frames.
    pub id: String,
    /// Its name for people.
    pub name: Option<String>,
    /// Whose it is.
    pub tenant: String,
    /// `ws://host:port` or `wss://host:port`, with a path where the gateway has one.
    pub url: String,
    /// The gateway's own secret: put in for callers who bring none of the gateway's, never shown.
    pub token: Option<SecretSource>,
    /// Address of its Control UI, told to dashboards.
    pub control_ui: Option<String>,
    /// Whether the gateway trusts the edge's `X-Forwarded-*`. Default `off`: none is sent.
    #[serde(default)]
    pub forwarded: Forwarded,
    /// Whether the edge reads its clients' frames. Default `checked`.
    #[serde(default)]
    pub frames: Frames,
    /// How long a socket gets for its `connect`, `1s` to `14s`. Default `10s`.
    pub connect_within: Option<String>,
    /// How many refused calls one socket gets; one is forgotten every minute / this. At more it is closed (1008).
    /// Default 60.
    pub max_refused: Option<usize>,
    /// `false` takes it out without deleting it.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// What the edge does with the frames of a gateway's clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Frames {
    /// The first must be a `connect`; each call needs the scope that OpenClaw asks for it.
    #[default]
    Checked,
    /// It passes them on: what a client may do, its own secret of the gateway decides.
    Relayed,
}

/// What a gateway is told of the client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Forwarded {
    /// Nothing; also what the client sent is removed.
    #[default]
    Off,
    /// One rebuilt `X-Forwarded-For`, `-Proto` and `-Host`; for gateways that list the edge in `trustedProxies`.
    Trusted,
}

/// What is served, and on which terms. One of `upstream`, `gateway`, `mission_control` and `federation: share`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name in logs, metrics and answers.
    pub name: String,
    /// `/exact`, `/prefix/**`, `/with/{param}`.
    pub path: String,
    /// Only for this host, or `*.example.com`.
    pub host: Option<String>,
    /// Only for these methods; all by default.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Anyone may call it, without a credential.
    #[serde(default)]
    pub public: bool,
    /// The tenant of callers who are known by their signature alone.
    pub tenant: Option<String>,
    /// Scopes that the caller needs, all of them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Limits that apply, all or nothing.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What `%2F` in the path means: `refuse` (default) or `keep`.
    #[serde(default)]
    pub encoded_slashes: EncodedSlashes,
    /// Bounds on the request's body.
    #[serde(default)]
    pub body: Body,
    /// What must be signed.
    pub verify: Option<Verify>,
    /// What goes on to the upstream is signed.
    pub sign: Option<Sign>,
    /// The route is a side of the border to other meshes.
    pub federation: Option<Border>,
    /// Hand the caller's credential on to the upstream. Off by default.
    #[serde(default)]
    pub forward_credential: bool,
    /// Name of the upstream.
    pub upstream: Option<String>,
    /// Take this much off the front of the path before the upstream sees it.
    pub strip_prefix: Option<String>,
    /// Put this in front of the path (after `strip_prefix`) before the upstream sees it.
    pub add_prefix: Option<String>,
    /// A gateway's id, or the `{param}` that holds it.
    pub gateway: Option<String>,
    /// Limits that apply to each call inside a WebSocket to the gateway, all or nothing.
    #[serde(default)]
    pub call_limits: Vec<String>,
    /// Answer with the edge's own read-only API.
    #[serde(default)]
    pub mission_control: bool,
}

/// What `%2F` in a path means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodedSlashes {
    /// 400.
    #[default]
    Refuse,
    /// It is part of a segment, and the upstream gets it as it came.
    Keep,
}

/// Bounds on the request's body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Body {
    /// Most bytes; beyond them 413. Default `1MiB` where `verify`, `sign` or `federation` holds the body, else `64MiB`.
    pub max: Option<Size>,
    /// Time for the whole body where it is held. Default `30s`.
    pub timeout: Option<String>,
}

/// Whether unsigned messages pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each message must carry a good signature.
    #[default]
    Required,
    /// A message without one passes; one with a bad one does not.
    Optional,
}

/// What a bad message in a batch does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The whole request is refused.
    #[default]
    Reject,
    /// It is taken out; the rest goes on. Not inside envelopes.
    Drop,
}

/// Where messages sit in a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// The body is the message or an array of them.
    #[default]
    None,
    /// A Telegram update.
    Telegram,
    /// A Discord message.
    Discord,
    /// `body`, `message` or `data`.
    Generic,
    /// As the query says: `?unwrap=telegram|discord|generic`, none without it.
    Query,
}

/// What happens to requests that no route takes: 404, and these limits (by `ip` alone) apply.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unmatched {
    /// Names of limits.
    pub limits: Vec<String>,
}
