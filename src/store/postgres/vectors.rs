//! Vectors of memories: kept beside the rows, compared here.
//!
//! Only vectors of the tenant, its scope and prefix are read, so no other tenant's rows can push a result
//! out. They are compared by this program and not by the server, which so needs no extension.

use super::question::Question;
use super::text::{kept, put};
use crate::ids::TenantId;
use crate::store::semantic::{IndexState, Near, Nearest, Phase, Sought, Step};
use futures_util::TryStreamExt as _;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

/// How far the tenant's index is; nothing when it was never begun.
pub(super) async fn state(tx: &Transaction<'_>, tenant: &TenantId) -> Result<Option<IndexState>, Error> {
    let found = tx
        .query_typed_opt(
            "SELECT model, phase, scope, name, change FROM mesh_vector_state WHERE tenant_id = $1",
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await?;
    found
        .map(|row| {
            let (scope, name) = (put(row.try_get(2)?), put(row.try_get(3)?));
            Ok(IndexState {
                model: row.try_get(0)?,
                phase: Phase::read(row.try_get(1)?, scope, name, row.try_get(4)?),
            })
        })
        .transpose()
}

/// Does one step of indexing: vectors in, vectors out, and how far it is then.
pub(super) async fn step(tx: &Transaction<'_>, tenant: &TenantId, step: &Step) -> Result<(), Error> {
    let tenant = tenant.as_str();
    if step.begins {
        tx.execute_typed("DELETE FROM mesh_vectors WHERE tenant_id = $1", &[(&tenant, Type::TEXT)]).await?;
    }
    for (scope, name) in &step.gone {
        tx.execute_typed(
            "DELETE FROM mesh_vectors WHERE tenant_id = $1 AND scope = $2 AND name = $3",
            &[(&tenant, Type::TEXT), (&kept(scope), Type::TEXT), (&kept(name), Type::TEXT)],
        )
        .await?;
    }
    for one in &step.vectors {
        tx.execute_typed(
            "INSERT INTO mesh_vectors (tenant_id, scope, name, change, vector) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant_id, scope, name) DO UPDATE SET change = excluded.change, vector = excluded.vector",
            &[
                (&tenant, Type::TEXT),
                (&kept(&one.scope), Type::TEXT),
                (&kept(&one.name), Type::TEXT),
                (&one.change, Type::INT8),
                (&one.vector, Type::BYTEA),
            ],
        )
        .await?;
    }
    let (phase, scope, name, change) = step.state.phase.parts();
    tx.execute_typed(
        "INSERT INTO mesh_vector_state (tenant_id, model, phase, scope, name, change) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id) DO UPDATE SET model = excluded.model, phase = excluded.phase,
           scope = excluded.scope, name = excluded.name, change = excluded.change",
        &[
            (&tenant, Type::TEXT),
            (&step.state.model, Type::TEXT),
            (&phase, Type::TEXT),
            (&kept(scope), Type::TEXT),
            (&kept(name), Type::TEXT),
            (&change, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}

/// The live memories whose vectors are nearest, nearest first.
pub(super) async fn nearest(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    sought: &Sought,
    now: i64,
) -> Result<Vec<Near>, Error> {
    // Joined with the row as it is now: a vector of what it held before is not compared.
    let text =
        "SELECT v.scope, v.name, v.vector FROM mesh_vectors v JOIN mesh_rows r ON r.tenant_id = v.tenant_id
        AND r.kind = 'memory' AND r.scope = v.scope AND r.name = v.name AND r.change = v.change
        WHERE v.tenant_id = $1";
    let mut question = Question::new(text.to_owned(), tenant);
    question.number(" AND (r.expires_at IS NULL OR r.expires_at > ", now, ")");
    question.text(
        " AND EXISTS (SELECT 1 FROM mesh_vector_state s WHERE s.tenant_id = $1 AND s.model = ",
        &sought.model,
        ")",
    );
    if let Some(scope) = &sought.scope {
        question.text(" AND v.scope = ", scope, "");
    }
    if let Some(prefix) = &sought.prefix {
        question.starts("v.name", prefix);
    }
    let probe = sought.vector.probe();
    let mut best = Nearest::new(sought.limit);
    let rows = question.stream(tx).await?;
    futures_util::pin_mut!(rows);
    while let Some(row) = rows.try_next().await? {
        let Some(distance) = probe.distance(row.try_get(2)?) else { continue };
        if best.takes(distance) {
            best.push(Near { scope: put(row.try_get(0)?), key: put(row.try_get(1)?), distance });
        }
    }
    Ok(best.in_order())
}
