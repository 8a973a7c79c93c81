//! Single rows: read one, write one, take one away. Whether that may be is decided in `commit`.
//!
//! Every function takes the tenant and every statement filters by it; nothing here can reach a row
//! without one.

use super::search;
use crate::ids::TenantId;
use crate::store::json::Json;
use crate::store::model::{Content, Kind, NewMemory, NewSkill, NodeKeys, Row, Stamp, Target};
use rusqlite::{Connection, OptionalExtension, params};

/// The columns that [`from_row`] reads, in its order.
pub(super) const COLUMNS: &str =
    "kind, scope, name, value, path, node_id, version, change, updated_at, expires_at, sent_ms, proof";

/// The live row, unless its time is over.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn get(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
    now: i64,
) -> rusqlite::Result<Option<Row>> {
    let found = kept(conn, tenant, target)?;
    Ok(found.filter(|row| row.stamp.expires_at.is_none_or(|end| end > now)))
}

/// The row as it stands in the table, also when its time is over.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn kept(conn: &Connection, tenant: &TenantId, target: &Target) -> rusqlite::Result<Option<Row>> {
    conn.prepare_cached(
        "SELECT kind, scope, name, value, path, node_id, version, change, updated_at, expires_at, sent_ms, proof
         FROM mesh_rows WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4",
    )?
    .query_row(params![tenant.as_str(), target.kind.as_str(), target.scope, target.name], from_row)
    .optional()
}

/// Writes a row, new or over the one that is there, and puts its words into the search index.
///
/// # Errors
/// What `SQLite` says; part of the work may then be done, so the caller must have a savepoint.
pub(super) fn write(conn: &Connection, tenant: &TenantId, row: &Row) -> rusqlite::Result<()> {
    insert(conn, tenant, row, None)
}

/// The same for a row of the untenanted store, which had a number there.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn insert(
    conn: &Connection,
    tenant: &TenantId,
    row: &Row,
    adopted_id: Option<i64>,
) -> rusqlite::Result<()> {
    let target = row.content.target();
    let old = place(conn, tenant, &target)?;
    let (value, path, place) = match &row.content {
        Content::Memory(memory) => {
            // The new entry is made before the old one goes, so that its number was not in use a moment ago.
            let place = search::add(conn, tenant, memory)?;
            (Some(memory.value.as_str()), None, Some(place))
        }
        Content::Skill(skill) => (skill.content.as_deref(), skill.path.as_deref(), None),
        Content::Keys(keys) => (Some(keys.keys.as_str()), None, None),
    };
    if let Some(old) = old {
        search::remove(conn, old)?;
    }
    conn.prepare_cached(
        "INSERT INTO mesh_rows (tenant_id, kind, scope, name, value, path, node_id, version, change, updated_at,
           expires_at, sent_ms, proof, place, adopted_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (tenant_id, kind, scope, name) DO UPDATE SET value = excluded.value, path = excluded.path,
           node_id = excluded.node_id, version = excluded.version, change = excluded.change,
           updated_at = excluded.updated_at, expires_at = excluded.expires_at, sent_ms = excluded.sent_ms,
           proof = excluded.proof, place = excluded.place, adopted_id = excluded.adopted_id",
    )?
    .execute(params![
        tenant.as_str(),
        target.kind.as_str(),
        target.scope,
        target.name,
        value,
        path,
        row.content.node(),
        row.stamp.version,
        row.stamp.change,
        row.stamp.updated_at,
        row.stamp.expires_at,
        row.sent_ms,
        row.proof.as_ref().map(Json::as_str),
        place,
        adopted_id,
    ])?;
    Ok(())
}

/// Takes the row out of the table and the search index.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn remove(conn: &Connection, tenant: &TenantId, target: &Target) -> rusqlite::Result<()> {
    let place = place(conn, tenant, target)?;
    conn.prepare_cached(
        "DELETE FROM mesh_rows WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4",
    )?
    .execute(params![tenant.as_str(), target.kind.as_str(), target.scope, target.name])?;
    if let Some(place) = place {
        search::remove(conn, place)?;
    }
    Ok(())
}

/// The row's place in the search index. Asked by itself: RETURNING would make FTS5 write its index out.
fn place(conn: &Connection, tenant: &TenantId, target: &Target) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT place FROM mesh_rows WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4",
    )?
    .query_row(params![tenant.as_str(), target.kind.as_str(), target.scope, target.name], |row| row.get(0))
    .optional()
    .map(Option::flatten)
}

/// Reads [`COLUMNS`].
///
/// # Errors
/// What `SQLite` says.
pub(super) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let kind = kind(row.get_ref(0)?.as_str()?)?;
    let content = content(kind, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
    let stamp =
        Stamp { version: row.get(6)?, change: row.get(7)?, updated_at: row.get(8)?, expires_at: row.get(9)? };
    let proof: Option<String> = row.get(11)?;
    Ok(Row { content, stamp, sent_ms: row.get(10)?, proof: proof.map(Json::trusted) })
}

/// What the columns of a row or of a past version hold.
pub(super) fn content(
    kind: Kind,
    scope: String,
    name: String,
    value: Option<String>,
    path: Option<String>,
    node: String,
) -> Content {
    match kind {
        Kind::Memory => Content::Memory(NewMemory {
            scope,
            key: name,
            value: Json::trusted(value.unwrap_or_else(|| "null".to_owned())),
            node_id: node,
        }),
        Kind::Skill => Content::Skill(NewSkill { name, source_node: node, content: value, path }),
        Kind::Key => Content::Keys(NodeKeys {
            node: name,
            keys: Json::trusted(value.unwrap_or_else(|| "[]".to_owned())),
            updated_by: node,
        }),
    }
}

/// A kind as it stands in a column.
///
/// # Errors
/// That it is none.
pub(super) fn kind(text: &str) -> rusqlite::Result<Kind> {
    Kind::parse(text).ok_or_else(|| rusqlite::Error::InvalidColumnName(text.to_owned()))
}
