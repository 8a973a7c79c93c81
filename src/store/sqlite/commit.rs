//! One write: what must hold before it, what it does, what is kept of what it did away with.
//!
//! Knows nothing of transactions: the caller has one, and undoes it when a write is refused.

use super::{history, ledger, rows};
use crate::ids::TenantId;
use crate::store::json::Json;
use crate::store::model::{
    Act, Action, Bounds, Condition, Conflict, Content, Done, Expiry, Row, Stamp, Target, Write, bytes,
};
use rusqlite::{Connection, params};

/// Does one write.
///
/// # Errors
/// What `SQLite` says; a write that is refused is no error, but part of it may be done all the same.
pub(super) fn apply(
    conn: &Connection,
    tenant: &TenantId,
    write: Write,
    bounds: Bounds,
    now: i64,
) -> rusqlite::Result<Result<Done, Conflict>> {
    let target = write.act.target();
    let mut site = Site { conn, tenant, bounds, now, there: rows::kept(conn, tenant, &target)? };
    site.expire(&target)?;
    match site.holds(&target, &write.condition)? {
        Holds::Yes => {}
        Holds::No => return Ok(Err(Conflict::ConditionFailed)),
        Holds::Older => return Ok(Ok(Done::Passed)),
    }
    match write.act {
        Act::Put { content, expiry, sent_ms, proof } => {
            site.put(content, expiry, sent_ms, proof, Action::Put)
        }
        Act::Delete(target) => site.delete(&target),
        Act::Restore(target, version) => site.restore(&target, version),
        Act::Purge(target) => site.purge(&target),
    }
}

enum Holds {
    Yes,
    No,
    Older,
}

/// One write's surroundings.
struct Site<'a> {
    conn: &'a Connection,
    tenant: &'a TenantId,
    bounds: Bounds,
    now: i64,
    /// The live row.
    there: Option<Row>,
}

impl Site<'_> {
    /// A row whose time is over is buried before anything else looks at it.
    fn expire(&mut self, target: &Target) -> rusqlite::Result<()> {
        if let Some(row) = self.there.take_if(|row| row.stamp.expires_at.is_some_and(|end| end <= self.now)) {
            take_away(self.conn, self.tenant, &row, Action::Expire, self.now)?;
            self.prune(target, row.stamp.version + 1)?;
        }
        Ok(())
    }

    fn holds(&self, target: &Target, condition: &Condition) -> rusqlite::Result<Holds> {
        let holds = match condition {
            Condition::Always => true,
            Condition::Present => self.there.is_some(),
            Condition::Absent => self.there.is_none(),
            Condition::Unchanged(known) => {
                self.there.as_ref().is_some_and(|row| known.contains(&row.stamp.change))
            }
            Condition::Newer { sent_ms, node } => return self.newer(target, *sent_ms, node),
        };
        Ok(if holds { Holds::Yes } else { Holds::No })
    }

    fn newer(&self, target: &Target, sent_ms: i64, node: &str) -> rusqlite::Result<Holds> {
        let newer = if let Some(row) = &self.there {
            (sent_ms, node) > (row.written_ms(), row.content.node())
        } else {
            let went = history::last(self.conn, self.tenant, target)?;
            went.is_none_or(|(_, went)| sent_ms > went.saturating_mul(1000))
        };
        Ok(if newer { Holds::Yes } else { Holds::Older })
    }

    fn put(
        &mut self,
        content: Content,
        expiry: Expiry,
        sent_ms: Option<i64>,
        proof: Option<Json>,
        action: Action,
    ) -> rusqlite::Result<Result<Done, Conflict>> {
        let target = content.target();
        let new = bytes(&content, proof.as_ref());
        let (rows, bytes) = match &self.there {
            Some(row) => (0, new - row.bytes()),
            None => (1, new),
        };
        if let Some(conflict) = self.too_much(rows, bytes)? {
            return Ok(Err(conflict));
        }
        let version = match &self.there {
            Some(row) => {
                let before = history::action_of(self.conn, self.tenant, row.stamp.change)?;
                history::keep(self.conn, self.tenant, row, before)?;
                row.stamp.version + 1
            }
            None => history::last(self.conn, self.tenant, &target)?.map_or(1, |(version, _)| version + 1),
        };
        let change = ledger::record(self.conn, self.tenant, &target, action, version, self.now)?;
        let stamp = Stamp { version, change, updated_at: self.now, expires_at: expiry.at(self.now) };
        let row = Row { content, stamp, sent_ms, proof };
        rows::write(self.conn, self.tenant, &row)?;
        ledger::add(self.conn, self.tenant, target.kind, rows, bytes)?;
        self.prune(&target, version)?;
        Ok(Ok(Done::Written(Box::new(row))))
    }

    fn too_much(&self, rows: i64, bytes: i64) -> rusqlite::Result<Option<Conflict>> {
        if self.bounds.rows.is_none() && self.bounds.bytes.is_none() {
            return Ok(None);
        }
        let kept = ledger::counts(self.conn, self.tenant)?;
        let over =
            |most: Option<i64>, kept: i64, more: i64| most.is_some_and(|most| more > 0 && kept + more > most);
        Ok(if over(self.bounds.rows, kept.rows(), rows) {
            Some(Conflict::TooManyRows)
        } else if over(self.bounds.bytes, kept.bytes, bytes) {
            Some(Conflict::TooManyBytes)
        } else {
            None
        })
    }

    fn delete(&mut self, target: &Target) -> rusqlite::Result<Result<Done, Conflict>> {
        let Some(row) = self.there.take() else { return Ok(Err(Conflict::Missing)) };
        let stamp = take_away(self.conn, self.tenant, &row, Action::Delete, self.now)?;
        self.prune(target, stamp.version)?;
        Ok(Ok(Done::Deleted(stamp)))
    }

    fn restore(&mut self, target: &Target, version: i64) -> rusqlite::Result<Result<Done, Conflict>> {
        let content = match &self.there {
            Some(row) if row.stamp.version == version => Some(row.content.clone()),
            Some(_) | None => history::content(self.conn, self.tenant, target, version, self.now)?,
        };
        match content {
            Some(content) => self.put(content, Expiry::Never, None, None, Action::Restore),
            None => Ok(Err(Conflict::Missing)),
        }
    }

    fn purge(&mut self, target: &Target) -> rusqlite::Result<Result<Done, Conflict>> {
        let live = self.there.take();
        let past = history::forget(self.conn, self.tenant, target, i64::MAX)?;
        if live.is_none() && past == 0 {
            return Ok(Err(Conflict::Missing));
        }
        if let Some(row) = live {
            rows::remove(self.conn, self.tenant, target)?;
            ledger::add(self.conn, self.tenant, target.kind, -1, -row.bytes())?;
        }
        self.conn
            .prepare_cached(
                "DELETE FROM mesh_changes WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4",
            )?
            .execute(params![self.tenant.as_str(), target.kind.as_str(), target.scope, target.name])?;
        ledger::record(self.conn, self.tenant, target, Action::Purge, 0, self.now)?;
        Ok(Ok(Done::Purged))
    }

    /// Forgets what is more than may be kept of the past, of a row whose newest version is this.
    fn prune(&self, target: &Target, newest: i64) -> rusqlite::Result<()> {
        // A tombstone is the newest version of a row that is gone, and carries its count on.
        let up_to = newest - 1 - self.bounds.history.max(0);
        if up_to > 0 {
            history::forget(self.conn, self.tenant, target, up_to)?;
        }
        Ok(())
    }
}

/// Takes a live row away and keeps its past: what it held, unless its time was over, and that it went.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn take_away(
    conn: &Connection,
    tenant: &TenantId,
    row: &Row,
    action: Action,
    now: i64,
) -> rusqlite::Result<Stamp> {
    let target = row.content.target();
    if row.stamp.expires_at.is_none_or(|end| end > now) {
        let before = history::action_of(conn, tenant, row.stamp.change)?;
        history::keep(conn, tenant, row, before)?;
    }
    let version = row.stamp.version + 1;
    rows::remove(conn, tenant, &target)?;
    let change = ledger::record(conn, tenant, &target, action, version, now)?;
    let stamp = Stamp { version, change, updated_at: now, expires_at: None };
    history::bury(conn, tenant, &target, action, stamp)?;
    ledger::add(conn, tenant, target.kind, -1, -row.bytes())?;
    Ok(stamp)
}
