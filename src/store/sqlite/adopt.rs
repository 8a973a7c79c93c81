//! Carries the rows of the untenanted mesh store over, in place, under one tenant.
//!
//! Touches `mesh_memory`, `mesh_memory_fts` and `mesh_skills` alone: the vectors (whose module is not
//! loaded here) and the tables of other programs in the same file stay as they are.

use super::schema::Opened;
use super::{ledger, rows};
use crate::ids::TenantId;
use crate::store::json::Json;
use crate::store::model::{Action, Content, NewMemory, NewSkill, Stamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

/// Which of the old tables there were; their rows wait in temporary tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetAside {
    memories: bool,
    skills: bool,
}

/// Moves the old rows into temporary tables and drops the old tables, so that their names are free.
/// Renaming would be shorter, but makes `SQLite` read through the whole schema, the strangers' too.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn set_aside(conn: &Connection) -> rusqlite::Result<SetAside> {
    let memories = exists(conn, "mesh_memory")?;
    if memories {
        conn.execute_batch(
            "CREATE TEMP TABLE old_memory AS
               SELECT id, scope, key, value, node_id, updated_at FROM main.mesh_memory ORDER BY updated_at, id;
             DROP TABLE main.mesh_memory;",
        )?;
    }
    let skills = exists(conn, "mesh_skills")?;
    if skills {
        conn.execute_batch(
            "CREATE TEMP TABLE old_skills AS
               SELECT name, source_node, content, path, updated_at FROM main.mesh_skills ORDER BY updated_at, id;
             DROP TABLE main.mesh_skills;",
        )?;
    }
    conn.execute_batch("DROP TABLE IF EXISTS main.mesh_memory_fts")?;
    Ok(SetAside { memories, skills })
}

/// Writes the old rows into the new tables, oldest first.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn carry_over(conn: &Connection, old: SetAside, tenant: &TenantId) -> rusqlite::Result<Opened> {
    let mut counts = (0, 0);
    if old.memories {
        let mut rows = conn.prepare(
            "SELECT id, scope, key, value, node_id, updated_at FROM temp.old_memory ORDER BY rowid",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            carry(conn, tenant, Content::Memory(memory(row)?), seconds(row.get_ref(5)?), row.get(0)?)?;
            counts.0 += 1;
        }
    }
    if old.skills {
        let mut rows = conn.prepare(
            "SELECT name, source_node, content, path, updated_at FROM temp.old_skills ORDER BY rowid",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            carry(conn, tenant, Content::Skill(skill(row)?), seconds(row.get_ref(4)?), None)?;
            counts.1 += 1;
        }
    }
    conn.execute_batch("DROP TABLE IF EXISTS temp.old_memory; DROP TABLE IF EXISTS temp.old_skills")?;
    Ok(if old.memories || old.skills {
        Opened::Adopted { memories: counts.0, skills: counts.1 }
    } else {
        Opened::Created
    })
}

fn carry(
    conn: &Connection,
    tenant: &TenantId,
    content: Content,
    updated_at: i64,
    adopted_id: Option<i64>,
) -> rusqlite::Result<()> {
    let target = content.target();
    let change = ledger::record(conn, tenant, &target, Action::Put, 1, updated_at)?;
    ledger::add(conn, tenant, target.kind, 1, content.bytes())?;
    let stamp = Stamp { version: 1, change, updated_at, expires_at: None };
    rows::insert(
        conn,
        tenant,
        &crate::store::model::Row { content, stamp, sent_ms: None, proof: None },
        adopted_id,
    )
}

fn exists(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1)",
        [table],
        |row| row.get(0),
    )
}

fn memory(row: &Row<'_>) -> rusqlite::Result<NewMemory> {
    Ok(NewMemory {
        scope: text(row.get_ref(1)?).unwrap_or_default(),
        key: text(row.get_ref(2)?).unwrap_or_default(),
        value: as_it_was_read(row.get_ref(3)?),
        node_id: text(row.get_ref(4)?).unwrap_or_default(),
    })
}

fn skill(row: &Row<'_>) -> rusqlite::Result<NewSkill> {
    Ok(NewSkill {
        name: text(row.get_ref(0)?).unwrap_or_default(),
        source_node: text(row.get_ref(1)?).unwrap_or_default(),
        content: text(row.get_ref(2)?),
        path: text(row.get_ref(3)?),
    })
}

/// The untenanted store kept strings bare and everything else as JSON, and read whatever parsed as
/// JSON, with its numbers as doubles. What its readers saw is from here on what the row is.
fn as_it_was_read(column: ValueRef<'_>) -> Json {
    let text = text(column).unwrap_or_else(|| "null".to_owned());
    Json::parse(&text).map_or_else(|| Json::string(&text), |json| json.with_double_numbers())
}

/// Columns have types by custom only; nothing in one is a reason to lose a row.
fn text(column: ValueRef<'_>) -> Option<String> {
    match column {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn seconds(column: ValueRef<'_>) -> i64 {
    match column {
        ValueRef::Integer(seconds) => seconds,
        #[allow(clippy::cast_possible_truncation, reason = "a fraction of a second was never meant")]
        ValueRef::Real(seconds) => seconds as i64,
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::{self, Filter, Kind, Place, Target};
    use crate::store::search::Looked;
    use crate::store::sqlite::schema::open_writer;
    use crate::store::sqlite::testing::put;
    use crate::store::sqlite::{list, search};
    use crate::store::testing::{Folder, OLD_TABLES, tenant};

    fn old_database(folder: &Folder) -> std::path::PathBuf {
        let path = folder.path("old.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(OLD_TABLES).unwrap();
        path
    }

    fn value_of(conn: &Connection, who: &str, scope: &str, key: &str) -> Option<String> {
        rows::get(conn, &tenant(who), &Target::memory(scope, key), 1000)
            .unwrap()
            .map(|row| of(row).value.as_str().to_owned())
    }

    fn of(row: model::Row) -> NewMemory {
        match row.content {
            Content::Memory(memory) => memory,
            other => panic!("{other:?}"),
        }
    }

    fn list(conn: &Connection, who: &str, kind: Kind) -> Vec<model::Row> {
        list::page(conn, &tenant(who), &Filter::all(kind), Place::Newest, 100, 1000).unwrap().rows
    }

    #[test]
    fn every_row_reads_as_before_and_opening_twice_changes_nothing() {
        let folder = Folder::new();
        let path = old_database(&folder);
        let (conn, opened) = open_writer(&path, &tenant("default")).unwrap();
        assert_eq!(opened, Opened::Adopted { memories: 8, skills: 2 });
        let first = list(&conn, "default", Kind::Memory);
        drop(conn);
        let (conn, opened) = open_writer(&path, &tenant("ignored-now")).unwrap();
        assert_eq!(opened, Opened::Found);
        assert_eq!(list(&conn, "default", Kind::Memory), first);

        let read = |scope: &str, key: &str| value_of(&conn, "default", scope, key).unwrap();
        assert_eq!(read("mesh", "object"), r#"{"plan":"attack at dawn","n":[1,2.5,null]}"#);
        assert_eq!(read("mesh", "plain"), r#""hello \"world\"""#);
        assert_eq!(read("mesh", "looks-like-number"), "42");
        assert_eq!(read("mesh", "telegram-id"), "12345678901234567000");
        assert_eq!(read("node", "a/b c"), "[]");
        assert_eq!(read("user:bob", "empty"), r#""""#);
        assert_eq!(read("tenant:acme", "labelled"), "true");
        assert_eq!(read("federation", "sigma"), r#""Σίσυφος""#);
        assert_eq!(value_of(&conn, "acme", "tenant:acme", "labelled"), None);
    }

    #[test]
    fn the_order_the_nodes_and_the_times_are_kept() {
        let folder = Folder::new();
        let (conn, _) = open_writer(&old_database(&folder), &tenant("legacy")).unwrap();
        let rows = list(&conn, "legacy", Kind::Memory);
        let seen: Vec<_> = rows.iter().map(|row| (row.content.target().name, row.stamp.updated_at)).collect();
        let seen: Vec<_> = seen.iter().map(|(key, at)| (key.as_str(), *at)).collect();
        // Newest first; of one second, the row that was made last.
        assert_eq!(seen[..3], [("plain", 900), ("sigma", 500), ("labelled", 500)]);
        assert_eq!(rows[0].content.node(), "ceo");
        let skills: Vec<NewSkill> = list(&conn, "legacy", Kind::Skill)
            .into_iter()
            .map(|row| match row.content {
                Content::Skill(skill) => skill,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(skills.len(), 2);
        assert_eq!(skills[0].name, "deploy");
        assert_eq!(skills[0].content, None);
        assert_eq!(skills[1].content.as_deref(), Some("# how to review"));
    }

    #[test]
    fn adopted_rows_are_found_by_a_search_even_when_the_old_index_was_behind() {
        let folder = Folder::new();
        let (conn, _) = open_writer(&old_database(&folder), &tenant("default")).unwrap();
        let hits = search::find(&conn, &tenant("default"), &Looked::anywhere("dawn"), 25, 1000).unwrap();
        assert_eq!(hits.iter().map(|hit| hit.key.as_str()).collect::<Vec<_>>(), ["object"]);
        assert!(
            search::find(&conn, &tenant("acme"), &Looked::anywhere("dawn"), 25, 1000).unwrap().is_empty()
        );
    }

    #[test]
    fn the_tables_of_others_and_the_vectors_stay_as_they_are() {
        let folder = Folder::new();
        let path = old_database(&folder);
        let others = |conn: &Connection| {
            let mut rows = conn
                .prepare(
                    "SELECT name, sql FROM sqlite_schema
                     WHERE name LIKE 'army%' OR name LIKE 'mesh_memory_vec%' ORDER BY name",
                )
                .unwrap();
            let rows: Vec<(String, Option<String>)> = rows
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            rows
        };
        let before = others(&Connection::open(&path).unwrap());
        assert!(before.iter().any(|(name, _)| name == "mesh_memory_vec"), "{before:?}");
        let (conn, _) = open_writer(&path, &tenant("default")).unwrap();
        assert_eq!(others(&conn), before);
        let orders: (i64, String) = conn
            .query_row("SELECT count(*), max(payload) FROM army_orders", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(orders, (1, "{\"do\":\"it\"}".to_owned()));
        let nodes: i64 = conn.query_row("SELECT count(*) FROM army_registry", [], |row| row.get(0)).unwrap();
        assert_eq!(nodes, 1);
    }

    #[test]
    fn an_adopted_row_keeps_its_old_number_until_it_is_written_anew() {
        let folder = Folder::new();
        let (conn, _) = open_writer(&old_database(&folder), &tenant("default")).unwrap();
        let number = |conn: &Connection| -> Option<i64> {
            conn.query_row("SELECT adopted_id FROM mesh_rows WHERE name = 'plain'", [], |row| row.get(0))
                .unwrap()
        };
        assert_eq!(number(&conn), Some(2));
        let again =
            rows::get(&conn, &tenant("default"), &Target::memory("mesh", "plain"), 1000).unwrap().unwrap();
        put(&conn, &tenant("default"), of(again), 1000);
        assert_eq!(number(&conn), None);
    }

    #[test]
    fn a_migration_that_stops_in_the_middle_leaves_the_old_store_whole() {
        let folder = Folder::new();
        let path = old_database(&folder);
        let mut conn = Connection::open(&path).unwrap();
        {
            let tx = conn.transaction().unwrap();
            set_aside(&tx).unwrap();
            // Dropped without a commit, as by a crash.
        }
        let rows: i64 = conn.query_row("SELECT count(*) FROM mesh_memory", [], |row| row.get(0)).unwrap();
        let indexed: i64 =
            conn.query_row("SELECT count(*) FROM mesh_memory_fts", [], |row| row.get(0)).unwrap();
        assert_eq!((rows, indexed), (8, 1));
        drop(conn);
        let (_, opened) = open_writer(&path, &tenant("default")).unwrap();
        assert_eq!(opened, Opened::Adopted { memories: 8, skills: 2 });
    }
}
