//! Vectors of memories, kept in the same file and compared one after another.
//!
//! A tenant's vectors lie together, and within it a scope's: what is looked at is what the tenant, the scope
//! and the prefix leave, so no other tenant's rows can push a result out.

use crate::ids::TenantId;
use crate::store::model::past_prefix;
use crate::store::semantic::{IndexState, Near, Nearest, Phase, Sought, Step};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

/// Made whenever a file is opened: files of before there were vectors have none, and nothing else changes.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS mesh_vectors (
  tenant_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  change INTEGER NOT NULL,
  vector BLOB NOT NULL,
  PRIMARY KEY (tenant_id, scope, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mesh_vector_state (
  tenant_id TEXT NOT NULL PRIMARY KEY,
  model TEXT NOT NULL,
  phase TEXT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  change INTEGER NOT NULL
) WITHOUT ROWID;
";

/// How far the tenant's index is; nothing when it was never begun.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn state(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<Option<IndexState>> {
    conn.prepare_cached(
        "SELECT model, phase, scope, name, change FROM mesh_vector_state WHERE tenant_id = ?1",
    )?
    .query_row(params![tenant.as_str()], |row| {
        let phase: String = row.get(1)?;
        Ok(IndexState {
            model: row.get(0)?,
            phase: Phase::read(&phase, row.get(2)?, row.get(3)?, row.get(4)?),
        })
    })
    .optional()
}

/// Does one step of indexing: vectors in, vectors out, and how far it is then.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn step(conn: &Connection, tenant: &TenantId, step: &Step) -> rusqlite::Result<()> {
    let tenant = tenant.as_str();
    if step.begins {
        conn.execute("DELETE FROM mesh_vectors WHERE tenant_id = ?1", params![tenant])?;
    }
    for (scope, name) in &step.gone {
        conn.prepare_cached("DELETE FROM mesh_vectors WHERE tenant_id = ?1 AND scope = ?2 AND name = ?3")?
            .execute(params![tenant, scope, name])?;
    }
    for one in &step.vectors {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO mesh_vectors (tenant_id, scope, name, change, vector) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![tenant, one.scope, one.name, one.change, one.vector])?;
    }
    let (phase, scope, name, change) = step.state.phase.parts();
    conn.prepare_cached(
        "INSERT OR REPLACE INTO mesh_vector_state (tenant_id, model, phase, scope, name, change)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![tenant, step.state.model, phase, scope, name, change])?;
    Ok(())
}

/// Takes all of a tenant's vectors away.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn remove_all(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<()> {
    for table in ["mesh_vectors", "mesh_vector_state"] {
        conn.execute(&format!("DELETE FROM {table} WHERE tenant_id = ?1"), params![tenant.as_str()])?;
    }
    Ok(())
}

/// The live memories whose vectors are nearest, nearest first.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn nearest(
    conn: &Connection,
    tenant: &TenantId,
    sought: &Sought,
    now: i64,
) -> rusqlite::Result<Vec<Near>> {
    // Until the walk with this model has begun, what is there is another model's.
    if state(conn, tenant)?.is_none_or(|state| state.model != sought.model) {
        return Ok(Vec::new());
    }
    let mut text = "SELECT scope, name, change, vector FROM mesh_vectors WHERE tenant_id = ?".to_owned();
    let mut values: Vec<Value> = vec![tenant.as_str().to_owned().into()];
    if let Some(scope) = &sought.scope {
        text.push_str(" AND scope = ?");
        values.push(scope.clone().into());
    }
    if let Some(prefix) = &sought.prefix {
        text.push_str(" AND name >= ?");
        values.push(prefix.clone().into());
        if let Some(end) = past_prefix(prefix) {
            text.push_str(" AND name < ?");
            values.push(end.into());
        }
    }
    let mut live = conn.prepare_cached(
        "SELECT 1 FROM mesh_rows WHERE tenant_id = ?1 AND kind = 'memory' AND scope = ?2 AND name = ?3
           AND change = ?4 AND (expires_at IS NULL OR expires_at > ?5)",
    )?;
    let probe = sought.vector.probe();
    let mut best = Nearest::new(sought.limit);
    let mut statement = conn.prepare_cached(&text)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let Some(distance) = probe.distance(row.get_ref(3)?.as_blob()?) else { continue };
        if !best.takes(distance) {
            continue;
        }
        let (scope, key): (String, String) = (row.get(0)?, row.get(1)?);
        // Asked of those alone that would be among the nearest: a vector of what a row held before, or of
        // one that is gone, is not compared.
        if live.exists(params![tenant.as_str(), scope, key, row.get::<_, i64>(2)?, now])? {
            best.push(Near { scope, key, distance });
        }
    }
    Ok(best.in_order())
}
