//! Keeps the vectors up with the writes, beside serving. Woken by writes; what another store on the same
//! database wrote is found by looking at every tenant from time to time.

use super::Store;
use super::access::Access;
use super::embed::Embedder;
use super::semantic::IndexError;
use crate::ids::TenantId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Writes that come close together are indexed together.
const GATHER: Duration = Duration::from_millis(50);

/// How long after a failure it is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How often every tenant is looked at.
const ROUND: Duration = Duration::from_mins(1);

/// Which tenants have written since they were indexed.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    tenants: Mutex<BTreeSet<TenantId>>,
    wake: Notify,
}

impl Behind {
    /// The tenant has written.
    pub(crate) fn note(&self, tenant: &TenantId) {
        if self.tenants.lock().insert(tenant.clone()) {
            self.wake.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<TenantId> {
        std::mem::take(&mut self.tenants.lock())
    }
}

/// Indexes until it is dropped.
pub(crate) async fn keep_up(store: Arc<Store>) {
    let Some(embedder) = store.embedder().cloned() else { return };
    let mut lag: BTreeMap<TenantId, i64> = BTreeMap::new();
    let mut every = tokio::time::interval(ROUND);
    loop {
        let all = tokio::select! {
            _ = every.tick() => store.tenants().await.unwrap_or_default(),
            () = store.behind().wake.notified() => {
                tokio::time::sleep(GATHER).await;
                Vec::new()
            }
        };
        let mut tenants = store.behind().take();
        tenants.extend(all);
        let mut failed = false;
        for tenant in tenants {
            if let Err((error, behind)) = catch_up(&store, &tenant, &embedder).await {
                tracing::warn!(%tenant, %error, "the vectors are behind the writes");
                lag.insert(tenant.clone(), behind);
                store.behind().tenants.lock().insert(tenant);
                failed = true;
            } else {
                lag.remove(&tenant);
            }
            store.observe().embedding_lag(lag.values().sum());
        }
        if failed {
            tokio::time::sleep(AFTER_FAILURE).await;
            store.behind().wake.notify_one();
        }
    }
}

async fn catch_up(store: &Store, tenant: &TenantId, embedder: &Embedder) -> Result<(), (IndexError, i64)> {
    let access = Access::upkeep(tenant.clone());
    let mut behind = 1;
    loop {
        match store.index_step(&access, embedder).await {
            Ok(stepped) if stepped.behind <= 0 => return Ok(()),
            Ok(stepped) => behind = stepped.behind,
            Err(error) => return Err((error, behind)),
        }
        store.observe().embedding_lag(behind);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::{Act, Bounds, Condition, Content, Expiry, Found, Target, Write};
    use crate::store::ranking::Marks;
    use crate::store::search::{Mode, Query};
    use crate::store::testing::{Folder, memory, tenant};
    use crate::store::{Settings, Unobserved};

    fn open(folder: &Folder) -> Store {
        let settings = Settings::new(folder.path("mesh.db"), tenant("default"));
        Store::open(&settings, Arc::new(Unobserved)).unwrap()
    }

    async fn write(store: &Store, who: &str, act: Act) {
        let write = Write { act, condition: Condition::Always };
        store.commit(&Access::of(who), vec![write], Bounds::default()).await.unwrap();
    }

    async fn put(store: &Store, who: &str, scope: &str, key: &str, text: &str) {
        let content = Content::Memory(memory(scope, key, &format!("{text:?}")));
        write(store, who, Act::Put { content, expiry: Expiry::Never, sent_ms: None, proof: None }).await;
    }

    async fn near(store: &Store, who: &str, words: &str, scope: Option<&str>, mode: Mode) -> Vec<String> {
        let (words, scope) = (words.to_owned(), scope.map(str::to_owned));
        let query = Query { words, scope, prefix: None, limit: 3, mode, marks: Marks::None };
        let hits = store.search(&Access::of(who), query).await.unwrap();
        hits.into_iter().map(|hit| hit.key).collect()
    }

    async fn index(store: &Store, who: &str) {
        catch_up(store, &tenant(who), &Embedder::Builtin).await.unwrap();
    }

    #[tokio::test]
    async fn near_memories_are_found_once_they_are_indexed_and_never_another_tenants() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "acme", "mesh", "deploy", "deploying the billing services to staging").await;
        put(&store, "acme", "node", "cake", "lemon cake with sugar").await;
        for n in 0..50 {
            put(&store, "globex", "mesh", &format!("flood-{n}"), "deploying the billing services").await;
        }
        let find = "deployed billing service";
        assert!(near(&store, "acme", find, None, Mode::Semantic).await.is_empty(), "nothing is indexed yet");
        index(&store, "acme").await;
        index(&store, "globex").await;
        assert_eq!(near(&store, "acme", find, None, Mode::Semantic).await[0], "deploy");
        assert_eq!(near(&store, "acme", find, Some("node"), Mode::Semantic).await, [""; 0]);
        assert_eq!(near(&store, "acme", "lemons", Some("node"), Mode::Semantic).await, ["cake"]);
        assert_eq!(near(&store, "globex", find, None, Mode::Semantic).await.len(), 3);
        assert_eq!(near(&store, "initech", find, None, Mode::Semantic).await, [""; 0]);
        assert_eq!(near(&store, "acme", "lemon", None, Mode::Hybrid).await[0], "cake");
    }

    #[tokio::test]
    async fn what_was_written_over_or_deleted_is_not_near_any_more_even_before_the_index_knows() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "acme", "mesh", "a", "attack at dawn").await;
        put(&store, "acme", "mesh", "b", "attack at dusk").await;
        index(&store, "acme").await;
        put(&store, "acme", "mesh", "a", "lemon cake").await;
        write(&store, "acme", Act::Delete(Target::memory("mesh", "b"))).await;
        assert_eq!(near(&store, "acme", "attack", None, Mode::Semantic).await, [""; 0]);
        index(&store, "acme").await;
        assert_eq!(near(&store, "acme", "lemons", None, Mode::Semantic).await, ["a"]);
        store.erase(&Access::of("acme")).await.unwrap();
        index(&store, "acme").await;
        assert_eq!(near(&store, "acme", "lemons", None, Mode::Semantic).await, [""; 0]);
    }

    #[tokio::test]
    async fn without_a_source_of_vectors_there_is_no_nearness_but_there_are_words() {
        let folder = Folder::new();
        let settings =
            Settings { embedder: None, ..Settings::new(folder.path("mesh.db"), tenant("default")) };
        let store = Store::open(&settings, Arc::new(Unobserved)).unwrap();
        put(&store, "acme", "mesh", "a", "attack at dawn").await;
        assert_eq!(near(&store, "acme", "attack", None, Mode::FullText).await, ["a"]);
        let query = Query {
            words: "attack".into(),
            scope: None,
            prefix: None,
            limit: 3,
            mode: Mode::Semantic,
            marks: Marks::None,
        };
        let answer = store.search(&Access::of("acme"), query).await;
        assert_eq!(answer, Err(crate::store::SearchError::NotConfigured));
    }

    #[tokio::test]
    async fn a_hybrid_hit_tells_both_and_the_distance_is_small_for_the_same_text() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "acme", "mesh", "dawn", "attack").await;
        index(&store, "acme").await;
        let query = |mode| Query {
            words: "dawn attack".into(),
            scope: None,
            prefix: Some("da".into()),
            limit: 3,
            mode,
            marks: Marks::Html,
        };
        let hits = store.search(&Access::of("acme"), query(Mode::Hybrid)).await.unwrap();
        let Found::Both { snippet, distance, .. } = &hits[0].found else { panic!("{hits:?}") };
        assert_eq!(snippet.as_deref(), Some("<mark>dawn</mark> <mark>attack</mark>"));
        assert!(distance.unwrap() < 0.01);
    }
}
