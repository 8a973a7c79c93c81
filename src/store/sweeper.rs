//! Sweeps the store beside serving: what has expired, and what of the past and the feed is older or more than
//! the operator wants.
//!
//! What has expired is not there for anybody, swept or not; sweeping gives its room back and tells the feed.
//! Each step is a short transaction of its own, so that writers wait for none of them for long.

use super::Store;
use super::access::Access;
use super::error::StoreError;
use super::model::Swept;
use crate::ids::TenantId;
use std::sync::Arc;

/// Most steps for one tenant in one round: whoever has more to sweep does not keep the others waiting.
const MOST_STEPS: u32 = 50;

/// Sweeps until it is dropped.
pub(crate) async fn keep_swept(store: Arc<Store>) {
    loop {
        let other_rules = store.ruled.notified();
        // Where one failed the next would: it is tried again in the next round.
        if let Err(error) = round(&store).await {
            store.observe().sweep_failed();
            tracing::warn!(%error, "the store could not be swept");
        }
        tokio::select! {
            () = tokio::time::sleep(store.policy().rules.sweep_every) => {}
            () = other_rules => {}
        }
    }
}

async fn round(store: &Store) -> Result<(), StoreError> {
    let mut tenants = store.tenants().await?;
    while !tenants.is_empty() {
        let mut left = Vec::new();
        for tenant in tenants {
            if some_steps(store, &tenant).await? {
                left.push(tenant);
            }
        }
        tenants = left;
    }
    match store.tidy().await {
        // Those who write come first.
        Ok(()) | Err(StoreError::Busy) => Ok(()),
        Err(error @ StoreError::Failed) => Err(error),
    }
}

/// Sweeps one tenant; says whether there may be more to do.
async fn some_steps(store: &Store, tenant: &TenantId) -> Result<bool, StoreError> {
    let access = Access::upkeep(tenant.clone());
    for _ in 0..MOST_STEPS {
        match store.sweep(&access, store.upkeep()).await {
            Ok(swept) if swept.is_nothing() => return Ok(false),
            Ok(swept) => tell(store, tenant, swept),
            // Those who write come first; what is left waits for the next round.
            Err(StoreError::Busy) => return Ok(false),
            Err(error @ StoreError::Failed) => return Err(error),
        }
    }
    Ok(true)
}

fn tell(store: &Store, tenant: &TenantId, swept: Swept) {
    let Swept { rows, versions, changes } = swept;
    tracing::debug!(%tenant, rows, versions, changes, "swept");
    store.observe().swept(swept);
}
