//! One batch of writes within a transaction: what must hold, what is done, what is kept of the past.
//!
//! The tenant's own row is locked first, so a tenant's batches come one after another: numbers of changes
//! have no gaps and become visible in their order. Batches of different tenants do not wait for each other.

use super::text::kept;
use super::{history, rows};
use crate::ids::TenantId;
use crate::store::json::Json;
use crate::store::model::{
    Act, Action, Bounds, Condition, Conflict, Content, Done, Expiry, Kind, Row, Stamp, Target, Usage, Write,
    bytes,
};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

/// How one write ended.
pub(super) type Ended = Result<Done, Conflict>;

/// A tenant's batch: its transaction and its counts, which are written back at the end.
pub(super) struct Batch<'a> {
    pub(super) tx: &'a Transaction<'a>,
    pub(super) tenant: &'a TenantId,
    pub(super) now: i64,
    /// What the tenant keeps, as the batch goes on.
    pub(super) counts: Usage,
}

impl<'a> Batch<'a> {
    /// Locks the tenant's row, which is made when it is not there.
    pub(super) async fn lock(
        tx: &'a Transaction<'a>,
        tenant: &'a TenantId,
        clock: impl FnOnce() -> i64,
    ) -> Result<Self, Error> {
        let counts = loop {
            let found = tx
                .query_typed_opt(
                    "SELECT memories, skills, keys, bytes, last_change, swept_change FROM mesh_tenants
                     WHERE tenant_id = $1 FOR UPDATE",
                    &[(&tenant.as_str(), Type::TEXT)],
                )
                .await?;
            if let Some(row) = found {
                break Usage {
                    memories: row.try_get(0)?,
                    skills: row.try_get(1)?,
                    keys: row.try_get(2)?,
                    bytes: row.try_get(3)?,
                    skill_bytes: 0,
                    key_bytes: 0,
                    versions: 0,
                    last_change: row.try_get(4)?,
                    feed_start: row.try_get(5)?,
                };
            }
            tx.execute_typed(
                "INSERT INTO mesh_tenants (tenant_id) VALUES ($1) ON CONFLICT (tenant_id) DO NOTHING",
                &[(&tenant.as_str(), Type::TEXT)],
            )
            .await?;
        };
        // Read with the lock held, so that a tenant's times grow as its changes do.
        Ok(Self { tx, tenant, now: clock(), counts })
    }

    /// Writes the counts back; the last thing before the commit.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        self.tx
            .execute_typed(
                "UPDATE mesh_tenants SET memories = $2, skills = $3, keys = $4, bytes = $5, last_change = $6
                 WHERE tenant_id = $1",
                &[
                    (&self.tenant.as_str(), Type::TEXT),
                    (&self.counts.memories, Type::INT8),
                    (&self.counts.skills, Type::INT8),
                    (&self.counts.keys, Type::INT8),
                    (&self.counts.bytes, Type::INT8),
                    (&self.counts.last_change, Type::INT8),
                ],
            )
            .await?;
        Ok(())
    }

    /// Does one write.
    pub(super) async fn apply(&mut self, write: Write, bounds: Bounds) -> Result<Ended, Error> {
        let target = write.act.target();
        let mut there = rows::find(self.tx, self.tenant, &target).await?;
        // A row whose time is over is buried before anything else looks at it.
        if let Some(over) = there.take_if(|kept| kept.row.stamp.expires_at.is_some_and(|end| end <= self.now))
        {
            self.take_away(&over, Action::Expire).await?;
            self.prune(&target, over.row.stamp.version + 1, bounds).await?;
        }
        let holds = match &write.condition {
            Condition::Always => true,
            Condition::Present => there.is_some(),
            Condition::Absent => there.is_none(),
            Condition::Unchanged(known) => {
                there.as_ref().is_some_and(|kept| known.contains(&kept.row.stamp.change))
            }
            Condition::Newer { sent_ms, node } => {
                let newer = if let Some(kept) = &there {
                    (*sent_ms, node.as_str()) > (kept.row.written_ms(), kept.row.content.node())
                } else {
                    let went = history::last(self.tx, self.tenant, &target).await?;
                    went.is_none_or(|(_, went)| *sent_ms > went.saturating_mul(1000))
                };
                if !newer {
                    return Ok(Ok(Done::Passed));
                }
                true
            }
        };
        if !holds {
            return Ok(Err(Conflict::ConditionFailed));
        }
        match write.act {
            Act::Put { content, expiry, sent_ms, proof } => {
                let put = Put { content, expiry, sent_ms, proof, action: Action::Put };
                self.put(there, put, bounds).await
            }
            Act::Delete(target) => {
                let Some(kept) = there else { return Ok(Err(Conflict::Missing)) };
                let stamp = self.take_away(&kept, Action::Delete).await?;
                self.prune(&target, stamp.version, bounds).await?;
                Ok(Ok(Done::Deleted(stamp)))
            }
            Act::Restore(target, version) => self.restore(there, &target, version, bounds).await,
            Act::Purge(target) => self.purge(there, &target).await,
        }
    }

    async fn put(&mut self, there: Option<rows::Kept>, put: Put, bounds: Bounds) -> Result<Ended, Error> {
        let target = put.content.target();
        let new = bytes(&put.content, put.proof.as_ref());
        let (rows, bytes) = match &there {
            Some(kept) => (0, new - kept.row.bytes()),
            None => (1, new),
        };
        if let Some(conflict) = self.too_much(bounds, rows, bytes) {
            return Ok(Err(conflict));
        }
        let version = match &there {
            Some(kept) => {
                history::keep(self.tx, self.tenant, kept).await?;
                kept.row.stamp.version + 1
            }
            None => history::last(self.tx, self.tenant, &target).await?.map_or(1, |(version, _)| version + 1),
        };
        let change = self.next();
        let stamp = Stamp { version, change, updated_at: self.now, expires_at: put.expiry.at(self.now) };
        let row = Row { content: put.content, stamp, sent_ms: put.sent_ms, proof: put.proof };
        let before = there.as_ref().map(|kept| &kept.row);
        let (sent_ms, action, entry) = (put.sent_ms, put.action, rows::Entry::Made);
        let written = rows::Written { row: &row, sent_ms, action, entry, before };
        rows::write(self.tx, self.tenant, &written).await?;
        self.add(target.kind, rows, bytes);
        self.prune(&target, version, bounds).await?;
        Ok(Ok(Done::Written(Box::new(row))))
    }

    async fn restore(
        &mut self,
        there: Option<rows::Kept>,
        target: &Target,
        version: i64,
        bounds: Bounds,
    ) -> Result<Ended, Error> {
        let content = match &there {
            Some(kept) if kept.row.stamp.version == version => Some(kept.row.content.clone()),
            Some(_) | None => history::content(self.tx, self.tenant, target, version, self.now).await?,
        };
        let Some(content) = content else { return Ok(Err(Conflict::Missing)) };
        let put = Put { content, expiry: Expiry::Never, sent_ms: None, proof: None, action: Action::Restore };
        self.put(there, put, bounds).await
    }

    async fn purge(&mut self, there: Option<rows::Kept>, target: &Target) -> Result<Ended, Error> {
        let past = history::forget(self.tx, self.tenant, target, i64::MAX).await?;
        if there.is_none() && past == 0 {
            return Ok(Err(Conflict::Missing));
        }
        if let Some(kept) = there {
            rows::remove(self.tx, self.tenant, &kept.row).await?;
            self.add(target.kind, -1, -kept.row.bytes());
        }
        self.tx
            .execute_typed(
                "DELETE FROM mesh_changes WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4",
                &[
                    (&self.tenant.as_str(), Type::TEXT),
                    (&target.kind.as_str(), Type::TEXT),
                    (&kept(&target.scope), Type::TEXT),
                    (&kept(&target.name), Type::TEXT),
                ],
            )
            .await?;
        self.record(target, Action::Purge, 0).await?;
        Ok(Ok(Done::Purged))
    }

    /// Takes a live row away and keeps its past: what it held, unless its time was over, and that it went.
    pub(super) async fn take_away(&mut self, kept: &rows::Kept, action: Action) -> Result<Stamp, Error> {
        let target = kept.row.content.target();
        if kept.row.stamp.expires_at.is_none_or(|end| end > self.now) {
            history::keep(self.tx, self.tenant, kept).await?;
        }
        rows::remove(self.tx, self.tenant, &kept.row).await?;
        let version = kept.row.stamp.version + 1;
        let change = self.record(&target, action, version).await?;
        let stamp = Stamp { version, change, updated_at: self.now, expires_at: None };
        history::bury(self.tx, self.tenant, &target, action, stamp).await?;
        self.add(target.kind, -1, -kept.row.bytes());
        Ok(stamp)
    }

    /// Writes a change into the feed and gives its number.
    pub(super) async fn record(
        &mut self,
        target: &Target,
        action: Action,
        version: i64,
    ) -> Result<i64, Error> {
        let change = self.next();
        self.tx
            .execute_typed(
                "INSERT INTO mesh_changes (tenant_id, change, action, kind, scope, name, version, at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                &[
                    (&self.tenant.as_str(), Type::TEXT),
                    (&change, Type::INT8),
                    (&action.as_str(), Type::TEXT),
                    (&target.kind.as_str(), Type::TEXT),
                    (&kept(&target.scope), Type::TEXT),
                    (&kept(&target.name), Type::TEXT),
                    (&version, Type::INT8),
                    (&self.now, Type::INT8),
                ],
            )
            .await?;
        Ok(change)
    }

    fn next(&mut self) -> i64 {
        self.counts.last_change += 1;
        self.counts.last_change
    }

    pub(super) fn add(&mut self, kind: Kind, rows: i64, bytes: i64) {
        match kind {
            Kind::Memory => self.counts.memories += rows,
            Kind::Skill => self.counts.skills += rows,
            Kind::Key => self.counts.keys += rows,
        }
        self.counts.bytes += bytes;
    }

    fn too_much(&self, bounds: Bounds, rows: i64, bytes: i64) -> Option<Conflict> {
        let over =
            |most: Option<i64>, kept: i64, more: i64| most.is_some_and(|most| more > 0 && kept + more > most);
        if over(bounds.rows, self.counts.rows(), rows) {
            Some(Conflict::TooManyRows)
        } else if over(bounds.bytes, self.counts.bytes, bytes) {
            Some(Conflict::TooManyBytes)
        } else {
            None
        }
    }

    /// Forgets what is more than may be kept of the past, of a row whose newest version is this.
    async fn prune(&self, target: &Target, newest: i64, bounds: Bounds) -> Result<(), Error> {
        // A tombstone is the newest version of a row that is gone, and carries its count on.
        let up_to = newest - 1 - bounds.history.max(0);
        if up_to > 0 {
            history::forget(self.tx, self.tenant, target, up_to).await?;
        }
        Ok(())
    }
}

struct Put {
    content: Content,
    expiry: Expiry,
    sent_ms: Option<i64>,
    proof: Option<Json>,
    action: Action,
}
