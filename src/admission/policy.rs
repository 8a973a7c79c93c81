//! A config, compiled into what requests are walked through. Made once per load, then only read.

use super::abuse::Abuse;
use super::prices::{self, Priced, Prices};
use super::route::RouteTable;
use crate::config::checked::{self, Access, Config, Dialect, Dimension, EncodedSlashes, NodeKey, Target};
use crate::identity::caller::{Credential, KeyRing, ScopeSet, Tenant};
use crate::identity::lists::AddressLists;
use crate::ids::{CredentialId, GatewayId, Name, NodeId, Scope, TenantId};
use crate::limits::{Familiar, Limiter, LimitsError, RuleSet};
use crate::openclaw::Scopes;
use crate::secret::Secret;
use crate::signatures::keys::{Key, KeyRegistry, KeysError};
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::Arc;
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
#[derive(Debug)]
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

impl Policy {
    /// Compiles a config. The limiter's state lives on from policy to policy.
    ///
    /// # Errors
    /// [`PolicyError`]: what the config's own check does not see.
    pub fn new(config: &Config, limiter: Arc<Limiter>) -> Result<Self, PolicyError> {
        let compiler = Compiler::new(config, &limiter);
        let keys = compiler.keys();
        let routes = config.routes.iter().enumerate().map(|(index, route)| compiler.route(index, route));
        let routes: Vec<RouteEntry> = routes.collect::<Result<_, _>>()?;
        let gateways: Vec<GatewayEntry> = config.gateways.iter().map(gateway).collect();
        prices::name_quotas(config, &limiter);
        Ok(Self {
            trusted_proxies: config.trusted_proxies.clone(),
            lists: AddressLists::new(&config.address_lists),
            abuse: Abuse::new(config, &limiter),
            table: RouteTable::new(&config.routes),
            named: keys.iter().map(|(_, credential)| (credential.id.clone(), credential.clone())).collect(),
            keys: KeyRing::new(keys),
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

struct Compiler<'c> {
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
    fn set(&self, scopes: &[Scope]) -> ScopeSet {
        let bits = scopes.iter().filter_map(|scope| self.scopes.get(scope));
        ScopeSet(bits.fold(0, |set, &bit| set | 1u128.checked_shl(bit).unwrap_or(0)))
    }

    fn rules(&self, places: &[usize]) -> Result<RuleSet, LimitsError> {
        self.limiter.compile(places.iter().map(|&place| &self.config.limits[place]))
    }

    fn keys(&self) -> Vec<([u8; 32], Arc<Credential>)> {
        // One for all who have the same: what many requests share stays in the processor's cache.
        let mut scopes_fields = HashMap::new();
        let keys = self.config.credentials.iter().filter_map(|key| {
            let tenant = self.tenants.get(&key.tenant)?.clone();
            let own = self.config.tariffs.credentials.get(&key.id).copied();
            let credential = Credential {
                id: key.id.clone(),
                tariff: own.or(tenant.tariff),
                tenant,
                node: key.node.clone(),
                scopes: self.set(&key.scopes),
                gateway: Scopes::of(key.scopes.iter().map(Scope::as_str)),
                expires: key.expires,
                number: self.limiter.intern_credential(&key.id),
                node_number: key.node.as_ref().map(|node| self.limiter.intern_node(&key.tenant, node)),
                id_field: field(key.id.as_str()),
                node_field: key.node.as_ref().map(|node| field(node.as_str())),
                told: [&*member("tenant", key.tenant.as_str()), &member("credential", key.id.as_str())]
                    .concat()
                    .into(),
                scopes_field: scopes_fields
                    .entry(scope_words(&key.scopes))
                    .or_insert_with_key(|words| field(words))
                    .clone(),
            };
            Some((key.hash, Arc::new(credential)))
        });
        keys.collect()
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

fn scope_words(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
}
