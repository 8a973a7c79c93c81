//! The replay cache: which deliveries an upstream took, so that none is taken twice.
//!
//! A delivery is claimed before it goes on, marked when the upstream answers 2xx, and given back otherwise, so
//! that an honest retry passes. Marks are kept for each tenant apart and bounded; they are in memory for the
//! asking and in a file for the next start. This file knows deliveries by their names alone.

use super::replay_log::{Key, Log, Mark, Read, TenantTag};
use super::shared::SharedClaim;
use crate::config::checked::{ReplayCache, ReplaySync};
use crate::ids::TenantId;
use crate::metrics::Metrics;
use crate::signatures::Identity;
use dashmap::DashMap;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::watch;

/// How long marks gather before they are synced, where nobody waits for that.
const GATHER: Duration = Duration::from_millis(200);
/// The file is written anew when it holds this many records more than twice what counts.
const SLACK: usize = 10_000;

/// The cache.
#[derive(Debug)]
pub struct Replay {
    /// Apart, so that no tenant's deliveries wait for another's.
    marks: DashMap<TenantTag, Marks>,
    log: Log,
    settings: ReplayCache,
    metrics: Arc<Metrics>,
    appended: AtomicU64,
    synced: watch::Sender<u64>,
    wake: SyncSender<()>,
}

/// One tenant's marks.
#[derive(Debug, Default)]
struct Marks {
    states: HashMap<Key, State>,
    /// Marks by age.
    order: VecDeque<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// On its way to the upstream.
    Claimed,
    /// Taken, and remembered until then (Unix seconds).
    Taken(u64),
}

/// What a delivery is told.
#[derive(Debug)]
pub enum Standing {
    /// It may go on.
    Fresh(Claim),
    /// The upstream took it before.
    Taken,
    /// It is on its way just now.
    OnItsWay,
}

/// Deliveries on their way. Dropped without [`Claim::taken`] they are given back.
#[derive(Debug)]
pub struct Claim {
    cache: Arc<Replay>,
    tenant: TenantTag,
    keys: Vec<Key>,
    until: u64,
    /// The same, as other edges see it.
    elsewhere: Option<SharedClaim>,
}

impl Replay {
    /// Opens the cache in a folder, with all that it remembers, and starts the thread that syncs it.
    ///
    /// # Errors
    /// When the file cannot be read or made, or is none of ours.
    pub fn open(
        folder: &Path,
        settings: ReplayCache,
        metrics: Arc<Metrics>,
        now_unix: u64,
    ) -> io::Result<Arc<Self>> {
        let Read { log, marks, broken } = Log::open(&folder.join("replay.log"))?;
        if broken > 0 {
            tracing::warn!(broken, "records of the replay log were cut short and are left out");
        }
        let (wake, woken) = sync_channel(1);
        let cache = Arc::new(Self {
            marks: DashMap::default(),
            log,
            settings,
            metrics,
            appended: AtomicU64::new(0),
            synced: watch::Sender::new(0),
            wake,
        });
        for mark in marks.into_iter().filter(|mark| mark.until > now_unix) {
            cache.remember(mark.tenant, &[mark.key], mark.until, now_unix);
        }
        let kept = Arc::downgrade(&cache);
        std::thread::Builder::new().name("replay".into()).spawn(move || keep(&kept, &woken))?;
        Ok(cache)
    }

    /// Whether a delivery of this tenant to this route was taken before.
    pub fn is_taken(&self, tenant: &TenantId, route: &str, identity: &Identity, now_unix: u64) -> bool {
        let (tag, key) = (tag(tenant), key(tenant, route, identity));
        let Some(marks) = self.marks.get(&tag) else { return false };
        matches!(marks.states.get(&key), Some(State::Taken(until)) if *until > now_unix)
    }

    /// Claims deliveries, all or none.
    pub fn claim(
        self: &Arc<Self>,
        tenant: &TenantId,
        route: &str,
        identities: &[Identity],
        keep: Duration,
        now_unix: u64,
    ) -> Standing {
        let tag = tag(tenant);
        let keys: Vec<Key> = identities.iter().map(|identity| key(tenant, route, identity)).collect();
        let mut marks = self.marks.entry(tag).or_default();
        for key in &keys {
            match marks.states.get(key) {
                Some(State::Taken(until)) if *until > now_unix => return Standing::Taken,
                Some(State::Claimed) => return Standing::OnItsWay,
                Some(State::Taken(_)) | None => {}
            }
        }
        for key in &keys {
            marks.states.insert(*key, State::Claimed);
        }
        drop(marks);
        let until = now_unix.saturating_add(keep.as_secs());
        Standing::Fresh(Claim { cache: self.clone(), tenant: tag, keys, until, elsewhere: None })
    }

    /// Puts marks into memory, and out of it what is over or too much.
    fn remember(&self, tenant: TenantTag, keys: &[Key], until: u64, now_unix: u64) {
        let mut marks = self.marks.entry(tenant).or_default();
        let Marks { states, order } = &mut *marks;
        let before = order.len();
        for key in keys {
            if !matches!(states.insert(*key, State::Taken(until)), Some(State::Taken(_))) {
                order.push_back(*key);
            }
        }
        let mut evicted = 0;
        while let Some(oldest) = order.front() {
            let is_over = !matches!(states.get(oldest), Some(State::Taken(until)) if *until > now_unix);
            if !is_over && order.len() <= self.settings.max_per_tenant {
                break;
            }
            evicted += u64::from(!is_over);
            // A delivery that outlived its mark may be on its way again.
            if matches!(states.get(oldest), Some(State::Taken(_))) {
                states.remove(oldest);
            }
            order.pop_front();
        }
        let change =
            i64::try_from(order.len()).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        drop(marks);
        self.metrics.replay_marks.add(change);
        self.metrics.replay_evicted.inc_by(evicted);
    }

    fn live(&self) -> Vec<Mark> {
        let mut live = Vec::new();
        for marks in &self.marks {
            live.extend(marks.order.iter().filter_map(|key| match marks.states.get(key) {
                Some(State::Taken(until)) => Some(Mark { tenant: *marks.key(), key: *key, until: *until }),
                Some(State::Claimed) | None => None,
            }));
        }
        live
    }

    fn failed(&self, what: &str, error: &io::Error) {
        self.metrics.replay_write_failures.inc();
        tracing::error!(%error, "the replay log cannot be {what}");
    }

    /// One turn of the thread: syncs, and writes the file anew when it has grown too much.
    fn settle(&self) {
        let appended = self.appended.load(Ordering::Acquire);
        if let Err(error) = self.log.sync() {
            self.failed("synced", &error);
        }
        // Also after a failure: who waits must not wait for good.
        self.synced.send_replace(appended);
        let live: usize = self.marks.iter().map(|marks| marks.order.len()).sum();
        if self.log.records() > 2 * live + SLACK
            && let Err(error) = self.log.rewrite(|| self.live())
        {
            self.failed("written anew", &error);
        }
    }
}

impl Claim {
    /// What they are called where several edges remember together.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.keys.iter().map(hex::encode)
    }

    /// Other edges keep their hands off them too.
    pub(super) fn with(mut self, elsewhere: SharedClaim) -> Self {
        self.elsewhere = Some(elsewhere);
        self
    }

    /// Other edges' upstreams took these of them before: remembered here, and the rest is given back.
    pub(super) fn learn(self, taken: &[usize], now_unix: u64) {
        let keys: Vec<Key> = taken.iter().filter_map(|&place| self.keys.get(place).copied()).collect();
        self.cache.remember(self.tenant, &keys, self.until, now_unix);
    }

    /// The upstream took them. Comes back when the marks are as safe as the config asks.
    pub async fn taken(mut self, now_unix: u64) {
        if let Some(elsewhere) = self.elsewhere.take() {
            elsewhere.taken(self.until).await;
        }
        let keys = std::mem::take(&mut self.keys);
        let cache = &self.cache;
        // In memory first: a rewrite of the file takes from there what it does not see appended.
        cache.remember(self.tenant, &keys, self.until, now_unix);
        let marks: Vec<Mark> =
            keys.iter().map(|key| Mark { tenant: self.tenant, key: *key, until: self.until }).collect();
        if let Err(error) = cache.log.append(&marks) {
            cache.failed("written", &error);
            return;
        }
        let turn = cache.appended.fetch_add(1, Ordering::AcqRel) + 1;
        // A full channel has woken it already.
        let _ = cache.wake.try_send(());
        if cache.settings.sync == ReplaySync::Disk {
            // The sender is part of the cache, so the wait ends only when it is true.
            let _ = cache.synced.subscribe().wait_for(|&synced| synced >= turn).await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let Some(mut marks) = self.cache.marks.get_mut(&self.tenant) else { return };
        for key in &self.keys {
            if marks.states.get(key) == Some(&State::Claimed) {
                marks.states.remove(key);
            }
        }
    }
}

/// The thread: ends with the cache.
fn keep(cache: &std::sync::Weak<Replay>, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let Some(sync) = cache.upgrade().map(|cache| cache.settings.sync) else { return };
        match sync {
            ReplaySync::Disk => {}
            ReplaySync::System => std::thread::sleep(GATHER),
        }
        let Some(cache) = cache.upgrade() else { return };
        cache.settle();
    }
}

fn tag(tenant: &TenantId) -> TenantTag {
    front(&Identity::of([tenant.as_str().as_bytes()]))
}

fn key(tenant: &TenantId, route: &str, identity: &Identity) -> Key {
    front(&Identity::of([tenant.as_str().as_bytes(), route.as_bytes(), &identity.0]))
}

fn front<const N: usize>(identity: &Identity) -> [u8; N] {
    std::array::from_fn(|at| identity.0[at])
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
