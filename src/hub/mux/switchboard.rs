//! All gateways, and the connections to them that clients share: one for each gateway and set of scopes,
//! opened for the first client and closed after the last.

use super::super::dial::Dial;
use super::super::fleet::Fleet;
use super::trunk::Trunk;
use crate::audit::Audit;
use crate::ids::{GatewayId, TenantId};
use crate::metrics::Metrics;
use crate::openclaw::Scopes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// See the file's head.
#[derive(Debug)]
pub struct Switchboard {
    fleet: Arc<Fleet>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) audit: Arc<Audit>,
    trunks: Mutex<HashMap<(GatewayId, Scopes), Weak<Trunk>>>,
}

impl Switchboard {
    /// Over the fleet's gateways. Decisions are written to this log.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>, metrics: Arc<Metrics>, audit: Arc<Audit>) -> Arc<Self> {
        Arc::new(Self { fleet, metrics, audit, trunks: Mutex::default() })
    }

    /// The tenant's gateways, and no other's. One that a reload left as it was is the same.
    pub(super) fn of(&self, tenant: &TenantId) -> Vec<Arc<Dial>> {
        self.fleet.of(tenant).iter().map(|gateway| gateway.dial.clone()).collect()
    }

    /// Tells when gateways may have come, gone or changed.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.fleet.applied()
    }

    /// The connection that clients with these scopes share.
    pub(super) fn trunk(&self, dial: &Arc<Dial>, scopes: Scopes) -> Arc<Trunk> {
        let mut trunks = self.trunks.lock();
        let key = (dial.id.clone(), scopes);
        let known = trunks.get(&key).and_then(Weak::upgrade);
        // A gateway that moved is another one under the same name.
        if let Some(trunk) = known.filter(|trunk| Arc::ptr_eq(&trunk.dial, dial)) {
            return trunk;
        }
        trunks.retain(|_, trunk| trunk.strong_count() > 0);
        let trunk = Trunk::open(dial, scopes, &self.metrics);
        trunks.insert(key, Arc::downgrade(&trunk));
        trunk
    }
}
