//! Public keys that come from elsewhere while the edge runs: each source followed by a task of its own.
//!
//! What a source last told is kept when it fails, and over reloads that leave it as it was. A request reads one
//! `Arc` and never waits for a source, but for the one that names a key nobody knows: for it a key set is fetched
//! again, at most every [`FLOOR`].

use super::fetch::{Fetcher, Place};
use super::key_set_feed::KeySetFeed;
use super::live::{Inner, Site, unix_now};
use super::registry_feed::RegistryFeed;
use crate::config::checked::{Config, KeyFeed, KeyFeedFrom, NodeKey, RegistryAt};
use crate::ids::TenantId;
use crate::metrics::Metrics;
use crate::signatures::KeyRegistry;
use crate::signatures::keys::{FedKeys, Rank};
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Shortest time between two fetches of a key set, whoever asks.
pub(super) const FLOOR: Duration = Duration::from_secs(5);
/// First pause after a failure; each that follows is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest that a start, a reload or a request waits for a source.
const PATIENCE: Duration = Duration::from_secs(3);

/// What tells two sources apart, over reloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    tenant: TenantId,
    from: String,
}

/// What sources last told, kept over reloads.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<Source, Arc<FedKeys>>>);

/// The keys that count under one config. Its followers end with it.
pub(super) struct Keys {
    fixed: KeyRegistry,
    feeds: Vec<Arc<Feed>>,
    current: ArcSwap<KeyRegistry>,
    /// Dropped with this, which ends the followers.
    _end: watch::Sender<()>,
}

/// One source.
pub(super) struct Feed {
    pub(super) tenant: TenantId,
    source: Source,
    rank: Rank,
    /// Its place in `key_sources`, as metrics and logs name it.
    told: String,
    learnt: Mutex<Option<Arc<FedKeys>>>,
    state: Mutex<State>,
    /// Somebody wants it fetched again.
    asked: Notify,
    /// Attempts so far, and whether the last one went well.
    attempts: watch::Sender<(u64, bool)>,
}

/// What a follower does.
#[derive(Debug, Clone, Copy)]
enum State {
    /// It waits, since then.
    Resting(Option<Instant>),
    /// It fetches.
    Fetching,
}

/// What a follower follows.
enum Follows {
    KeySet(Box<KeySetFeed>),
    Registry(Box<RegistryFeed>),
}

/// What an attempt brought.
pub(super) enum Told {
    /// All keys, as they are now.
    Keys(Vec<NodeKey>),
    /// That nothing has changed.
    Nothing,
}

impl Keys {
    /// Takes a config's keys, those that its sources told before, and starts to follow the sources. Waits for
    /// those that are new, but not for long: without an answer the edge starts, and their nodes have no keys yet.
    pub(super) async fn begin(config: &Config, fixed: KeyRegistry, site: &Site, inner: &Inner) -> Arc<Self> {
        let (end, ended) = watch::channel(());
        let mut feeds = Vec::with_capacity(config.key_feeds.len());
        let mut follows = Vec::with_capacity(config.key_feeds.len());
        for feed in &config.key_feeds {
            feeds.push(Arc::new(Feed::of(feed, &site.remembered)));
            follows.push(Follows::of(feed, inner));
        }
        site.remembered.0.lock().retain(|source, _| feeds.iter().any(|feed| feed.source == *source));
        let current = ArcSwap::from_pointee(fixed.clone());
        let keys = Arc::new(Self { fixed, feeds, current, _end: end });
        keys.settle();
        for (feed, follows) in keys.feeds.iter().cloned().zip(follows) {
            let follower = Follower {
                keys: Arc::downgrade(&keys),
                feed,
                follows,
                metrics: site.metrics.clone(),
                remembered: site.remembered.clone(),
            };
            tokio::spawn(follower.run(ended.clone()));
        }
        let new = keys.feeds.iter().filter(|feed| feed.learnt.lock().is_none());
        let first = join_all(
            new.map(|feed| async { drop(feed.attempts.subscribe().wait_for(|(n, _)| *n > 0).await) }),
        );
        let _ = tokio::time::timeout(PATIENCE, first).await;
        keys
    }

    /// The keys as they are now.
    pub(super) fn current(&self) -> Arc<KeyRegistry> {
        self.current.load_full()
    }

    /// Has the tenant's key sets fetched again, and waits for that; says whether there is something new to
    /// look at. Most of the time there is none: a set that was fetched a moment ago is not fetched again.
    pub(super) async fn look_again(&self, tenant: &TenantId) -> bool {
        let own = self.feeds.iter().filter(|feed| feed.tenant == *tenant && feed.rank == Rank::KeySet);
        join_all(own.map(|feed| feed.look_again())).await.contains(&true)
    }

    /// Puts together what counts.
    fn settle(&self) {
        let fed = self.feeds.iter().filter_map(|feed| Some((feed.rank, feed.learnt.lock().clone()?)));
        let mut fed: Vec<_> = fed.collect();
        // Of one rank the config's order counts: the sort is stable.
        fed.sort_by_key(|(rank, _)| *rank);
        let fed: Vec<_> = fed.into_iter().map(|(_, keys)| keys).collect();
        self.current.store(Arc::new(self.fixed.with(&fed)));
    }
}

impl Feed {
    fn of(feed: &KeyFeed, remembered: &Remembered) -> Self {
        let (kind, from, rank) = match &feed.from {
            KeyFeedFrom::KeySet(set) => ("jwks", format!("jwks {}", set.address), Rank::KeySet),
            KeyFeedFrom::Registry(RegistryAt::Embedded) => {
                ("registry", "embedded".to_owned(), Rank::Registry)
            }
            KeyFeedFrom::Registry(RegistryAt::Url { address, .. }) => {
                ("registry", format!("registry {address}"), Rank::Registry)
            }
        };
        let from = format!("{from} {:?}", feed.canonical);
        let source = Source { tenant: feed.tenant.clone(), from };
        let learnt = remembered.0.lock().get(&source).cloned();
        Self {
            tenant: feed.tenant.clone(),
            rank,
            told: format!("{kind}:{}", feed.place),
            learnt: Mutex::new(learnt),
            source,
            state: Mutex::new(State::Resting(None)),
            asked: Notify::new(),
            attempts: watch::Sender::new((0, false)),
        }
    }

    async fn look_again(&self) -> bool {
        let mut attempts = self.attempts.subscribe();
        let seen = attempts.borrow_and_update().0;
        match *self.state.lock() {
            State::Resting(Some(since)) if since.elapsed() < FLOOR => return false,
            State::Resting(_) => self.asked.notify_one(),
            State::Fetching => {}
        }
        let done = tokio::time::timeout(PATIENCE, attempts.wait_for(|(n, _)| *n > seen)).await;
        matches!(done, Ok(Ok(state)) if state.1)
    }

    /// Waits until somebody asks who may.
    async fn asked(&self) {
        loop {
            self.asked.notified().await;
            match *self.state.lock() {
                // Two who asked at the same moment are one.
                State::Resting(Some(since)) if since.elapsed() < FLOOR => {}
                State::Resting(_) | State::Fetching => return,
            }
        }
    }
}

impl Follows {
    fn of(feed: &KeyFeed, inner: &Inner) -> Self {
        let tenant = feed.tenant.clone();
        match &feed.from {
            KeyFeedFrom::KeySet(set) => {
                Self::KeySet(Box::new(KeySetFeed::new(tenant, set.clone(), feed.canonical)))
            }
            KeyFeedFrom::Registry(at) => {
                let (place, secret) = match at {
                    RegistryAt::Embedded => (Place::Socket(inner.store.clone()), None),
                    RegistryAt::Url { address, secret } => (Place::Url(address.clone()), Some(secret)),
                };
                Self::Registry(Box::new(RegistryFeed::new(tenant, place, secret, feed.canonical)))
            }
        }
    }
}

/// The task that follows one source.
struct Follower {
    keys: Weak<Keys>,
    feed: Arc<Feed>,
    follows: Follows,
    metrics: Arc<Metrics>,
    remembered: Arc<Remembered>,
}

impl Follower {
    async fn run(mut self, mut ended: watch::Receiver<()>) {
        let fetcher = Fetcher::new();
        let mut failures = 0_u32;
        loop {
            *self.feed.state.lock() = State::Fetching;
            let attempt = async {
                match &mut self.follows {
                    Follows::KeySet(feed) => feed.step(&fetcher).await,
                    Follows::Registry(feed) => feed.step(&fetcher).await,
                }
            };
            let result = tokio::select! {
                result = attempt => result,
                // Its other half is gone with the config.
                _ = ended.changed() => return,
            };
            let labels = [self.feed.told.as_str(), self.feed.tenant.as_str()];
            let (source, tenant) = (&self.feed.told, &self.feed.tenant);
            let pause = match result {
                Ok((told, pause)) => {
                    if failures > 0 {
                        tracing::info!(%source, %tenant, "the source of keys is there again");
                    }
                    failures = 0;
                    if let Told::Keys(new) = told {
                        self.learn(new);
                    }
                    let now = i64::try_from(unix_now().as_secs()).unwrap_or(i64::MAX);
                    self.metrics.key_source_refreshed.with_label_values(&labels).set(now);
                    pause
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(%source, %tenant, %error, "a source of keys fails; what it told last stays");
                    }
                    failures = failures.saturating_add(1);
                    self.metrics.key_source_failures.with_label_values(&labels).inc();
                    backed_off(failures)
                }
            };
            *self.feed.state.lock() = State::Resting(Some(Instant::now()));
            self.feed.attempts.send_modify(|(n, well)| (*n, *well) = (*n + 1, failures == 0));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.feed.asked() => {}
                _ = ended.changed() => return,
            }
        }
    }

    fn learn(&self, new: Vec<NodeKey>) {
        let Some(keys) = self.keys.upgrade() else { return };
        let labels = [self.feed.told.as_str(), self.feed.tenant.as_str()];
        let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
        let before = self.feed.learnt.lock().clone();
        let learnt = Arc::new(keys.fixed.fed(&self.feed.tenant, new, before.as_deref()));
        *self.feed.learnt.lock() = Some(learnt.clone());
        self.remembered.0.lock().insert(self.feed.source.clone(), learnt);
        keys.settle();
        self.metrics.key_source_keys.with_label_values(&labels).set(count);
        tracing::info!(source = %self.feed.told, tenant = %self.feed.tenant, keys = count, "keys learnt");
    }
}

/// Twice as long each time, and a little of chance so that many edges do not come back at one moment.
pub(super) fn backed_off(failures: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    pause.min(LONGEST_PAUSE).mul_f64(0.75 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let pause = |failures| backed_off(failures).as_secs_f64();
        assert!((0.375..=0.625).contains(&pause(1)));
        assert!((1.5..=2.5).contains(&pause(3)));
        assert!((22.5..=37.5).contains(&pause(9)) && (22.5..=37.5).contains(&pause(u32::MAX)));
    }
}
