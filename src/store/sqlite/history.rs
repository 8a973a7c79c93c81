//! Versions of the past: kept when a row is written over or taken away, read back, pruned.

use super::rows;
use crate::ids::TenantId;
use crate::store::json::Json;
use crate::store::model::{Action, Content, Outlived, Row, Stamp, Target, Version};
use rusqlite::{Connection, OptionalExtension, params};

/// Keeps what a row held before it is written over or taken away.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn keep(conn: &Connection, tenant: &TenantId, row: &Row, action: Action) -> rusqlite::Result<()> {
    let (value, path) = match &row.content {
        Content::Memory(memory) => (Some(memory.value.as_str()), None),
        Content::Skill(skill) => (skill.content.as_deref(), skill.path.as_deref()),
        Content::Keys(keys) => (Some(keys.keys.as_str()), None),
    };
    let (target, proof) = (row.content.target(), row.proof.as_ref().map(Json::as_str));
    let texts = Texts { value, path, node: Some(row.content.node()), proof };
    insert(conn, tenant, &target, action, row.stamp, texts, row.sent_ms)
}

/// Keeps the fact that the row went.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn bury(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
    action: Action,
    stamp: Stamp,
) -> rusqlite::Result<()> {
    insert(conn, tenant, target, action, stamp, Texts::default(), None)
}

#[derive(Clone, Copy, Default)]
struct Texts<'a> {
    value: Option<&'a str>,
    path: Option<&'a str>,
    node: Option<&'a str>,
    proof: Option<&'a str>,
}

fn insert(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
    action: Action,
    stamp: Stamp,
    texts: Texts<'_>,
    sent_ms: Option<i64>,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO mesh_history (tenant_id, kind, scope, name, version, change, action, value, path, node_id,
           updated_at, expires_at, sent_ms, proof)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(params![
        tenant.as_str(),
        target.kind.as_str(),
        target.scope,
        target.name,
        stamp.version,
        stamp.change,
        action.as_str(),
        texts.value,
        texts.path,
        texts.node,
        stamp.updated_at,
        stamp.expires_at,
        sent_ms,
        texts.proof,
    ])?;
    Ok(())
}

/// The last version of a row that is not there, and when it went; nothing when there never was one.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn last(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
) -> rusqlite::Result<Option<(i64, i64)>> {
    conn.prepare_cached(LAST)?
        .query_row(params![tenant.as_str(), target.kind.as_str(), target.scope, target.name], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
}

/// Reads [`last`].
pub(super) const LAST: &str = "SELECT version, updated_at FROM mesh_history
         WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4 ORDER BY version DESC LIMIT 1";

/// Forgets versions up to this one.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn forget(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
    up_to: i64,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM mesh_history
         WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4 AND version <= ?5",
    )?
    .execute(params![tenant.as_str(), target.kind.as_str(), target.scope, target.name, up_to])
}

/// Forgets a version and those before; says how many.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn forget_from_before(
    conn: &Connection,
    tenant: &TenantId,
    outlived: &Outlived,
) -> rusqlite::Result<u32> {
    let Outlived { target, version, change } = outlived;
    conn.prepare_cached(
        "DELETE FROM mesh_history
         WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4 AND version <= ?5 AND change <= ?6",
    )?
    .execute(params![tenant.as_str(), target.kind.as_str(), target.scope, target.name, version, change])
    .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// What a row held at a version of the past; nothing for tombstones and what has expired.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn content(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
    version: i64,
    now: i64,
) -> rusqlite::Result<Option<Content>> {
    let found = conn
        .prepare_cached(
            "SELECT action, version, change, updated_at, expires_at, value, path, node_id FROM mesh_history
             WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4 AND version = ?5",
        )?
        .query_row(
            params![tenant.as_str(), target.kind.as_str(), target.scope, target.name, version],
            |row| read(row, target, now),
        )
        .optional()?;
    Ok(found.and_then(|version| version.content))
}

/// Versions, newest first, the live one included.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn versions(
    conn: &Connection,
    tenant: &TenantId,
    target: &Target,
    before: Option<i64>,
    limit: u32,
    now: i64,
) -> rusqlite::Result<Vec<Version>> {
    let before = before.unwrap_or(i64::MAX);
    let mut found = Vec::new();
    if let Some(row) =
        rows::get(conn, tenant, target, now)?.filter(|row| limit > 0 && row.stamp.version < before)
    {
        let action = action_of(conn, tenant, row.stamp.change)?;
        found.push(Version { action, stamp: row.stamp, content: Some(row.content) });
    }
    let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(found.len());
    let mut statement = conn.prepare_cached(
        "SELECT action, version, change, updated_at, expires_at, value, path, node_id FROM mesh_history
         WHERE tenant_id = ?1 AND kind = ?2 AND scope = ?3 AND name = ?4 AND version < ?5
         ORDER BY version DESC LIMIT ?6",
    )?;
    let past = statement.query_map(
        params![
            tenant.as_str(),
            target.kind.as_str(),
            target.scope,
            target.name,
            before,
            i64::try_from(left).unwrap_or(i64::MAX)
        ],
        |row| read(row, target, now),
    )?;
    for version in past {
        found.push(version?);
    }
    Ok(found)
}

/// How the live version came to be. The feed forgets in time; then it was written, which is all that is known.
pub(super) fn action_of(conn: &Connection, tenant: &TenantId, change: i64) -> rusqlite::Result<Action> {
    let action: Option<String> = conn
        .prepare_cached("SELECT action FROM mesh_changes WHERE tenant_id = ?1 AND change = ?2")?
        .query_row(params![tenant.as_str(), change], |row| row.get(0))
        .optional()?;
    Ok(action.as_deref().and_then(Action::parse).unwrap_or(Action::Put))
}

fn read(row: &rusqlite::Row<'_>, target: &Target, now: i64) -> rusqlite::Result<Version> {
    let action = Action::parse(row.get_ref(0)?.as_str()?).unwrap_or(Action::Put);
    let stamp =
        Stamp { version: row.get(1)?, change: row.get(2)?, updated_at: row.get(3)?, expires_at: row.get(4)? };
    let readable = match action {
        Action::Put | Action::Restore => stamp.expires_at.is_none_or(|end| end > now),
        Action::Delete | Action::Expire | Action::Purge | Action::Erase => false,
    };
    let content = if readable {
        let node: Option<String> = row.get(7)?;
        let (scope, name) = (target.scope.clone(), target.name.clone());
        Some(rows::content(target.kind, scope, name, row.get(5)?, row.get(6)?, node.unwrap_or_default()))
    } else {
        None
    };
    Ok(Version { action, stamp, content })
}
