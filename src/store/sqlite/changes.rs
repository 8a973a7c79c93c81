//! Stretches of the feed, read off the log of changes.

use super::{history, ledger, rows};
use crate::ids::TenantId;
use crate::store::model::{
    Action, Change, Content, Interest, MOST_STRETCH_BYTES, Stretch, Target, past_prefix,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

/// The entries after a change that are of interest.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn stretch(
    conn: &Connection,
    tenant: &TenantId,
    interest: &Interest,
    after: i64,
    limit: u32,
    now: i64,
) -> rusqlite::Result<Stretch> {
    // One look at the database for all that is asked below: what is committed in between is not seen.
    let tx = conn.unchecked_transaction()?;
    let last = ledger::counts(&tx, tenant)?.last_change;
    let start = start(&tx, tenant)?;
    let mut changes = entries(&tx, tenant, interest, after, limit)?;
    let mut full = changes.len() == limit as usize;
    let mut bytes = 0;
    for index in 0..changes.len() {
        if bytes >= MOST_STRETCH_BYTES {
            changes.truncate(index);
            full = true;
            break;
        }
        let change = &mut changes[index];
        change.content = match change.action {
            Action::Put | Action::Restore => content(&tx, tenant, change, now)?,
            Action::Delete | Action::Expire | Action::Purge | Action::Erase => None,
        };
        bytes += change.content.as_ref().map_or(0, Content::bytes);
    }
    let seen = match changes.last() {
        Some(change) if full => change.change,
        Some(_) | None => last,
    };
    Ok(Stretch { changes, seen, start, last })
}

/// The change before which the log was swept.
fn start(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT coalesce(max(swept_change), 0) FROM mesh_tenants WHERE tenant_id = ?1")?
        .query_row(params![tenant.as_str()], |row| row.get(0))
}

fn entries(
    conn: &Connection,
    tenant: &TenantId,
    interest: &Interest,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Change>> {
    let mut text = "SELECT change, action, kind, scope, name, version, at FROM mesh_changes
        WHERE tenant_id = ? AND change > ?"
        .to_owned();
    let mut values: Vec<Value> = vec![tenant.as_str().to_owned().into(), after.into()];
    // That everything was erased is everybody's business, whatever they asked for.
    if interest != &Interest::default() {
        text.push_str(" AND (action = 'erase' OR (TRUE");
        if let Some(kind) = interest.kind {
            text.push_str(" AND kind = ?");
            values.push(kind.as_str().to_owned().into());
        }
        if let Some(scope) = &interest.scope {
            text.push_str(" AND scope = ?");
            values.push(scope.clone().into());
        }
        if let Some(prefix) = &interest.prefix {
            text.push_str(" AND name >= ?");
            values.push(prefix.clone().into());
            if let Some(end) = past_prefix(prefix) {
                text.push_str(" AND name < ?");
                values.push(end.into());
            }
        }
        text.push_str("))");
    }
    text.push_str(" ORDER BY change LIMIT ?");
    values.push(i64::from(limit).into());
    conn.prepare_cached(&text)?
        .query_map(params_from_iter(values), |row| {
            Ok(Change {
                change: row.get(0)?,
                action: Action::parse(row.get_ref(1)?.as_str()?).unwrap_or(Action::Put),
                target: Target {
                    kind: rows::kind(row.get_ref(2)?.as_str()?)?,
                    scope: row.get(3)?,
                    name: row.get(4)?,
                },
                version: row.get(5)?,
                at: row.get(6)?,
                content: None,
            })
        })?
        .collect()
}

fn content(
    conn: &Connection,
    tenant: &TenantId,
    change: &Change,
    now: i64,
) -> rusqlite::Result<Option<Content>> {
    match rows::get(conn, tenant, &change.target, now)? {
        Some(row) if row.stamp.change == change.change => Ok(Some(row.content)),
        Some(_) | None => history::content(conn, tenant, &change.target, change.version, now),
    }
}
