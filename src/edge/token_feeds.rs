//! Keys of those who issue tokens, from URLs: fetched again when their time is over, or when a token names one that is
//! not known, but never in a hurry. What a URL told last is kept while it fails, and over reloads.

use super::fetch::{Bounds, FetchError, Fetcher, Place};
use super::key_feeds::{FLOOR, backed_off};
use super::key_set_feed::pause;
use super::live::{Site, unix_now};
use crate::admission::{KeysAt, Policy};
use crate::config::checked::KeySetAt;
use crate::identity::tokens::IssuerKeys;
use crate::jose::TokenKeys;
use crate::metrics::Metrics;
use futures_util::future::join_all;
use http::header::ACCEPT;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often somebody looks whether a key was missed.
const LOOK: Duration = Duration::from_millis(500);
/// Longest that a start or a reload waits for a URL.
const PATIENCE: Duration = Duration::from_secs(3);

/// What URLs told last, kept over reloads.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<String, TokenKeys>>);

/// The followers of one policy's URLs. They end with it.
pub(super) struct TokenFeeds {
    _end: watch::Sender<()>,
}

impl TokenFeeds {
    /// Begins to follow them. Waits for those that are new, but not for long: without an answer the edge starts, and nobody
    /// gets in by those tokens yet.
    pub(super) async fn begin(policy: &Policy, site: &Site) -> Self {
        let (end, ended) = watch::channel(());
        let mut first = Vec::new();
        for source in &policy.issuer_keys {
            let address = source.at.address.to_string();
            let before = site.token_keys.0.lock().get(&address).cloned();
            let is_new = before.is_none();
            if let Some(before) = before {
                source.keys.learn(before);
            }
            let (tried, mut attempts) = watch::channel(false);
            let follower = Follower::of(source, address, site, tried);
            tokio::spawn(follower.run(ended.clone()));
            if is_new {
                first.push(async move { drop(attempts.wait_for(|&tried| tried).await) });
            }
        }
        let _ = tokio::time::timeout(PATIENCE, join_all(first)).await;
        Self { _end: end }
    }
}

struct Follower {
    source: String,
    address: String,
    at: KeySetAt,
    keys: Arc<IssuerKeys>,
    told: Arc<Told>,
    metrics: Arc<Metrics>,
    tried: watch::Sender<bool>,
}

impl Follower {
    fn of(source: &KeysAt, address: String, site: &Site, tried: watch::Sender<bool>) -> Self {
        Self {
            source: format!("token_issuer:{}", source.issuer),
            address,
            at: source.at.clone(),
            keys: source.keys.clone(),
            told: site.token_keys.clone(),
            metrics: site.metrics.clone(),
            tried,
        }
    }

    async fn run(self, mut ended: watch::Receiver<()>) {
        let fetcher = Fetcher::new();
        let mut failures = 0;
        loop {
            let result = tokio::select! {
                result = self.step(&fetcher) => result,
                _ = ended.changed() => return,
            };
            let pause = self.tell(result, &mut failures);
            self.tried.send_replace(true);
            let since = Instant::now();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    _ = ended.changed() => return,
                }
                let waited = since.elapsed();
                if waited >= pause || (waited >= FLOOR && self.keys.were_missed()) {
                    break;
                }
            }
        }
    }

    /// How long what was told is good for, or how long to wait after a failure.
    fn tell(&self, result: Result<Duration, FetchError>, failures: &mut u32) -> Duration {
        let (source, labels) = (&self.source, [self.source.as_str(), ""]);
        match result {
            Ok(pause) => {
                if *failures > 0 {
                    tracing::info!(%source, "the source of keys is there again");
                }
                *failures = 0;
                let now = i64::try_from(unix_now().as_secs()).unwrap_or(i64::MAX);
                self.metrics.key_source_refreshed.with_label_values(&labels).set(now);
                pause
            }
            Err(error) => {
                if *failures == 0 {
                    tracing::warn!(%source, %error, "a source of keys fails; what it told last stays");
                }
                *failures = failures.saturating_add(1);
                self.metrics.key_source_failures.with_label_values(&labels).inc();
                backed_off(*failures)
            }
        }
    }

    async fn step(&self, fetcher: &Fetcher) -> Result<Duration, FetchError> {
        let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
        let bounds = Bounds { time: self.at.timeout, bytes: self.at.max };
        let place = Place::Url(self.at.address.clone());
        let answer = fetcher.get(&place, &self.at.address.target, &[(ACCEPT, accepted)], bounds).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status(answer.status));
        }
        let keys = TokenKeys::read(&answer.body).map_err(|error| {
            tracing::warn!(source = %self.source, %error, "a key set cannot be used");
            FetchError::Malformed
        })?;
        let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        self.metrics.key_source_keys.with_label_values(&[self.source.as_str(), ""]).set(count);
        let before = self.told.0.lock().insert(self.address.clone(), keys.clone());
        // What was found with the same keys stays.
        if before.as_ref() != Some(&keys) {
            tracing::info!(source = %self.source, keys = count, "keys learnt");
            self.keys.learn(keys);
        }
        Ok(pause(&answer.fields, self.at.refresh))
    }
}
