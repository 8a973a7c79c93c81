//! Upkeep of one tenant's rows: what has expired, what the feed need not keep, and all of it.

use super::commit::Batch;
use super::question::Question;
use super::rows;
use super::text::put;
use crate::ids::TenantId;
use crate::store::model::{Action, Kind, Target, Usage};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

/// Whether there is anything to sweep.
pub(super) async fn is_due(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    feed_from: i64,
    now: i64,
) -> Result<bool, Error> {
    let due = tx
        .query_typed_one(
            "SELECT EXISTS (SELECT 1 FROM mesh_rows WHERE tenant_id = $1 AND expires_at <= $2)
               OR EXISTS (SELECT 1 FROM mesh_history WHERE tenant_id = $1 AND expires_at <= $2)
               OR EXISTS (SELECT 1 FROM (SELECT at FROM mesh_changes WHERE tenant_id = $1 ORDER BY change LIMIT 1) c
                          WHERE c.at < $3)",
            &[(&tenant.as_str(), Type::TEXT), (&now, Type::INT8), (&feed_from, Type::INT8)],
        )
        .await?;
    due.try_get(0)
}

/// Takes away what has expired, live or past, and the feed's oldest entries; says how many rows went.
pub(super) async fn sweep(batch: &mut Batch<'_>, feed_from: i64, most: u32) -> Result<u32, Error> {
    let text = "SELECT kind, scope, name FROM mesh_rows WHERE tenant_id = $1";
    let mut question = Question::new(text.to_owned(), batch.tenant);
    question.number(" AND expires_at <= ", batch.now, " ORDER BY expires_at, change");
    question.number(" LIMIT ", i64::from(most), "");
    let expired = question.ask(batch.tx).await?;
    for columns in &expired {
        let target = Target {
            kind: rows::kind(columns.try_get(0)?),
            scope: put(columns.try_get(1)?),
            name: put(columns.try_get(2)?),
        };
        if let Some(kept) = rows::find(batch.tx, batch.tenant, &target).await? {
            batch.take_away(&kept, Action::Expire).await?;
        }
    }
    let tenant = batch.tenant.as_str();
    // What a past version held is gone with its time; that there was one stays, for the count of versions.
    batch
        .tx
        .execute_typed(
            "UPDATE mesh_history SET value = NULL, path = NULL, proof = NULL, expires_at = NULL, action = 'expire'
             WHERE tenant_id = $1 AND expires_at <= $2",
            &[(&tenant, Type::TEXT), (&batch.now, Type::INT8)],
        )
        .await?;
    let oldest = batch
        .tx
        .query_typed_one(
            "SELECT max(change) FROM (SELECT change, at FROM mesh_changes WHERE tenant_id = $1 ORDER BY change LIMIT $3) c
             WHERE at < $2",
            &[(&tenant, Type::TEXT), (&feed_from, Type::INT8), (&i64::from(most), Type::INT8)],
        )
        .await?;
    if let Some(up_to) = oldest.try_get::<_, Option<i64>>(0)? {
        for text in [
            "DELETE FROM mesh_changes WHERE tenant_id = $1 AND change <= $2",
            "UPDATE mesh_tenants SET swept_change = $2 WHERE tenant_id = $1",
        ] {
            batch.tx.execute_typed(text, &[(&tenant, Type::TEXT), (&up_to, Type::INT8)]).await?;
        }
    }
    Ok(u32::try_from(expired.len()).unwrap_or(u32::MAX))
}

/// Takes everything of the tenant away; says what that was. Its counter goes on, so that no number and no
/// entity tag comes twice.
pub(super) async fn erase(batch: &mut Batch<'_>) -> Result<Usage, Error> {
    let versions = versions(batch.tx, batch.tenant).await?;
    let had = Usage { versions, ..batch.counts };
    for table in
        ["mesh_rows", "mesh_history", "mesh_changes", "mesh_words", "mesh_vectors", "mesh_vector_state"]
    {
        batch
            .tx
            .execute_typed(
                &format!("DELETE FROM {table} WHERE tenant_id = $1"),
                &[(&batch.tenant.as_str(), Type::TEXT)],
            )
            .await?;
    }
    batch.counts = Usage { last_change: batch.counts.last_change, ..Usage::default() };
    let nothing = Target { kind: Kind::Memory, scope: String::new(), name: String::new() };
    batch.record(&nothing, Action::Erase, 0).await?;
    Ok(had)
}

/// What the tenant keeps.
pub(super) async fn usage(tx: &Transaction<'_>, tenant: &TenantId) -> Result<Usage, Error> {
    let counted = tx
        .query_typed_opt(
            "SELECT memories, skills, keys, bytes, last_change FROM mesh_tenants WHERE tenant_id = $1",
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await?;
    let Some(row) = counted else { return Ok(Usage::default()) };
    Ok(Usage {
        memories: row.try_get(0)?,
        skills: row.try_get(1)?,
        keys: row.try_get(2)?,
        bytes: row.try_get(3)?,
        versions: versions(tx, tenant).await?,
        last_change: row.try_get(4)?,
    })
}

async fn versions(tx: &Transaction<'_>, tenant: &TenantId) -> Result<i64, Error> {
    let counted = tx
        .query_typed_one(
            "SELECT count(*) FROM mesh_history WHERE tenant_id = $1",
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await?;
    counted.try_get(0)
}
