//! Memory in the database: read one, list, write.
//!
//! Every function takes the tenant and every statement filters by it; nothing here can reach a row
//! without one.

use super::json::Json;
use super::model::{MemoryRow, NewMemory};
use super::search;
use crate::ids::TenantId;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The row under this scope and key.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn get(
    conn: &Connection,
    tenant: &TenantId,
    scope: &str,
    key: &str,
) -> rusqlite::Result<Option<MemoryRow>> {
    conn.prepare_cached(
        "SELECT scope, key, value, node_id, updated_at FROM mesh_memory
         WHERE tenant_id = ?1 AND scope = ?2 AND key = ?3",
    )?
    .query_row(params![tenant.as_str(), scope, key], from_row)
    .optional()
}

/// All rows, or those of one scope, newest first.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn list(
    conn: &Connection,
    tenant: &TenantId,
    scope: Option<&str>,
) -> rusqlite::Result<Vec<MemoryRow>> {
    match scope {
        None => conn
            .prepare_cached(
                "SELECT scope, key, value, node_id, updated_at FROM mesh_memory
                 WHERE tenant_id = ?1 ORDER BY updated_at DESC, seq DESC",
            )?
            .query_map(params![tenant.as_str()], from_row)?
            .collect(),
        Some(scope) => conn
            .prepare_cached(
                "SELECT scope, key, value, node_id, updated_at FROM mesh_memory
                 WHERE tenant_id = ?1 AND scope = ?2 ORDER BY updated_at DESC, seq DESC",
            )?
            .query_map(params![tenant.as_str(), scope], from_row)?
            .collect(),
    }
}

/// Writes a row, new or over the one that has its scope and key.
///
/// # Errors
/// What `SQLite` says; part of the work may then be done, so the caller must have a savepoint.
pub(crate) fn put(
    conn: &Connection,
    tenant: &TenantId,
    memory: NewMemory,
    now: i64,
) -> rusqlite::Result<MemoryRow> {
    let row = MemoryRow { memory, updated_at: now };
    let old: Option<i64> = conn
        .prepare_cached("SELECT seq FROM mesh_memory WHERE tenant_id = ?1 AND scope = ?2 AND key = ?3")?
        .query_row(params![tenant.as_str(), row.memory.scope, row.memory.key], |row| row.get(0))
        .optional()?;
    let Some(old) = old else {
        insert(conn, tenant, &row, None)?;
        return Ok(row);
    };
    // The new entry is made before the old one goes, so that its number was never in use.
    let seq = search::add(conn, tenant, &row.memory)?;
    search::remove(conn, old)?;
    conn.prepare_cached(
        "UPDATE mesh_memory SET value = ?4, node_id = ?5, updated_at = ?6, seq = ?7,
           version = version + 1, adopted_id = NULL
         WHERE tenant_id = ?1 AND scope = ?2 AND key = ?3",
    )?
    .execute(params![
        tenant.as_str(),
        row.memory.scope,
        row.memory.key,
        row.memory.value.as_str(),
        row.memory.node_id,
        row.updated_at,
        seq
    ])?;
    Ok(row)
}

/// Writes a row that is known to be new.
///
/// # Errors
/// What `SQLite` says, also when the row is not new.
pub(crate) fn insert(
    conn: &Connection,
    tenant: &TenantId,
    row: &MemoryRow,
    adopted_id: Option<i64>,
) -> rusqlite::Result<()> {
    let seq = search::add(conn, tenant, &row.memory)?;
    conn.prepare_cached(
        "INSERT INTO mesh_memory (tenant_id, scope, key, value, node_id, updated_at, version, seq, adopted_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)",
    )?
    .execute(params![
        tenant.as_str(),
        row.memory.scope,
        row.memory.key,
        row.memory.value.as_str(),
        row.memory.node_id,
        row.updated_at,
        seq,
        adopted_id
    ])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<MemoryRow> {
    let memory = NewMemory {
        scope: row.get(0)?,
        key: row.get(1)?,
        value: Json::trusted(row.get(2)?),
        node_id: row.get(3)?,
    };
    Ok(MemoryRow { memory, updated_at: row.get(4)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{memory, open_memory, tenant};
    use proptest::prelude::{prop, prop_assert_eq, proptest};
    use std::collections::BTreeMap;

    #[test]
    fn two_tenants_with_the_same_scope_and_key_never_meet() {
        let conn = open_memory();
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        put(&conn, &acme, memory("mesh", "plan", "\"dawn\""), 5).unwrap();
        put(&conn, &globex, memory("mesh", "plan", "\"dusk\""), 6).unwrap();
        put(&conn, &acme, memory("mesh", "plan", "\"noon\""), 7).unwrap();
        let read = |who| get(&conn, who, "mesh", "plan").unwrap().unwrap().memory.value;
        assert_eq!(read(&acme).as_str(), "\"noon\"");
        assert_eq!(read(&globex).as_str(), "\"dusk\"");
        assert_eq!(list(&conn, &globex, None).unwrap().len(), 1);
        assert_eq!(list(&conn, &tenant("initech"), None).unwrap(), []);
    }

    #[test]
    fn the_list_is_newest_first_and_the_last_write_leads_within_a_second() {
        let conn = open_memory();
        let acme = tenant("acme");
        for (key, now) in [("a", 5), ("b", 9), ("c", 5), ("a", 5)] {
            put(&conn, &acme, memory("mesh", key, "1"), now).unwrap();
        }
        put(&conn, &acme, memory("node", "d", "1"), 7).unwrap();
        let keys = |scope| {
            list(&conn, &acme, scope).unwrap().into_iter().map(|row| row.memory.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(None), ["b", "d", "a", "c"]);
        assert_eq!(keys(Some("mesh")), ["b", "a", "c"]);
        assert!(keys(Some("elsewhere")).is_empty());
    }

    #[test]
    fn each_write_of_a_row_counts_its_version_up_and_leaves_one_index_entry() {
        let conn = open_memory();
        for _ in 0..3 {
            put(&conn, &tenant("acme"), memory("mesh", "a", "1"), 5).unwrap();
        }
        let version: i64 = conn.query_row("SELECT version FROM mesh_memory", [], |row| row.get(0)).unwrap();
        let entries: i64 =
            conn.query_row("SELECT count(*) FROM mesh_memory_fts", [], |row| row.get(0)).unwrap();
        assert_eq!((version, entries), (3, 1));
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map_for_each_tenant(
            writes in prop::collection::vec(("[ab]", "[mn]", "[xyz]", 0_u8..9), 0..40)
        ) {
            let conn = open_memory();
            let mut maps: BTreeMap<String, BTreeMap<(String, String), String>> = BTreeMap::new();
            for (who, scope, key, value) in writes {
                put(&conn, &tenant(&who), memory(&scope, &key, &value.to_string()), 5).unwrap();
                maps.entry(who).or_default().insert((scope, key), value.to_string());
            }
            for who in ["a", "b"] {
                let rows = list(&conn, &tenant(who), None).unwrap();
                let found: BTreeMap<_, _> = rows
                    .into_iter()
                    .map(|row| ((row.memory.scope, row.memory.key), row.memory.value.as_str().to_owned()))
                    .collect();
                prop_assert_eq!(found, maps.remove(who).unwrap_or_default());
            }
        }
    }
}
