//! What the operator's words mean: every name resolved, every number in its unit, every secret read.
//!
//! A [`Config`] exists only when the file had no mistake; the rooms compile what they run from it.

use crate::ids::{GatewayId, Name, NodeId, TenantId};
use crate::secret::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use super::checked_credentials::{Credential, PreviousKey, Proof};
pub use super::checked_federation::{Grant, Mesh, Outbox, Peer, Sign, SignScheme, SigningKey, SigningSecret};
pub use super::checked_limits::{
    Abuse, AddressList, Cost, Effect, Limit, LimitKind, LocalShare, SharedLimit, SharedServer, Strikes,
    Tariff, Tariffs, Verdict,
};
pub use super::checked_listen::{Certificate, Fingerprint, Listen, Speaks, Tls};
pub use super::checked_operator::{Operator, OperatorAccess};
pub use super::checked_routes::{Access, Folder, HostPattern, PathPattern, Route, Segment, Target};
pub use super::checked_sessions::{OverHttp, Sessions};
pub use super::checked_store::StoreRules;
pub use super::checked_tokens::{IssuerKeys, TokenIssuer, Whose};
pub use super::checked_verify::{
    Hmac, HmacPart, HttpSignatures, MeshRules, Replay, ReplayCache, Scheme, Sender, SenderKind, Signer,
    SignerKey, Verify, WEB_BOT_AUTH,
};
pub use super::raw::{
    Border, Canonical, Denial, Dialect, Dimension, EncodedSlashes, Envelope, Forwarded, Frames,
    HmacAlgorithm, HmacEncoding, Level, LogFormat, Mode, OnFailure, Refund, ReplayAnswer, ReplaySync,
    SetupCalls, TlsVersion, WhenUnreachable,
};

/// The whole, checked.
#[derive(Debug)]
pub struct Config {
    /// Sockets for clients; at least one.
    pub listen: Vec<Listen>,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Folder for what the edge keeps.
    pub data: PathBuf,
    /// Threads, draining.
    pub server: Server,
    /// Bounds on a head.
    pub head: Head,
    /// Operator's log.
    pub log: Log,
    /// Access log.
    pub access_log: AccessLogTarget,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// All tenants.
    pub tenants: Vec<TenantId>,
    /// API keys.
    pub credentials: Vec<Credential>,
    /// Who issues tokens.
    pub token_issuers: Vec<TokenIssuer>,
    /// Sessions of browsers.
    pub sessions: Option<Sessions>,
    /// Mesh nodes' public keys.
    pub nodes: Vec<NodeKey>,
    /// Where more of them come from while the edge runs.
    pub key_feeds: Vec<KeyFeed>,
    /// Limits; routes refer by index.
    pub limits: Vec<Limit>,
    /// Who has other numbers.
    pub tariffs: Tariffs,
    /// Client addresses that are let in or kept out.
    pub address_lists: Vec<AddressList>,
    /// What addresses get that misbehave.
    pub abuse: Abuse,
    /// Most client addresses counted exactly.
    pub max_addresses: usize,
    /// Most values of fields counted exactly.
    pub max_header_values: usize,
    /// The replay cache.
    pub replay_cache: ReplayCache,
    /// Other meshes.
    pub meshes: Vec<Arc<Mesh>>,
    /// What may wait for them.
    pub outbox: Outbox,
    /// Where several edges count together.
    pub shared: Option<SharedServer>,
    /// How clients are told of limits.
    pub dialect: Dialect,
    /// Upstreams; routes refer by index.
    pub upstreams: Vec<Upstream>,
    /// Enabled gateways; routes refer by index or parameter.
    pub gateways: Vec<Gateway>,
    /// Routes, in the file's order.
    pub routes: Vec<Route>,
    /// Limits (indexes) on requests that no route takes.
    pub unmatched_limits: Vec<usize>,
    /// Every file that was read on the way, the config first: what a reload watches.
    pub files: Vec<PathBuf>,
    /// Hex SHA-256 of the config's text: tells two loads apart in log and metric.
    pub fingerprint: String,
}

/// Threads, draining.
#[derive(Debug, Clone)]
pub struct Server {
    /// Worker threads.
    pub threads: usize,
    /// Time to drain after SIGTERM.
    pub drain: Duration,
    /// Idle client connections.
    pub keepalive: Duration,
    /// Most WebSockets at once.
    pub max_websockets: usize,
    /// Most bytes of bodies held at once.
    pub max_held_bodies: usize,
}

/// Bounds on a head.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// Bytes.
    pub max_bytes: usize,
    /// Fields.
    pub max_fields: usize,
    /// First byte to last.
    pub timeout: Duration,
}

/// Operator's log.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// Least level.
    pub level: Level,
    /// Shape.
    pub format: LogFormat,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

/// A mesh node's public key; small-order keys were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeKey {
    /// Whose node.
    pub tenant: TenantId,
    /// The node.
    pub node: NodeId,
    /// The key.
    pub key: ed25519_dalek::VerifyingKey,
    /// Its name, as a message's `kid` has it.
    pub id: Arc<str>,
    /// First second (Unix) at which it counts.
    pub not_before: Option<u64>,
    /// First second (Unix) at which it no longer counts.
    pub not_after: Option<u64>,
    /// The text that it signs, where it is not the route's.
    pub canonical: Option<Canonical>,
}

/// A source of one tenant's keys that is asked while the edge runs.
#[derive(Debug, Clone)]
pub struct KeyFeed {
    /// Whose nodes they are.
    pub tenant: TenantId,
    /// Its place in `key_sources`, from 0.
    pub place: usize,
    /// What it is.
    pub from: KeyFeedFrom,
    /// The text that its keys sign, where they do not say.
    pub canonical: Option<Canonical>,
}

/// What a source of keys is.
#[derive(Debug, Clone)]
pub enum KeyFeedFrom {
    /// A key set at a URL.
    KeySet(KeySetAt),
    /// A store's registry.
    Registry(RegistryAt),
}

/// A key set at a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetAt {
    /// Where.
    pub address: HttpAddress,
    /// Longest time until it is fetched again.
    pub refresh: Duration,
    /// Time for one fetch.
    pub timeout: Duration,
    /// Most bytes.
    pub max: usize,
}

/// Where a registry is.
#[derive(Debug, Clone)]
pub enum RegistryAt {
    /// In the store inside this process.
    Embedded,
    /// In a store elsewhere.
    Url {
        /// Where; its target is the prefix of the store's paths.
        address: HttpAddress,
        /// What it shares with the edge.
        secret: Secret,
    },
}

/// An address of HTTP, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    /// `https`.
    pub tls: bool,
    /// Name or address (IPv6 without brackets).
    pub host: String,
    /// Port; 80 or 443 where the text has none.
    pub port: u16,
    /// Path; `/` where the text has none.
    pub target: String,
}

impl HttpAddress {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl std::fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tls, host, port, target } = self;
        let scheme = if *tls { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{target}")
        } else {
            write!(f, "{scheme}://{host}:{port}{target}")
        }
    }
}

impl NodeKey {
    /// A key without an end, named by its thumbprint.
    #[must_use]
    pub fn of(tenant: TenantId, node: NodeId, key: ed25519_dalek::VerifyingKey) -> Self {
        let id = super::thumbprint(&key).into();
        Self { tenant, node, key, id, not_before: None, not_after: None, canonical: None }
    }
}

/// A service behind the edge.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub target: UpstreamTarget,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Longest silence.
    pub read_timeout: Duration,
    /// Longest stall while sending.
    pub write_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Fields set on every request.
    pub headers: Vec<(http::HeaderName, Secret)>,
}

/// Where an upstream is.
#[derive(Debug, Clone)]
pub enum UpstreamTarget {
    /// `host:port` texts, checked for form; resolved later, since names move.
    Servers(Vec<String>),
    /// The store inside this process.
    Embedded(Box<EmbeddedStore>),
}

/// The store inside this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedStore {
    /// SQLite file.
    pub database: PathBuf,
    /// Tenant of rows that had none.
    pub legacy_tenant: TenantId,
    /// Where vectors come from.
    pub embeddings: Embeddings,
    /// What tenants may keep, and for how long.
    pub rules: StoreRules,
}

/// Where a store's vectors come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Embeddings {
    /// The vectorizer that is built in.
    #[default]
    Builtin,
    /// A service in Ollama's shape.
    Ollama(EmbeddingsService),
    /// A service in OpenAI's shape.
    OpenAi(EmbeddingsService),
    /// Nowhere: there is no semantic search.
    None,
}

/// A service that makes vectors.
#[derive(Debug, Clone)]
pub struct EmbeddingsService {
    /// Its address, with or without the shape's path.
    pub url: String,
    /// The model.
    pub model: String,
    /// Its key.
    pub key: Option<Secret>,
    /// Texts a call.
    pub batch: usize,
    /// Time for a call.
    pub timeout: Duration,
}

impl PartialEq for EmbeddingsService {
    fn eq(&self, other: &Self) -> bool {
        let same_key = match (&self.key, &other.key) {
            (Some(one), Some(other)) => one.matches(other.expose()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let plain =
            |service: &Self| (service.url.clone(), service.model.clone(), service.batch, service.timeout);
        same_key && plain(self) == plain(other)
    }
}

impl Eq for EmbeddingsService {}

/// An OpenClaw gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// For people; the id where the file has none.
    pub name: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it is.
    pub url: GatewayUrl,
    /// Its own secret.
    pub token: Option<Secret>,
    /// Its Control UI.
    pub control_ui: Option<String>,
    /// What it is told of clients.
    pub forwarded: Forwarded,
    /// What is done with its clients' frames.
    pub frames: Frames,
    /// Time for a socket's `connect`.
    pub connect_within: Duration,
    /// How many refused calls a socket gets at once, and anew within a minute.
    pub max_refused: usize,
    /// How the edge itself connects to it.
    pub operator: Operator,
}

/// A gateway's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    /// `wss`.
    pub tls: bool,
    /// Name or address (IPv6 without brackets).
    pub host: String,
    /// Port; 80 or 443 where the file has none.
    pub port: u16,
    /// Path prefix without a slash at its end; empty for none.
    pub base_path: String,
}

impl Config {
    /// The store that runs inside this process, if one does.
    #[must_use]
    pub fn embedded(&self) -> Option<&EmbeddedStore> {
        self.upstreams.iter().find_map(|upstream| match &upstream.target {
            UpstreamTarget::Embedded(store) => Some(&**store),
            UpstreamTarget::Servers(_) => None,
        })
    }
}
