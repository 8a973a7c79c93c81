//! The engine that keeps everything on a PostgreSQL server, for stores that several machines share.
//!
//! Speaks SQL; does not know HTTP. What the words mean is the same as for the engine of one file: the tables
//! are the same, and one model test runs on both. Every transaction belongs to one tenant, and the
//! server itself shows it no other tenant's rows.

mod changes;
mod commit;
mod ears;
mod history;
mod link;
mod list;
mod question;
mod rows;
mod schema;
mod sweep;
mod text;
mod transfer;
mod vectors;
mod words;

pub(crate) use ears::Ears;
pub use link::LinkError;
pub use schema::SchemaError;

use super::access::Access;
use super::clock::Clock;
use super::error::{CommitError, OpenError, StoreError};
use super::model::{
    Bounds, Done, Filter, Interest, Page, Place, Row, Stretch, Swept, Target, Upkeep, Usage, Version, Write,
};
use super::ranking::Candidate;
use super::search::Looked;
use super::semantic::{IndexState, Near, Sought, Step};
use super::transfer::{Dossier, Log};
use crate::ids::TenantId;
use crate::secret::Secret;
use commit::Batch;
use ears::Voice;
use link::{For, Link, begin, failed};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A way to a server.
pub(crate) struct Engine {
    link: Link,
    signing_key: [u8; 32],
    clock: Clock,
    commits: AtomicU64,
    voice: Voice,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("postgres::Engine").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Connects, and brings the database up to date.
    ///
    /// # Errors
    /// [`OpenError`]; the database is then as it was.
    pub(crate) async fn open(url: &Secret, connections: usize, clock: Clock) -> Result<Self, OpenError> {
        let link = Link::new(url, connections).map_err(OpenError::Url)?;
        let signing_key = schema::settle(&link).await.map_err(OpenError::Postgres)?;
        Ok(Self { link, signing_key, clock, commits: AtomicU64::new(0), voice: Voice::new() })
    }

    pub(super) async fn commit(
        &self,
        access: &Access,
        writes: Vec<Write>,
        bounds: Bounds,
    ) -> Result<Vec<Done>, CommitError> {
        let server = |error: tokio_postgres::Error| CommitError::Store(failed(&error));
        let mut connection = self.link.connection().await?;
        let tx = begin(&mut connection, access.tenant(), For::Writing).await.map_err(server)?;
        let mut done = Vec::with_capacity(writes.len());
        {
            let lock = Batch::lock(&tx, access.tenant(), || self.clock.seconds());
            let mut batch = lock.await.map_err(server)?;
            for (index, write) in writes.into_iter().enumerate() {
                match batch.apply(write, bounds).await.map_err(server)? {
                    Ok(one) => done.push(one),
                    // Dropping the transaction undoes it.
                    Err(conflict) => return Err(CommitError::Refused { index, conflict }),
                }
            }
            batch.settle().await.map_err(server)?;
        }
        tx.commit().await.map_err(server)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(done)
    }

    pub(super) async fn row(&self, access: &Access, target: Target) -> Result<Option<Row>, StoreError> {
        let now = self.clock.seconds();
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let found = rows::find(&tx, access.tenant(), &target).await?;
            tx.commit().await?;
            Ok(found.map(|kept| kept.row).filter(|row| row.stamp.expires_at.is_none_or(|end| end > now)))
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn page(
        &self,
        access: &Access,
        filter: Filter,
        from: Place,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let now = self.clock.seconds();
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let page = list::page(&tx, access.tenant(), &filter, from, limit, now).await?;
            tx.commit().await?;
            Ok(page)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn history(
        &self,
        access: &Access,
        target: Target,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Version>, StoreError> {
        let now = self.clock.seconds();
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let found = history::versions(&tx, access.tenant(), &target, before, limit, now).await?;
            tx.commit().await?;
            Ok(found)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn changes(
        &self,
        access: &Access,
        interest: Interest,
        after: i64,
        limit: u32,
    ) -> Result<Stretch, StoreError> {
        let now = self.clock.seconds();
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let stretch = changes::stretch(&tx, access.tenant(), &interest, after, limit, now).await?;
            tx.commit().await?;
            Ok(stretch)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn candidates(
        &self,
        access: &Access,
        looked: Looked,
    ) -> Result<Vec<Candidate>, StoreError> {
        let now = self.clock.seconds();
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let found = words::candidates(&tx, access.tenant(), &looked, now).await?;
            tx.commit().await?;
            Ok(found)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn nearest(&self, access: &Access, sought: Sought) -> Result<Vec<Near>, StoreError> {
        let now = self.clock.seconds();
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let found = vectors::nearest(&tx, access.tenant(), &sought, now).await?;
            tx.commit().await?;
            Ok(found)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn index_state(&self, access: &Access) -> Result<Option<IndexState>, StoreError> {
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let state = vectors::state(&tx, access.tenant()).await?;
            tx.commit().await?;
            Ok(state)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn index_step(&self, access: &Access, step: Step) -> Result<(), StoreError> {
        let mut connection = self.link.connection().await?;
        let write = async {
            let tx = begin(&mut connection, access.tenant(), For::Writing).await?;
            vectors::step(&tx, access.tenant(), &step).await?;
            tx.commit().await
        };
        write.await.map_err(|error| failed(&error))
    }

    pub(super) async fn usage(&self, access: &Access) -> Result<Usage, StoreError> {
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let usage = sweep::usage(&tx, access.tenant()).await?;
            tx.commit().await?;
            Ok(usage)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn erase(&self, access: &Access) -> Result<Usage, StoreError> {
        let mut connection = self.link.connection().await?;
        let write = async {
            let tx = begin(&mut connection, access.tenant(), For::Writing).await?;
            let had = {
                let mut batch = Batch::lock(&tx, access.tenant(), || self.clock.seconds()).await?;
                let had = sweep::erase(&mut batch).await?;
                batch.settle().await?;
                had
            };
            tx.commit().await?;
            Ok(had)
        };
        write.await.map_err(|error: tokio_postgres::Error| failed(&error))
    }

    pub(super) async fn sweep(&self, access: &Access, upkeep: Upkeep) -> Result<Swept, StoreError> {
        let mut connection = self.link.connection().await?;
        let write = async {
            let tx = begin(&mut connection, access.tenant(), For::Writing).await?;
            // Found without the tenant's lock, so that who writes does not wait for the search.
            let due = sweep::due(&tx, access.tenant(), &upkeep, self.clock.seconds()).await?;
            if due.is_nothing() {
                return Ok(Swept::default());
            }
            let taken = {
                let mut batch = Batch::lock(&tx, access.tenant(), || self.clock.seconds()).await?;
                let taken = sweep::sweep(&mut batch, &due, &upkeep).await?;
                batch.settle().await?;
                taken
            };
            tx.commit().await?;
            Ok(taken)
        };
        write.await.map_err(|error: tokio_postgres::Error| failed(&error))
    }

    pub(super) async fn dossiers(
        &self,
        access: &Access,
        after: Option<Target>,
        most: u32,
    ) -> Result<Vec<Dossier>, StoreError> {
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let found = transfer::after(&tx, access.tenant(), after.as_ref(), most).await?;
            tx.commit().await?;
            Ok(found)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn dossier(&self, access: &Access, target: Target) -> Result<Dossier, StoreError> {
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let found = transfer::one(&tx, access.tenant(), target).await?;
            tx.commit().await?;
            Ok(found)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn put_dossiers(
        &self,
        access: &Access,
        dossiers: Vec<Dossier>,
    ) -> Result<(), StoreError> {
        let mut connection = self.link.connection().await?;
        let write = async {
            let tx = begin(&mut connection, access.tenant(), For::Writing).await?;
            {
                let mut batch = Batch::lock(&tx, access.tenant(), || self.clock.seconds()).await?;
                transfer::put(&mut batch, &dossiers).await?;
                batch.settle().await?;
            }
            tx.commit().await
        };
        write.await.map_err(|error| failed(&error))
    }

    pub(super) async fn log(&self, access: &Access, after: i64, most: u32) -> Result<Log, StoreError> {
        let mut connection = self.link.connection().await?;
        let read = async {
            let tx = begin(&mut connection, access.tenant(), For::Reading).await?;
            let found = transfer::log(&tx, access.tenant(), after, most).await?;
            tx.commit().await?;
            Ok(found)
        };
        read.await.map_err(|error| failed(&error))
    }

    pub(super) async fn put_log(&self, access: &Access, log: Log) -> Result<(), StoreError> {
        let mut connection = self.link.connection().await?;
        let write = async {
            let tx = begin(&mut connection, access.tenant(), For::Writing).await?;
            {
                let mut batch = Batch::lock(&tx, access.tenant(), || self.clock.seconds()).await?;
                transfer::put_log(&mut batch, &log).await?;
                batch.settle().await?;
            }
            tx.commit().await
        };
        write.await.map_err(|error| failed(&error))
    }

    pub(super) async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let names = schema::tenants(&self.link).await?;
        // Whatever another program wrote into the column, only names of tenants are tenants.
        Ok(names.iter().filter_map(|name| TenantId::parse(name).ok()).collect())
    }

    pub(super) async fn counters(&self, tenants: Vec<TenantId>) -> Result<Vec<(TenantId, i64)>, StoreError> {
        let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        let mut found = schema::counters(&self.link, &names).await?;
        Ok(tenants
            .into_iter()
            .filter_map(|tenant| found.remove(tenant.as_str()).map(|counter| (tenant, counter)))
            .collect())
    }

    /// Ears for what other stores tell; none where a pooler stands between.
    pub(super) async fn listen(&self) -> Result<Option<Ears>, StoreError> {
        Ears::open(&self.link, &self.voice).await
    }

    /// The next tenant whose feed has grown elsewhere; none when nothing is heard any more.
    pub(super) async fn hear(&self, ears: &mut Ears) -> Option<TenantId> {
        ears.next(&self.link, &self.voice).await
    }

    /// Tells other stores that the feeds of these have grown.
    pub(super) async fn tell(&self, tenants: &[TenantId]) -> Result<(), StoreError> {
        let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        self.voice.tell(&self.link, &names).await
    }

    pub(super) fn signing_key(&self) -> [u8; 32] {
        self.signing_key
    }

    pub(super) async fn is_available(&self) -> bool {
        match self.link.connection().await {
            Ok(connection) => connection.batch_execute("SELECT 1").await.is_ok(),
            // A store with much to do is there all the same.
            Err(error) => error == StoreError::Busy,
        }
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}
