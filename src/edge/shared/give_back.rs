//! What is given back to the shared server, and which places in flight are this edge's.

use super::Shared;
use super::entry::Entry;
use super::link::Link;
use dashmap::DashMap;
use redis::RedisResult;
use std::sync::Arc;

/// Given back at once, at most.
const BATCH: usize = 64;

/// Something on its way back.
pub(super) enum Return {
    /// To a count.
    Count(Entry),
    /// A claim on deliveries.
    Claim {
        /// Its name.
        name: String,
        /// Of which deliveries.
        keys: Vec<String>,
    },
}

/// Places in flight, by their ids: renewed while they last, told again to a server that was away.
#[derive(Default)]
pub(super) struct Held {
    places: DashMap<String, Entry>,
}

impl Held {
    pub(super) fn insert(&self, entry: Entry) {
        self.places.insert(entry.id.clone(), entry);
    }

    pub(super) fn remove(&self, id: &str) {
        self.places.remove(id);
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        self.places.iter().map(|place| place.value().clone()).collect()
    }
}

impl Shared {
    /// Hands something to the task that gives back. While nobody answers it is dropped: places and claims end
    /// by themselves, and what was spent stays so.
    pub(super) fn give_back(&self, what: Return) {
        if self.link.load().is_some() {
            // The receiver lives as long as this.
            let _ = self.returns.send(what);
        }
    }

    /// Gives back until the process ends.
    pub(super) async fn return_all(self: Arc<Self>) {
        let Some(mut returned) = self.returned.lock().take() else { return };
        let mut batch = Vec::with_capacity(BATCH);
        while returned.recv_many(&mut batch, BATCH).await > 0 {
            let some = std::mem::take(&mut batch);
            if let Some(link) = self.link.load_full()
                && let Err(error) = self.return_some(&link, some).await
            {
                self.broke(&link, &error);
            }
        }
    }

    async fn return_some(&self, link: &Link, some: Vec<Return>) -> RedisResult<()> {
        let mut counts = Vec::with_capacity(some.len());
        for one in some {
            match one {
                Return::Count(entry) => counts.push(entry),
                Return::Claim { name, keys } => self.leave(link, &name, &keys).await?,
            }
        }
        link.tell("back", &counts).await
    }
}
