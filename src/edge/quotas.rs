//! How quotas stand, for operators (`GET /quotas` on the admin listener) and for callers (`/api/quota`);
//! and the second hand that asks the disk to keep what they have reserved.

use super::exchange::Exchange;
use super::live::Site;
use super::shared;
use crate::limits::{QuotaStanding, Subject};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at the file.
const SECOND: Duration = Duration::from_secs(1);

/// Every quota of which something is spent.
pub(super) async fn all(site: &Site) -> Value {
    told(site, None).await
}

async fn told(site: &Site, subject: Option<&Subject>) -> Value {
    let standings = site.limiter.quotas(subject, site.tick(Instant::now()));
    let live = site.live.load_full();
    let standings = match live.as_ref() {
        Some(live) => shared::quotas(site, &live.policy, standings).await,
        None => Vec::new(),
    };
    let quotas: Vec<Value> = standings.iter().map(one).collect();
    json!({ "quotas": quotas })
}

/// A quota that several edges share, and that nobody can be asked about now, is told as what this edge lets
/// through alone.
fn one((standing, is_whole): &(QuotaStanding, bool)) -> Value {
    let counted = match (standing.is_shared, is_whole) {
        (false, _) => "here",
        (true, true) => "together",
        (true, false) => "alone",
    };
    json!({
        "counted": counted,
        "quota": standing.quota.as_str(),
        "by": standing.by,
        "of": standing.of,
        "limit": standing.limit,
        "per": standing.per_secs,
        "spent": standing.limit - standing.remaining,
        "remaining": standing.remaining,
        "more_in": standing.more_in_secs,
    })
}

/// The caller's own quotas: those of its credential, its node and its tenant.
pub(super) async fn own(site: &Site, exchange: &Exchange) -> Value {
    let (credential, tenant) = (exchange.trail.credential.as_deref(), exchange.trail.tenant.as_deref());
    let subject = Subject {
        credential: credential.map(|credential| credential.number),
        node: credential.and_then(|credential| credential.node_number),
        tenant: tenant.map(|tenant| tenant.number),
        // No route has this number, so quotas by route are nobody's own.
        ..Subject::stranger(IpAddr::V4(Ipv4Addr::UNSPECIFIED), u32::MAX)
    };
    told(site, Some(&subject)).await
}

/// Looks after the file until the edge goes down.
pub async fn tend(site: Arc<Site>) {
    let mut second = tokio::time::interval(SECOND);
    loop {
        tokio::select! {
            _ = second.tick() => {}
            () = site.until_draining() => return,
        }
        let tended = site.clone();
        let result =
            tokio::task::spawn_blocking(move || tended.limiter.tend_quotas(tended.tick(Instant::now())));
        match result.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the disk does not keep what quotas have reserved"),
            Err(error) => tracing::error!(%error, "quotas are not looked after"),
        }
    }
}
