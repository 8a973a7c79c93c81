//! The mesh store: what the nodes remember and what they can do, kept apart by tenant.
//!
//! From the outside in: [`serve()`] listens, `http` answers, [`Access`] says for which tenant, [`Store`] does
//! it. Writes go through one thread that commits what waits together; reads go through a few others.
//! The store knows nothing of the edge: they meet over HTTP, also inside one process.

mod access;
mod batch_api;
mod bells;
mod body;
#[cfg(any(test, fuzzing))]
pub mod claims;
mod clock;
mod conditions;
mod config;
mod cursor;
mod embed;
mod error;
mod feed_api;
mod guard;
mod http;
#[cfg(test)]
mod http_tests;
mod indexer;
mod json;
mod keys_api;
mod list_api;
mod model;
mod observe;
mod openapi;
mod policy;
mod postgres;
mod proof;
mod ranking;
mod reply;
mod repository;
mod rows_api;
mod search;
mod semantic;
mod serve;
pub mod socket;
mod sqlite;
mod sweeper;
mod sync_api;
#[cfg(test)]
mod testing;
mod transfer;
mod uri;
mod usage_api;
mod watch;
mod words;
mod writes;

pub use access::{Access, ApiKey, ApiKeys, Rights, Stranger, Trust};
pub use clock::Clock;
pub use config::{Config, Flags, FlagsError, Listen, Server, load};
pub use embed::{EmbedError, Embedder, Service as EmbeddingService, Shape as EmbeddingShape};
pub use error::{CommitError, OpenError, StoreError};
pub use json::Json;
pub use model::{
    Act, Action, Bounds, Change, Condition, Conflict, Content, Done, Expiry, Filter, Found, Hit, Interest,
    Kind, NewMemory, NewSkill, NodeKeys, Page, Place, Row, Stamp, Stretch, Swept, Target, ToJson, Upkeep,
    Usage, Version, Write,
};
pub use observe::{Hearing, Observe, Op, Outcome, Unobserved};
pub use policy::Policy;
pub use postgres::{LinkError, SchemaError};
pub use ranking::Marks;
pub use search::{Mode, Query, SearchError};
pub use semantic::{IndexError, Stepped};
pub use serve::{Listener, ServeError, serve};
pub use sqlite::{Opened, backup, integrity};
pub use transfer::{Dossier, KeptVersion, Log, LogEntry, Sum};

use crate::config::checked::NodeKey;
use crate::config::checked_store::StoreRules;
use crate::ids::{NodeId, TenantId};
use crate::secret::Secret;
use crate::signatures::registered;
use arc_swap::ArcSwap;
use bells::Bells;
use embed::Patience;
use indexer::Behind;
use model::MOST_HITS;
use repository::Repository;
use search::Looked;
use semantic::Sought;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;
use watch::News;

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
    /// Where the time comes from.
    pub clock: Clock,
    /// What tenants may keep, and for how long.
    pub policy: Policy,
    /// Where vectors come from; without one there is no semantic search.
    pub embedder: Option<Embedder>,
}

impl Settings {
    /// The usual numbers.
    #[must_use]
    pub fn new(database: PathBuf, legacy_tenant: TenantId) -> Self {
        Self {
            database,
            legacy_tenant,
            readers: 4,
            waiting: 1024,
            clock: Clock::System,
            policy: Policy::default(),
            embedder: Some(Embedder::Builtin),
        }
    }
}

/// An open database. Dropping the last handle writes what was taken and closes it.
pub struct Store {
    repository: Repository,
    observe: Arc<dyn Observe>,
    policy: ArcSwap<Policy>,
    /// Told when the policy is another.
    ruled: Notify,
    embedder: Option<Embedder>,
    clock: Clock,
    behind: Behind,
    bells: Bells,
    news: News,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database, migrating it when it is an older one, and starts the threads.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then as it was.
    pub fn open(settings: &Settings, observe: Arc<dyn Observe>) -> Result<Self, OpenError> {
        let Settings { database, legacy_tenant, readers, waiting, clock, .. } = settings;
        let (engine, opened) =
            sqlite::Engine::open(database, legacy_tenant, *readers, *waiting, clock.clone())?;
        let database = database.display();
        match opened {
            Opened::Created => tracing::info!(%database, "made a new database"),
            Opened::Found => tracing::info!(%database, "opened the database"),
            Opened::Upgraded { from } => {
                tracing::info!(%database, from, "brought an older database up to date")
            }
            Opened::Adopted { memories, skills } => {
                tracing::info!(
                    %database,
                    tenant = %legacy_tenant,
                    memories,
                    skills,
                    "carried an untenanted database over"
                );
            }
        }
        Ok(Self::over(Repository::Sqlite(engine), observe, settings))
    }

    /// Connects to a PostgreSQL server and brings its tables up to date. `connections` is the most that are
    /// open at the same time; of the settings those count that are not of a file.
    ///
    /// # Errors
    /// [`OpenError`]; the database is then as it was.
    pub async fn connect(
        url: &Secret,
        connections: usize,
        settings: &Settings,
        observe: Arc<dyn Observe>,
    ) -> Result<Self, OpenError> {
        let engine = postgres::Engine::open(url, connections, settings.clock.clone()).await?;
        Ok(Self::over(Repository::Postgres(engine), observe, settings))
    }

    fn over(repository: Repository, observe: Arc<dyn Observe>, settings: &Settings) -> Self {
        Self {
            repository,
            observe,
            policy: ArcSwap::from_pointee(settings.policy.clone()),
            ruled: Notify::new(),
            embedder: settings.embedder.clone(),
            clock: settings.clock.clone(),
            behind: Behind::default(),
            bells: Bells::default(),
            news: News::default(),
        }
    }

    /// Does all of the writes or none, in order, each seeing the ones before; answered when it is on the
    /// disk. Whether the caller may write there is asked before.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn commit(
        &self,
        access: &Access,
        writes: Vec<Write>,
        bounds: Bounds,
    ) -> Result<Vec<Done>, CommitError> {
        let done = self.repository.commit(access, writes, bounds).await?;
        self.behind.note(access.tenant());
        self.grown(access.tenant());
        Ok(done)
    }

    /// One row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn row(&self, access: &Access, target: Target) -> Result<Option<Row>, StoreError> {
        self.repository.row(access, target).await
    }

    /// The public keys that are registered for a node, those that do not count now too; empty when there are
    /// none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys_of(&self, access: &Access, node: &NodeId) -> Result<Vec<NodeKey>, StoreError> {
        let row = self.repository.row(access, Target::keys(node.as_str())).await?;
        Ok(match row.map(|row| row.content) {
            Some(Content::Keys(keys)) => {
                let keys = registered::read(keys.keys.as_str()).unwrap_or_default();
                keys.iter().map(|key| key.of(access.tenant(), node)).collect()
            }
            Some(Content::Memory(_) | Content::Skill(_)) | None => Vec::new(),
        })
    }

    /// Rows from a place on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(
        &self,
        access: &Access,
        filter: Filter,
        from: Place,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.repository.page(access, filter, from, limit).await
    }

    /// Versions of a row, newest first, those before `before` when it is given.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(
        &self,
        access: &Access,
        target: Target,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Version>, StoreError> {
        self.repository.history(access, target, before, limit).await
    }

    /// The feed after a change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn changes(
        &self,
        access: &Access,
        interest: Interest,
        after: i64,
        limit: u32,
    ) -> Result<Stretch, StoreError> {
        self.repository.changes(access, interest, after, limit).await
    }

    /// Searches memory: best first.
    ///
    /// # Errors
    /// [`SearchError`]; no query text is an error.
    pub async fn search(&self, access: &Access, query: Query) -> Result<Vec<Hit>, SearchError> {
        let limit = query.limit.clamp(1, MOST_HITS);
        match query.mode {
            Mode::FullText => Ok(self.by_words(access, &query, limit).await?),
            Mode::Semantic => {
                let near = self.by_nearness(access, &query, limit).await?;
                let hit = |near: semantic::Near| {
                    let found = Found::Near { distance: near.distance };
                    Hit { scope: near.scope, key: near.key, found }
                };
                Ok(near.into_iter().map(hit).collect())
            }
            Mode::Hybrid => {
                // Each list is longer than what is asked for, so that what is second in both can lead.
                let near = self.by_nearness(access, &query, MOST_HITS).await?;
                let words = self.by_words(access, &query, MOST_HITS).await?;
                Ok(search::fuse(words, near, limit))
            }
        }
    }

    async fn by_words(&self, access: &Access, query: &Query, limit: u32) -> Result<Vec<Hit>, StoreError> {
        let looked =
            Looked { words: query.words.clone(), scope: query.scope.clone(), prefix: query.prefix.clone() };
        let candidates = self.repository.candidates(access, looked).await?;
        Ok(ranking::rank(&query.words, candidates, limit, query.marks))
    }

    async fn by_nearness(
        &self,
        access: &Access,
        query: &Query,
        limit: u32,
    ) -> Result<Vec<semantic::Near>, SearchError> {
        let embedder = self.embedder.as_ref().ok_or(SearchError::NotConfigured)?;
        let vectors = embedder.embed(vec![query.words.clone()], Patience::Caller).await?;
        let vector = vectors.into_iter().next().ok_or(EmbedError::Malformed)?;
        let sought = Sought {
            model: embedder.model().to_owned(),
            vector,
            scope: query.scope.clone(),
            prefix: query.prefix.clone(),
            limit,
        };
        Ok(self.repository.nearest(access, sought).await?)
    }

    /// What the tenant keeps.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage(&self, access: &Access) -> Result<Usage, StoreError> {
        self.repository.usage(access).await
    }

    /// Takes away everything of the tenant; says what that was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erase(&self, access: &Access) -> Result<Usage, StoreError> {
        let had = self.repository.erase(access).await?;
        self.grown(access.tenant());
        Ok(had)
    }

    /// What upkeep leaves now, by the policy.
    #[must_use]
    pub fn upkeep(&self) -> Upkeep {
        self.policy.load().upkeep(self.clock.seconds())
    }

    /// One step of upkeep: takes away some of what has expired, and of what is older or more than it leaves; says
    /// how much. Nothing is left to do when it was nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self, access: &Access, upkeep: Upkeep) -> Result<Swept, StoreError> {
        let swept = self.repository.sweep(access, upkeep).await?;
        if swept.rows > 0 {
            self.grown(access.tenant());
        }
        Ok(swept)
    }

    /// Upkeep of the database's own, for no tenant.
    pub(crate) async fn tidy(&self) -> Result<(), StoreError> {
        self.repository.tidy().await
    }

    /// A tenant's feed has grown: for those who follow it here, and for other stores on the same server.
    fn grown(&self, tenant: &TenantId) {
        self.bells.ring(tenant);
        match self.repository {
            Repository::Sqlite(_) => {}
            Repository::Postgres(_) => self.news.note(tenant),
        }
    }

    /// An ear that hears when the tenant's feed may have grown; none when too many listen.
    pub(crate) fn listen(&self, access: &Access) -> Option<tokio::sync::watch::Receiver<()>> {
        self.bells.listen(access.tenant())
    }

    /// Everything kept of the first `most` rows, gone ones too, after this one; in the order of kind, scope and
    /// name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn dossiers(
        &self,
        access: &Access,
        after: Option<Target>,
        most: u32,
    ) -> Result<Vec<Dossier>, StoreError> {
        self.repository.dossiers(access, after, most).await
    }

    /// Everything kept of one row; without versions when there never was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn dossier(&self, access: &Access, target: Target) -> Result<Dossier, StoreError> {
        self.repository.dossier(access, target).await
    }

    /// Puts dossiers in the place of whatever is kept of their rows, all of them or none.
    ///
    /// # Errors
    /// [`StoreError`], also when the number of a change is another row's.
    pub async fn put_dossiers(&self, access: &Access, dossiers: Vec<Dossier>) -> Result<(), StoreError> {
        self.repository.put_dossiers(access, dossiers).await
    }

    /// The log of changes after one of them, as it is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log(&self, access: &Access, after: i64, most: u32) -> Result<Log, StoreError> {
        self.repository.log(access, after, most).await
    }

    /// Puts entries into the log of changes, those that it has already over themselves.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_log(&self, access: &Access, log: Log) -> Result<(), StoreError> {
        self.repository.put_log(access, log).await
    }

    /// Every tenant that ever wrote; for upkeep and commands, never for a request.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        self.repository.tenants().await
    }

    /// What tenants may keep, and for how long.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Puts other rules in force. What was kept under the old ones stays until upkeep takes it.
    pub fn apply_rules(&self, rules: &StoreRules) {
        let before = self.policy.load();
        if before.rules == *rules {
            return;
        }
        self.policy.store(Arc::new(Policy { rules: rules.clone(), ..Policy::clone(&before) }));
        self.ruled.notify_waiters();
        tracing::info!("the store's rules are others from now on");
    }

    /// A key of the database's own.
    #[must_use]
    pub fn signing_key(&self) -> [u8; 32] {
        self.repository.signing_key()
    }

    /// Whether the database answers and can be written to.
    pub async fn is_available(&self) -> bool {
        self.repository.is_available().await
    }

    /// Transactions committed since the store was opened; fewer than writes when writes came together.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.repository.commits()
    }

    /// Where vectors come from.
    #[must_use]
    pub fn embedder(&self) -> Option<&Embedder> {
        self.embedder.as_ref()
    }

    pub(crate) fn behind(&self) -> &Behind {
        &self.behind
    }

    pub(crate) fn observe(&self) -> &dyn Observe {
        &*self.observe
    }
}
