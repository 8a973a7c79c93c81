//! From the tables of earlier versions to those of today, in place: version 1 had memory and skills apart and no
//! history, version 2 knew no registry of keys.
//!
//! Runs within the transaction that opens the file: a crash leaves the one or the other.

use rusqlite::Connection;

/// Carries every row over. Numbers of changes are given in the order in which the rows were written, and
/// the feed starts with one entry for each, so that who follows it from the start has everything.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn from_1(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "INSERT INTO mesh_rows (tenant_id, kind, scope, name, value, path, node_id, version, change, updated_at,
           place, adopted_id)
         SELECT tenant_id, kind, scope, name, value, path, node_id, version,
           row_number() OVER (PARTITION BY tenant_id ORDER BY updated_at, kind, seq), updated_at, place, adopted_id
         FROM (
           SELECT tenant_id, 'memory' AS kind, scope, key AS name, value, NULL AS path, node_id, version, updated_at,
             seq, seq AS place, adopted_id FROM mesh_memory
           UNION ALL
           SELECT tenant_id, 'skill', '', name, content, path, source_node, version, updated_at, seq, NULL, NULL
           FROM mesh_skills
         );
         INSERT INTO mesh_changes (tenant_id, change, action, kind, scope, name, version, at)
           SELECT tenant_id, change, 'put', kind, scope, name, version, updated_at FROM mesh_rows;
         INSERT INTO mesh_tenants (tenant_id, last_change, memories, skills, bytes)
           SELECT tenant_id, max(change), sum(kind = 'memory'), sum(kind = 'skill'),
             sum(octet_length(scope) + octet_length(name) + octet_length(node_id)
               + coalesce(octet_length(value), 0) + coalesce(octet_length(path), 0))
           FROM mesh_rows GROUP BY tenant_id;
         DROP TABLE mesh_memory;
         DROP TABLE mesh_skills;",
    )
}

/// Counts the nodes that have keys; there are none yet.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn from_2(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("ALTER TABLE mesh_tenants ADD COLUMN keys INTEGER NOT NULL DEFAULT 0")
}

#[cfg(test)]
mod tests {
    use crate::store::model::{Filter, Kind, Place, Target};
    use crate::store::search::Looked;
    use crate::store::sqlite::schema::{self, Opened, open_writer};
    use crate::store::sqlite::{changes, ledger, list, rows, search};
    use crate::store::testing::{Folder, tenant};
    use rusqlite::Connection;
    use std::path::PathBuf;

    /// A file as version 1 wrote it.
    fn version_1(folder: &Folder) -> PathBuf {
        let path = folder.path("one.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(schema::TABLES_1).unwrap();
        conn.execute_batch(
            "INSERT INTO mesh_memory VALUES ('acme', 'mesh', 'plan', '{\"a\": 1.0}', 'ceo', 100, 3, 1, NULL),
               ('acme', 'node', 'later', '\"dawn\"', 'cto', 300, 1, 2, 7), ('globex', 'mesh', 'plan', '2', 'x', 50, 1, 3, NULL);
             INSERT INTO mesh_memory_fts (rowid, tenant_id, tenant_token, scope, key, content) VALUES
               (1, 'acme', 't61636d65', 'mesh', 'plan', 'plan'), (2, 'acme', 't61636d65', 'node', 'later', 'later dawn'),
               (3, 'globex', 't676c6f626578', 'mesh', 'plan', 'plan');
             INSERT INTO mesh_skills VALUES ('acme', 'deploy', 'ceo', NULL, '/d', 200, 2, 1);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        path
    }

    #[test]
    fn every_row_of_version_1_reads_as_before_and_opening_twice_changes_nothing() {
        let folder = Folder::new();
        let path = version_1(&folder);
        let (conn, opened) = open_writer(&path, &tenant("default")).unwrap();
        assert_eq!(opened, Opened::Upgraded { from: 1 });
        let acme = tenant("acme");
        let list = |conn: &Connection, kind| {
            list::page(conn, &acme, &Filter::all(kind), Place::Newest, 10, 500).unwrap().rows
        };
        let memories = list(&conn, Kind::Memory);
        let seen: Vec<_> = memories
            .iter()
            .map(|row| (row.content.target().name, row.stamp.version, row.stamp.change, row.stamp.updated_at))
            .collect();
        assert_eq!(seen, [("later".to_owned(), 1, 3, 300), ("plan".to_owned(), 3, 1, 100)]);
        let skill = rows::get(&conn, &acme, &Target::skill("deploy"), 500).unwrap().unwrap();
        assert_eq!((skill.stamp.version, skill.stamp.change), (2, 2));
        let usage = ledger::usage(&conn, &acme).unwrap();
        assert_eq!((usage.memories, usage.skills, usage.last_change), (2, 1, 3));
        let bytes: i64 =
            [memories[0].content.bytes(), memories[1].content.bytes(), skill.content.bytes()].iter().sum();
        assert_eq!(usage.bytes, bytes);
        let hits = search::find(&conn, &acme, &Looked::anywhere("dawn"), 10, 500).unwrap();
        assert_eq!(hits.iter().map(|hit| hit.key.as_str()).collect::<Vec<_>>(), ["later"]);
        let feed =
            changes::stretch(&conn, &acme, &crate::store::model::Interest::default(), 0, 10, 500).unwrap();
        assert_eq!(feed.changes.len(), 3);
        assert!(feed.changes.iter().all(|change| change.content.is_some()));
        drop(conn);
        let (conn, opened) = open_writer(&path, &tenant("default")).unwrap();
        assert_eq!(opened, Opened::Found);
        assert_eq!(list(&conn, Kind::Memory), memories);
    }

    #[test]
    fn a_file_of_version_2_keeps_its_rows_and_counts_and_learns_of_keys() {
        let folder = Folder::new();
        let path = folder.path("two.db");
        let tables = schema::TABLES.replace(",\n  keys INTEGER NOT NULL DEFAULT 0", "");
        assert!(!tables.contains("keys INTEGER"));
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(&tables).unwrap();
        conn.execute_batch(schema::INDEX).unwrap();
        conn.execute_batch(
            "INSERT INTO mesh_rows (tenant_id, kind, scope, name, value, node_id, version, change, updated_at)
               VALUES ('acme', 'skill', '', 'deploy', 'x', 'ceo', 2, 5, 100);
             INSERT INTO mesh_tenants (tenant_id, last_change, skills, bytes) VALUES ('acme', 5, 1, 10);
             PRAGMA user_version = 2;",
        )
        .unwrap();
        drop(conn);
        let acme = tenant("acme");
        for opened in [Opened::Upgraded { from: 2 }, Opened::Found] {
            let (conn, found) = open_writer(&path, &tenant("default")).unwrap();
            assert_eq!(found, opened);
            let usage = ledger::usage(&conn, &acme).unwrap();
            assert_eq!((usage.skills, usage.keys, usage.bytes, usage.last_change), (1, 0, 10, 5));
            assert!(rows::get(&conn, &acme, &Target::skill("deploy"), 500).unwrap().is_some());
        }
    }

    #[test]
    fn an_upgrade_that_stops_in_the_middle_leaves_version_1_whole_and_is_done_at_the_next_start() {
        let folder = Folder::new();
        let path = version_1(&folder);
        let mut conn = Connection::open(&path).unwrap();
        {
            let tx = conn.transaction().unwrap();
            tx.execute_batch(schema::TABLES).unwrap();
            super::from_1(&tx).unwrap();
            // Dropped without a commit, as by a crash.
        }
        let rows: i64 = conn.query_row("SELECT count(*) FROM mesh_memory", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 3);
        drop(conn);
        let (_, opened) = open_writer(&path, &tenant("default")).unwrap();
        assert_eq!(opened, Opened::Upgraded { from: 1 });
    }
}
