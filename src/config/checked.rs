//! What the operator's words mean: every name resolved, every number in its unit, every secret read.
//!
//! A [`Config`] exists only when the file had no mistake; the rooms compile what they run from it.

use crate::ids::{CredentialId, GatewayId, Name, NodeId, Scope, TenantId};
use crate::secret::Secret;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use super::checked_federation::{Grant, Mesh, Outbox, Peer, Sign, SignScheme, SigningKey, SigningSecret};
pub use super::checked_store::StoreRules;
pub use super::checked_verify::{
    Hmac, HmacPart, HttpSignatures, MeshRules, Replay, ReplayCache, Scheme, Sender, SenderKind, Signer,
    SignerKey, Verify, WEB_BOT_AUTH,
};
pub use super::raw::{
    Border, Canonical, Denial, Dialect, Dimension, EncodedSlashes, Envelope, Forwarded, Frames,
    HmacAlgorithm, HmacEncoding, Level, LogFormat, Mode, OnFailure, Refund, ReplayAnswer, ReplaySync,
    SetupCalls, WhenUnreachable,
};

/// The whole, checked.
#[derive(Debug)]
pub struct Config {
    /// Sockets for clients; at least one.
    pub listen: Vec<SocketAddr>,
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

/// An API key.
#[derive(Debug)]
pub struct Credential {
    /// Its name in logs.
    pub id: CredentialId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The node that calls with it.
    pub node: Option<NodeId>,
    /// SHA-256 of the key text.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// First second (Unix) at which it is no longer taken.
    pub expires: Option<u64>,
    /// The file that was made for it, for `generated` keys.
    pub generated: Option<PathBuf>,
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

/// A limit.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Its name in answers, logs and metrics.
    pub name: Name,
    /// What is counted apart; sorted, not empty, none twice.
    pub by: Vec<Dimension>,
    /// Which promise it makes.
    pub kind: LimitKind,
    /// Most in a window, at once, or at the same time.
    pub limit: u32,
    /// In any trailing span of this length; nothing for a number in flight.
    pub per: Duration,
    /// What a request counts for.
    pub cost: Cost,
    /// Whether it refuses.
    pub effect: Effect,
    /// When a request is given back.
    pub refund: Refund,
    /// The field whose values are counted apart; there with [`Dimension::Header`] alone.
    pub header: Option<http::HeaderName>,
    /// Which address lists free from it: a bit for each place in [`Config::address_lists`].
    pub exempt: u32,
    /// Whether several edges count it together.
    pub shared: Option<SharedLimit>,
}

/// What addresses get that misbehave, and what each may hold before anyone is known.
#[derive(Debug, Clone)]
pub struct Abuse {
    /// To whom none of this applies.
    pub spare: Vec<ipnet::IpNet>,
    /// When an address cools down; never without them.
    pub strikes: Option<Strikes>,
    /// Most connections without a whole head.
    pub half_open: usize,
    /// Most bytes of unfinished heads.
    pub head_bytes: usize,
    /// Most time spent waiting for them in any minute.
    pub head_time: Duration,
    /// Most bytes of unverified bodies.
    pub body_bytes: usize,
}

/// When an address cools down, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Strikes {
    /// Most at once, and in the long run in `per`.
    pub limit: u32,
    /// See `limit`.
    pub per: Duration,
    /// The first pause.
    pub pause: Duration,
    /// The longest.
    pub longest: Duration,
}

/// Other numbers of limits, and who has them.
#[derive(Debug, Default)]
pub struct Tariffs {
    /// Tenants and credentials refer by index.
    pub all: Vec<Tariff>,
    /// Of tenants on a plan.
    pub tenants: HashMap<TenantId, usize>,
    /// Of credentials with numbers of their own, their tenant's plan included.
    pub credentials: HashMap<CredentialId, usize>,
}

/// Limits with other numbers, by their places in [`Config::limits`].
#[derive(Debug, Clone, Default)]
pub struct Tariff(pub BTreeMap<usize, Limit>);

/// A list of client addresses.
#[derive(Debug, Clone)]
pub struct AddressList {
    /// Its name in logs and metrics.
    pub name: Name,
    /// What it does with those on it.
    pub verdict: Verdict,
    /// Who is on it.
    pub networks: Vec<ipnet::IpNet>,
}

/// What a list of addresses does with those on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lets them in.
    Allow,
    /// Keeps them out.
    Deny(Denial),
}

impl Limit {
    /// The same limit as this edge keeps it alone.
    #[must_use]
    pub fn alone(&self, share: LocalShare) -> Self {
        let limit = share.part(self.limit);
        let kind = match self.kind {
            LimitKind::Rate { every } => {
                // As much slower as the burst is meant to be smaller.
                LimitKind::Rate { every: every.saturating_mul(share.of) / share.n.max(1) }
            }
            LimitKind::Window | LimitKind::Quota | LimitKind::Concurrency => self.kind,
        };
        Self { limit, kind, shared: None, ..self.clone() }
    }
}

/// How several edges count a limit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedLimit {
    /// What becomes of requests while the server does not answer.
    pub when: WhenUnreachable,
    /// What this edge lets through alone.
    pub alone: LocalShare,
    /// What is taken ahead; 0: nothing is.
    pub block: u32,
}

/// `n` parts of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalShare {
    /// So many parts.
    pub n: u32,
    /// Of so many; not 0.
    pub of: u32,
}

impl LocalShare {
    /// This share of a number, at least 1.
    #[must_use]
    pub fn part(self, whole: u32) -> u32 {
        let part = u64::from(whole) * u64::from(self.n) / u64::from(self.of);
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    }
}

/// The Redis or Valkey in which several edges count together.
#[derive(Debug, Clone)]
pub struct SharedServer {
    /// Host and port; of a cluster several may be known.
    pub nodes: Vec<(String, u16)>,
    /// With TLS.
    pub tls: bool,
    /// Number of the database.
    pub database: i64,
    /// It is a cluster.
    pub cluster: bool,
    /// Who logs in.
    pub username: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    /// PEM of its authority; without it the machine's authorities count.
    pub ca: Option<String>,
    /// Front of all keys.
    pub prefix: String,
    /// How long a request waits.
    pub deadline: Duration,
}

impl SharedServer {
    /// Whether both mean the same server, asked in the same way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let secret = |one: &Self| one.password.as_ref().map(|secret| secret.expose().to_vec());
        let rest = |one: &Self| {
            let place = (one.nodes.clone(), one.tls, one.database, one.cluster);
            (place, one.username.clone(), one.ca.clone(), one.prefix.clone(), one.deadline)
        };
        rest(self) == rest(other) && secret(self) == secret(other)
    }
}

/// What a request counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// So many.
    Requests(u32),
    /// So many by its method.
    Methods {
        /// Of these methods.
        weights: Vec<(http::Method, u32)>,
        /// Of these methods of a gateway.
        calls: Vec<(crate::openclaw::methods::Method, u32)>,
        /// Of all others.
        other: u32,
    },
    /// The bytes of its body.
    BodyBytes,
}

/// Whether a limit refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Refuses,
    /// It only tells what it would have refused.
    Shadow,
}

/// Which promise a limit makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// A ceiling over seconds to days, kept in memory.
    Window,
    /// The same ceiling over hours or days.
    Quota,
    /// One more after every step, and a burst of `limit` after a rest.
    Rate {
        /// The step.
        every: Duration,
    },
    /// At most `limit` at the same time.
    Concurrency,
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

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// What paths it takes.
    pub path: PathPattern,
    /// What hosts.
    pub host: Option<HostPattern>,
    /// What methods; empty for all.
    pub methods: Vec<http::Method>,
    /// How callers are known.
    pub access: Access,
    /// Limits (indexes into [`Config::limits`]).
    pub limits: Vec<usize>,
    /// Limits (indexes) on calls inside its WebSockets.
    pub call_limits: Vec<usize>,
    /// `%2F`.
    pub encoded_slashes: EncodedSlashes,
    /// Most bytes of a body.
    pub body_max: usize,
    /// Time for a held body.
    pub body_timeout: Duration,
    /// What must be signed.
    pub verify: Option<Arc<Verify>>,
    /// What is signed of what goes on.
    pub sign: Option<Arc<Sign>>,
    /// Which side of the border to other meshes it is.
    pub federation: Option<Border>,
    /// Hand the caller's credential on.
    pub forward_credential: bool,
    /// Who answers.
    pub target: Target,
}

/// How callers of a route are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// By a credential with all these scopes.
    Credential(Vec<Scope>),
    /// By signature; whoever signs belongs to this tenant.
    Signature(TenantId),
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An upstream (index), with this much taken off the path's front and this put before it.
    Upstream {
        /// Index into [`Config::upstreams`].
        index: usize,
        /// Taken off; empty for nothing.
        strip_prefix: String,
        /// Put before; empty for nothing.
        add_prefix: String,
    },
    /// One fixed gateway (index). The route's literal prefix is taken off the path.
    Gateway(usize),
    /// The gateway that the path's parameter (position among the pattern's parameters) names.
    GatewayParam(usize),
    /// The edge's own API.
    MissionControl,
    /// The outbox: what is shared with other meshes.
    Outbox,
}

/// A path pattern, in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// Between slashes.
    pub segments: Vec<Segment>,
    /// Ends in `/**`: takes the path itself and everything below it.
    pub rest: bool,
    /// As written.
    pub text: String,
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Just this.
    Literal(String),
    /// Any one segment, under this name.
    Param(String),
}

/// Hosts, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Just this.
    Exact(String),
    /// Anything below this (`*.example.com` → `example.com`).
    Below(String),
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
