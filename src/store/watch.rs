//! Hears what another process wrote to the same database, for those who follow a feed here.
//!
//! Stores on one PostgreSQL server tell each other (`postgres::ears`), where nothing stands between that keeps them
//! from listening. Otherwise a store looks, and is not told: a file tells nobody. One question about all tenants
//! that somebody follows costs little, and none is asked when nobody does. Who is told looks too, seldom, since
//! what is told can be lost.

use super::Store;
use super::observe::Hearing;
use super::postgres;
use super::repository::Repository;
use crate::ids::TenantId;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often it looks.
const GLANCE: Duration = Duration::from_millis(250);

/// How often it looks while others tell.
const SELDOM: Duration = Duration::from_secs(5);

/// How long after a failure it looks again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long what is to be told is gathered.
const GATHER: Duration = Duration::from_millis(10);

/// How long after it could not be heard it is tried again to listen.
const DEAF: Duration = Duration::from_mins(5);

/// What other stores are to be told.
#[derive(Debug, Default)]
pub(crate) struct News {
    grown: Mutex<BTreeSet<TenantId>>,
    more: Notify,
    is_told: AtomicBool,
    changed: Notify,
}

impl News {
    /// A tenant's feed has grown.
    pub(crate) fn note(&self, tenant: &TenantId) {
        let mut grown = self.grown.lock();
        if !grown.contains(tenant) {
            grown.insert(tenant.clone());
            self.more.notify_one();
        }
    }

    fn pace(&self) -> Duration {
        if self.is_told.load(Ordering::Relaxed) { SELDOM } else { GLANCE }
    }

    fn told(&self, store: &Store, hearing: Hearing) {
        self.is_told.store(hearing == Hearing::IsTold, Ordering::Relaxed);
        store.observe.hearing(hearing);
        // Whoever looked before listening began looks once more.
        self.changed.notify_one();
    }
}

/// Looks, listens and tells until it is dropped.
pub(crate) async fn keep_watch(store: Arc<Store>) {
    match &store.repository {
        Repository::Sqlite(_) => look(&store).await,
        Repository::Postgres(engine) => {
            tokio::join!(look(&store), listen(&store, engine), tell(&store, engine));
        }
    }
}

async fn look(store: &Store) {
    let mut seen: HashMap<TenantId, i64> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(store.news.pace()) => {}
            () = store.news.changed.notified() => {}
        }
        let followed = store.bells.followed();
        if followed.is_empty() {
            seen.clear();
            continue;
        }
        // What went wrong was logged where it did; the followers' own look after a while does without this one.
        let Ok(counters) = store.repository.counters(followed).await else {
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        let before = std::mem::take(&mut seen);
        for (tenant, counter) in counters {
            // Who is new here may have looked before the change that is seen now.
            if before.get(&tenant) != Some(&counter) {
                store.bells.ring(&tenant);
            }
            seen.insert(tenant, counter);
        }
    }
}

async fn listen(store: &Store, engine: &postgres::Engine) {
    loop {
        let pause = match engine.listen().await {
            Ok(Some(mut ears)) => {
                store.news.told(store, Hearing::IsTold);
                while let Some(tenant) = engine.hear(&mut ears).await {
                    store.observe.heard();
                    store.bells.ring(&tenant);
                }
                store.news.told(store, Hearing::Looks);
                AFTER_FAILURE
            }
            Ok(None) => DEAF,
            Err(_) => AFTER_FAILURE,
        };
        tokio::time::sleep(pause).await;
    }
}

async fn tell(store: &Store, engine: &postgres::Engine) {
    loop {
        store.news.more.notified().await;
        tokio::time::sleep(GATHER).await;
        let grown: Vec<TenantId> = std::mem::take(&mut *store.news.grown.lock()).into_iter().collect();
        // What is not told is seen by who looks; why it was not, was logged.
        let _ = engine.tell(&grown).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::access::Access;
    use crate::store::model::{Act, Bounds, Condition, Content, Expiry, Write};
    use crate::store::testing::{Folder, memory, tenant};
    use crate::store::{Settings, Unobserved};

    fn open(folder: &Folder) -> Arc<Store> {
        let settings = Settings::new(folder.path("mesh.db"), tenant("default"));
        Arc::new(Store::open(&settings, Arc::new(Unobserved)).unwrap())
    }

    #[tokio::test]
    async fn what_another_store_wrote_to_the_same_file_rings_here_for_its_own_tenant() {
        let folder = Folder::new();
        let (here, there) = (open(&folder), open(&folder));
        let write = |who: &'static str| {
            let content = Content::Memory(memory("mesh", "k", "1"));
            let act = Act::Put { content, expiry: Expiry::Never, sent_ms: None, proof: None };
            let write = Write { act, condition: Condition::Always };
            let there = Arc::clone(&there);
            async move { there.commit(&Access::of(who), vec![write], Bounds::default()).await.unwrap() }
        };
        write("acme").await;
        write("globex").await;
        let mut ear = here.bells.listen(&tenant("acme")).unwrap();
        let mut other = here.bells.listen(&tenant("globex")).unwrap();
        let watch = tokio::spawn(keep_watch(Arc::clone(&here)));
        // The first glance wakes all, since nobody knows what they have seen.
        ear.changed().await.unwrap();
        other.changed().await.unwrap();
        for _ in 0..2 {
            write("acme").await;
            ear.changed().await.unwrap();
        }
        assert!(!other.has_changed().unwrap());
        watch.abort();
    }
}
