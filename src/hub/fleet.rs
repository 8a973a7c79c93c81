//! The gateways, as callers may know them, and how the edge itself reaches them. No secret is told from here.

use super::dial::Dial;
use crate::config::checked::{Config, PathPattern, Route, Segment, Target};
use crate::ids::{GatewayId, TenantId};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// All gateways of one config; swapped whole on reload.
#[derive(Debug)]
pub struct Fleet {
    current: ArcSwap<Vec<Arc<Gateway>>>,
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
}

impl Default for Fleet {
    fn default() -> Self {
        Self { current: ArcSwap::default(), applied: watch::Sender::new(0) }
    }
}

impl Fleet {
    /// Takes the gateways of a config over.
    pub fn apply(&self, config: &Config) {
        let before = self.current.load_full();
        let gateways = config.gateways.iter().enumerate().map(|(index, gateway)| {
            let dial = Dial::of(gateway);
            let kept = before.iter().find(|known| known.dial.is_same(&dial));
            Arc::new(Gateway {
                id: gateway.id.clone(),
                name: gateway.name.clone(),
                tenant: gateway.tenant.clone(),
                control_ui: gateway.control_ui.clone(),
                path: config.routes.iter().find_map(|route| path(route, index, &gateway.id)),
                dial: kept.map_or_else(|| Arc::new(dial), |known| known.dial.clone()),
            })
        });
        self.current.store(Arc::new(gateways.collect()));
        self.applied.send_modify(|count| *count += 1);
    }

    /// Counts the configs that were applied: for those who keep something of a gateway's.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
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
}

/// Where a route serves this gateway.
fn path(route: &Route, index: usize, id: &GatewayId) -> Option<String> {
    match route.target {
        Target::Gateway(fixed) if fixed == index => filled(&route.path, usize::MAX, id),
        Target::GatewayParam(place) => filled(&route.path, place, id),
        Target::Gateway(_) | Target::Upstream { .. } | Target::MissionControl | Target::Outbox => None,
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
