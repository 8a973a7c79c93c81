//! A config, compiled into what requests are walked through. Made once per load, then only read.

use super::abuse::Abuse;
use super::issuers::{self, KeysAt};
use super::prices::{self, Priced, Prices};
use super::route::RouteTable;
use crate::config::checked::{self, Access, Config, Dialect, Dimension, EncodedSlashes, NodeKey, Target};
use crate::identity::caller::{CertificateName, Credential, KeyAge, KeyRing, ScopeSet, Tenant, Ticket};
use crate::identity::certificate::Presented;
use crate::identity::lists::AddressLists;
use crate::identity::sessions::{Sessions, SignedOut, Wire};
use crate::ids::{CredentialId, GatewayId, Name, NodeId, Scope, TenantId};
use crate::limits::{Familiar, Limiter, LimitsError, RuleSet};
use crate::openclaw::Scopes;
use crate::secret::Secret;
use crate::signatures::keys::{Key, KeyRegistry, KeysError};
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why a checked config does not compile.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A route has more limits than a decision takes.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A node's key cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Everything that decides over a request's head.
pub struct Policy {
    pub(super) trusted_proxies: Vec<ipnet::IpNet>,
    /// Who is let in, and who is kept out.
    pub lists: AddressLists,
    pub(super) abuse: Abuse,
    pub(super) table: RouteTable,
    pub(super) keys: KeyRing,
    /// By the names of credentials, for those who explain.
    pub(super) named: HashMap<CredentialId, Arc<Credential>>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) unmatched_rules: RuleSet,
    pub(super) unmatched_number: u32,
    plans: HashMap<TenantId, usize>,
    pub(super) gateway_ids: HashMap<GatewayId, usize>,
    /// How clients are told of limits.
    pub dialect: Dialect,
    /// By index, as routes and trails name them.
    pub routes: Vec<RouteEntry>,
    /// By index.
    pub gateways: Vec<GatewayEntry>,
    /// Public keys of mesh nodes.
    pub nodes: KeyRegistry,
    /// Callers with tokens, as far as they are known before one comes.
    prototypes: Vec<Arc<Credential>>,
    /// Keys of those who issue tokens that come from elsewhere.
    pub issuer_keys: Vec<KeysAt>,
    meshes: Vec<Arc<checked::Mesh>>,
    /// Public keys of meshes, under their tenants and ids.
    mesh_keys: KeyRegistry,
}

/// One route, ready to be applied.
pub struct RouteEntry {
    /// Its place.
    pub index: usize,
    /// Its name.
    pub name: Name,
    /// Its name as log lines tell it, ready made.
    pub told: Box<str>,
    /// How callers are known.
    pub access: Access,
    pub(super) scopes: ScopeSet,
    pub(super) tenant: Option<Arc<Tenant>>,
    pub(super) encoded_slashes: EncodedSlashes,
    /// The rules that apply.
    pub(super) prices: Prices,
    /// Those that apply to each call inside its WebSockets.
    pub(super) call_prices: Prices,
    /// Those of them that count by address (and route) alone: what strangers spend.
    pub(super) stranger_rules: RuleSet,
    /// The limiter's number for it.
    pub number: u32,
    /// From where signers are known.
    pub(super) familiar: Arc<Familiar>,
    /// Who answers.
    pub target: Target,
    /// The literal front of the path pattern: what a gateway route takes off.
    pub depth: usize,
    /// Most bytes of a body.
    pub body_max: usize,
    /// Time for a held body.
    pub body_timeout: Duration,
    /// What must be signed.
    pub verify: Option<Arc<checked::Verify>>,
    /// What is signed of what goes on.
    pub sign: Option<Arc<checked::Sign>>,
    /// Which side of the border to other meshes it is.
    pub federation: Option<checked::Border>,
    /// Hand the caller's credential on.
    pub forward_credential: bool,
}

impl RouteEntry {
    /// The rules that apply to a caller of this tariff.
    #[inline]
    #[must_use]
    pub fn priced(&self, tariff: Option<usize>) -> &Priced {
        self.prices.of(tariff)
    }

    /// The rules that apply to calls inside the WebSockets of a caller of this tariff.
    #[must_use]
    pub fn call_rules(&self, tariff: Option<usize>) -> &RuleSet {
        &self.call_prices.of(tariff).rules
    }
}

/// One gateway, as the edge reaches it.
#[derive(Debug, Clone)]
pub struct GatewayEntry {
    /// Its id.
    pub id: GatewayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it is.
    pub url: checked::GatewayUrl,
    /// What it is told of clients.
    pub forwarded: checked::Forwarded,
    /// What is done with its clients' frames.
    pub frames: checked::Frames,
    /// Its own secret.
    pub token: Option<Secret>,
    /// Time for a socket's `connect`.
    pub connect_within: Duration,
    /// How many refused calls a socket gets at once, and anew within a minute.
    pub max_refused: usize,
}

impl GatewayEntry {
    /// Whether sockets that were opened to the other would be opened to this in the same way.
    #[must_use]
    pub fn is_reached_as(&self, other: &Self) -> bool {
        let same_secret = match (&self.token, &other.token) {
            (Some(one), Some(other)) => one.matches(other.expose()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_secret
            && self.tenant == other.tenant
            && self.url == other.url
            && self.forwarded == other.forwarded
            && self.frames == other.frames
    }
}

impl Policy {
    /// Compiles a config. The limiter's state lives on from policy to policy.
    ///
    /// # Errors
    /// [`PolicyError`]: what the config's own check does not see.
    pub fn new(config: &Config, limiter: Arc<Limiter>) -> Result<Self, PolicyError> {
        Self::beside(config, limiter, Arc::default())
    }

    /// [`new`](Self::new), with the list of sessions that were signed out, which lives on too.
    ///
    /// # Errors
    /// As for `new`.
    pub fn beside(
        config: &Config,
        limiter: Arc<Limiter>,
        signed_out: Arc<SignedOut>,
    ) -> Result<Self, PolicyError> {
        let compiler = Compiler::new(config, &limiter);
        let keys = compiler.keys();
        let issuers::Compiled { issuers, prototypes, sources } =
            issuers::compile(&compiler, &config.token_issuers);
        let routes = config.routes.iter().enumerate().map(|(index, route)| compiler.route(index, route));
        let routes: Vec<RouteEntry> = routes.collect::<Result<_, _>>()?;
        let gateways: Vec<GatewayEntry> = config.gateways.iter().map(gateway).collect();
        prices::name_quotas(config, &limiter);
        Ok(Self {
            trusted_proxies: config.trusted_proxies.clone(),
            lists: AddressLists::new(&config.address_lists),
            abuse: Abuse::new(config, &limiter),
            table: RouteTable::new(&config.routes),
            named: {
                let keys = keys.iter().rev().map(|(_, one)| one);
                keys.chain(&prototypes).map(|one| (one.id.clone(), one.clone())).collect()
            },
            keys: ring(keys)
                .with_issuers(issuers)
                .with_sessions(signed_in(config.sessions.as_ref(), signed_out)),
            prototypes,
            issuer_keys: sources,
            plans: config.tariffs.tenants.clone(),
            unmatched_rules: compiler.rules(&config.unmatched_limits)?,
            unmatched_number: u32::MAX,
            dialect: config.dialect,
            gateway_ids: gateways.iter().enumerate().map(|(index, g)| (g.id.clone(), index)).collect(),
            routes,
            gateways,
            nodes: KeyRegistry::build(&config.nodes)?,
            mesh_keys: KeyRegistry::build(&mesh_keys(&config.meshes))?,
            meshes: config.meshes.clone(),
            limiter,
        })
    }

    /// The mesh that calls with a credential.
    #[must_use]
    pub fn mesh_of(&self, credential: &CredentialId) -> Option<&Arc<checked::Mesh>> {
        self.meshes.iter().find(|mesh| mesh.credentials.contains(credential))
    }

    /// A tenant's meshes.
    pub fn meshes_of(&self, tenant: &TenantId) -> impl Iterator<Item = &Arc<checked::Mesh>> {
        self.meshes.iter().filter(move |mesh| mesh.tenant == *tenant)
    }

    /// The keys with one of which a mesh's messages must be signed; nothing where they need not be.
    #[must_use]
    pub fn keys_of(&self, mesh: &checked::Mesh) -> Option<&[Key]> {
        let found = self.mesh_keys.find(&mesh.tenant, mesh.id.as_str()).map(|(_, keys)| keys);
        // A mesh that has keys is never let in without.
        found.or((!mesh.keys.is_empty()).then_some(&[]))
    }

    /// Who holds this key.
    #[must_use]
    pub fn holder(&self, key: &str) -> Option<&Arc<Credential>> {
        self.keys.holder(key)
    }

    /// What makes and opens sessions, where the config has them.
    #[must_use]
    pub fn sessions(&self) -> Option<&Sessions> {
        self.keys.sessions()
    }

    /// Whose a ticket is now, in time.
    #[must_use]
    pub fn still(
        &self,
        ticket: &Ticket,
        certificate: Option<&Presented>,
        now: u64,
    ) -> Option<Arc<Credential>> {
        self.keys.still(ticket, certificate, now).ok()
    }

    /// All credentials, each with the key that it is still known by while keys are changed.
    pub fn credentials(&self) -> impl Iterator<Item = &Arc<Credential>> {
        self.keys.all().chain(&self.prototypes)
    }

    /// Knows what the one before it knew: when credentials were last used.
    pub fn go_on_from(&self, before: &Self) {
        let used: HashMap<(&CredentialId, KeyAge), u64> = before
            .credentials()
            .map(|one| ((&one.id, one.age), one.last_used.load(Ordering::Relaxed)))
            .collect();
        for one in self.credentials() {
            if let Some(&when) = used.get(&(&one.id, one.age)) {
                one.last_used.store(when, Ordering::Relaxed);
            }
        }
    }

    /// Who is meant by what a quota counts by and whose it is, as [`crate::limits::QuotaStanding`] has them.
    #[must_use]
    pub fn owner(&self, by: &str, of: &str) -> Option<Owner> {
        let mut owner = Owner::default();
        match by {
            "tenant" => {
                owner.tenant = TenantId::parse(of).ok();
                owner.tariff = owner.tenant.as_ref().and_then(|tenant| self.plans.get(tenant)).copied();
            }
            "route" => owner.route = Name::parse(of).ok(),
            "credential" => {
                let credential = self.named.get(&CredentialId::parse(of).ok()?)?;
                owner.tenant = Some(credential.tenant.id.clone());
                owner.credential = Some(credential.id.clone());
                owner.tariff = credential.tariff;
            }
            "node" => {
                let (tenant, node) = of.split_once('/')?;
                owner.tenant = TenantId::parse(tenant).ok();
                owner.tariff = owner.tenant.as_ref().and_then(|tenant| self.plans.get(tenant)).copied();
                owner.node = NodeId::parse(node).ok();
            }
            _ => return None,
        }
        Some(owner)
    }

    /// Whether an address is a trusted proxy's.
    #[must_use]
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

fn ring(proofs: Vec<(checked::Proof, Arc<Credential>)>) -> KeyRing {
    let (mut keys, mut certificates) = (Vec::with_capacity(proofs.len()), Vec::new());
    for (proof, credential) in proofs {
        match proof {
            checked::Proof::Key(hash) => keys.push((hash, credential)),
            checked::Proof::Fingerprint(print) => {
                certificates.push((CertificateName::Fingerprint(print), credential));
            }
            checked::Proof::Uri(uri) => certificates.push((CertificateName::Uri(uri), credential)),
            checked::Proof::Dns(name) => certificates.push((CertificateName::Dns(name), credential)),
        }
    }
    KeyRing::new(keys).with_certificates(certificates)
}

fn signed_in(sessions: Option<&checked::Sessions>, signed_out: Arc<SignedOut>) -> Option<Sessions> {
    let checked::Sessions { secret, previous, lifetime, idle, over_http } = sessions?;
    let clear = match over_http {
        checked::OverHttp::Allowed => Some(Wire::Clear),
        checked::OverHttp::Refused => None,
    };
    let secrets = std::iter::once(secret).chain(previous).cloned().collect();
    Some(Sessions::new(secrets, (*lifetime, *idle), clear).without(signed_out))
}

fn mesh_keys(meshes: &[Arc<checked::Mesh>]) -> Vec<NodeKey> {
    let keys = meshes.iter().flat_map(|mesh| {
        let node = NodeId::parse(mesh.id.as_str()).ok();
        let key = move |key: &_| Some(NodeKey::of(mesh.tenant.clone(), node.clone()?, *key));
        mesh.keys.iter().filter_map(key)
    });
    keys.collect()
}

/// Someone whom a quota counts.
#[derive(Debug, Default)]
pub struct Owner {
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The credential.
    pub credential: Option<CredentialId>,
    /// The node.
    pub node: Option<NodeId>,
    /// The route.
    pub route: Option<Name>,
    /// Which numbers its limits have.
    pub tariff: Option<usize>,
}

fn gateway(gateway: &checked::Gateway) -> GatewayEntry {
    GatewayEntry {
        id: gateway.id.clone(),
        tenant: gateway.tenant.clone(),
        url: gateway.url.clone(),
        forwarded: gateway.forwarded,
        frames: gateway.frames,
        token: gateway.token.clone(),
        connect_within: gateway.connect_within,
        max_refused: gateway.max_refused,
    }
}

pub(super) struct Compiler<'c> {
    config: &'c Config,
    limiter: &'c Limiter,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    scopes: HashMap<Scope, u32>,
}

impl<'c> Compiler<'c> {
    fn new(config: &'c Config, limiter: &'c Limiter) -> Self {
        let tariffs = &config.tariffs.tenants;
        let made = |id: &TenantId| (id.clone(), tenant(id, tariffs.get(id).copied(), limiter));
        let tenants = config.tenants.iter().map(made).collect();
        let mut scopes: HashMap<Scope, u32> = HashMap::new();
        let needed = config.routes.iter().flat_map(|route| match &route.access {
            Access::Credential(scopes) => scopes.as_slice(),
            Access::Public | Access::Signature(_) => &[],
        });
        for scope in needed {
            let next = u32::try_from(scopes.len()).unwrap_or(u32::MAX);
            scopes.entry(scope.clone()).or_insert(next);
        }
        Self { config, limiter, tenants, scopes }
    }

    /// Scopes that no route asks for need no bit. The config's check holds the number below 120.
    pub(super) fn set(&self, scopes: &[Scope]) -> ScopeSet {
        let bits = scopes.iter().filter_map(|scope| self.scopes.get(scope));
        ScopeSet(bits.fold(0, |set, &bit| set | 1u128.checked_shl(bit).unwrap_or(0)))
    }

    fn rules(&self, places: &[usize]) -> Result<RuleSet, LimitsError> {
        self.limiter.compile(places.iter().map(|&place| &self.config.limits[place]))
    }

    /// A tenant's caller of this name, with these scopes and no node.
    pub(super) fn prototype(
        &self,
        id: &CredentialId,
        tenant: &TenantId,
        scopes: &[Scope],
    ) -> Option<Credential> {
        let tenant = self.tenants.get(tenant)?.clone();
        let own = self.config.tariffs.credentials.get(id).copied();
        let told = [&*member("tenant", tenant.id.as_str()), &member("credential", id.as_str())].concat();
        Some(Credential {
            id: id.clone(),
            tariff: own.or(tenant.tariff),
            tenant,
            node: None,
            scopes: self.set(scopes),
            gateway: Scopes::of(scopes.iter().map(Scope::as_str)),
            begins: None,
            expires: None,
            last_used: Arc::default(),
            age: KeyAge::Current,
            number: self.limiter.intern_credential(id),
            node_number: None,
            id_field: field(id.as_str()),
            node_field: None,
            told: told.into(),
            scopes_field: field(&scope_words(scopes)),
        })
    }

    /// The limiter's number of a node.
    pub(super) fn node(&self, tenant: &TenantId, node: &NodeId) -> u32 {
        self.limiter.intern_node(tenant, node)
    }

    /// What each credential is known by; behind it the key that it is still known by while keys are changed.
    fn keys(&self) -> Vec<(checked::Proof, Arc<Credential>)> {
        // One for all who have the same: what many requests share stays in the processor's cache.
        let mut scopes_fields = HashMap::new();
        let mut made = |key: &checked::Credential, age: KeyAge, expires: Option<u64>| {
            let scopes_field = scopes_fields
                .entry(scope_words(&key.scopes))
                .or_insert_with_key(|words| field(words))
                .clone();
            let made = self.prototype(&key.id, &key.tenant, &[])?;
            Some(Arc::new(Credential {
                node: key.node.clone(),
                scopes: self.set(&key.scopes),
                gateway: Scopes::of(key.scopes.iter().map(Scope::as_str)),
                begins: key.begins,
                expires,
                age,
                node_number: key.node.as_ref().map(|node| self.node(&key.tenant, node)),
                node_field: key.node.as_ref().map(|node| field(node.as_str())),
                scopes_field,
                ..made
            }))
        };
        let mut keys = Vec::with_capacity(self.config.credentials.len());
        for key in &self.config.credentials {
            keys.extend(made(key, KeyAge::Current, key.expires).map(|one| (key.proof.clone(), one)));
            if let Some(previous) = &key.previous {
                let ends = Some(previous.expires.min(key.expires.unwrap_or(u64::MAX)));
                keys.extend(
                    made(key, KeyAge::Previous, ends).map(|one| (checked::Proof::Key(previous.hash), one)),
                );
            }
        }
        keys
    }

    fn route(&self, index: usize, route: &checked::Route) -> Result<RouteEntry, LimitsError> {
        let (scopes, tenant) = match &route.access {
            Access::Credential(scopes) => (self.set(scopes), None),
            Access::Signature(tenant) => (ScopeSet::default(), self.tenants.get(tenant).cloned()),
            Access::Public => (ScopeSet::default(), None),
        };
        let by_address = |place: &usize| self.config.limits[*place].by.iter().all(|by| is_of_strangers(*by));
        let by_address: Vec<usize> = route.limits.iter().copied().filter(by_address).collect();
        let number = self.limiter.intern_route(&route.name);
        Ok(RouteEntry {
            index,
            name: route.name.clone(),
            told: member("route", route.name.as_str()),
            access: route.access.clone(),
            scopes,
            tenant,
            encoded_slashes: route.encoded_slashes,
            stranger_rules: self.rules(&by_address)?,
            prices: Prices::new(&route.limits, self.config, self.limiter)?,
            call_prices: Prices::new(&route.call_limits, self.config, self.limiter)?,
            number,
            familiar: self.limiter.familiar_route(number),
            target: route.target.clone(),
            depth: route.path.segments.len(),
            body_max: route.body_max,
            body_timeout: route.body_timeout,
            verify: route.verify.clone(),
            sign: route.sign.clone(),
            federation: route.federation,
            forward_credential: route.forward_credential,
        })
    }
}

/// Whether something is known of those who are not.
const fn is_of_strangers(dimension: Dimension) -> bool {
    match dimension {
        Dimension::Ip | Dimension::Network | Dimension::Route | Dimension::Method => true,
        // What a stranger could spend of others by saying their value.
        Dimension::Credential | Dimension::Tenant | Dimension::Node | Dimension::Header => false,
    }
}

fn tenant(id: &TenantId, tariff: Option<usize>, limiter: &Limiter) -> Arc<Tenant> {
    Arc::new(Tenant {
        id: id.clone(),
        number: limiter.intern_tenant(id),
        tariff,
        field: field(id.as_str()),
        told: member("tenant", id.as_str()),
    })
}

/// A member of a log line, as it stands behind another. Names and ids are words that need no escapes.
#[must_use]
pub fn member(name: &str, word: &str) -> Box<str> {
    format!(",\"{name}\":\"{word}\"").into()
}

/// Ids are words without control characters; a node may have characters beyond ASCII, which go as UTF-8.
pub(super) fn field(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) fn scope_words<'s>(scopes: impl IntoIterator<Item = &'s Scope>) -> String {
    scopes.into_iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
}
