//! What is counted for each tenant: its changes, its rows, its bytes; and the log of changes.
//!
//! The one place that hands out a change's number.

use crate::ids::TenantId;
use crate::store::model::{Action, Kind, Target, Usage};
use rusqlite::{Connection, OptionalExtension, params};

/// Writes a change into the log and gives its number.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn record(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
    action: Action,
    version: i64,
    now: i64,
) -> rusqlite::Result<i64> {
    // Asked first instead of by RETURNING, with which SQLite takes a savepoint for the statement, and FTS5 writes its
    // index out at each.
    let last: Option<i64> = conn
        .prepare_cached("SELECT last_change FROM mesh_tenants WHERE tenant_id = ?1")?
        .query_row(params![tenant.as_str()], |row| row.get(0))
        .optional()?;
    let change = last.unwrap_or_default() + 1;
    conn.prepare_cached(
        "INSERT INTO mesh_tenants (tenant_id, last_change) VALUES (?1, ?2)
         ON CONFLICT (tenant_id) DO UPDATE SET last_change = excluded.last_change",
    )?
    .execute(params![tenant.as_str(), change])?;
    conn.prepare_cached(
        "INSERT INTO mesh_changes (tenant_id, change, action, kind, scope, name, version, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        tenant.as_str(),
        change,
        action.as_str(),
        target.kind.as_str(),
        target.scope,
        target.name,
        version,
        now
    ])?;
    Ok(change)
}

/// Adds to what the tenant's rows and bytes come to; takes away with negative numbers.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn add(
    conn: &Connection,
    tenant: &TenantId,
    kind: Kind,
    rows: i64,
    bytes: i64,
) -> rusqlite::Result<()> {
    let (memories, skills, keys) = match kind {
        Kind::Memory => (rows, 0, 0),
        Kind::Skill => (0, rows, 0),
        Kind::Key => (0, 0, rows),
    };
    conn.prepare_cached(
        "INSERT INTO mesh_tenants (tenant_id, memories, skills, bytes, keys) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (tenant_id) DO UPDATE SET memories = memories + excluded.memories,
           skills = skills + excluded.skills, bytes = bytes + excluded.bytes, keys = keys + excluded.keys",
    )?
    .execute(params![tenant.as_str(), memories, skills, bytes, keys])?;
    Ok(())
}

/// What the tenant keeps.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn usage(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<Usage> {
    // One look at the database, so that the numbers belong together.
    let tx = conn.unchecked_transaction()?;
    let counted = counts(&tx, tenant)?;
    let versions = tx
        .prepare_cached("SELECT count(*) FROM mesh_history WHERE tenant_id = ?1")?
        .query_row(params![tenant.as_str()], |row| row.get(0))?;
    let of = |kind: Kind| {
        tx.prepare_cached(
            "SELECT coalesce(sum(octet_length(name) + octet_length(node_id) + coalesce(octet_length(value), 0)
               + coalesce(octet_length(path), 0) + coalesce(octet_length(proof), 0)), 0)
             FROM mesh_rows WHERE tenant_id = ?1 AND kind = ?2",
        )?
        .query_row(params![tenant.as_str(), kind.as_str()], |row| row.get(0))
    };
    Ok(Usage { versions, skill_bytes: of(Kind::Skill)?, key_bytes: of(Kind::Key)?, ..counted })
}

/// The same without what is counted and not kept count of: the versions of the past, the bytes of one kind.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn counts(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<Usage> {
    let counted = conn
        .prepare_cached(
            "SELECT memories, skills, keys, bytes, last_change, swept_change FROM mesh_tenants WHERE tenant_id = ?1",
        )?
        .query_row(params![tenant.as_str()], |row| {
            Ok(Usage {
                memories: row.get(0)?,
                skills: row.get(1)?,
                keys: row.get(2)?,
                bytes: row.get(3)?,
                skill_bytes: 0,
                key_bytes: 0,
                versions: 0,
                last_change: row.get(4)?,
                feed_start: row.get(5)?,
            })
        })
        .optional()?;
    Ok(counted.unwrap_or_default())
}

/// Every tenant that ever wrote, for upkeep.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn tenants(conn: &Connection) -> rusqlite::Result<Vec<TenantId>> {
    let names: Vec<String> = conn
        .prepare_cached("SELECT tenant_id FROM mesh_tenants ORDER BY tenant_id")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    // Whatever another program wrote into the column, only names of tenants are tenants.
    Ok(names.iter().filter_map(|name| TenantId::parse(name).ok()).collect())
}
