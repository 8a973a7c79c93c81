//! Whether a file is whole: its pages and indexes, and its search index.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Most problems that are told.
const MOST: usize = 20;

/// What is wrong with the file, in `SQLite`'s words; nothing when it is whole.
///
/// # Errors
/// What `SQLite` says when it cannot even look.
pub fn of_file(path: &Path) -> rusqlite::Result<Vec<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut statement = conn.prepare("PRAGMA integrity_check")?;
    let told: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut problems: Vec<String> = told.into_iter().filter(|line| line != "ok").take(MOST).collect();
    problems.extend(of_index(&conn)?);
    Ok(problems)
}

/// Rows without an entry in the search index, and entries without a row.
fn of_index(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let ours: bool = conn.query_row(
        "SELECT count(*) = 2 FROM sqlite_schema WHERE name IN ('mesh_rows', 'mesh_memory_fts')",
        [],
        |row| row.get(0),
    )?;
    if !ours {
        return Ok(Vec::new());
    }
    let count = |text: &str| conn.query_row(text, [], |row| row.get::<_, i64>(0));
    let lost = count(
        "SELECT count(*) FROM mesh_rows WHERE kind = 'memory'
           AND (place IS NULL OR place NOT IN (SELECT rowid FROM mesh_memory_fts))",
    )?;
    let left = count(
        "SELECT count(*) FROM mesh_memory_fts WHERE rowid NOT IN
           (SELECT place FROM mesh_rows WHERE place IS NOT NULL)",
    )?;
    let mut problems = Vec::new();
    if lost > 0 {
        problems.push(format!("{lost} memories are not in the search index"));
    }
    if left > 0 {
        problems.push(format!("{left} entries of the search index have no memory"));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::schema;
    use crate::store::sqlite::testing::put;
    use crate::store::testing::{Folder, memory, tenant};

    #[test]
    fn a_file_is_whole_until_a_page_or_an_index_entry_is_lost() {
        let folder = Folder::new();
        let path = folder.path("mesh.db");
        let (conn, _) = schema::open_writer(&path, &tenant("default")).unwrap();
        put(&conn, &tenant("acme"), memory("mesh", "a", "1"), 5);
        assert_eq!(of_file(&path).unwrap(), [""; 0]);
        conn.execute_batch("DELETE FROM mesh_memory_fts").unwrap();
        assert_eq!(of_file(&path).unwrap(), ["1 memories are not in the search index"]);
        conn.execute_batch("DELETE FROM mesh_rows").unwrap();
        assert_eq!(of_file(&path).unwrap(), [""; 0]);
    }
}
