//! Upkeep of one tenant's rows: what has expired, what the feed and the past need not keep, and all of it.

use super::commit::Batch;
use super::question::Question;
use super::text::put;
use super::{history, rows};
use crate::ids::TenantId;
use crate::store::model::{Action, Kind, Outlived, Swept, Target, Upkeep, Usage};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

/// What there is to do, found without the tenant's lock.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Something has expired.
    expired: bool,
    /// Entries of the feed up to this go.
    changes: Option<i64>,
    /// These go.
    outlived: Vec<Outlived>,
}

impl Due {
    pub(super) fn is_nothing(&self) -> bool {
        !self.expired && self.changes.is_none() && self.outlived.is_empty()
    }
}

/// Looks for what there is to do.
pub(super) async fn due(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    upkeep: &Upkeep,
    now: i64,
) -> Result<Due, Error> {
    let expired = tx
        .query_typed_one(
            "SELECT EXISTS (SELECT 1 FROM mesh_rows WHERE tenant_id = $1 AND expires_at <= $2)
               OR EXISTS (SELECT 1 FROM mesh_history WHERE tenant_id = $1 AND expires_at <= $2)",
            &[(&tenant.as_str(), Type::TEXT), (&now, Type::INT8)],
        )
        .await?
        .try_get(0)?;
    let changes = old_changes(tx, tenant, upkeep).await?;
    let mut outlived = outlived(tx, tenant, upkeep).await?;
    if outlived.is_empty() {
        outlived = too_many_gone(tx, tenant, upkeep).await?;
    }
    Ok(Due { expired, changes, outlived })
}

/// The last of the feed's entries that may go: those from before a time and those that are too many, oldest
/// first, as far as they stand without one in between that stays.
async fn old_changes(tx: &Transaction<'_>, tenant: &TenantId, upkeep: &Upkeep) -> Result<Option<i64>, Error> {
    let most = upkeep.feed_entries.unwrap_or(i64::MAX);
    tx.query_typed_one(
        "SELECT max(c.change) FROM
           (SELECT change, at FROM mesh_changes WHERE tenant_id = $1 ORDER BY change LIMIT $4) c
         WHERE c.at < $2
           OR c.change <= (SELECT coalesce(max(last_change), 0) FROM mesh_tenants WHERE tenant_id = $1) - $3",
        &[
            (&tenant.as_str(), Type::TEXT),
            (&upkeep.feed_from, Type::INT8),
            (&most, Type::INT8),
            (&i64::from(upkeep.most), Type::INT8),
        ],
    )
    .await?
    .try_get(0)
}

/// Versions that ended before a time, by when the next one was written; and tombstones from before a time,
/// which nothing came after.
async fn outlived(tx: &Transaction<'_>, tenant: &TenantId, upkeep: &Upkeep) -> Result<Vec<Outlived>, Error> {
    let (Some(begin), history, tombstones) = (
        upkeep.history_from.max(upkeep.tombstones_from),
        upkeep.history_from.unwrap_or(i64::MIN),
        upkeep.tombstones_from.unwrap_or(i64::MIN),
    ) else {
        return Ok(Vec::new());
    };
    let found = tx
        .query_typed(
            "SELECT o.kind, o.scope, o.name, o.version, o.change FROM (
               SELECT h.kind, h.scope, h.name, h.version, h.change, h.updated_at, coalesce(
                 (SELECT n.updated_at FROM mesh_history n WHERE n.tenant_id = $1 AND n.kind = h.kind
                    AND n.scope = h.scope AND n.name = h.name AND n.version = h.version + 1),
                 (SELECT r.updated_at FROM mesh_rows r WHERE r.tenant_id = $1 AND r.kind = h.kind
                    AND r.scope = h.scope AND r.name = h.name)) AS ended
               FROM mesh_history h WHERE h.tenant_id = $1 AND h.updated_at < $2) o
             WHERE o.ended < $3 OR (o.ended IS NULL AND o.updated_at < $4) LIMIT $5",
            &[
                (&tenant.as_str(), Type::TEXT),
                (&begin, Type::INT8),
                (&history, Type::INT8),
                (&tombstones, Type::INT8),
                (&i64::from(upkeep.most), Type::INT8),
            ],
        )
        .await?;
    found.iter().map(read_outlived).collect()
}

/// Tombstones beyond the bound of their number: the newest stay.
async fn too_many_gone(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    upkeep: &Upkeep,
) -> Result<Vec<Outlived>, Error> {
    let Some(most) = upkeep.tombstones else { return Ok(Vec::new()) };
    let found = tx
        .query_typed(
            "SELECT h.kind, h.scope, h.name, h.version, h.change FROM mesh_history h
             WHERE h.tenant_id = $1 AND h.action IN ('delete', 'expire')
               AND NOT EXISTS (SELECT 1 FROM mesh_rows r WHERE r.tenant_id = $1 AND r.kind = h.kind
                 AND r.scope = h.scope AND r.name = h.name)
               AND NOT EXISTS (SELECT 1 FROM mesh_history n WHERE n.tenant_id = $1 AND n.kind = h.kind
                 AND n.scope = h.scope AND n.name = h.name AND n.version = h.version + 1)
             ORDER BY h.change DESC LIMIT $2 OFFSET $3",
            &[(&tenant.as_str(), Type::TEXT), (&i64::from(upkeep.most), Type::INT8), (&most, Type::INT8)],
        )
        .await?;
    found.iter().map(read_outlived).collect()
}

fn read_outlived(columns: &tokio_postgres::Row) -> Result<Outlived, Error> {
    let target = Target {
        kind: rows::kind(columns.try_get(0)?),
        scope: put(columns.try_get(1)?),
        name: put(columns.try_get(2)?),
    };
    Ok(Outlived { target, version: columns.try_get(3)?, change: columns.try_get(4)? })
}

/// Does what is due, at most so much of each as one transaction may hold.
pub(super) async fn sweep(batch: &mut Batch<'_>, due: &Due, upkeep: &Upkeep) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if due.expired {
        swept.rows = expire(batch, upkeep).await?;
        swept.versions = empty(batch, upkeep).await?;
    }
    for outlived in &due.outlived {
        swept.versions += count(history::forget_from_before(batch.tx, batch.tenant, outlived).await?);
    }
    if let Some(up_to) = due.changes {
        swept.changes = forget_changes(batch, up_to).await?;
    }
    Ok(swept)
}

/// Takes away rows whose time is over. Asked anew with the lock held: another store on the same database may
/// have swept since.
async fn expire(batch: &mut Batch<'_>, upkeep: &Upkeep) -> Result<u32, Error> {
    let text = "SELECT kind, scope, name FROM mesh_rows WHERE tenant_id = $1";
    let mut question = Question::new(text.to_owned(), batch.tenant);
    question.number(" AND expires_at <= ", batch.now, " ORDER BY expires_at, change");
    question.number(" LIMIT ", i64::from(upkeep.most), "");
    let expired = question.ask(batch.tx).await?;
    for columns in &expired {
        let target = Target {
            kind: rows::kind(columns.try_get(0)?),
            scope: put(columns.try_get(1)?),
            name: put(columns.try_get(2)?),
        };
        if let Some(kept) = rows::find(batch.tx, batch.tenant, &target).await? {
            let stamp = batch.take_away(&kept, Action::Expire).await?;
            let up_to = stamp.version - 1 - upkeep.history.max(0);
            if up_to > 0 {
                history::forget(batch.tx, batch.tenant, &target, up_to).await?;
            }
        }
    }
    Ok(u32::try_from(expired.len()).unwrap_or(u32::MAX))
}

/// What a past version held is gone with its time; that there was one stays, for the count of versions.
async fn empty(batch: &Batch<'_>, upkeep: &Upkeep) -> Result<u32, Error> {
    batch
        .tx
        .execute_typed(
            "UPDATE mesh_history SET value = NULL, path = NULL, proof = NULL, expires_at = NULL, action = 'expire'
             WHERE tenant_id = $1 AND (kind, scope, name, version) IN (
               SELECT kind, scope, name, version FROM mesh_history
               WHERE tenant_id = $1 AND expires_at <= $2 LIMIT $3)",
            &[
                (&batch.tenant.as_str(), Type::TEXT),
                (&batch.now, Type::INT8),
                (&i64::from(upkeep.most), Type::INT8),
            ],
        )
        .await
        .map(count)
}

async fn forget_changes(batch: &Batch<'_>, up_to: i64) -> Result<u32, Error> {
    let tenant = batch.tenant.as_str();
    let places: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] =
        &[(&tenant, Type::TEXT), (&up_to, Type::INT8)];
    let gone = batch
        .tx
        .execute_typed("DELETE FROM mesh_changes WHERE tenant_id = $1 AND change <= $2", places)
        .await?;
    batch
        .tx
        .execute_typed(
            "UPDATE mesh_tenants SET swept_change = greatest(swept_change, $2) WHERE tenant_id = $1",
            places,
        )
        .await?;
    Ok(count(gone))
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
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
    batch.counts = Usage {
        last_change: batch.counts.last_change,
        feed_start: batch.counts.feed_start,
        ..Usage::default()
    };
    let nothing = Target { kind: Kind::Memory, scope: String::new(), name: String::new() };
    batch.record(&nothing, Action::Erase, 0).await?;
    Ok(had)
}

/// What the tenant keeps; one statement, so that the numbers belong together.
pub(super) async fn usage(tx: &Transaction<'_>, tenant: &TenantId) -> Result<Usage, Error> {
    // As long as it was put: two of its characters may be kept for one ([`text`](super::text)).
    let length = |column: &str| {
        format!(
            "coalesce(octet_length(replace(replace({column}, E'\\x01\\x01', '.'), E'\\x01\\x02', '.')), 0)"
        )
    };
    let [name, node, value, path] = ["name", "node_id", "value", "path"].map(length);
    let [skills, keys] = [Kind::Skill, Kind::Key].map(|kind| {
        format!(
            "(SELECT coalesce(sum({name} + {node} + {value} + {path} + coalesce(octet_length(proof), 0)), 0)::bigint
              FROM mesh_rows WHERE tenant_id = $1 AND kind = '{}')",
            kind.as_str()
        )
    });
    let counted = tx
        .query_typed_opt(
            &format!(
                "SELECT memories, skills, keys, bytes, last_change, swept_change,
                   (SELECT count(*) FROM mesh_history WHERE tenant_id = $1), {skills}, {keys}
                 FROM mesh_tenants WHERE tenant_id = $1"
            ),
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await?;
    let Some(row) = counted else { return Ok(Usage::default()) };
    Ok(Usage {
        memories: row.try_get(0)?,
        skills: row.try_get(1)?,
        keys: row.try_get(2)?,
        bytes: row.try_get(3)?,
        last_change: row.try_get(4)?,
        feed_start: row.try_get(5)?,
        versions: row.try_get(6)?,
        skill_bytes: row.try_get(7)?,
        key_bytes: row.try_get(8)?,
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
