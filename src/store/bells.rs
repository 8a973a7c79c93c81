//! Who waits for a tenant's next change, and the bell that wakes them.
//!
//! A bell says that something may have changed and never what: whoever hears it asks the database. So a
//! bell that is not heard loses nothing.

use crate::ids::TenantId;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::watch;

/// Most that may wait for one tenant.
const MOST_LISTENERS: usize = 256;

/// The bells of all tenants that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Bells(Mutex<HashMap<TenantId, watch::Sender<()>>>);

impl Bells {
    /// Wakes everybody who waits for this tenant.
    pub(crate) fn ring(&self, tenant: &TenantId) {
        let mut bells = self.0.lock();
        // Sending fails when nobody listens any more.
        if bells.get(tenant).is_some_and(|bell| bell.send(()).is_err()) {
            bells.remove(tenant);
        }
    }

    /// The tenants that somebody waits for.
    pub(crate) fn followed(&self) -> Vec<TenantId> {
        let mut bells = self.0.lock();
        bells.retain(|_, bell| bell.receiver_count() > 0);
        bells.keys().cloned().collect()
    }

    /// An ear for this tenant's bell; none when too many listen already.
    pub(crate) fn listen(&self, tenant: &TenantId) -> Option<watch::Receiver<()>> {
        let mut bells = self.0.lock();
        let bell = bells.entry(tenant.clone()).or_default();
        (bell.receiver_count() < MOST_LISTENERS).then(|| bell.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::tenant;

    #[test]
    fn a_bell_wakes_its_own_tenants_listeners_and_goes_with_the_last() {
        let bells = Bells::default();
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        let (ear, other) = (bells.listen(&acme).unwrap(), bells.listen(&globex).unwrap());
        assert_eq!(bells.followed().len(), 2);
        bells.ring(&acme);
        assert!(ear.has_changed().unwrap() && !other.has_changed().unwrap());
        drop((ear, other));
        assert!(bells.followed().is_empty());
        bells.ring(&acme);
    }

    #[test]
    fn one_tenant_cannot_take_all_the_room() {
        let bells = Bells::default();
        let ears: Vec<_> = (0..MOST_LISTENERS).map(|_| bells.listen(&tenant("acme")).unwrap()).collect();
        assert!(bells.listen(&tenant("acme")).is_none());
        assert!(bells.listen(&tenant("globex")).is_some());
        drop(ears);
        assert!(bells.listen(&tenant("acme")).is_some());
    }
}
