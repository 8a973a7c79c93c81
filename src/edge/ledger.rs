//! What the edge itself tells the tenants' audit log: the first use of each key on a day, refusals (counted, not each
//! one), and what a reload changed of theirs.
//!
//! Requests do not wait for it: uses are read off the credentials, refusals are counted in memory, and both are
//! written beside the requests.

use super::exchange::Exchange;
use super::live::Site;
use crate::audit::{Audit, Entry, now, time};
use crate::config::checked::{Config, Credential, Gateway};
use crate::identity::caller::KeyAge;
use crate::ids::{CredentialId, GatewayId, TenantId};
use parking_lot::Mutex;
use prometheus::IntCounter;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it is looked whether a key was used.
const LOOK: Duration = Duration::from_secs(5);
/// Refusals are written every so many looks.
const ROUND: u32 = 12;
/// Most kinds of refusals told apart in a round; beyond, they are counted by tenant and code alone.
const MOST: usize = 4096;
const DAY: u64 = 86_400;

/// What is to be written.
#[derive(Debug)]
pub struct Ledger {
    audit: Arc<Audit>,
    unwritten: IntCounter,
    refused: Mutex<HashMap<Refused, u64>>,
    /// The day on which the use of a credential, by its key, was last written down.
    used: Mutex<HashMap<(CredentialId, KeyAge), u64>>,
}

/// Whose request was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Refused {
    tenant: TenantId,
    credential: Option<CredentialId>,
    code: &'static str,
}

impl Ledger {
    /// Writes into this log; `unwritten` counts what cannot be.
    #[must_use]
    pub fn new(audit: Arc<Audit>, unwritten: IntCounter) -> Self {
        Self { audit, unwritten, refused: Mutex::default(), used: Mutex::default() }
    }

    /// Counts a refusal of a request whose tenant is known.
    pub(super) fn refused(&self, exchange: &Exchange, code: &'static str) {
        let trail = &exchange.trail;
        let tenant = trail.credential.as_ref().map(|one| &one.tenant).or(trail.tenant.as_ref());
        let Some(tenant) = tenant else { return };
        let credential = trail.credential.as_ref().map(|one| one.id.clone());
        self.count(Refused { tenant: tenant.id.clone(), credential, code });
    }

    fn count(&self, mut what: Refused) {
        let mut refused = self.refused.lock();
        if refused.len() >= MOST && !refused.contains_key(&what) {
            what.credential = None;
        }
        *refused.entry(what).or_default() += 1;
    }

    /// Writes until the edge goes down.
    pub async fn keep(&self, site: &Site) {
        let mut looks = tokio::time::interval(LOOK);
        let mut round = 0_u32;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = site.until_draining() => return,
            }
            self.write_uses(site).await;
            round = (round + 1) % ROUND;
            if round == 0 {
                self.write_refusals().await;
            }
        }
    }

    /// Writes what has not been written yet.
    pub(super) async fn flush(&self, site: &Site) {
        self.write_uses(site).await;
        self.write_refusals().await;
    }

    async fn write_uses(&self, site: &Site) {
        for (tenant, entry) in self.uses(site) {
            self.write(&tenant, entry).await;
        }
    }

    fn uses(&self, site: &Site) -> Vec<(TenantId, Entry)> {
        let live = site.live.load();
        let Some(live) = live.as_ref() else { return Vec::new() };
        let mut written = self.used.lock();
        let mut entries = Vec::new();
        for one in live.policy.credentials() {
            let last = one.last_used.load(Ordering::Relaxed);
            let day = last / DAY;
            if last == 0 || written.get(&(one.id.clone(), one.age)).is_some_and(|known| *known >= day) {
                continue;
            }
            written.insert((one.id.clone(), one.age), day);
            let entry = Entry {
                at: now(),
                event: "key_used",
                credential: Some(one.id.as_str().to_owned()),
                node: one.node.as_ref().map(|node| node.as_str().to_owned()),
                key: Some(one.age.word()),
                used: Some(time(last)),
                ..Entry::default()
            };
            entries.push((one.tenant.id.clone(), entry));
        }
        entries
    }

    async fn write_refusals(&self) {
        let refused = std::mem::take(&mut *self.refused.lock());
        for (Refused { tenant, credential, code }, count) in refused {
            let entry = Entry {
                at: now(),
                event: "refused",
                credential: credential.map(|id| id.as_str().to_owned()),
                refused: Some(code),
                count: Some(count),
                ..Entry::default()
            };
            self.write(&tenant, entry).await;
        }
    }

    /// Tells each tenant what a reload changed of its own.
    pub(super) async fn reloaded(&self, old: &Config, new: &Config) {
        for (tenant, changes) in changes(old, new) {
            let entry = Entry {
                at: now(),
                event: "config",
                config: Some(new.fingerprint.clone()),
                changes,
                ..Entry::default()
            };
            self.write(&tenant, entry).await;
        }
    }

    async fn write(&self, tenant: &TenantId, entry: Entry) {
        if let Err(error) = self.audit.write(tenant, entry).await {
            self.unwritten.inc();
            tracing::error!(%tenant, %error, "the audit log cannot be written");
        }
    }
}

/// What is another now, by tenant: names, and no values.
fn changes(old: &Config, new: &Config) -> BTreeMap<TenantId, Vec<String>> {
    let mut found = BTreeMap::<TenantId, Vec<String>>::new();
    let mut tell = |tenant: &TenantId, what: &str, kind: &str, id: &str| {
        found.entry(tenant.clone()).or_default().push(format!("{kind} {id} {what}"));
    };
    let tenants = |config: &Config| config.tenants.iter().map(|one| (one.clone(), one.clone())).collect();
    difference(
        &tenants(old),
        &tenants(new),
        |_, _| true,
        |tenant, what, _| tell(tenant, what, "tenant", tenant.as_str()),
    );
    let credentials = |config: &'_ Config| -> BTreeMap<_, _> {
        config.credentials.iter().map(|one| (one.id.clone(), keyed(one))).collect()
    };
    let same = |one: &Keyed, other: &Keyed| one == other;
    difference(&credentials(old), &credentials(new), same, |id, what, (tenant, ..)| {
        tell(tenant, what, "credential", id.as_str())
    });
    difference(
        &gateways(old),
        &gateways(new),
        |one, other| same_gateway(one, other),
        |id, what, one| tell(&one.tenant, what, "gateway", id.as_str()),
    );
    let nodes = |config: &Config| -> BTreeMap<_, _> {
        config
            .nodes
            .iter()
            .map(|one| ((one.tenant.clone(), one.node.clone(), one.id.clone()), one.clone()))
            .collect()
    };
    difference(
        &nodes(old),
        &nodes(new),
        |one, other| one == other,
        |(tenant, node, key), what, _| tell(tenant, what, "node", &format!("{} key {key}", node.as_str())),
    );
    found
}

fn gateways(config: &Config) -> BTreeMap<GatewayId, &Gateway> {
    config.gateways.iter().map(|one| (one.id.clone(), one)).collect()
}

/// All of a credential that means something, its owner first.
type Keyed = (TenantId, String);

fn keyed(one: &Credential) -> Keyed {
    let Credential { id: _, tenant, node, proof, previous, scopes, begins, expires, generated: _ } = one;
    let previous = previous.as_ref().map(|previous| (previous.hash, previous.expires));
    // Hashes of keys, and no keys; it goes nowhere.
    (tenant.clone(), format!("{node:?} {proof:?} {previous:?} {scopes:?} {begins:?} {expires:?}"))
}

fn same_gateway(one: &Gateway, other: &Gateway) -> bool {
    let same_token = match (&one.token, &other.token) {
        (Some(one), Some(other)) => one.matches(other.expose()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let plain =
        |one: &Gateway| (one.tenant.clone(), one.url.clone(), one.control_ui.clone(), one.name.clone());
    same_token && plain(one) == plain(other) && one.operator.is_same(&other.operator)
}

/// Tells what is in one and not in the other, and what is in both and not the same.
fn difference<K: Ord, V>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
    mut tell: impl FnMut(&K, &'static str, &V),
) {
    for (key, value) in old {
        match new.get(key) {
            None => tell(key, "removed", value),
            Some(now) if !same(value, now) => tell(key, "changed", now),
            Some(_) => {}
        }
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(key)) {
        tell(key, "added", value);
    }
}
