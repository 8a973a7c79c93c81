//! Versions of the past: kept when a row is written over or taken away, read back, pruned.

use super::rows::{self, Kept};
use super::text::{kept, put};
use crate::ids::TenantId;
use crate::store::model::{Action, Content, Outlived, Stamp, Target, Version};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row as Columns, Transaction};

/// Keeps what a row held before it is written over or taken away.
pub(super) async fn keep(tx: &Transaction<'_>, tenant: &TenantId, before: &Kept) -> Result<(), Error> {
    let (value, path) = rows::texts(&before.row.content);
    let node = kept(before.row.content.node()).into_owned();
    let proof = before.row.proof.as_ref().map(|proof| proof.as_str().to_owned());
    let texts = Texts { value, path, node: Some(node), proof, sent_ms: before.row.sent_ms };
    insert(tx, tenant, &before.row.content.target(), before.action, before.row.stamp, texts).await
}

/// Keeps the fact that the row went.
pub(super) async fn bury(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    target: &Target,
    action: Action,
    stamp: Stamp,
) -> Result<(), Error> {
    insert(tx, tenant, target, action, stamp, Texts::default()).await
}

#[derive(Default)]
struct Texts {
    value: Option<String>,
    path: Option<String>,
    node: Option<String>,
    proof: Option<String>,
    sent_ms: Option<i64>,
}

async fn insert(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    target: &Target,
    action: Action,
    stamp: Stamp,
    texts: Texts,
) -> Result<(), Error> {
    tx.execute_typed(
        "INSERT INTO mesh_history (tenant_id, kind, scope, name, version, change, action, value, path, node_id,
           updated_at, expires_at, sent_ms, proof)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        &[
            (&tenant.as_str(), Type::TEXT),
            (&target.kind.as_str(), Type::TEXT),
            (&kept(&target.scope), Type::TEXT),
            (&kept(&target.name), Type::TEXT),
            (&stamp.version, Type::INT8),
            (&stamp.change, Type::INT8),
            (&action.as_str(), Type::TEXT),
            (&texts.value, Type::TEXT),
            (&texts.path, Type::TEXT),
            (&texts.node, Type::TEXT),
            (&stamp.updated_at, Type::INT8),
            (&stamp.expires_at, Type::INT8),
            (&texts.sent_ms, Type::INT8),
            (&texts.proof, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// The last version of a row that is not there, and when it went; nothing when there never was one.
pub(super) async fn last(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    target: &Target,
) -> Result<Option<(i64, i64)>, Error> {
    let found = tx
        .query_typed_opt(
            "SELECT version, updated_at FROM mesh_history
             WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4 ORDER BY version DESC LIMIT 1",
            &[
                (&tenant.as_str(), Type::TEXT),
                (&target.kind.as_str(), Type::TEXT),
                (&kept(&target.scope), Type::TEXT),
                (&kept(&target.name), Type::TEXT),
            ],
        )
        .await?;
    found.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// Forgets a version and those before; says how many.
pub(super) async fn forget_from_before(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    outlived: &Outlived,
) -> Result<u64, Error> {
    let Outlived { target, version, change } = outlived;
    tx.execute_typed(
        "DELETE FROM mesh_history
         WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4 AND version <= $5 AND change <= $6",
        &[
            (&tenant.as_str(), Type::TEXT),
            (&target.kind.as_str(), Type::TEXT),
            (&kept(&target.scope), Type::TEXT),
            (&kept(&target.name), Type::TEXT),
            (version, Type::INT8),
            (change, Type::INT8),
        ],
    )
    .await
}

/// Forgets versions up to this one; says how many.
pub(super) async fn forget(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    target: &Target,
    up_to: i64,
) -> Result<u64, Error> {
    tx.execute_typed(
        "DELETE FROM mesh_history
         WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4 AND version <= $5",
        &[
            (&tenant.as_str(), Type::TEXT),
            (&target.kind.as_str(), Type::TEXT),
            (&kept(&target.scope), Type::TEXT),
            (&kept(&target.name), Type::TEXT),
            (&up_to, Type::INT8),
        ],
    )
    .await
}

const VERSION_COLUMNS: &str = "action, version, change, updated_at, expires_at, value, path, node_id";

/// What a row held at a version of the past; nothing for tombstones and what has expired.
pub(super) async fn content(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    target: &Target,
    version: i64,
    now: i64,
) -> Result<Option<Content>, Error> {
    let text = format!(
        "SELECT {VERSION_COLUMNS} FROM mesh_history
         WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4 AND version = $5"
    );
    let found = tx
        .query_typed_opt(
            &text,
            &[
                (&tenant.as_str(), Type::TEXT),
                (&target.kind.as_str(), Type::TEXT),
                (&kept(&target.scope), Type::TEXT),
                (&kept(&target.name), Type::TEXT),
                (&version, Type::INT8),
            ],
        )
        .await?;
    Ok(found.map(|columns| read(&columns, target, now)).transpose()?.and_then(|version| version.content))
}

/// Versions, newest first, the live one included.
pub(super) async fn versions(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    target: &Target,
    before: Option<i64>,
    limit: u32,
    now: i64,
) -> Result<Vec<Version>, Error> {
    let before = before.unwrap_or(i64::MAX);
    let mut found = Vec::new();
    let live = rows::find(tx, tenant, target).await?.filter(|live| {
        let stamp = live.row.stamp;
        limit > 0 && stamp.version < before && stamp.expires_at.is_none_or(|end| end > now)
    });
    if let Some(live) = live {
        let (action, stamp) = (live.action, live.row.stamp);
        found.push(Version { action, stamp, content: Some(live.row.content) });
    }
    let left = i64::from(limit) - i64::from(!found.is_empty());
    let text = format!(
        "SELECT {VERSION_COLUMNS} FROM mesh_history
         WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4 AND version < $5
         ORDER BY version DESC LIMIT $6"
    );
    let past = tx
        .query_typed(
            &text,
            &[
                (&tenant.as_str(), Type::TEXT),
                (&target.kind.as_str(), Type::TEXT),
                (&kept(&target.scope), Type::TEXT),
                (&kept(&target.name), Type::TEXT),
                (&before, Type::INT8),
                (&left.max(0), Type::INT8),
            ],
        )
        .await?;
    for columns in &past {
        found.push(read(columns, target, now)?);
    }
    Ok(found)
}

fn read(columns: &Columns, target: &Target, now: i64) -> Result<Version, Error> {
    let action = Action::parse(columns.try_get(0)?).unwrap_or(Action::Put);
    let stamp = Stamp {
        version: columns.try_get(1)?,
        change: columns.try_get(2)?,
        updated_at: columns.try_get(3)?,
        expires_at: columns.try_get(4)?,
    };
    let readable = match action {
        Action::Put | Action::Restore => stamp.expires_at.is_none_or(|end| end > now),
        Action::Delete | Action::Expire | Action::Purge | Action::Erase => false,
    };
    let content = if readable {
        let node: Option<String> = columns.try_get(7)?;
        let node = put(node.unwrap_or_default());
        let (scope, name) = (target.scope.clone(), target.name.clone());
        Some(rows::content(target.kind, scope, name, columns.try_get(5)?, columns.try_get(6)?, node))
    } else {
        None
    };
    Ok(Version { action, stamp, content })
}
