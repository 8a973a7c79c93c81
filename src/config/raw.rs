//! What an operator writes, word for word: one struct a section, every key documented.
//!
//! The JSON Schema (`openclaw-edge schema`), the shape check and `docs/configuration.md` are all made
//! from these types, so a key exists in all of them or in none. What the words mean is decided in
//! [`checked`](super::checked); nothing here is trusted.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

pub use super::raw_federation::{Border, Grant, GrantEntry, Mesh, Outbox, Sign, SignScheme, SigningKey};
pub use super::raw_identity::{
    CertificateOf, Credential, EnvSource, FileSource, GeneratedSource, Jwks, KeySource, Node, PreviousKey,
    PublicKey, Registry, SecretSource, Tenant,
};
pub use super::raw_limits::{
    Abuse, AddressList, Budgets, By, Counts, Denial, Dialect, Dimension, Limit, Limiter, ListAction, Number,
    Plan, Proposed, Rate, Refund, Strikes, Window,
};
pub use super::raw_listen::{Certificate, ClientCertificates, Hsts, Listen, Tls, TlsVersion};
pub use super::raw_operator::{Operator, OperatorAccess};
pub use super::raw_routes::{Body, EncodedSlashes, Envelope, Mode, OnFailure, Route, Static, Unmatched};
pub use super::raw_sessions::Sessions;
pub use super::raw_shared::{Shared, SharedServer, WhenUnreachable};
pub use super::raw_store::StoreRules;
pub use super::raw_tokens::TokenIssuer;
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
    /// Who issues tokens (JWT) that callers come with.
    #[serde(default)]
    pub token_issuers: Vec<TokenIssuer>,
    /// Sessions of browsers; none without this.
    pub sessions: Option<Sessions>,
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
    /// How the edge itself connects to it, for Mission Control.
    #[serde(default)]
    pub operator: Operator,
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
