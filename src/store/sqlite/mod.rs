//! The engine that keeps everything in one file: one thread writes, a few read.
//!
//! Speaks SQL; does not know HTTP. Every statement names the tenant.

mod adopt;
pub mod backup;
mod changes;
mod commit;
mod history;
pub mod integrity;
mod ledger;
mod list;
mod readers;
mod rows;
mod schema;
mod search;
mod sweep;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod transfer;
mod upgrade;
mod vectors;
mod writer;

pub use schema::Opened;

use super::access::Access;
use super::clock::Clock;
use super::error::{CommitError, OpenError, StoreError};
use super::model::{
    Bounds, Conflict, Done, Filter, Interest, Page, Place, Row, Stretch, Swept, Target, Upkeep, Usage,
    Version, Write,
};
use super::ranking::{Candidate, MOST_CANDIDATES};
use super::search::Looked;
use super::semantic::{IndexState, Near, Sought, Step};
use super::transfer::{Dossier, Log};
use crate::ids::TenantId;
use readers::Readers;
use rusqlite::Connection;
use std::fmt;
use std::path::Path;
use writer::{Verdict, Writer};

/// An open file. Dropping it writes what was taken and closes it.
pub(crate) struct Engine {
    // Dropped in this order: the writer's connection goes last and folds the log into the file.
    readers: Readers,
    writer: Writer,
    signing_key: [u8; 32],
    clock: Clock,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("sqlite::Engine").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the file, brings it up to date, and starts the threads.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then as it was.
    pub(crate) fn open(
        path: &Path,
        legacy: &TenantId,
        readers: usize,
        waiting: usize,
        clock: Clock,
    ) -> Result<(Self, Opened), OpenError> {
        let (conn, opened) = schema::open_writer(path, legacy)?;
        let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let signing_key = schema::signing_key(&conn).map_err(sqlite)?;
        let connections = (0..readers.max(1)).map(|_| schema::open_reader(path)).collect::<Result<_, _>>()?;
        let readers = Readers::start(connections, waiting.max(1))?;
        let writer = Writer::start(conn, waiting.max(1), clock.clone())?;
        Ok((Self { readers, writer, signing_key, clock }, opened))
    }

    pub(super) async fn commit(
        &self,
        access: &Access,
        writes: Vec<Write>,
        bounds: Bounds,
    ) -> Result<Vec<Done>, CommitError> {
        let tenant = access.tenant().clone();
        let work = move |conn: &Connection, now| {
            let mut done = Vec::with_capacity(writes.len());
            for (index, write) in writes.iter().enumerate() {
                match commit::apply(conn, &tenant, write.clone(), bounds, now)? {
                    Ok(one) => done.push(one),
                    Err(conflict) => return Ok(Verdict::Undo(Err((index, conflict)))),
                }
            }
            Ok(Verdict::Keep(Ok(done)))
        };
        let refused = |(index, conflict): (usize, Conflict)| CommitError::Refused { index, conflict };
        self.writer.write(work).await?.map_err(refused)
    }

    pub(super) async fn row(&self, access: &Access, target: Target) -> Result<Option<Row>, StoreError> {
        self.ask(access, move |conn, tenant, now| rows::get(conn, tenant, &target, now)).await
    }

    pub(super) async fn page(
        &self,
        access: &Access,
        filter: Filter,
        from: Place,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.ask(access, move |conn, tenant, now| list::page(conn, tenant, &filter, from, limit, now)).await
    }

    pub(super) async fn history(
        &self,
        access: &Access,
        target: Target,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Version>, StoreError> {
        self.ask(access, move |conn, tenant, now| {
            history::versions(conn, tenant, &target, before, limit, now)
        })
        .await
    }

    pub(super) async fn changes(
        &self,
        access: &Access,
        interest: Interest,
        after: i64,
        limit: u32,
    ) -> Result<Stretch, StoreError> {
        self.ask(access, move |conn, tenant, now| {
            changes::stretch(conn, tenant, &interest, after, limit, now)
        })
        .await
    }

    pub(super) async fn candidates(
        &self,
        access: &Access,
        looked: Looked,
    ) -> Result<Vec<Candidate>, StoreError> {
        self.ask(access, move |conn, tenant, now| search::find(conn, tenant, &looked, MOST_CANDIDATES, now))
            .await
    }

    pub(super) async fn nearest(&self, access: &Access, sought: Sought) -> Result<Vec<Near>, StoreError> {
        self.ask(access, move |conn, tenant, now| vectors::nearest(conn, tenant, &sought, now)).await
    }

    pub(super) async fn index_state(&self, access: &Access) -> Result<Option<IndexState>, StoreError> {
        self.ask(access, |conn, tenant, _| vectors::state(conn, tenant)).await
    }

    pub(super) async fn index_step(&self, access: &Access, step: Step) -> Result<(), StoreError> {
        let tenant = access.tenant().clone();
        self.writer.write(move |conn, _| Ok(Verdict::Keep(vectors::step(conn, &tenant, &step)?))).await
    }

    pub(super) async fn usage(&self, access: &Access) -> Result<Usage, StoreError> {
        self.ask(access, |conn, tenant, _| ledger::usage(conn, tenant)).await
    }

    pub(super) async fn erase(&self, access: &Access) -> Result<Usage, StoreError> {
        let tenant = access.tenant().clone();
        self.writer.write(move |conn, now| Ok(Verdict::Keep(sweep::erase(conn, &tenant, now)?))).await
    }

    pub(super) async fn sweep(&self, access: &Access, upkeep: Upkeep) -> Result<Swept, StoreError> {
        let tenant = access.tenant().clone();
        // Asked of a reader first: with nothing to do the writer is not bothered.
        let due = self.ask(access, move |conn, tenant, now| sweep::due(conn, tenant, &upkeep, now)).await?;
        if due.is_nothing() {
            return Ok(Swept::default());
        }
        let work =
            move |conn: &Connection, now| Ok(Verdict::Keep(sweep::sweep(conn, &tenant, &due, &upkeep, now)?));
        self.writer.write(work).await
    }

    /// Makes the search index one piece where that is worth it, in short transactions that let others in between.
    pub(super) async fn tidy(&self) -> Result<(), StoreError> {
        let Some(newest) = self.readers.ask(search::scattered_up_to).await? else { return Ok(()) };
        self.writer.write(|conn, _| search::begin_merge(conn).map(Verdict::Keep)).await?;
        while self.writer.write(|conn, _| search::merge_some(conn).map(Verdict::Keep)).await? {}
        self.writer.write(move |conn, _| search::merged(conn, newest).map(Verdict::Keep)).await
    }

    pub(super) async fn dossiers(
        &self,
        access: &Access,
        after: Option<Target>,
        most: u32,
    ) -> Result<Vec<Dossier>, StoreError> {
        self.ask(access, move |conn, tenant, _| transfer::after(conn, tenant, after.as_ref(), most)).await
    }

    pub(super) async fn dossier(&self, access: &Access, target: Target) -> Result<Dossier, StoreError> {
        self.ask(access, move |conn, tenant, _| {
            transfer::one(conn, tenant, target.kind.as_str().to_owned(), target.scope, target.name)
        })
        .await
    }

    pub(super) async fn put_dossiers(
        &self,
        access: &Access,
        dossiers: Vec<Dossier>,
    ) -> Result<(), StoreError> {
        let tenant = access.tenant().clone();
        let work = move |conn: &Connection, _| Ok(Verdict::Keep(transfer::put(conn, &tenant, &dossiers)?));
        self.writer.write(work).await
    }

    pub(super) async fn log(&self, access: &Access, after: i64, most: u32) -> Result<Log, StoreError> {
        self.ask(access, move |conn, tenant, _| transfer::log(conn, tenant, after, most)).await
    }

    pub(super) async fn put_log(&self, access: &Access, log: Log) -> Result<(), StoreError> {
        let tenant = access.tenant().clone();
        self.writer
            .write(move |conn: &Connection, _| Ok(Verdict::Keep(transfer::put_log(conn, &tenant, &log)?)))
            .await
    }

    pub(super) async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        self.readers.ask(ledger::tenants).await
    }

    pub(super) async fn counters(&self, tenants: Vec<TenantId>) -> Result<Vec<(TenantId, i64)>, StoreError> {
        let ask = |conn: &rusqlite::Connection| {
            tenants
                .into_iter()
                .map(|tenant| ledger::counts(conn, &tenant).map(|counts| (tenant, counts.last_change)))
                .collect()
        };
        self.readers.ask(ask).await
    }

    pub(super) fn signing_key(&self) -> [u8; 32] {
        self.signing_key
    }

    pub(super) async fn is_available(&self) -> bool {
        let answers =
            self.readers.ask(|conn| conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())));
        // A store with much to do is there all the same.
        self.writer.is_alive() && answers.await != Err(StoreError::Failed)
    }

    pub(super) fn commits(&self) -> u64 {
        self.writer.commits()
    }

    async fn ask<T: Send + 'static>(
        &self,
        access: &Access,
        question: impl FnOnce(&Connection, &TenantId, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tenant, now) = (access.tenant().clone(), self.clock.seconds());
        self.readers.ask(move |conn| question(conn, &tenant, now)).await
    }
}
