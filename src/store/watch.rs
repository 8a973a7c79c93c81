//! Hears what another process wrote to the same database, for those who follow a feed here.
//!
//! Looks, and is not told: PostgreSQL's `NOTIFY` takes one lock of the whole server for each commit and does not
//! pass a pooler that hands connections out for a transaction, and a file tells nobody at all. One question
//! about all tenants that somebody follows costs little, and none is asked when nobody does.

use super::Store;
use crate::ids::TenantId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often it looks.
const GLANCE: Duration = Duration::from_millis(250);

/// How long after a failure it looks again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Looks until it is dropped.
pub(crate) async fn keep_watch(store: Arc<Store>) {
    let mut seen: HashMap<TenantId, i64> = HashMap::new();
    loop {
        tokio::time::sleep(GLANCE).await;
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
