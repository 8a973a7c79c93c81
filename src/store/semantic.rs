//! Search by nearness: which memories have vectors, how far the index of them is, and keeping it up.
//!
//! The index follows the log of changes, a tenant at a time, behind the writes: a walk over all rows to begin
//! with, then change after change. How far it came is kept with the vectors, in the same transaction, so a
//! crash costs at most one step. Vectors carry the change of the row they were made from; one that does
//! not fit the row any more is not compared.

use super::Store;
use super::access::Access;
use super::embed::{EmbedError, Embedder, Patience, Vector};
use super::error::StoreError;
use super::model::{Action, Content, Filter, Interest, Kind, NewMemory, Place};
use super::search::searched_text;
use std::collections::BTreeMap;

/// More of a memory's text than this is not embedded; models read no more.
const MOST_TEXT: usize = 8 * 1024;

/// How far a tenant's index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexState {
    /// Whose vectors they are.
    pub(crate) model: String,
    pub(crate) phase: Phase,
}

/// What indexing does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Walks over all rows by name, after this one; the log is followed from `since` afterwards.
    Walking { scope: String, name: String, since: i64 },
    /// Follows the log after this change.
    Following { change: i64 },
}

impl Phase {
    /// As columns.
    pub(crate) fn parts(&self) -> (&'static str, &str, &str, i64) {
        match self {
            Self::Walking { scope, name, since } => ("walking", scope, name, *since),
            Self::Following { change } => ("following", "", "", *change),
        }
    }

    /// From columns.
    pub(crate) fn read(phase: &str, scope: String, name: String, change: i64) -> Self {
        if phase == "walking" {
            Self::Walking { scope, name, since: change }
        } else {
            Self::Following { change }
        }
    }
}

/// One step of indexing, done in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Whether what is there goes first.
    pub(crate) begins: bool,
    pub(crate) vectors: Vec<Indexed>,
    /// Scopes and names of rows that are gone.
    pub(crate) gone: Vec<(String, String)>,
    /// How far it is then.
    pub(crate) state: IndexState,
}

/// A vector on its way into the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) scope: String,
    pub(crate) name: String,
    /// The row's change that it was made from.
    pub(crate) change: i64,
    pub(crate) vector: Vec<u8>,
}

/// What is near is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    pub(crate) model: String,
    pub(crate) vector: Vector,
    pub(crate) scope: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) limit: u32,
}

/// A memory that is near.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Near {
    pub(crate) scope: String,
    pub(crate) key: String,
    /// Cosine distance.
    pub(crate) distance: f32,
}

/// The nearest so many of those that were looked at. What has nothing in common is not near.
#[derive(Debug)]
pub(crate) struct Nearest {
    most: usize,
    found: Vec<Near>,
}

impl Nearest {
    pub(crate) fn new(limit: u32) -> Self {
        Self { most: usize::try_from(limit).unwrap_or(usize::MAX), found: Vec::new() }
    }

    /// Whether something at this distance is among the nearest so far.
    pub(crate) fn takes(&self, distance: f32) -> bool {
        let room =
            self.found.len() < self.most || self.found.last().is_some_and(|last| distance < last.distance);
        distance < 1.0 && self.most > 0 && room
    }

    /// Takes it.
    pub(crate) fn push(&mut self, near: Near) {
        let at = self.found.partition_point(|other| other.distance <= near.distance);
        self.found.insert(at, near);
        self.found.truncate(self.most);
    }

    /// Nearest first.
    pub(crate) fn in_order(self) -> Vec<Near> {
        self.found
    }
}

/// Why a step of indexing was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service that makes vectors.
    #[error(transparent)]
    Embedding(#[from] EmbedError),
}

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stepped {
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows or changes that are still to be looked at, as far as that is known.
    pub behind: i64,
}

impl Store {
    /// Does one step of indexing for a tenant. Nothing is behind when it was the last.
    ///
    /// # Errors
    /// [`IndexError`]; the index is then as far as it was.
    pub async fn index_step(&self, access: &Access, embedder: &Embedder) -> Result<Stepped, IndexError> {
        let state = self.repository.index_state(access).await?;
        let model = embedder.model();
        let Some(state) = state.filter(|state| state.model == model) else {
            return self.begin_walk(access, embedder).await;
        };
        match state.phase {
            Phase::Walking { scope, name, since } => self.walk(access, embedder, (scope, name), since).await,
            Phase::Following { change } => self.follow(access, embedder, change).await,
        }
    }

    async fn begin_walk(&self, access: &Access, embedder: &Embedder) -> Result<Stepped, IndexError> {
        let usage = self.repository.usage(access).await?;
        let phase = Phase::Walking { scope: String::new(), name: String::new(), since: usage.last_change };
        let state = IndexState { model: embedder.model().to_owned(), phase };
        let step = Step { begins: true, vectors: Vec::new(), gone: Vec::new(), state };
        self.repository.index_step(access, step).await?;
        Ok(Stepped { rows: 0, behind: usage.memories.max(1) })
    }

    async fn walk(
        &self,
        access: &Access,
        embedder: &Embedder,
        (scope, name): (String, String),
        since: i64,
    ) -> Result<Stepped, IndexError> {
        let limit = u32::try_from(embedder.batch()).unwrap_or(u32::MAX);
        let place = Place::Name { scope, name };
        let page = self.repository.page(access, Filter::all(Kind::Memory), place, limit).await?;
        let rows = page.rows.into_iter().filter_map(|row| match row.content {
            Content::Memory(memory) => Some((row.stamp.change, memory)),
            Content::Skill(_) | Content::Keys(_) => None,
        });
        let rows: Vec<(i64, NewMemory)> = rows.collect();
        let number = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let vectors = index(embedder, rows).await?;
        let (phase, behind) = if let Some(Place::Name { scope, name }) = page.next {
            (Phase::Walking { scope, name, since }, 1)
        } else {
            let last = self.repository.usage(access).await?.last_change;
            (Phase::Following { change: since }, last - since)
        };
        let state = IndexState { model: embedder.model().to_owned(), phase };
        let step = Step { begins: false, vectors, gone: Vec::new(), state };
        self.repository.index_step(access, step).await?;
        Ok(Stepped { rows: number, behind })
    }

    async fn follow(&self, access: &Access, embedder: &Embedder, change: i64) -> Result<Stepped, IndexError> {
        let limit = u32::try_from(embedder.batch()).unwrap_or(u32::MAX);
        let interest = Interest { kind: Some(Kind::Memory), ..Interest::default() };
        let stretch = self.repository.changes(access, interest, change, limit).await?;
        if stretch.start > change {
            // The log no longer has all that was missed.
            return self.begin_walk(access, embedder).await;
        }
        if stretch.seen == change {
            return Ok(Stepped { rows: 0, behind: 0 });
        }
        let number = u64::try_from(stretch.changes.len()).unwrap_or(u64::MAX);
        // Of several changes to a row the last one counts.
        let mut last: BTreeMap<(String, String), Option<(i64, NewMemory)>> = BTreeMap::new();
        let mut begins = false;
        for change in stretch.changes {
            let place = (change.target.scope, change.target.name);
            match (change.action, change.content) {
                (Action::Put | Action::Restore, Some(Content::Memory(memory))) => {
                    last.insert(place, Some((change.change, memory)));
                }
                (Action::Erase, _) => {
                    last.clear();
                    begins = true;
                }
                (
                    Action::Put | Action::Restore | Action::Delete | Action::Expire | Action::Purge,
                    Some(_) | None,
                ) => {
                    last.insert(place, None);
                }
            }
        }
        let (mut rows, mut gone) = (Vec::new(), Vec::new());
        for (place, row) in last {
            match row {
                Some(row) => rows.push(row),
                None => gone.push(place),
            }
        }
        let vectors = index(embedder, rows).await?;
        let phase = Phase::Following { change: stretch.seen };
        let state = IndexState { model: embedder.model().to_owned(), phase };
        self.repository.index_step(access, Step { begins, vectors, gone, state }).await?;
        Ok(Stepped { rows: number, behind: stretch.last - stretch.seen })
    }
}

/// A vector for each row that the embedder takes.
async fn index(embedder: &Embedder, rows: Vec<(i64, NewMemory)>) -> Result<Vec<Indexed>, EmbedError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let texts: Vec<String> = rows.iter().map(|(_, memory)| embedded_text(memory)).collect();
    let vectors = vectors(embedder, texts).await?;
    let pairs = rows.into_iter().zip(vectors);
    Ok(pairs
        .filter_map(|((change, memory), vector)| {
            let vector = vector?.to_bytes();
            Some(Indexed { scope: memory.scope, name: memory.key, change, vector })
        })
        .collect())
}

fn embedded_text(memory: &NewMemory) -> String {
    let mut text = searched_text(memory);
    text.truncate(text.floor_char_boundary(MOST_TEXT));
    text
}

/// One text that a service does not take must not hold up all others.
async fn vectors(embedder: &Embedder, texts: Vec<String>) -> Result<Vec<Option<Vector>>, EmbedError> {
    match embedder.embed(texts.clone(), Patience::Index).await {
        Ok(vectors) => return Ok(vectors.into_iter().map(Some).collect()),
        Err(EmbedError::TextRefused) => {}
        Err(error) => return Err(error),
    }
    let mut found = Vec::with_capacity(texts.len());
    for text in texts {
        match embedder.embed(vec![text], Patience::Index).await {
            Ok(mut vectors) => found.push(vectors.pop()),
            Err(EmbedError::TextRefused) => {
                tracing::warn!("the embedding service takes a memory's text not; it has no vector");
                found.push(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_in_order_and_what_has_nothing_in_common_is_not() {
        let mut nearest = Nearest::new(2);
        for distance in [0.5, 1.0, 0.9, 0.2, 0.95, 1.5] {
            if nearest.takes(distance) {
                nearest.push(Near { scope: String::new(), key: distance.to_string(), distance });
            }
        }
        let keys: Vec<_> = nearest.in_order().into_iter().map(|near| near.key).collect();
        assert_eq!(keys, ["0.2", "0.5"]);
        assert!(!Nearest::new(0).takes(0.1));
    }
}
