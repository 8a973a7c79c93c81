//! Upkeep of one tenant's rows: what has expired, what the feed and the past need not keep, and all of it.

use super::commit::take_away;
use super::rows::{COLUMNS, from_row, kind};
use super::{history, ledger, search, vectors};
use crate::ids::TenantId;
use crate::store::model::{Action, Kind, Outlived, Row, Swept, Target, Upkeep, Usage};
use rusqlite::{Connection, params};

/// What there is to do, found without writing.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Something has expired.
    expired: bool,
    /// Entries of the feed up to this go.
    changes: Option<i64>,
    /// These go.
    outlived: Vec<Outlived>,
}

impl Due {
    pub(super) fn is_nothing(&self) -> bool {
        !self.expired && self.changes.is_none() && self.outlived.is_empty()
    }
}

/// Looks for what there is to do.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn due(conn: &Connection, tenant: &TenantId, upkeep: &Upkeep, now: i64) -> rusqlite::Result<Due> {
    let expired = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM mesh_rows WHERE tenant_id = ?1 AND expires_at <= ?2)
               OR EXISTS (SELECT 1 FROM mesh_history WHERE tenant_id = ?1 AND expires_at <= ?2)",
        )?
        .query_row(params![tenant.as_str(), now], |row| row.get(0))?;
    let changes = old_changes(conn, tenant, upkeep)?;
    let mut outlived = outlived(conn, tenant, upkeep)?;
    if outlived.is_empty() {
        outlived = too_many_gone(conn, tenant, upkeep)?;
    }
    Ok(Due { expired, changes, outlived })
}

/// The last of the feed's entries that may go: those from before a time and those that are too many, oldest
/// first, as far as they stand without one in between that stays.
fn old_changes(conn: &Connection, tenant: &TenantId, upkeep: &Upkeep) -> rusqlite::Result<Option<i64>> {
    let too_many = match upkeep.feed_entries {
        Some(most) => ledger::counts(conn, tenant)?.last_change.saturating_sub(most),
        None => 0,
    };
    conn.prepare_cached(
        "SELECT max(change) FROM
           (SELECT change, at FROM mesh_changes WHERE tenant_id = ?1 ORDER BY change LIMIT ?4)
         WHERE at < ?2 OR change <= ?3",
    )?
    .query_row(params![tenant.as_str(), upkeep.feed_from, too_many, upkeep.most], |row| row.get(0))
}

/// Versions that ended before a time, by when the next one was written; and tombstones from before a time,
/// which nothing came after.
fn outlived(conn: &Connection, tenant: &TenantId, upkeep: &Upkeep) -> rusqlite::Result<Vec<Outlived>> {
    let (Some(begin), history, tombstones) = (
        upkeep.history_from.max(upkeep.tombstones_from),
        upkeep.history_from.unwrap_or(i64::MIN),
        upkeep.tombstones_from.unwrap_or(i64::MIN),
    ) else {
        return Ok(Vec::new());
    };
    let mut statement = conn.prepare_cached(
        "SELECT kind, scope, name, version, change FROM (
           SELECT h.kind, h.scope, h.name, h.version, h.change, h.updated_at, coalesce(
             (SELECT n.updated_at FROM mesh_history n WHERE n.tenant_id = h.tenant_id AND n.kind = h.kind
                AND n.scope = h.scope AND n.name = h.name AND n.version = h.version + 1),
             (SELECT r.updated_at FROM mesh_rows r WHERE r.tenant_id = h.tenant_id AND r.kind = h.kind
                AND r.scope = h.scope AND r.name = h.name)) AS ended
           FROM mesh_history h WHERE h.tenant_id = ?1 AND h.updated_at < ?2)
         WHERE ended < ?3 OR (ended IS NULL AND updated_at < ?4) LIMIT ?5",
    )?;
    let bounds = params![tenant.as_str(), begin, history, tombstones, upkeep.most];
    statement.query_map(bounds, read_outlived)?.collect()
}

/// Tombstones beyond the bound of their number: the newest stay.
fn too_many_gone(conn: &Connection, tenant: &TenantId, upkeep: &Upkeep) -> rusqlite::Result<Vec<Outlived>> {
    let Some(most) = upkeep.tombstones else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(
        "SELECT h.kind, h.scope, h.name, h.version, h.change FROM mesh_history h
         WHERE h.tenant_id = ?1 AND h.action IN ('delete', 'expire')
           AND NOT EXISTS (SELECT 1 FROM mesh_rows r WHERE r.tenant_id = ?1 AND r.kind = h.kind
             AND r.scope = h.scope AND r.name = h.name)
           AND NOT EXISTS (SELECT 1 FROM mesh_history n WHERE n.tenant_id = ?1 AND n.kind = h.kind
             AND n.scope = h.scope AND n.name = h.name AND n.version = h.version + 1)
         ORDER BY h.change DESC LIMIT ?2 OFFSET ?3",
    )?;
    statement.query_map(params![tenant.as_str(), upkeep.most, most], read_outlived)?.collect()
}

fn read_outlived(row: &rusqlite::Row<'_>) -> rusqlite::Result<Outlived> {
    let target = Target { kind: kind(row.get_ref(0)?.as_str()?)?, scope: row.get(1)?, name: row.get(2)? };
    Ok(Outlived { target, version: row.get(3)?, change: row.get(4)? })
}

/// Does what is due, at most so much of each as one transaction may hold.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn sweep(
    conn: &Connection,
    tenant: &TenantId,
    due: &Due,
    upkeep: &Upkeep,
    now: i64,
) -> rusqlite::Result<Swept> {
    let mut swept = Swept::default();
    if due.expired {
        swept.rows = expire(conn, tenant, upkeep, now)?;
        swept.versions = empty(conn, tenant, upkeep, now)?;
    }
    for outlived in &due.outlived {
        swept.versions += history::forget_from_before(conn, tenant, outlived)?;
    }
    if let Some(up_to) = due.changes {
        swept.changes = forget_changes(conn, tenant, up_to)?;
    }
    Ok(swept)
}

/// Takes away rows whose time is over.
fn expire(conn: &Connection, tenant: &TenantId, upkeep: &Upkeep, now: i64) -> rusqlite::Result<u32> {
    let text = format!(
        "SELECT {COLUMNS} FROM mesh_rows WHERE tenant_id = ?1 AND expires_at <= ?2 ORDER BY expires_at, change LIMIT ?3"
    );
    let expired: Vec<Row> = conn
        .prepare_cached(&text)?
        .query_map(params![tenant.as_str(), now, upkeep.most], from_row)?
        .collect::<rusqlite::Result<_>>()?;
    for row in &expired {
        let stamp = take_away(conn, tenant, row, Action::Expire, now)?;
        let up_to = stamp.version - 1 - upkeep.history.max(0);
        if up_to > 0 {
            history::forget(conn, tenant, &row.content.target(), up_to)?;
        }
    }
    Ok(count(expired.len()))
}

/// What a past version held is gone with its time; that there was one stays, for the count of versions.
fn empty(conn: &Connection, tenant: &TenantId, upkeep: &Upkeep, now: i64) -> rusqlite::Result<u32> {
    conn.prepare_cached(
        "UPDATE mesh_history SET value = NULL, path = NULL, proof = NULL, expires_at = NULL, action = 'expire'
         WHERE rowid IN (SELECT rowid FROM mesh_history WHERE tenant_id = ?1 AND expires_at <= ?2 LIMIT ?3)
           AND tenant_id = ?1",
    )?
    .execute(params![tenant.as_str(), now, upkeep.most])
    .map(count)
}

fn forget_changes(conn: &Connection, tenant: &TenantId, up_to: i64) -> rusqlite::Result<u32> {
    let gone = conn
        .prepare_cached("DELETE FROM mesh_changes WHERE tenant_id = ?1 AND change <= ?2")?
        .execute(params![tenant.as_str(), up_to])?;
    conn.prepare_cached("UPDATE mesh_tenants SET swept_change = max(swept_change, ?2) WHERE tenant_id = ?1")?
        .execute(params![tenant.as_str(), up_to])?;
    Ok(count(gone))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Takes everything of the tenant away; says what that was. Its counter goes on, so that no number and no
/// entity tag comes twice.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn erase(conn: &Connection, tenant: &TenantId, now: i64) -> rusqlite::Result<Usage> {
    let versions = conn
        .prepare_cached("SELECT count(*) FROM mesh_history WHERE tenant_id = ?1")?
        .query_row(params![tenant.as_str()], |row| row.get(0))?;
    let had = Usage { versions, ..ledger::counts(conn, tenant)? };
    search::remove_all(conn, tenant)?;
    vectors::remove_all(conn, tenant)?;
    for table in ["mesh_rows", "mesh_history", "mesh_changes"] {
        conn.execute(&format!("DELETE FROM {table} WHERE tenant_id = ?1"), params![tenant.as_str()])?;
    }
    conn.execute(
        "UPDATE mesh_tenants SET memories = 0, skills = 0, keys = 0, bytes = 0 WHERE tenant_id = ?1",
        params![tenant.as_str()],
    )?;
    let nothing = Target { kind: Kind::Memory, scope: String::new(), name: String::new() };
    ledger::record(conn, tenant, &nothing, Action::Erase, 0, now)?;
    Ok(had)
}
