//! The mesh store: what the nodes remember and what they can do, kept apart by tenant.
//!
//! From the outside in: [`serve()`] listens, `http` answers, [`Access`] says for which tenant, [`Store`] does
//! it. Writes go through one thread that commits what waits together; reads go through a few others.
//! The store knows nothing of the edge: they meet over HTTP, also inside one process.

mod access;
mod adopt;
mod body;
mod config;
mod error;
mod http;
#[cfg(test)]
mod http_tests;
mod json;
mod memories;
mod model;
mod observe;
mod readers;
mod reply;
mod schema;
mod search;
mod serve;
mod skills;
pub mod socket;
#[cfg(test)]
mod testing;
mod uri;
mod writer;

pub use access::{Access, ApiKey, ApiKeys, Rights, Stranger, Trust};
pub use config::{Config, Flags, FlagsError, Listen, load};
pub use error::{OpenError, StoreError};
pub use json::Json;
pub use model::{Hit, MemoryRow, NewMemory, NewSkill, SkillRow, ToJson};
pub use observe::{Observe, Op, Outcome, Unobserved};
pub use schema::Opened;
pub use serve::{Listener, ServeError, serve};

use crate::ids::TenantId;
use readers::Readers;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use writer::Writer;

/// Which database, and how much may wait for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `SQLite` file; made when it is not there.
    pub database: PathBuf,
    /// Tenant that the rows of an untenanted database get.
    pub legacy_tenant: TenantId,
    /// Reading threads.
    pub readers: usize,
    /// Most operations of a kind (reads, writes) that wait; beyond them the store is busy.
    pub waiting: usize,
}

impl Settings {
    /// The usual numbers.
    #[must_use]
    pub fn new(database: PathBuf, legacy_tenant: TenantId) -> Self {
        Self { database, legacy_tenant, readers: 4, waiting: 1024 }
    }
}

/// An open database. Dropping the last handle writes what was taken and closes it.
pub struct Store {
    // Dropped in this order: the writer's connection goes last and folds the log into the file.
    readers: Readers,
    writer: Writer,
    observe: Arc<dyn Observe>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database, migrating it when it is an older one, and starts the threads.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then as it was.
    pub fn open(settings: &Settings, observe: Arc<dyn Observe>) -> Result<Self, OpenError> {
        let (conn, opened) = schema::open_writer(&settings.database, &settings.legacy_tenant)?;
        let database = settings.database.display();
        match opened {
            Opened::Created => tracing::info!(%database, "made a new database"),
            Opened::Found => tracing::info!(%database, "opened the database"),
            Opened::Adopted { memories, skills } => {
                tracing::info!(
                    %database,
                    tenant = %settings.legacy_tenant,
                    memories,
                    skills,
                    "carried an untenanted database over"
                );
            }
        }
        let connections = (0..settings.readers.max(1))
            .map(|_| schema::open_reader(&settings.database))
            .collect::<Result<_, _>>()?;
        let readers = Readers::start(connections, settings.waiting.max(1))?;
        let writer = Writer::start(conn, settings.waiting.max(1))?;
        Ok(Self { readers, writer, observe })
    }

    /// The memory under this scope and key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn memory(
        &self,
        access: &Access,
        scope: String,
        key: String,
    ) -> Result<Option<MemoryRow>, StoreError> {
        let tenant = access.tenant().clone();
        self.readers.ask(move |conn| memories::get(conn, &tenant, &scope, &key)).await
    }

    /// All memory, or that of one scope, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn memories(
        &self,
        access: &Access,
        scope: Option<String>,
    ) -> Result<Vec<MemoryRow>, StoreError> {
        let tenant = access.tenant().clone();
        self.readers.ask(move |conn| memories::list(conn, &tenant, scope.as_deref())).await
    }

    /// Memory that has all words of the query, newest first.
    ///
    /// # Errors
    /// [`StoreError`]; no query text is an error.
    pub async fn search(
        &self,
        access: &Access,
        query: String,
        scope: Option<String>,
        limit: u32,
    ) -> Result<Vec<Hit>, StoreError> {
        let tenant = access.tenant().clone();
        self.readers.ask(move |conn| search::find(conn, &tenant, &query, scope.as_deref(), limit)).await
    }

    /// Writes a memory; answered when it is on the disk. Whether the caller may is asked before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_memory(&self, access: &Access, memory: NewMemory) -> Result<MemoryRow, StoreError> {
        let tenant = access.tenant().clone();
        self.writer.write(move |conn, now| memories::put(conn, &tenant, memory, now)).await
    }

    /// The skill of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn skill(&self, access: &Access, name: String) -> Result<Option<SkillRow>, StoreError> {
        let tenant = access.tenant().clone();
        self.readers.ask(move |conn| skills::get(conn, &tenant, &name)).await
    }

    /// All skills, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn skills(&self, access: &Access) -> Result<Vec<SkillRow>, StoreError> {
        let tenant = access.tenant().clone();
        self.readers.ask(move |conn| skills::list(conn, &tenant)).await
    }

    /// Writes a skill; answered when it is on the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_skill(&self, access: &Access, skill: NewSkill) -> Result<SkillRow, StoreError> {
        let tenant = access.tenant().clone();
        self.writer.write(move |conn, now| skills::put(conn, &tenant, skill, now)).await
    }

    /// Whether the database answers and can be written to.
    pub async fn is_available(&self) -> bool {
        let answers =
            self.readers.ask(|conn| conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())));
        // A store with much to do is there all the same.
        self.writer.is_alive() && answers.await != Err(StoreError::Failed)
    }

    /// Transactions committed since the store was opened; fewer than writes when writes came together.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    pub(crate) fn observe(&self) -> &dyn Observe {
        &*self.observe
    }
}
