//! Pages of live rows, in three orders, each read off an index.

use super::question::Question;
use super::rows::{COLUMNS, from_columns};
use crate::ids::TenantId;
use crate::store::model::{Filter, Page, Place, Row};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

/// A page from a place on.
pub(super) async fn page(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    filter: &Filter,
    from: Place,
    limit: u32,
    now: i64,
) -> Result<Page, Error> {
    // A walk that begins fixes where it ends; what is written meanwhile comes after that end.
    let snapshot = match &from {
        Place::Newest => last_change(tx, tenant).await?,
        Place::After { snapshot, .. } => *snapshot,
        Place::Late { change } => *change,
        Place::Name { .. } => 0,
    };
    let found = question(tenant, filter, &from, snapshot, limit, now).ask(tx).await?;
    let mut rows: Vec<Row> = found.iter().map(from_columns).collect::<Result<_, _>>()?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = match (&from, rows.last()) {
        (Place::Newest | Place::After { .. }, Some(row)) if more => {
            Some(Place::After { updated_at: row.stamp.updated_at, change: row.stamp.change, snapshot })
        }
        // The end of the walk: what was written since it began is still to come.
        (Place::Newest | Place::After { .. }, _) => {
            (last_change(tx, tenant).await? > snapshot).then_some(Place::Late { change: snapshot })
        }
        (Place::Late { .. }, Some(row)) if more => Some(Place::Late { change: row.stamp.change }),
        (Place::Name { .. }, Some(row)) if more => {
            let target = row.content.target();
            Some(Place::Name { scope: target.scope, name: target.name })
        }
        (Place::Late { .. } | Place::Name { .. }, _) => None,
    };
    Ok(Page { rows, next })
}

async fn last_change(tx: &Transaction<'_>, tenant: &TenantId) -> Result<i64, Error> {
    let last = tx
        .query_typed_opt(
            "SELECT last_change FROM mesh_tenants WHERE tenant_id = $1",
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await?;
    last.map_or(Ok(0), |row| row.try_get(0))
}

fn question(
    tenant: &TenantId,
    filter: &Filter,
    from: &Place,
    snapshot: i64,
    limit: u32,
    now: i64,
) -> Question {
    let text = format!("SELECT {COLUMNS} FROM mesh_rows r WHERE r.tenant_id = $1");
    let mut question = Question::new(text, tenant);
    question.text(" AND r.kind = ", filter.kind.as_str(), "");
    if let Some(scope) = &filter.scope {
        question.text(" AND r.scope = ", scope, "");
    }
    if let Some(prefix) = &filter.prefix {
        question.starts("r.name", prefix);
    }
    if let Some(node) = &filter.node {
        question.text(" AND r.node_id = ", node, "");
    }
    if let Some(since) = filter.updated_since {
        question.number(" AND r.updated_at >= ", since, "");
    }
    question.number(" AND (r.expires_at IS NULL OR r.expires_at > ", now, ")");
    match from {
        // As a sum, so that no index is taken for it: nearly all rows are from before the walk.
        Place::Newest => question.number(" AND r.change + 0 <= ", snapshot, ""),
        Place::After { updated_at, change, .. } => {
            question.number(" AND r.change + 0 <= ", snapshot, "");
            question.number(" AND (r.updated_at, r.change) < (", *updated_at, ", ");
            question.number("", *change, ")");
        }
        Place::Late { change } => question.number(" AND r.change > ", *change, ""),
        Place::Name { scope, name } if scope.is_empty() && name.is_empty() => {}
        Place::Name { scope, name } => {
            question.text(" AND (r.scope, r.name) > (", scope, ", ");
            question.text("", name, ")");
        }
    }
    question.push(match from {
        Place::Newest | Place::After { .. } => " ORDER BY r.updated_at DESC, r.change DESC",
        Place::Late { .. } => " ORDER BY r.change",
        Place::Name { .. } => " ORDER BY r.scope, r.name",
    });
    // One more than asked for tells whether there is a next page.
    question.number(" LIMIT ", i64::from(limit) + 1, "");
    question
}
