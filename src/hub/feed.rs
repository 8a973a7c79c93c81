//! What happens at a tenant's gateways, told to whoever of that tenant listens.
//!
//! There is one channel a tenant: a tenant whose gateways are loud makes nobody else's listeners late, and a
//! listener can be had for one's own tenant only.

use super::away::Why;
use super::link::Hello;
use super::picture::{Change, List};
use crate::ids::{GatewayId, TenantId};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many a listener may be behind.
const BEHIND: usize = 1024;

/// Something that happened, ready to be sent.
#[derive(Debug, Clone)]
pub struct Told {
    /// At which gateway.
    pub gateway: GatewayId,
    /// What: `gateway`, `task`, `job`, `run`, `health`, `presence`, `listed`.
    pub event: &'static str,
    /// The JSON of it.
    pub data: Arc<str>,
}

impl Told {
    fn new(gateway: &GatewayId, event: &'static str, mut data: Value) -> Self {
        if let Some(members) = data.as_object_mut() {
            members.insert("gatewayId".into(), gateway.as_str().into());
        }
        Self { gateway: gateway.clone(), event, data: data.to_string().into() }
    }

    /// The gateway can be asked.
    pub(super) fn here(gateway: &GatewayId, hello: &Hello) -> Self {
        let data = json!({"connected": true, "since": hello.since_ms, "version": hello.version});
        Self::new(gateway, "gateway", data)
    }

    /// It cannot.
    pub(super) fn away(gateway: &GatewayId, why: &Why) -> Self {
        Self::new(
            gateway,
            "gateway",
            json!({"connected": false, "code": why.code(), "error": why.to_string()}),
        )
    }

    /// A list was taken anew: what was known of it before counts no more.
    pub(super) fn listed(gateway: &GatewayId, list: List) -> Self {
        Self::new(gateway, "listed", json!({"method": list.method()}))
    }

    /// What an event changed.
    pub(super) fn change(gateway: &GatewayId, change: &Change) -> Self {
        match change {
            Change::Task(task) => Self::new(gateway, "task", value(&**task)),
            Change::TaskGone(id) => Self::new(gateway, "task", json!({"id": id, "deleted": true})),
            Change::Job(job) => Self::new(gateway, "job", value(&**job)),
            Change::JobGone(id) => Self::new(gateway, "job", json!({"id": id, "deleted": true})),
            Change::Run(run) => Self::new(gateway, "run", value(&**run)),
            Change::Health(health) => Self::new(gateway, "health", value(health)),
            Change::Presence(present) => Self::new(gateway, "presence", json!({"connected": present})),
        }
    }
}

/// Rows are plain data, which can be written.
fn value(row: &impl Serialize) -> Value {
    serde_json::to_value(row).unwrap_or_default()
}

/// Where one tenant's gateways tell.
#[derive(Debug, Clone)]
pub struct Feed(broadcast::Sender<Told>);

impl Feed {
    /// Nobody may be listening.
    pub(super) fn tell(&self, told: Told) {
        let _ = self.0.send(told);
    }
}

/// The channels of all tenants.
#[derive(Debug, Default)]
pub(super) struct Feeds(Mutex<HashMap<TenantId, Feed>>);

impl Feeds {
    /// Where a tenant's gateways tell.
    pub(super) fn of(&self, tenant: &TenantId) -> Feed {
        let mut feeds = self.0.lock();
        feeds.entry(tenant.clone()).or_insert_with(|| Feed(broadcast::Sender::new(BEHIND))).clone()
    }

    /// A listener, and how many the tenant has with it.
    pub(super) fn listen(&self, tenant: &TenantId) -> (broadcast::Receiver<Told>, usize) {
        let Feed(sender) = self.of(tenant);
        (sender.subscribe(), sender.receiver_count())
    }

    /// Leaves those of tenants that are no longer there; their listeners hear the end.
    pub(super) fn keep(&self, tenants: &[TenantId]) {
        self.0.lock().retain(|tenant, _| tenants.contains(tenant));
    }
}
