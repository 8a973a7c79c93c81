//! Stretches of the feed, read off the log of changes.

use super::question::Question;
use super::rows;
use super::{history, text::put};
use crate::ids::TenantId;
use crate::store::model::{Action, Change, Content, Interest, MOST_STRETCH_BYTES, Stretch, Target};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row as Columns, Transaction};

/// The entries after a change that are of interest.
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
    let found = question(tenant, interest, after, limit).ask(tx).await?;
    let mut changes = Vec::with_capacity(found.len());
    let (mut full, mut bytes) = (found.len() == limit as usize, 0);
    for columns in &found {
        if bytes >= MOST_STRETCH_BYTES {
            full = true;
            break;
        }
        let mut change = entry(columns)?;
        change.content = match change.action {
            Action::Put | Action::Restore => content(tx, tenant, &change, now).await?,
            Action::Delete | Action::Expire | Action::Purge | Action::Erase => None,
        };
        bytes += change.content.as_ref().map_or(0, Content::bytes);
        changes.push(change);
    }
    let seen = match changes.last() {
        Some(change) if full => change.change,
        Some(_) | None => last,
    };
    Ok(Stretch { changes, seen, start, last })
}

fn question(tenant: &TenantId, interest: &Interest, after: i64, limit: u32) -> Question {
    let text = "SELECT change, action, kind, scope, name, version, at FROM mesh_changes WHERE tenant_id = $1";
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
    question
}

fn entry(columns: &Columns) -> Result<Change, Error> {
    Ok(Change {
        change: columns.try_get(0)?,
        action: Action::parse(columns.try_get(1)?).unwrap_or(Action::Put),
        target: Target {
            kind: rows::kind(columns.try_get(2)?),
            scope: put(columns.try_get(3)?),
            name: put(columns.try_get(4)?),
        },
        version: columns.try_get(5)?,
        at: columns.try_get(6)?,
        content: None,
    })
}

async fn content(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    change: &Change,
    now: i64,
) -> Result<Option<Content>, Error> {
    match rows::find(tx, tenant, &change.target).await? {
        Some(kept) if kept.row.stamp.change == change.change => {
            let live = kept.row.stamp.expires_at.is_none_or(|end| end > now);
            Ok(live.then_some(kept.row.content))
        }
        Some(_) | None => history::content(tx, tenant, &change.target, change.version, now).await,
    }
}
