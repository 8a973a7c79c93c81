//! The seam between what clients ask and where rows are kept: one enum of engines, one set of questions.
//!
//! Every method takes an [`Access`], and so a tenant; what an engine does for it touches that tenant's
//! rows alone. What the words mean is in [`model`](super::model), and is the same for every engine:
//! - a commit is atomic, and durable when it is answered;
//! - a tenant's changes become visible in the order of their numbers, none left out;
//! - a row whose time is over is not there, whether it was swept or not.

use super::access::Access;
use super::error::{CommitError, StoreError};
use super::model::{
    Bounds, Done, Filter, Interest, Page, Place, Row, Stretch, Swept, Target, Upkeep, Usage, Version, Write,
};
use super::ranking::Candidate;
use super::search::Looked;
use super::semantic::{IndexState, Near, Sought, Step};
use super::transfer::{Dossier, Log};
use super::{postgres, sqlite};
use crate::ids::TenantId;

/// Where rows are kept.
#[derive(Debug)]
pub(crate) enum Repository {
    /// In a file of this machine.
    Sqlite(sqlite::Engine),
    /// On a server.
    Postgres(postgres::Engine),
}

impl Repository {
    /// Does all of the writes or none; in order, each seeing the ones before. Answered when it is durable.
    pub(crate) async fn commit(
        &self,
        access: &Access,
        writes: Vec<Write>,
        bounds: Bounds,
    ) -> Result<Vec<Done>, CommitError> {
        match self {
            Self::Sqlite(engine) => engine.commit(access, writes, bounds).await,
            Self::Postgres(engine) => Box::pin(engine.commit(access, writes, bounds)).await,
        }
    }

    /// One live row.
    pub(crate) async fn row(&self, access: &Access, target: Target) -> Result<Option<Row>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.row(access, target).await,
            Self::Postgres(engine) => engine.row(access, target).await,
        }
    }

    /// Live rows from a place on, at most `limit`.
    pub(crate) async fn page(
        &self,
        access: &Access,
        filter: Filter,
        from: Place,
        limit: u32,
    ) -> Result<Page, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.page(access, filter, from, limit).await,
            Self::Postgres(engine) => engine.page(access, filter, from, limit).await,
        }
    }

    /// Versions of a row, newest first, those before `before` when it is given, at most `limit`.
    pub(crate) async fn history(
        &self,
        access: &Access,
        target: Target,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Version>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.history(access, target, before, limit).await,
            Self::Postgres(engine) => engine.history(access, target, before, limit).await,
        }
    }

    /// The feed after a change, at most `limit` entries.
    pub(crate) async fn changes(
        &self,
        access: &Access,
        interest: Interest,
        after: i64,
        limit: u32,
    ) -> Result<Stretch, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.changes(access, interest, after, limit).await,
            Self::Postgres(engine) => engine.changes(access, interest, after, limit).await,
        }
    }

    /// The newest memories that have all words, to be ranked.
    pub(crate) async fn candidates(
        &self,
        access: &Access,
        looked: Looked,
    ) -> Result<Vec<Candidate>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.candidates(access, looked).await,
            Self::Postgres(engine) => engine.candidates(access, looked).await,
        }
    }

    /// The live memories whose vectors are nearest, nearest first.
    pub(crate) async fn nearest(&self, access: &Access, sought: Sought) -> Result<Vec<Near>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.nearest(access, sought).await,
            Self::Postgres(engine) => engine.nearest(access, sought).await,
        }
    }

    /// How far the tenant's index of vectors is; nothing when it was never begun.
    pub(crate) async fn index_state(&self, access: &Access) -> Result<Option<IndexState>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.index_state(access).await,
            Self::Postgres(engine) => engine.index_state(access).await,
        }
    }

    /// Does one step of indexing, all of it or nothing.
    pub(crate) async fn index_step(&self, access: &Access, step: Step) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(engine) => engine.index_step(access, step).await,
            Self::Postgres(engine) => engine.index_step(access, step).await,
        }
    }

    /// What the tenant keeps.
    pub(crate) async fn usage(&self, access: &Access) -> Result<Usage, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.usage(access).await,
            Self::Postgres(engine) => engine.usage(access).await,
        }
    }

    /// Takes away everything of the tenant; its counter goes on, and the feed has one entry that says so.
    pub(crate) async fn erase(&self, access: &Access) -> Result<Usage, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.erase(access).await,
            Self::Postgres(engine) => engine.erase(access).await,
        }
    }

    /// One step of upkeep; says how much it took away.
    pub(crate) async fn sweep(&self, access: &Access, upkeep: Upkeep) -> Result<Swept, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.sweep(access, upkeep).await,
            Self::Postgres(engine) => engine.sweep(access, upkeep).await,
        }
    }

    /// What is done now and then so that reads stay quick.
    pub(crate) async fn tidy(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(engine) => engine.tidy().await,
            // Its own autovacuum does it.
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Everything kept of the first `most` rows, gone ones too, after this one.
    pub(crate) async fn dossiers(
        &self,
        access: &Access,
        after: Option<Target>,
        most: u32,
    ) -> Result<Vec<Dossier>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.dossiers(access, after, most).await,
            Self::Postgres(engine) => engine.dossiers(access, after, most).await,
        }
    }

    /// Everything kept of one row.
    pub(crate) async fn dossier(&self, access: &Access, target: Target) -> Result<Dossier, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.dossier(access, target).await,
            Self::Postgres(engine) => engine.dossier(access, target).await,
        }
    }

    /// Puts dossiers in the place of whatever is kept of their rows.
    pub(crate) async fn put_dossiers(
        &self,
        access: &Access,
        dossiers: Vec<Dossier>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(engine) => engine.put_dossiers(access, dossiers).await,
            Self::Postgres(engine) => engine.put_dossiers(access, dossiers).await,
        }
    }

    /// The log after a change, as it is kept.
    pub(crate) async fn log(&self, access: &Access, after: i64, most: u32) -> Result<Log, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.log(access, after, most).await,
            Self::Postgres(engine) => engine.log(access, after, most).await,
        }
    }

    /// Puts entries into the log, those that it has already over themselves.
    pub(crate) async fn put_log(&self, access: &Access, log: Log) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(engine) => engine.put_log(access, log).await,
            Self::Postgres(engine) => engine.put_log(access, log).await,
        }
    }

    /// Every tenant that ever wrote. For upkeep alone: no request may learn of another tenant.
    pub(crate) async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.tenants().await,
            Self::Postgres(engine) => engine.tenants().await,
        }
    }

    /// The counters of these tenants, as far as they ever wrote. For upkeep alone, as above.
    pub(crate) async fn counters(&self, tenants: Vec<TenantId>) -> Result<Vec<(TenantId, i64)>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.counters(tenants).await,
            Self::Postgres(engine) => engine.counters(tenants).await,
        }
    }

    /// A key of the database's own, made when the database was; cursors are signed with it.
    pub(crate) fn signing_key(&self) -> [u8; 32] {
        match self {
            Self::Sqlite(engine) => engine.signing_key(),
            Self::Postgres(engine) => engine.signing_key(),
        }
    }

    /// Whether the database answers and can be written to.
    pub(crate) async fn is_available(&self) -> bool {
        match self {
            Self::Sqlite(engine) => engine.is_available().await,
            Self::Postgres(engine) => engine.is_available().await,
        }
    }

    /// Transactions committed since it was opened.
    pub(crate) fn commits(&self) -> u64 {
        match self {
            Self::Sqlite(engine) => engine.commits(),
            Self::Postgres(engine) => engine.commits(),
        }
    }
}
