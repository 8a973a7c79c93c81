//! The tables on the server, who may see which of their rows, and how a database comes to have them.
//!
//! Every table leads its key with `tenant_id`, so that it can be distributed by it, and every table has
//! row-level security that binds its owner too: a transaction sees the rows of the tenant that its setting
//! `mesh.tenant` names, and without that setting none.

use super::link::{Link, failed};
use crate::store::error::StoreError;
use std::collections::HashMap;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Transaction};

/// Version of the tables below.
const VERSION: i32 = 2;

/// Key of the lock under which one program at a time brings a database up to date.
const LOCK: i64 = 0x6d65_7368_7374_6f72;

/// `mesh_words` has each word of each memory, with the change at which the memory was written. PostgreSQL's own
/// index for full text cannot be used where row-level security holds: its operator is not marked leakproof, so
/// the server must look at a tenant's every row first.
///
/// Texts compare byte by byte (`COLLATE "C"`), as they do in SQLite: prefixes and walks depend on it.
const TABLES: &str = r#"
CREATE TABLE mesh_rows (
  tenant_id TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  scope TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  value TEXT,
  path TEXT,
  node_id TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  change BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  expires_at BIGINT,
  sent_ms BIGINT,
  proof TEXT,
  PRIMARY KEY (tenant_id, kind, scope, name)
);
CREATE UNIQUE INDEX mesh_rows_by_change ON mesh_rows (tenant_id, change);
CREATE INDEX mesh_rows_by_age ON mesh_rows (tenant_id, kind, updated_at, change);
CREATE INDEX mesh_rows_by_scope ON mesh_rows (tenant_id, kind, scope, updated_at, change);
CREATE INDEX mesh_rows_by_node ON mesh_rows (tenant_id, kind, node_id, updated_at, change);
CREATE INDEX mesh_rows_by_end ON mesh_rows (tenant_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE mesh_history (
  tenant_id TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  scope TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  change BIGINT NOT NULL,
  action TEXT NOT NULL,
  value TEXT,
  path TEXT,
  node_id TEXT,
  updated_at BIGINT NOT NULL,
  expires_at BIGINT,
  sent_ms BIGINT,
  proof TEXT,
  PRIMARY KEY (tenant_id, kind, scope, name, version)
);
CREATE INDEX mesh_history_by_end ON mesh_history (tenant_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE mesh_changes (
  tenant_id TEXT COLLATE "C" NOT NULL,
  change BIGINT NOT NULL,
  action TEXT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  scope TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, change)
);
CREATE TABLE mesh_tenants (
  tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  last_change BIGINT NOT NULL DEFAULT 0,
  swept_change BIGINT NOT NULL DEFAULT 0,
  memories BIGINT NOT NULL DEFAULT 0,
  skills BIGINT NOT NULL DEFAULT 0,
  bytes BIGINT NOT NULL DEFAULT 0,
  keys BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE mesh_words (
  tenant_id TEXT COLLATE "C" NOT NULL,
  word TEXT COLLATE "C" NOT NULL,
  change BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, word, change)
);
CREATE TABLE mesh_vectors (
  tenant_id TEXT COLLATE "C" NOT NULL,
  scope TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  change BIGINT NOT NULL,
  vector BYTEA NOT NULL,
  PRIMARY KEY (tenant_id, scope, name)
);
CREATE TABLE mesh_vector_state (
  tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  model TEXT NOT NULL,
  phase TEXT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  change BIGINT NOT NULL
);
CREATE TABLE store_facts (name TEXT NOT NULL PRIMARY KEY, value BYTEA NOT NULL);
"#;

/// From version 1, which knew no registry of keys, to version 2.
const FROM_1: &str = "ALTER TABLE mesh_tenants ADD COLUMN keys BIGINT NOT NULL DEFAULT 0";

/// Read by upkeep; a database that was made before gets it when it is opened, and earlier programs do not mind it.
const UPKEEP_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS mesh_history_by_age ON mesh_history (tenant_id, updated_at)";

/// Read by upkeep where the number of rows that went has a bound.
const TOMBSTONE_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS mesh_history_of_gone ON mesh_history (tenant_id, change)
  WHERE action IN ('delete', 'expire')";

/// The tables that hold what tenants keep.
const TENANTED: [&str; 7] = [
    "mesh_rows",
    "mesh_history",
    "mesh_changes",
    "mesh_tenants",
    "mesh_words",
    "mesh_vectors",
    "mesh_vector_state",
];

/// Upkeep must know which tenants there are; it sees their names and counts and none of their rows.
const POLICY_FOR_UPKEEP: &str = "CREATE POLICY upkeep ON mesh_tenants FOR SELECT
  USING (current_setting('mesh.upkeep', true) = 'tenants');";

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The server said no, or there is none.
    #[error("PostgreSQL did not do it")]
    Server(#[source] Error),
    /// There is no connection; the cause was logged.
    #[error("there is no connection to PostgreSQL")]
    Connection,
    /// Row-level security would not hold for this role.
    #[error(
        "the role {role} is a superuser or has BYPASSRLS, and row-level security would not hold for it; \
         connect as a plain role that owns the database"
    )]
    RoleBypasses {
        /// Who was connected as.
        role: String,
    },
    /// A later version of this program made the tables.
    #[error("the database has schema version {found}; this program knows versions up to {VERSION}")]
    Newer {
        /// Its version.
        found: i32,
    },
    /// Chance is not to be had from the system.
    #[error("the system gives no random bytes")]
    Random,
}

impl From<Error> for SchemaError {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<StoreError> for SchemaError {
    fn from(_: StoreError) -> Self {
        Self::Connection
    }
}

/// Brings the database up to date, in one transaction, and gives the key that it signs with.
///
/// # Errors
/// [`SchemaError`]; the database is then as it was.
pub(super) async fn settle(link: &Link) -> Result<[u8; 32], SchemaError> {
    let mut connection = link.connection().await?;
    let client: &mut Client = &mut connection;
    let tx = client.build_transaction().start().await?;
    let role = tx
        .query_typed_one(
            "SELECT rolname::text, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await?;
    if role.get(1) {
        return Err(SchemaError::RoleBypasses { role: role.get(0) });
    }
    tx.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    match version(&tx).await? {
        Some(found) if found > VERSION => return Err(SchemaError::Newer { found }),
        Some(VERSION) => {}
        Some(_) => {
            tx.batch_execute(FROM_1).await?;
            note_version(&tx).await?;
        }
        None => {
            create(&tx).await?;
            note_version(&tx).await?;
        }
    }
    tx.batch_execute(UPKEEP_INDEX).await?;
    tx.batch_execute(TOMBSTONE_INDEX).await?;
    let key = signing_key(&tx).await?;
    tx.commit().await?;
    Ok(key)
}

async fn version(tx: &Transaction<'_>) -> Result<Option<i32>, Error> {
    let there = tx.query_typed_one("SELECT to_regclass('store_facts') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let found = tx
        .query_typed_opt(
            "SELECT convert_from(value, 'UTF8')::int FROM store_facts WHERE name = 'version'",
            &[],
        )
        .await?;
    Ok(found.map(|row| row.get(0)))
}

async fn create(tx: &Transaction<'_>) -> Result<(), Error> {
    tx.batch_execute(TABLES).await?;
    for table in TENANTED {
        tx.batch_execute(&format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
             CREATE POLICY tenant ON {table}
               USING (tenant_id = current_setting('mesh.tenant', true))
               WITH CHECK (tenant_id = current_setting('mesh.tenant', true));"
        ))
        .await?;
    }
    tx.batch_execute(POLICY_FOR_UPKEEP).await
}

async fn note_version(tx: &Transaction<'_>) -> Result<(), Error> {
    tx.execute_typed(
        "INSERT INTO store_facts (name, value) VALUES ('version', convert_to($1, 'UTF8'))
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[(&VERSION.to_string(), Type::TEXT)],
    )
    .await?;
    Ok(())
}

async fn signing_key(tx: &Transaction<'_>) -> Result<[u8; 32], SchemaError> {
    let mut fresh = [0_u8; 32];
    getrandom::fill(&mut fresh).map_err(|_| SchemaError::Random)?;
    tx.execute_typed(
        "INSERT INTO store_facts (name, value) VALUES ('signing_key', $1) ON CONFLICT (name) DO NOTHING",
        &[(&fresh.as_slice(), Type::BYTEA)],
    )
    .await?;
    let kept = tx.query_typed_one("SELECT value FROM store_facts WHERE name = 'signing_key'", &[]).await?;
    Ok(<[u8; 32]>::try_from(kept.get::<_, &[u8]>(0)).unwrap_or(fresh))
}

/// Every tenant that ever wrote.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn tenants(link: &Link) -> Result<Vec<String>, StoreError> {
    let rows = upkeep(link, "SELECT tenant_id FROM mesh_tenants ORDER BY tenant_id", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The counters of these tenants, as far as they ever wrote.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn counters(link: &Link, tenants: &[&str]) -> Result<HashMap<String, i64>, StoreError> {
    let text = "SELECT tenant_id, last_change FROM mesh_tenants WHERE tenant_id = ANY($1)";
    let rows = upkeep(link, text, &[(&tenants, Type::TEXT_ARRAY)]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Asks about all tenants at once: the policies show their names and counts, and nothing else.
async fn upkeep(
    link: &Link,
    text: &str,
    values: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, StoreError> {
    let mut connection = link.connection().await?;
    let client: &mut Client = &mut connection;
    let ask = async {
        let tx = client.build_transaction().read_only(true).start().await?;
        tx.batch_execute("SELECT set_config('mesh.upkeep', 'tenants', true)").await?;
        let rows = tx.query_typed(text, values).await?;
        tx.commit().await?;
        Ok(rows)
    };
    ask.await.map_err(|error: Error| failed(&error))
}
