//! Dossiers out of the file and into it.

use super::{history, ledger, rows};
use crate::ids::TenantId;
use crate::store::model::Target;
use crate::store::transfer::{Dossier, KeptVersion, Log, LogEntry};
use rusqlite::{Connection, params};

/// The dossiers of the first `most` rows, gone ones too, after this one; in the order of kind, scope and name.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn after(
    conn: &Connection,
    tenant: &TenantId,
    after: Option<&Target>,
    most: u32,
) -> rusqlite::Result<Vec<Dossier>> {
    let (kind, scope, name) =
        after.map_or(("", "", ""), |at| (at.kind.as_str(), at.scope.as_str(), at.name.as_str()));
    let targets: Vec<(String, String, String)> = conn
        .prepare_cached(
            "SELECT kind, scope, name FROM (
               SELECT kind, scope, name FROM mesh_rows WHERE tenant_id = ?1 AND (kind, scope, name) > (?2, ?3, ?4)
               UNION
               SELECT kind, scope, name FROM mesh_history WHERE tenant_id = ?1 AND (kind, scope, name) > (?2, ?3, ?4)
             ) ORDER BY kind, scope, name LIMIT ?5",
        )?
        .query_map(params![tenant.as_str(), kind, scope, name, most], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    targets.into_iter().map(|(kind, scope, name)| one(conn, tenant, kind, scope, name)).collect()
}

/// The dossier of one row; without versions when there never was one.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn one(
    conn: &Connection,
    tenant: &TenantId,
    kind: String,
    scope: String,
    name: String,
) -> rusqlite::Result<Dossier> {
    let versions = conn
        .prepare_cached(
            "SELECT 0, version, change, action, updated_at, expires_at, sent_ms, node_id, value, path, proof
             FROM mesh_history WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4
             UNION ALL
             SELECT 1, version, change, 'put', updated_at, expires_at, sent_ms, node_id, value, path, proof
             FROM mesh_rows WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4
             ORDER BY 2",
        )?
        .query_map(params![tenant.as_str(), kind, scope, name], |row| {
            Ok(KeptVersion {
                live: row.get(0)?,
                version: row.get(1)?,
                change: row.get(2)?,
                action: row.get(3)?,
                updated_at: row.get(4)?,
                expires_at: row.get(5)?,
                sent_ms: row.get(6)?,
                node: row.get(7)?,
                value: row.get(8)?,
                path: row.get(9)?,
                proof: row.get(10)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Dossier { kind, scope, name, versions })
}

/// Puts dossiers in the place of whatever is kept of their rows.
///
/// # Errors
/// What `SQLite` says, also when a number of a change is another row's.
pub(super) fn put(conn: &Connection, tenant: &TenantId, dossiers: &[Dossier]) -> rusqlite::Result<()> {
    for dossier in dossiers {
        let target = dossier.target().ok_or(rusqlite::Error::InvalidQuery)?;
        if let Some(old) = rows::kept(conn, tenant, &target)? {
            rows::remove(conn, tenant, &target)?;
            ledger::add(conn, tenant, target.kind, -1, -old.bytes())?;
        }
        history::forget(conn, tenant, &target, i64::MAX)?;
        for past in dossier.versions.iter().filter(|version| !version.live) {
            conn.prepare_cached(
                "INSERT INTO mesh_history (tenant_id, kind, scope, name, version, change, action, value, path,
                   node_id, updated_at, expires_at, sent_ms, proof)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                tenant.as_str(),
                dossier.kind,
                dossier.scope,
                dossier.name,
                past.version,
                past.change,
                past.action,
                past.value,
                past.path,
                past.node,
                past.updated_at,
                past.expires_at,
                past.sent_ms,
                past.proof,
            ])?;
        }
        if let Some((row, _)) = dossier.row() {
            rows::write(conn, tenant, &row)?;
            ledger::add(conn, tenant, target.kind, 1, row.bytes())?;
        }
        conn.prepare_cached(
            "INSERT INTO mesh_tenants (tenant_id, last_change) VALUES (?1, ?2)
             ON CONFLICT (tenant_id) DO UPDATE SET last_change = max(last_change, excluded.last_change)",
        )?
        .execute(params![tenant.as_str(), dossier.last_change()])?;
    }
    Ok(())
}

/// The log after a change.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn log(conn: &Connection, tenant: &TenantId, after: i64, most: u32) -> rusqlite::Result<Log> {
    let entries = conn
        .prepare_cached(
            "SELECT change, action, kind, scope, name, version, at FROM mesh_changes
             WHERE tenant_id = ?1 AND change > ?2 ORDER BY change LIMIT ?3",
        )?
        .query_map(params![tenant.as_str(), after, most], |row| {
            Ok(LogEntry {
                change: row.get(0)?,
                action: row.get(1)?,
                kind: row.get(2)?,
                scope: row.get(3)?,
                name: row.get(4)?,
                version: row.get(5)?,
                at: row.get(6)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let (swept, last) = conn
        .prepare_cached(
            "SELECT coalesce(max(swept_change), 0), coalesce(max(last_change), 0) FROM mesh_tenants WHERE tenant_id = ?1",
        )?
        .query_row(params![tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Log { entries, swept, last })
}

/// Puts entries into the log, those that it has already over themselves.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn put_log(conn: &Connection, tenant: &TenantId, log: &Log) -> rusqlite::Result<()> {
    for entry in &log.entries {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO mesh_changes (tenant_id, change, action, kind, scope, name, version, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            tenant.as_str(),
            entry.change,
            entry.action,
            entry.kind,
            entry.scope,
            entry.name,
            entry.version,
            entry.at
        ])?;
    }
    conn.prepare_cached(
        "INSERT INTO mesh_tenants (tenant_id, last_change, swept_change) VALUES (?1, ?2, ?3)
         ON CONFLICT (tenant_id) DO UPDATE SET last_change = max(last_change, excluded.last_change),
           swept_change = max(swept_change, excluded.swept_change)",
    )?
    .execute(params![tenant.as_str(), log.last, log.swept])?;
    Ok(())
}
