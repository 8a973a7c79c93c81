//! Single rows: read one, write one, take one away, with its words in the search index.
//!
//! Every statement names the tenant, though the server would show no other's rows.

use super::text::{kept, put};
use super::words::words_of;
use crate::ids::TenantId;
use crate::store::json::Json;
use crate::store::model::{Action, Content, Kind, NewMemory, NewSkill, NodeKeys, Row, Stamp, Target};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row as Columns, Transaction};

/// The columns that [`from_columns`] reads, in its order.
pub(super) const COLUMNS: &str = "r.kind, r.scope, r.name, r.value, r.path, r.node_id, r.version, r.change,
  r.updated_at, r.expires_at, r.sent_ms, r.proof";

/// A row as it stands in the table, and what else is kept of its last write.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) row: Row,
    /// How its live version came to be, as far as the feed still knows.
    pub(super) action: Action,
}

/// The row as it stands in the table, also when its time is over.
pub(super) async fn find(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    target: &Target,
) -> Result<Option<Kept>, Error> {
    let text = format!(
        "SELECT {COLUMNS}, c.action FROM mesh_rows r
         LEFT JOIN mesh_changes c ON c.tenant_id = r.tenant_id AND c.change = r.change
         WHERE r.tenant_id = $1 AND r.kind = $2 AND r.scope = $3 AND r.name = $4"
    );
    let found = tx
        .query_typed_opt(
            &text,
            &[
                (&tenant.as_str(), Type::TEXT),
                (&target.kind.as_str(), Type::TEXT),
                (&kept(&target.scope), Type::TEXT),
                (&kept(&target.name), Type::TEXT),
            ],
        )
        .await?;
    found.map(|columns| kept_from(&columns)).transpose()
}

fn kept_from(columns: &Columns) -> Result<Kept, Error> {
    let action: Option<&str> = columns.try_get(12)?;
    Ok(Kept { row: from_columns(columns)?, action: action.and_then(Action::parse).unwrap_or(Action::Put) })
}

/// What a live row needs to be written.
pub(super) struct Written<'a> {
    pub(super) row: &'a Row,
    pub(super) sent_ms: Option<i64>,
    pub(super) action: Action,
    pub(super) entry: Entry,
    /// The row that was there.
    pub(super) before: Option<&'a Row>,
}

/// Whether the feed gets an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It does: the row is written.
    Made,
    /// The row comes from elsewhere, and so does its entry.
    Elsewhere,
}

/// Writes a row, new or over the one that is there, its entry of the feed and its words.
pub(super) async fn write(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    written: &Written<'_>,
) -> Result<(), Error> {
    let (row, target) = (written.row, written.row.content.target());
    let (value, path) = texts(&row.content);
    let (scope, name, node) = (kept(&target.scope), kept(&target.name), kept(row.content.node()));
    let proof = row.proof.as_ref().map(Json::as_str);
    let Stamp { version, change, updated_at, expires_at } = row.stamp;
    tx.execute_typed(
        "WITH entry AS (
           INSERT INTO mesh_changes (tenant_id, change, action, kind, scope, name, version, at)
           SELECT $1, $8, $13, $2, $3, $4, $7, $9 WHERE $15
         )
         INSERT INTO mesh_rows (tenant_id, kind, scope, name, value, path, node_id, version, change, updated_at,
           expires_at, sent_ms, proof)
         VALUES ($1, $2, $3, $4, $5, $6, $14, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (tenant_id, kind, scope, name) DO UPDATE SET value = excluded.value, path = excluded.path,
           node_id = excluded.node_id, version = excluded.version, change = excluded.change,
           updated_at = excluded.updated_at, expires_at = excluded.expires_at, sent_ms = excluded.sent_ms,
           proof = excluded.proof",
        &[
            (&tenant.as_str(), Type::TEXT),
            (&target.kind.as_str(), Type::TEXT),
            (&scope, Type::TEXT),
            (&name, Type::TEXT),
            (&value, Type::TEXT),
            (&path, Type::TEXT),
            (&version, Type::INT8),
            (&change, Type::INT8),
            (&updated_at, Type::INT8),
            (&expires_at, Type::INT8),
            (&written.sent_ms, Type::INT8),
            (&proof, Type::TEXT),
            (&written.action.as_str(), Type::TEXT),
            (&node, Type::TEXT),
            (&(written.entry == Entry::Made), Type::BOOL),
        ],
    )
    .await?;
    if let Some(before) = written.before {
        forget_words(tx, tenant, before).await?;
    }
    if let Content::Memory(memory) = &row.content {
        let words = words_of(memory);
        tx.execute_typed(
            "INSERT INTO mesh_words (tenant_id, word, change) SELECT $1, word, $3 FROM unnest($2::text[]) AS word",
            &[
                (&tenant.as_str(), Type::TEXT),
                (&words, Type::TEXT_ARRAY),
                (&change, Type::INT8),
            ],
        )
        .await?;
    }
    Ok(())
}

/// Takes the row out of the table, and its words out of the index.
pub(super) async fn remove(tx: &Transaction<'_>, tenant: &TenantId, row: &Row) -> Result<(), Error> {
    let target = row.content.target();
    tx.execute_typed(
        "DELETE FROM mesh_rows WHERE tenant_id = $1 AND kind = $2 AND scope = $3 AND name = $4",
        &[
            (&tenant.as_str(), Type::TEXT),
            (&target.kind.as_str(), Type::TEXT),
            (&kept(&target.scope), Type::TEXT),
            (&kept(&target.name), Type::TEXT),
        ],
    )
    .await?;
    forget_words(tx, tenant, row).await
}

async fn forget_words(tx: &Transaction<'_>, tenant: &TenantId, row: &Row) -> Result<(), Error> {
    let Content::Memory(memory) = &row.content else { return Ok(()) };
    tx.execute_typed(
        "DELETE FROM mesh_words WHERE tenant_id = $1 AND word = ANY($2) AND change = $3",
        &[
            (&tenant.as_str(), Type::TEXT),
            (&words_of(memory), Type::TEXT_ARRAY),
            (&row.stamp.change, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}

/// The two texts of a row beside its names, as they are kept.
pub(super) fn texts(content: &Content) -> (Option<String>, Option<String>) {
    match content {
        Content::Memory(memory) => (Some(memory.value.as_str().to_owned()), None),
        Content::Skill(skill) => {
            let text = |text: &Option<String>| text.as_deref().map(|text| kept(text).into_owned());
            (text(&skill.content), text(&skill.path))
        }
        Content::Keys(keys) => (Some(keys.keys.as_str().to_owned()), None),
    }
}

/// Reads [`COLUMNS`].
pub(super) fn from_columns(columns: &Columns) -> Result<Row, Error> {
    let content = content(
        kind(columns.try_get(0)?),
        put(columns.try_get(1)?),
        put(columns.try_get(2)?),
        columns.try_get(3)?,
        columns.try_get(4)?,
        put(columns.try_get(5)?),
    );
    let stamp = Stamp {
        version: columns.try_get(6)?,
        change: columns.try_get(7)?,
        updated_at: columns.try_get(8)?,
        expires_at: columns.try_get(9)?,
    };
    let proof: Option<String> = columns.try_get(11)?;
    Ok(Row { content, stamp, sent_ms: columns.try_get(10)?, proof: proof.map(Json::trusted) })
}

/// What the columns of a row or of a past version hold; names as they were put, texts as they are kept.
pub(super) fn content(
    kind: Kind,
    scope: String,
    name: String,
    value: Option<String>,
    path: Option<String>,
    node: String,
) -> Content {
    match kind {
        Kind::Memory => Content::Memory(NewMemory {
            scope,
            key: name,
            value: Json::trusted(value.unwrap_or_else(|| "null".to_owned())),
            node_id: node,
        }),
        Kind::Skill => {
            Content::Skill(NewSkill { name, source_node: node, content: value.map(put), path: path.map(put) })
        }
        Kind::Key => Content::Keys(NodeKeys {
            node: name,
            keys: Json::trusted(value.unwrap_or_else(|| "[]".to_owned())),
            updated_by: node,
        }),
    }
}

/// A kind as it stands in a column; the store writes no others.
pub(super) fn kind(text: &str) -> Kind {
    Kind::parse(text).unwrap_or(Kind::Memory)
}
