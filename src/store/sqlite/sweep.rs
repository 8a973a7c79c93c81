//! Upkeep of one tenant's rows: what has expired, what the feed need not keep, and all of it.

use super::commit::take_away;
use super::rows::{COLUMNS, from_row};
use super::{ledger, search, vectors};
use crate::ids::TenantId;
use crate::store::model::{Action, Kind, Row, Target, Usage};
use rusqlite::{Connection, params};

/// Whether there is anything to sweep.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn is_due(
    conn: &Connection,
    tenant: &TenantId,
    feed_from: i64,
    now: i64,
) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM mesh_rows WHERE tenant_id = ?1 AND expires_at <= ?2)
           OR EXISTS (SELECT 1 FROM mesh_history WHERE tenant_id = ?1 AND expires_at <= ?2)
           OR EXISTS (SELECT 1 FROM (SELECT at FROM mesh_changes WHERE tenant_id = ?1 ORDER BY change LIMIT 1)
                      WHERE at < ?3)",
    )?
    .query_row(params![tenant.as_str(), now, feed_from], |row| row.get(0))
}

/// Takes away what has expired, live or past, and the feed's oldest entries.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn sweep(
    conn: &Connection,
    tenant: &TenantId,
    feed_from: i64,
    most: u32,
    now: i64,
) -> rusqlite::Result<u32> {
    let text = format!(
        "SELECT {COLUMNS} FROM mesh_rows WHERE tenant_id = ?1 AND expires_at <= ?2 ORDER BY expires_at, change LIMIT ?3"
    );
    let expired: Vec<Row> = conn
        .prepare_cached(&text)?
        .query_map(params![tenant.as_str(), now, most], from_row)?
        .collect::<rusqlite::Result<_>>()?;
    for row in &expired {
        take_away(conn, tenant, row, Action::Expire, now)?;
    }
    // What a past version held is gone with its time; that there was one stays, for the count of versions.
    conn.prepare_cached(
        "UPDATE mesh_history SET value = NULL, path = NULL, proof = NULL, expires_at = NULL, action = 'expire'
         WHERE tenant_id = ?1 AND expires_at <= ?2",
    )?
    .execute(params![tenant.as_str(), now])?;
    forget_changes(conn, tenant, feed_from, most)?;
    Ok(u32::try_from(expired.len()).unwrap_or(u32::MAX))
}

/// Takes away the feed's entries from before a time, oldest first, as far as they stand without a gap.
fn forget_changes(conn: &Connection, tenant: &TenantId, feed_from: i64, most: u32) -> rusqlite::Result<()> {
    let up_to: Option<i64> = conn
        .prepare_cached(
            "SELECT max(change) FROM (SELECT change, at FROM mesh_changes WHERE tenant_id = ?1 ORDER BY change LIMIT ?3)
             WHERE at < ?2",
        )?
        .query_row(params![tenant.as_str(), feed_from, most], |row| row.get(0))?;
    let Some(up_to) = up_to else { return Ok(()) };
    conn.prepare_cached("DELETE FROM mesh_changes WHERE tenant_id = ?1 AND change <= ?2")?
        .execute(params![tenant.as_str(), up_to])?;
    conn.prepare_cached("UPDATE mesh_tenants SET swept_change = ?2 WHERE tenant_id = ?1")?
        .execute(params![tenant.as_str(), up_to])?;
    Ok(())
}

/// Takes everything of the tenant away; says what that was. Its counter goes on, so that no number and no
/// entity tag comes twice.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn erase(conn: &Connection, tenant: &TenantId, now: i64) -> rusqlite::Result<Usage> {
    let had = ledger::usage(conn, tenant)?;
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
