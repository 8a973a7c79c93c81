//! The tables, and how a file comes to have them.
//!
//! Every table leads its keys with `tenant_id`. Knows how connections are set up; does not know what
//! is asked of them.

use super::{adopt, upgrade, vectors};
use crate::ids::TenantId;
use crate::store::error::OpenError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// `PRAGMA user_version` of a file with the tables below; 0 is a new file or one of the untenanted store.
pub(crate) const VERSION: i64 = 3;

/// How long a statement waits for another program that writes to the same file.
const BUSY: Duration = Duration::from_secs(5);

/// Statements kept ready on each connection; the store has fewer.
const STATEMENTS: usize = 64;

/// `change` is the tenant's own counter at the row's last write. `place` is a memory's place in the search
/// index, which grows with every write to any row: the index is read from its end, so a search finds the
/// newest first and can stop at its limit. `version` counts the writes of one row. `adopted_id` is the row's
/// number in the untenanted store, by which that store's vectors know it, until the row is written anew.
pub(super) const TABLES: &str = "
CREATE TABLE mesh_rows (
  tenant_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT,
  path TEXT,
  node_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  change INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  sent_ms INTEGER,
  proof TEXT,
  place INTEGER,
  adopted_id INTEGER,
  PRIMARY KEY (tenant_id, kind, scope, name)
);
CREATE UNIQUE INDEX mesh_rows_by_change ON mesh_rows (tenant_id, change);
CREATE INDEX mesh_rows_by_age ON mesh_rows (tenant_id, kind, updated_at, change);
CREATE INDEX mesh_rows_by_scope ON mesh_rows (tenant_id, kind, scope, updated_at, change);
CREATE INDEX mesh_rows_by_node ON mesh_rows (tenant_id, kind, node_id, updated_at, change);
CREATE INDEX mesh_rows_by_place ON mesh_rows (tenant_id, place) WHERE place IS NOT NULL;
CREATE INDEX mesh_rows_by_end ON mesh_rows (tenant_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE mesh_history (
  tenant_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  change INTEGER NOT NULL,
  action TEXT NOT NULL,
  value TEXT,
  path TEXT,
  node_id TEXT,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  sent_ms INTEGER,
  proof TEXT,
  PRIMARY KEY (tenant_id, kind, scope, name, version)
);
CREATE INDEX mesh_history_by_end ON mesh_history (tenant_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE mesh_changes (
  tenant_id TEXT NOT NULL,
  change INTEGER NOT NULL,
  action TEXT NOT NULL,
  kind TEXT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, change)
) WITHOUT ROWID;
CREATE TABLE mesh_tenants (
  tenant_id TEXT NOT NULL PRIMARY KEY,
  last_change INTEGER NOT NULL DEFAULT 0,
  swept_change INTEGER NOT NULL DEFAULT 0,
  memories INTEGER NOT NULL DEFAULT 0,
  skills INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  keys INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE store_facts (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
";

/// Read by upkeep; a file that was made before gets it when it is opened, and earlier programs do not mind it.
const UPKEEP_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS mesh_history_by_age ON mesh_history (tenant_id, updated_at);";

/// Read by upkeep where the number of rows that went has a bound.
const TOMBSTONE_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS mesh_history_of_gone ON mesh_history (tenant_id, change)
  WHERE action IN ('delete', 'expire');";

/// The search index, the same since version 1.
pub(super) const INDEX: &str = "
CREATE VIRTUAL TABLE mesh_memory_fts USING fts5(
  tenant_id UNINDEXED, tenant_token, scope, key, content, tokenize='unicode61'
);
";

/// The tables of version 1, for tests of the way from there.
#[cfg(test)]
pub(super) const TABLES_1: &str = "
CREATE TABLE mesh_memory (
  tenant_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  node_id TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  adopted_id INTEGER,
  PRIMARY KEY (tenant_id, scope, key)
);
CREATE UNIQUE INDEX mesh_memory_by_seq ON mesh_memory (tenant_id, seq);
CREATE INDEX mesh_memory_by_age ON mesh_memory (tenant_id, updated_at, seq);
CREATE VIRTUAL TABLE mesh_memory_fts USING fts5(
  tenant_id UNINDEXED, tenant_token, scope, key, content, tokenize='unicode61'
);
CREATE TABLE mesh_skills (
  tenant_id TEXT NOT NULL,
  name TEXT NOT NULL,
  source_node TEXT NOT NULL,
  content TEXT,
  path TEXT,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, name)
);
CREATE INDEX mesh_skills_by_age ON mesh_skills (tenant_id, updated_at, seq);
";

/// What opening a file did to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It was new.
    Created,
    /// It had our tables.
    Found,
    /// It had our tables as an earlier version of this program made them.
    Upgraded {
        /// That version of the tables.
        from: i64,
    },
    /// It was an untenanted store; this much was carried over.
    Adopted {
        /// Rows of memory.
        memories: usize,
        /// Rows of skills.
        skills: usize,
    },
}

/// Opens the file for the one connection that writes, and brings its tables up to date.
///
/// # Errors
/// [`OpenError`]; the file is then as it was.
pub(crate) fn open_writer(path: &Path, legacy: &TenantId) -> Result<(Connection, Opened), OpenError> {
    make_private(path)?;
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    settle(&conn).map_err(sqlite)?;
    // Asked before anything is changed.
    if let Some(found) = newer(&conn).map_err(sqlite)? {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    let journal: String =
        conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sqlite)?;
    if journal != "wal" {
        return Err(OpenError::NoWal { path: path.to_owned() });
    }
    // FULL: a commit returns when the log is on the disk, not when the system has promised to put it there.
    conn.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
    // Pages (of 4 KiB) in the log before they go to their places, which waits for the disk twice more: under many
    // writes four times as rarely as SQLite would by itself.
    conn.pragma_update(None, "wal_autocheckpoint", 4000).map_err(sqlite)?;
    let opened = migrate(&mut conn, legacy).map_err(sqlite)?;
    Ok((conn, opened))
}

fn newer(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    Ok(Some(version(conn)?).filter(|found| !(0..=VERSION).contains(found)))
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Opens a connection that can only read. The writer's must be open.
///
/// # Errors
/// [`OpenError::Sqlite`].
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    settle(&conn).map_err(sqlite)?;
    Ok(conn)
}

pub(super) fn settle(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    // Plans do not depend on what is bound: else a statement for which there is a partial index is prepared anew with
    // each value, which takes longer than to run it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "foreign_keys", true)?;
    // Another program shares the file: nothing in its schema is run on our behalf.
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cache_size", -16_384)
}

/// Makes a missing folder and file so that nobody else on the machine can read them.
fn make_private(path: &Path) -> Result<(), OpenError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| OpenError::Create { path: folder.to_owned(), source })?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(OpenError::Create { path: path.to_owned(), source }),
    }
}

/// One transaction from whatever the file is to what it should be: a crash leaves the one or the other.
fn migrate(conn: &mut Connection, legacy: &TenantId) -> rusqlite::Result<Opened> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked within the transaction: another process may have migrated the file in between.
    let opened = match version(&tx)? {
        VERSION => {
            tx.execute_batch(vectors::TABLES)?;
            tx.execute_batch(UPKEEP_INDEX)?;
            tx.execute_batch(TOMBSTONE_INDEX)?;
            tx.commit()?;
            return Ok(Opened::Found);
        }
        2 => {
            upgrade::from_2(&tx)?;
            tx.execute_batch(vectors::TABLES)?;
            Opened::Upgraded { from: 2 }
        }
        1 => {
            tx.execute_batch(TABLES)?;
            upgrade::from_1(&tx)?;
            tx.execute_batch(vectors::TABLES)?;
            Opened::Upgraded { from: 1 }
        }
        // Nothing, or the untenanted store: what is newer was refused before.
        _ => {
            let set_aside = adopt::set_aside(&tx)?;
            create(&tx)?;
            adopt::carry_over(&tx, set_aside, legacy)?
        }
    };
    tx.execute_batch(UPKEEP_INDEX)?;
    tx.execute_batch(TOMBSTONE_INDEX)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()?;
    Ok(opened)
}

/// Makes all tables.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLES)?;
    conn.execute_batch(vectors::TABLES)?;
    conn.execute_batch(INDEX)
}

/// The key of the database's own; made at the first question.
///
/// # Errors
/// What `SQLite` says; [`rusqlite::Error::InvalidQuery`] when the machine gives no random bytes.
pub(super) fn signing_key(conn: &Connection) -> rusqlite::Result<[u8; 32]> {
    let mut fresh = [0_u8; 32];
    getrandom::fill(&mut fresh).map_err(|_| rusqlite::Error::InvalidQuery)?;
    conn.execute("INSERT OR IGNORE INTO store_facts (name, value) VALUES ('signing_key', ?1)", [&fresh[..]])?;
    conn.query_row("SELECT value FROM store_facts WHERE name = 'signing_key'", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{Folder, tenant};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_writer_has_a_write_ahead_log_and_waits_for_the_disk() {
        let folder = Folder::new();
        let (conn, opened) = open_writer(&folder.path("deep/er/mesh.db"), &tenant("default")).unwrap();
        assert_eq!(opened, Opened::Created);
        let ask =
            |pragma: &str| conn.query_row(pragma, [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
        assert_eq!(ask("PRAGMA journal_mode"), "wal".to_owned().into());
        assert_eq!(ask("PRAGMA synchronous"), 2.into());
        assert_eq!(ask("PRAGMA foreign_keys"), 1.into());
        assert_eq!(ask("PRAGMA trusted_schema"), 0.into());
    }

    #[test]
    fn a_new_database_is_for_its_owner_alone() {
        let folder = Folder::new();
        let path = folder.path("new/mesh.db");
        let _conn = open_writer(&path, &tenant("default")).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&folder.path("new/mesh.db-wal")), 0o600);
    }

    #[test]
    fn every_table_and_every_key_of_ours_leads_with_the_tenant() {
        let folder = Folder::new();
        let (conn, _) = open_writer(&folder.path("mesh.db"), &tenant("default")).unwrap();
        let mut tables = conn
            .prepare("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE %TABLE mesh\\_%' ESCAPE '\\'")
            .unwrap();
        let names: Vec<String> =
            tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            names,
            [
                "mesh_rows",
                "mesh_history",
                "mesh_changes",
                "mesh_tenants",
                "mesh_vectors",
                "mesh_vector_state",
                "mesh_memory_fts"
            ]
        );
        for table in names {
            let first: String = conn
                .query_row("SELECT name FROM pragma_table_info(?1) WHERE cid = 0", [&table], |row| row.get(0))
                .unwrap();
            assert_eq!(first, "tenant_id", "{table}");
            let mut keys = conn
                .prepare("SELECT i.name FROM pragma_index_list(?1) l JOIN pragma_index_info(l.name) i WHERE i.seqno = 0")
                .unwrap();
            for first in keys.query_map([&table], |row| row.get::<_, String>(0)).unwrap() {
                assert_eq!(first.unwrap(), "tenant_id", "{table}");
            }
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_refused_and_left_alone() {
        let folder = Folder::new();
        let path = folder.path("mesh.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("PRAGMA user_version = 99; CREATE TABLE theirs(a)")
            .unwrap();
        assert!(matches!(open_writer(&path, &tenant("default")), Err(OpenError::Newer { found: 99, .. })));
        let tables: i64 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 1);
        assert!(!folder.path("mesh.db-wal").exists());
    }

    #[test]
    fn what_is_no_database_is_refused_and_left_alone() {
        let folder = Folder::new();
        let path = folder.path("notes.txt");
        let text = "not a database, but long enough to be looked at as one ".repeat(40);
        std::fs::write(&path, &text).unwrap();
        assert!(matches!(open_writer(&path, &tenant("default")), Err(OpenError::Sqlite { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
