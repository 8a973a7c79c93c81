//! Dossiers off the server and onto it.

use super::commit::Batch;
use super::question::Question;
use super::text::{kept, put as as_put};
use super::{history, rows};
use crate::ids::TenantId;
use crate::store::model::{Action, Kind, Target};
use crate::store::transfer::{Dossier, KeptVersion, Log, LogEntry};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row as Columns, Transaction};

/// The dossiers of the first `most` rows, gone ones too, after this one; in the order of kind, scope and name.
pub(super) async fn after(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    after: Option<&Target>,
    most: u32,
) -> Result<Vec<Dossier>, Error> {
    let (kind, scope, name) =
        after.map_or(("", "", ""), |at| (at.kind.as_str(), at.scope.as_str(), at.name.as_str()));
    let found = tx
        .query_typed(
            "SELECT kind, scope, name FROM (
               SELECT kind, scope, name FROM mesh_rows WHERE tenant_id = $1 AND (kind, scope, name) > ($2, $3, $4)
               UNION
               SELECT kind, scope, name FROM mesh_history WHERE tenant_id = $1 AND (kind, scope, name) > ($2, $3, $4)
             ) t ORDER BY kind, scope, name LIMIT $5",
            &[
                (&tenant.as_str(), Type::TEXT),
                (&kind, Type::TEXT),
                (&kept(scope), Type::TEXT),
                (&kept(name), Type::TEXT),
                (&i64::from(most), Type::INT8),
            ],
        )
        .await?;
    let mut dossiers = Vec::with_capacity(found.len());
    for columns in &found {
        let target = Target {
            kind: rows::kind(columns.try_get(0)?),
            scope: as_put(columns.try_get(1)?),
            name: as_put(columns.try_get(2)?),
        };
        dossiers.push(one(tx, tenant, target).await?);
    }
    Ok(dossiers)
}

/// The dossier of one row; without versions when there never was one.
pub(super) async fn one(tx: &Transaction<'_>, tenant: &TenantId, target: Target) -> Result<Dossier, Error> {
    let found = tx
        .query_typed(
            "SELECT FALSE, version, change, action, updated_at, expires_at, sent_ms, node_id, value, path, proof
             FROM mesh_history WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4
             UNION ALL
             SELECT TRUE, version, change, 'put', updated_at, expires_at, sent_ms, node_id, value, path, proof
             FROM mesh_rows WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4
             ORDER BY 2",
            &[
                (&tenant.as_str(), Type::TEXT),
                (&target.kind.as_str(), Type::TEXT),
                (&kept(&target.scope), Type::TEXT),
                (&kept(&target.name), Type::TEXT),
            ],
        )
        .await?;
    let versions = found.iter().map(|columns| version(columns, target.kind)).collect::<Result<_, _>>()?;
    Ok(Dossier { kind: target.kind.as_str().to_owned(), scope: target.scope, name: target.name, versions })
}

fn version(columns: &Columns, kind: Kind) -> Result<KeptVersion, Error> {
    let value: Option<String> = columns.try_get(8)?;
    let path: Option<String> = columns.try_get(9)?;
    let (value, path) = match kind {
        Kind::Memory | Kind::Key => (value, path),
        Kind::Skill => (value.map(as_put), path.map(as_put)),
    };
    let node: Option<String> = columns.try_get(7)?;
    Ok(KeptVersion {
        live: columns.try_get(0)?,
        version: columns.try_get(1)?,
        change: columns.try_get(2)?,
        action: columns.try_get(3)?,
        updated_at: columns.try_get(4)?,
        expires_at: columns.try_get(5)?,
        sent_ms: columns.try_get(6)?,
        node: node.map(as_put),
        value,
        path,
        proof: columns.try_get(10)?,
    })
}

/// Puts dossiers in the place of whatever is kept of their rows.
pub(super) async fn put(batch: &mut Batch<'_>, dossiers: &[Dossier]) -> Result<(), Error> {
    for dossier in dossiers {
        let Some(target) = dossier.target() else { continue };
        if let Some(old) = rows::find(batch.tx, batch.tenant, &target).await? {
            rows::remove(batch.tx, batch.tenant, &old.row).await?;
            batch.add(target.kind, -1, -old.row.bytes());
        }
        history::forget(batch.tx, batch.tenant, &target, i64::MAX).await?;
        for past in dossier.versions.iter().filter(|version| !version.live) {
            put_past(batch, &target, past).await?;
        }
        if let Some((row, sent_ms)) = dossier.row() {
            let (action, entry) = (Action::Put, rows::Entry::Elsewhere);
            let written = rows::Written { row: &row, sent_ms, action, entry, before: None };
            rows::write(batch.tx, batch.tenant, &written).await?;
            batch.add(target.kind, 1, row.bytes());
        }
        batch.counts.last_change = batch.counts.last_change.max(dossier.last_change());
    }
    Ok(())
}

async fn put_past(batch: &Batch<'_>, target: &Target, past: &KeptVersion) -> Result<(), Error> {
    let text = |text: &Option<String>| match target.kind {
        Kind::Memory | Kind::Key => text.clone(),
        Kind::Skill => text.as_deref().map(|text| kept(text).into_owned()),
    };
    let node = past.node.as_deref().map(|node| kept(node).into_owned());
    batch
        .tx
        .execute_typed(
            "INSERT INTO mesh_history (tenant_id, kind, scope, name, version, change, action, value, path, node_id,
               updated_at, expires_at, sent_ms, proof)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            &[
                (&batch.tenant.as_str(), Type::TEXT),
                (&target.kind.as_str(), Type::TEXT),
                (&kept(&target.scope), Type::TEXT),
                (&kept(&target.name), Type::TEXT),
                (&past.version, Type::INT8),
                (&past.change, Type::INT8),
                (&past.action, Type::TEXT),
                (&text(&past.value), Type::TEXT),
                (&text(&past.path), Type::TEXT),
                (&node, Type::TEXT),
                (&past.updated_at, Type::INT8),
                (&past.expires_at, Type::INT8),
                (&past.sent_ms, Type::INT8),
                (&past.proof, Type::TEXT),
            ],
        )
        .await?;
    Ok(())
}

/// The log after a change.
pub(super) async fn log(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    after: i64,
    most: u32,
) -> Result<Log, Error> {
    let text = "SELECT change, action, kind, scope, name, version, at FROM mesh_changes WHERE tenant_id = $1";
    let mut question = Question::new(text.to_owned(), tenant);
    question.number(" AND change > ", after, "");
    question.number(" ORDER BY change LIMIT ", i64::from(most), "");
    let entry = |columns: &Columns| {
        Ok(LogEntry {
            change: columns.try_get(0)?,
            action: columns.try_get(1)?,
            kind: columns.try_get(2)?,
            scope: as_put(columns.try_get(3)?),
            name: as_put(columns.try_get(4)?),
            version: columns.try_get(5)?,
            at: columns.try_get(6)?,
        })
    };
    let entries = question.ask(tx).await?.iter().map(entry).collect::<Result<_, Error>>()?;
    let counts = tx
        .query_typed_opt(
            "SELECT swept_change, last_change FROM mesh_tenants WHERE tenant_id = $1",
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await?;
    let (swept, last) = match counts {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0, 0),
    };
    Ok(Log { entries, swept, last })
}

/// Puts entries into the log, those that it has already over themselves.
pub(super) async fn put_log(batch: &mut Batch<'_>, log: &Log) -> Result<(), Error> {
    for entry in &log.entries {
        batch
            .tx
            .execute_typed(
                "INSERT INTO mesh_changes (tenant_id, change, action, kind, scope, name, version, at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (tenant_id, change) DO UPDATE SET action = excluded.action, kind = excluded.kind,
                   scope = excluded.scope, name = excluded.name, version = excluded.version, at = excluded.at",
                &[
                    (&batch.tenant.as_str(), Type::TEXT),
                    (&entry.change, Type::INT8),
                    (&entry.action, Type::TEXT),
                    (&entry.kind, Type::TEXT),
                    (&kept(&entry.scope), Type::TEXT),
                    (&kept(&entry.name), Type::TEXT),
                    (&entry.version, Type::INT8),
                    (&entry.at, Type::INT8),
                ],
            )
            .await?;
    }
    batch
        .tx
        .execute_typed(
            "UPDATE mesh_tenants SET swept_change = greatest(swept_change, $2) WHERE tenant_id = $1",
            &[(&batch.tenant.as_str(), Type::TEXT), (&log.swept, Type::INT8)],
        )
        .await?;
    batch.counts.last_change = batch.counts.last_change.max(log.last);
    Ok(())
}
