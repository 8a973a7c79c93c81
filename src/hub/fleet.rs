//! The gateways, as callers may know them, each with the edge's own operator at it. No secret is told from
//! here.
//!
//! A reload makes a new list and keeps, of each gateway that is reached as before, the connection that it has.

use super::dial::Dial;
use super::feed::{Feeds, Listening, Place};
use super::operator::Operator;
use crate::config::checked::{Access, Config, PathPattern, Route, Segment, Target};
use crate::ids::{GatewayId, Scope, TenantId};
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// All gateways of one config; swapped whole on reload.
#[derive(Debug)]
pub struct Fleet {
    current: ArcSwap<Vec<Arc<Gateway>>>,
    /// The scopes that routes to an army server ask for, one entry a route.
    army: ArcSwap<Vec<Vec<Scope>>>,
    feeds: Feeds,
    metrics: Arc<Metrics>,
    applied: watch::Sender<u64>,
}

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Its name for people.
    pub name: String,
    /// Whose it is.
    tenant: TenantId,
    /// Address of its Control UI, where the operator gave one.
    pub control_ui: Option<String>,
    /// Path under which the edge serves its WebSocket, where a route does.
    pub path: Option<String>,
    /// How it is reached; the same over reloads that leave that as it is.
    pub dial: Arc<Dial>,
    /// The edge's operator at it, where there is one.
    pub operator: Option<Arc<Operator>>,
}

impl Fleet {
    /// Without gateways yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            current: ArcSwap::default(),
            army: ArcSwap::default(),
            feeds: Feeds::default(),
            metrics,
            applied: watch::Sender::new(0),
        }
    }

    /// Takes the gateways of a config over, on the runtime on which their operators are to run.
    pub fn apply(&self, config: &Config) {
        self.feeds.keep(&config.tenants);
        let before = self.current.load_full();
        // Without a route to it nobody would ask.
        let is_asked = config.routes.iter().any(|route| route.target == Target::MissionControl);
        let gateways = config.gateways.iter().enumerate().map(|(index, gateway)| {
            let dial = Dial::of(gateway, &config.data);
            let kept = before.iter().find(|known| known.dial.is_same(&dial));
            let dial = kept.map_or_else(|| Arc::new(dial), |known| known.dial.clone());
            let operator = (is_asked && dial.is_wanted()).then(|| {
                let kept = kept.and_then(|known| known.operator.clone());
                kept.unwrap_or_else(|| self.operator(&dial))
            });
            Arc::new(Gateway {
                id: gateway.id.clone(),
                name: gateway.name.clone(),
                tenant: gateway.tenant.clone(),
                control_ui: gateway.control_ui.clone(),
                path: config.routes.iter().find_map(|route| path(route, index, &gateway.id)),
                dial,
                operator,
            })
        });
        self.current.store(Arc::new(gateways.collect()));
        self.army.store(Arc::new(config.routes.iter().filter_map(army).collect()));
        for gone in before.iter().filter(|known| !config.gateways.iter().any(|now| now.id == known.id)) {
            self.metrics.gateways.forget(gone.id.as_str());
        }
        self.applied.send_modify(|count| *count += 1);
    }

    /// Counts the configs that were applied: for those who keep something of a gateway's.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn operator(&self, dial: &Arc<Dial>) -> Arc<Operator> {
        let feed = self.feeds.of(&dial.tenant);
        Arc::new(Operator::begin(dial.clone(), feed, self.metrics.clone()))
    }

    /// The tenant's gateways, and no other's, in the config's order.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Vec<Arc<Gateway>> {
        self.current.load().iter().filter(|gateway| gateway.tenant == *tenant).cloned().collect()
    }

    /// The tenant's gateway of that name; another's is none.
    #[must_use]
    pub fn find(&self, tenant: &TenantId, id: &str) -> Option<Arc<Gateway>> {
        let current = self.current.load();
        current.iter().find(|gateway| gateway.tenant == *tenant && gateway.id.as_str() == id).cloned()
    }

    /// Whether somebody with these scopes gets to an army server.
    #[must_use]
    pub fn has_army(&self, has: impl Fn(&Scope) -> bool) -> bool {
        self.army.load().iter().any(|scopes| scopes.iter().all(&has))
    }

    /// What happens at the tenant's gateways from now on, and what has happened since a listener was last there.
    pub(super) fn listen(&self, tenant: &TenantId, after: Option<Place>) -> Listening {
        self.feeds.listen(tenant, after)
    }
}

/// The scopes of a route that leads to an army server under Mission Control's paths.
fn army(route: &Route) -> Option<Vec<Scope>> {
    let is_literal = |at: usize, text: &str| matches!(route.path.segments.get(at), Some(Segment::Literal(literal)) if literal == text);
    let leads_there = is_literal(0, "api") && is_literal(1, "army");
    match (&route.target, &route.access) {
        (Target::Upstream { .. }, Access::Credential(scopes)) if leads_there => Some(scopes.clone()),
        (Target::Upstream { .. }, Access::Public) if leads_there => Some(Vec::new()),
        (
            Target::Upstream { .. }
            | Target::Gateway(_)
            | Target::GatewayParam(_)
            | Target::Folder(_)
            | Target::MissionControl
            | Target::Sessions
            | Target::Console
            | Target::Outbox,
            Access::Credential(_) | Access::Public | Access::Signature(_),
        ) => None,
    }
}

/// Where a route serves this gateway.
fn path(route: &Route, index: usize, id: &GatewayId) -> Option<String> {
    match route.target {
        Target::Gateway(fixed) if fixed == index => filled(&route.path, usize::MAX, id),
        Target::GatewayParam(place) => filled(&route.path, place, id),
        Target::Gateway(_)
        | Target::Upstream { .. }
        | Target::Folder(_)
        | Target::MissionControl
        | Target::Sessions
        | Target::Console
        | Target::Outbox => None,
    }
}

/// The pattern's path with the gateway's id in its place; nothing when another parameter is in the way.
fn filled(pattern: &PathPattern, place: usize, id: &GatewayId) -> Option<String> {
    let mut out = String::new();
    let mut params = 0;
    for segment in &pattern.segments {
        out.push('/');
        match segment {
            Segment::Literal(text) => out.push_str(text),
            Segment::Param(_) if params == place => {
                out.push_str(id.as_str());
                params += 1;
            }
            Segment::Param(_) => return None,
        }
    }
    Some(if out.is_empty() { "/".into() } else { out })
}
