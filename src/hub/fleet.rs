//! The gateways, as callers may know them: no secret is in here.

use crate::config::checked::{Config, PathPattern, Route, Segment, Target};
use crate::ids::{GatewayId, TenantId};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// All gateways of one config; swapped whole on reload.
#[derive(Debug, Default)]
pub struct Fleet {
    current: ArcSwap<Vec<Gateway>>,
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
}

impl Fleet {
    /// Takes the gateways of a config over.
    pub fn apply(&self, config: &Config) {
        let gateways = config.gateways.iter().enumerate().map(|(index, gateway)| Gateway {
            id: gateway.id.clone(),
            name: gateway.name.clone(),
            tenant: gateway.tenant.clone(),
            control_ui: gateway.control_ui.clone(),
            path: config.routes.iter().find_map(|route| path(route, index, &gateway.id)),
        });
        self.current.store(Arc::new(gateways.collect()));
    }

    /// The tenant's gateways, and no other's.
    pub fn of<R>(&self, tenant: &TenantId, each: impl FnMut(&Gateway) -> R) -> Vec<R> {
        self.current.load().iter().filter(|gateway| gateway.tenant == *tenant).map(each).collect()
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
