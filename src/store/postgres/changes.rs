//! Stretches of the feed, read off the log of changes.

use super::question::Question;
use super::rows;
use super::text::put;
use crate::ids::TenantId;
use crate::store::model::{Action, Change, Interest, MOST_STRETCH_BYTES, Stretch, Target};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row as Columns, Transaction};

/// The entries after a change that are of interest, with what their rows held: asked for at once, and at most
/// [`MOST_STRETCH_BYTES`] and one row of it.
pub(super) async fn stretch(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    interest: &Interest,
    after: i64,
    limit: u32,
    now: i64,
) -> Result<Stretch, Error> {
    let counts = tx
        .query_typed_opt(
            "SELECT last_change, swept_change FROM mesh_tenants WHERE tenant_id = $1",
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await?;
    let (last, start) = match counts {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0_i64, 0_i64),
    };
    let found = question(tenant, interest, after, limit, now).ask(tx).await?;
    let changes = found.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    // How many there were before their bytes were counted.
    let there: i64 = found.first().map_or(Ok(0), |columns| columns.try_get(7))?;
    let full = there == i64::from(limit) || found.len().try_into().is_ok_and(|found: i64| found < there);
    let seen = match changes.last() {
        Some(change) if full => change.change,
        Some(_) | None => last,
    };
    Ok(Stretch { changes, seen, start, last })
}

/// Each entry with the version that it made: the row as it is, or what is kept of its past.
const WITH_CONTENT: &str = "), held AS (
  SELECT f.*, COALESCE(r.value, h.value) AS value, COALESCE(r.path, h.path) AS path,
    COALESCE(r.node_id, h.node_id) AS node_id,
    CASE WHEN r.change IS NULL THEN h.expires_at ELSE r.expires_at END AS expires_at,
    r.change IS NOT NULL OR h.version IS NOT NULL AS is_there
  FROM found f
  LEFT JOIN mesh_rows r ON f.action IN ('put', 'restore') AND r.tenant_id = $1 AND r.change = f.change
  LEFT JOIN mesh_history h ON f.action IN ('put', 'restore') AND r.change IS NULL AND h.tenant_id = $1
    AND h.kind = f.kind AND h.scope = f.scope AND h.name = f.name AND h.version = f.version
    AND h.action IN ('put', 'restore')
), sized AS (
  SELECT held.*, count(*) OVER () AS there, sum(COALESCE(octet_length(value), 0) + COALESCE(octet_length(path), 0))
    OVER (ORDER BY change ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM held
)
SELECT change, action, kind, scope, name, version, at, there, value, path, node_id, is_there";

fn question(tenant: &TenantId, interest: &Interest, after: i64, limit: u32, now: i64) -> Question {
    let text = "WITH found AS (
      SELECT change, action, kind, scope, name, version, at FROM mesh_changes WHERE tenant_id = $1";
    let mut question = Question::new(text.to_owned(), tenant);
    question.number(" AND change > ", after, "");
    // That everything was erased is everybody's business, whatever they asked for.
    if interest != &Interest::default() {
        question.push(" AND (action = 'erase' OR (TRUE");
        if let Some(kind) = interest.kind {
            question.text(" AND kind = ", kind.as_str(), "");
        }
        if let Some(scope) = &interest.scope {
            question.text(" AND scope = ", scope, "");
        }
        if let Some(prefix) = &interest.prefix {
            question.starts("name", prefix);
        }
        question.push("))");
    }
    question.number(" ORDER BY change LIMIT ", i64::from(limit), "");
    question.push(WITH_CONTENT);
    question.number(" AND (expires_at IS NULL OR expires_at > ", now, ") FROM sized");
    question.number(" WHERE COALESCE(before, 0) < ", MOST_STRETCH_BYTES, " ORDER BY change");
    question
}

fn entry(columns: &Columns) -> Result<Change, Error> {
    let target = Target {
        kind: rows::kind(columns.try_get(2)?),
        scope: put(columns.try_get(3)?),
        name: put(columns.try_get(4)?),
    };
    let content = if columns.try_get(11)? {
        let node: Option<String> = columns.try_get(10)?;
        let (scope, name) = (target.scope.clone(), target.name.clone());
        let node = put(node.unwrap_or_default());
        Some(rows::content(target.kind, scope, name, columns.try_get(8)?, columns.try_get(9)?, node))
    } else {
        None
    };
    Ok(Change {
        change: columns.try_get(0)?,
        action: Action::parse(columns.try_get(1)?).unwrap_or(Action::Put),
        target,
        version: columns.try_get(5)?,
        at: columns.try_get(6)?,
        content,
    })
}
