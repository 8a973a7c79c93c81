//! Full-text search over one tenant's memory, by plain words.
//!
//! The index is shared, so each entry carries a word that only its tenant has, and each search asks
//! for it. What is found comes newest first; it is ranked elsewhere, since this index would weigh words by how
//! often they stand in everybody's rows.

use crate::ids::TenantId;
use crate::store::model::{NewMemory, past_prefix};
use crate::store::ranking::{Candidate, MOST_TEXT};
use crate::store::search::{Looked, searched_text};
use rusqlite::{Connection, params};
use std::fmt::Write;

/// Entries since the last merge from which on another is worth its work; with many entries it is a quarter of them.
const SCATTERED: i64 = 5000;
/// Pages (of about 4 KiB) that are merged in one transaction: writers wait some milliseconds for it.
const MERGED_PAGES: i64 = 32;

/// The memories that have all of these words, newest first, at most `most`.
///
/// # Errors
/// What `SQLite` says; no query text is an error.
pub(crate) fn find(
    conn: &Connection,
    tenant: &TenantId,
    looked: &Looked,
    most: u32,
    now: i64,
) -> rusqlite::Result<Vec<Candidate>> {
    let Some(words) = plain_words(looked) else { return Ok(Vec::new()) };
    let expression = format!("tenant_token : {} AND {{scope key content}} : ({words})", token(tenant));
    // The table is asked for the tenant as well: a mistake in the index must not be enough to leak a row.
    // Scope and prefix are compared in the same place, before the limit counts.
    let end = looked.prefix.as_deref().and_then(past_prefix);
    conn.prepare_cached(
        "SELECT m.scope, m.name, substr(CAST(f.content AS BLOB), 1, ?5)
         FROM mesh_memory_fts f CROSS JOIN mesh_rows m ON m.place = f.rowid
         WHERE mesh_memory_fts MATCH ?1 AND m.tenant_id = ?2 AND (?3 IS NULL OR m.scope = ?3)
           AND (m.expires_at IS NULL OR m.expires_at > ?6)
           AND (?7 IS NULL OR m.name >= ?7) AND (?8 IS NULL OR m.name < ?8)
         ORDER BY f.rowid DESC LIMIT ?4",
    )?
    .query_map(
        params![expression, tenant.as_str(), looked.scope, most, MOST_TEXT, now, looked.prefix, end],
        |row| Ok(Candidate::new(row.get(0)?, row.get(1)?, beginning(row.get_ref(2)?.as_blob()?))),
    )?
    .collect()
}

/// Text of which the end may be cut within a character. As bytes because SQLite ends a text at U+0000.
fn beginning(bytes: &[u8]) -> String {
    let whole = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    String::from_utf8_lossy(&bytes[..whole]).into_owned()
}

/// Adds a memory to the index, after everything that is there, and says at which place.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn add(conn: &Connection, tenant: &TenantId, memory: &NewMemory) -> rusqlite::Result<i64> {
    let content = searched_text(memory);
    conn.prepare_cached(
        "INSERT INTO mesh_memory_fts (tenant_id, tenant_token, scope, key, content) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![tenant.as_str(), token(tenant), memory.scope, memory.key, content])?;
    Ok(conn.last_insert_rowid())
}

/// Takes the entry at this place out of the index.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn remove(conn: &Connection, seq: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM mesh_memory_fts WHERE rowid = ?1")?.execute([seq])?;
    Ok(())
}

/// Takes all of a tenant's entries out of the index; before its rows go.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn remove_all(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<()> {
    conn.execute(
        "DELETE FROM mesh_memory_fts WHERE rowid IN
           (SELECT place FROM mesh_rows WHERE tenant_id = ?1 AND place IS NOT NULL)",
        [tenant.as_str()],
    )?;
    Ok(())
}

/// The newest place in the index, when enough was written since the index was made one piece to do that again. Each
/// transaction adds a piece, and a search looks into every piece.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn scattered_up_to(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let (newest, merged): (i64, i64) = conn
        .prepare_cached(
            "SELECT coalesce((SELECT max(id) FROM mesh_memory_fts_content), 0),
               coalesce((SELECT value FROM store_facts WHERE name = 'search_merged'), 0)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let least = SCATTERED.max(merged / 4);
    Ok((newest - merged >= least).then_some(newest))
}

/// Puts all pieces on one level, from which [`merge_some`] makes one of them.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn begin_merge(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO mesh_memory_fts (mesh_memory_fts, rank) VALUES ('merge', ?1)")?
        .execute([-MERGED_PAGES])?;
    Ok(())
}

/// Merges a little; says whether there may be more to merge.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn merge_some(conn: &Connection) -> rusqlite::Result<bool> {
    let before = conn.total_changes();
    conn.prepare_cached("INSERT INTO mesh_memory_fts (mesh_memory_fts, rank) VALUES ('merge', ?1)")?
        .execute([MERGED_PAGES])?;
    // FTS5 tells in this way (sqlite.org/fts5.html, "The merge Command"): the statement itself is one change.
    Ok(conn.total_changes() - before >= 2)
}

/// Notes that the index is one piece up to here.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn merged(conn: &Connection, newest: i64) -> rusqlite::Result<()> {
    conn.execute("INSERT OR REPLACE INTO store_facts (name, value) VALUES ('search_merged', ?1)", [newest])?;
    Ok(())
}

/// The tenant's own word. Hex, because the tokenizer would cut a name at `-`, `_` and `.` and then find
/// one tenant's name within another's.
fn token(tenant: &TenantId) -> String {
    let mut token = String::with_capacity(1 + 2 * tenant.as_str().len());
    token.push('t');
    for byte in tenant.as_str().bytes() {
        // Writing to a String has no way to fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

/// Each word in quotes, so that none is read as an operator; nothing when there is no word.
fn plain_words(looked: &Looked) -> Option<String> {
    let words: Vec<String> = looked.pieces().map(|word| format!("\"{word}\"")).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::testing::{open_memory, put};
    use crate::store::testing::{memory, tenant};
    use proptest::prelude::{any, prop_assert, proptest};
    use proptest::test_runner::Config;

    fn keys(conn: &Connection, who: &str, query: &str, scope: Option<&str>, limit: u32) -> Vec<String> {
        let found = find(conn, &tenant(who), &looked(query, scope), limit, 5).unwrap();
        found.into_iter().map(|candidate| candidate.key).collect()
    }

    fn looked(query: &str, scope: Option<&str>) -> Looked {
        Looked { words: query.to_owned(), scope: scope.map(str::to_owned), prefix: None }
    }

    fn filled() -> Connection {
        let conn = open_memory();
        for (who, scope, key, value) in [
            ("acme", "mesh", "plan", r#"{"text":"attack at dawn","deep":{"er":{"est":"treasure"}}}"#),
            ("acme", "node", "weather-report", r#""Dawn is foggy, Zürich""#),
            ("acme", "mesh", "emoji", r#""rocket 🚀 launch""#),
            ("globex", "mesh", "plan", r#""dawn belongs to globex""#),
        ] {
            put(&conn, &tenant(who), memory(scope, key, value), 5);
        }
        conn
    }

    #[test]
    fn all_words_must_stand_in_the_key_or_the_strings_of_the_value() {
        let conn = filled();
        let find = |query: &str| keys(&conn, "acme", query, None, 25);
        assert_eq!(find("dawn"), ["weather-report", "plan"]);
        assert_eq!(find("DAWN attack"), ["plan"]);
        assert_eq!(find("report"), ["weather-report"]);
        assert_eq!(find("zurich"), ["weather-report"]);
        assert_eq!(find("treasure"), ["plan"]);
        assert_eq!(find("weather-report"), ["weather-report"]);
        assert!(find("dawn nowhere").is_empty());
        assert!(find("text").is_empty(), "names of members are not searched");
    }

    #[test]
    fn a_scope_narrows_and_the_limit_counts_what_is_left() {
        let conn = filled();
        for n in 0..50 {
            put(&conn, &tenant("globex"), memory("mesh", &format!("flood-{n}"), "\"dawn\""), 9);
            put(&conn, &tenant("acme"), memory("noise", &format!("flood-{n}"), "\"dawn\""), 9);
        }
        assert_eq!(keys(&conn, "acme", "dawn", Some("mesh"), 1), ["plan"]);
        assert_eq!(keys(&conn, "acme", "dawn", None, 25).len(), 25);
        assert_eq!(keys(&conn, "acme", "dawn", None, 1), ["flood-49"]);
        assert!(keys(&conn, "acme", "dawn", Some("none"), 25).is_empty());
    }

    #[test]
    fn no_tenant_finds_what_another_wrote_whatever_the_names_are() {
        let conn = open_memory();
        let names = ["acme", "acme-1", "acme.1", "x-acme", "1", "t61636d65"];
        for name in names {
            put(&conn, &tenant(name), memory("mesh", name, r#""shared word""#), 5);
        }
        for name in names {
            assert_eq!(keys(&conn, name, "shared", None, 100), [name]);
            assert_eq!(keys(&conn, name, "shared) OR tenant_token : t61", None, 100), [""; 0]);
        }
        assert!(keys(&conn, "acme", "t61636d652d31", None, 100).is_empty(), "a token cannot be asked for");
    }

    #[test]
    fn operators_and_odd_text_are_plain_words_or_nothing() {
        let conn = filled();
        let find = |query: &str| keys(&conn, "acme", query, None, 25);
        for nothing in [
            "",
            " ",
            "\0",
            "---",
            "*",
            "\"",
            "\"\"\"",
            "()",
            "🚀",
            "🦀 🦀",
            "NEAR(",
            "dawn OR",
            "key : dawn",
            "^",
        ] {
            assert!(find(nothing).is_empty(), "{nothing:?}");
        }
        assert_eq!(find("plan : dawn"), ["plan"]);
        assert_eq!(find("dawn *"), ["weather-report", "plan"]);
        assert_eq!(find("\"attack at"), ["plan"]);
        assert_eq!(find("dawn\0attack"), ["plan"]);
        assert_eq!(find("rocket 🚀"), ["emoji"]);
        assert!(find("daw*").is_empty(), "a star is no wildcard");
        assert!(find(&"dawn ".repeat(10_000)).len() == 2);
        assert!(find(&"d-".repeat(100_000)).is_empty());
    }

    #[test]
    fn a_prefix_narrows_and_the_text_is_what_was_searched() {
        let conn = filled();
        let found = |prefix: &str| {
            let looked = Looked { prefix: Some(prefix.into()), ..looked("dawn", None) };
            find(&conn, &tenant("acme"), &looked, 25, 5).unwrap()
        };
        assert_eq!(found("wea")[0].text, "weather-report Dawn is foggy, Zürich");
        assert_eq!(found("p").iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["plan"]);
        assert!(found("dawn").is_empty());
        put(&conn, &tenant("acme"), memory("mesh", "p\0q", "\"dawn\""), 5);
        assert_eq!(found("p\0")[0].text, "p\0q dawn");
        assert_eq!(beginning("aé".as_bytes()), "aé");
        assert_eq!(beginning(&"aé".as_bytes()[..2]), "a");
        assert_eq!(found("").len(), 3);
    }

    #[test]
    fn a_row_that_was_written_over_is_found_by_its_new_words_alone() {
        let conn = filled();
        put(&conn, &tenant("acme"), memory("mesh", "plan", "\"retreat\""), 6);
        assert!(keys(&conn, "acme", "attack", None, 25).is_empty());
        assert_eq!(keys(&conn, "acme", "retreat", None, 25), ["plan"]);
        assert_eq!(keys(&conn, "globex", "dawn", None, 25), ["plan"]);
    }

    #[test]
    fn new_rows_of_one_transaction_are_one_piece() {
        let conn = open_memory();
        let tx = conn.unchecked_transaction().unwrap();
        for n in 0..20 {
            put(&tx, &tenant("acme"), memory("mesh", &format!("k{n}"), "\"word\""), 6);
        }
        tx.commit().unwrap();
        assert_eq!(pieces(&conn), 1);
    }

    fn pieces(conn: &Connection) -> i64 {
        let level = "SELECT count(DISTINCT segid) FROM mesh_memory_fts_idx";
        conn.query_row(level, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_scattered_index_becomes_one_piece_and_finds_the_same() {
        let conn = filled();
        assert_eq!(scattered_up_to(&conn), Ok(None));
        for n in 0..SCATTERED {
            put(&conn, &tenant("acme"), memory("mesh", &format!("k{n}"), &format!("\"word{n}\"")), 6);
        }
        assert!(pieces(&conn) > 1);
        let newest = scattered_up_to(&conn).unwrap().unwrap();
        begin_merge(&conn).unwrap();
        while merge_some(&conn).unwrap() {}
        merged(&conn, newest).unwrap();
        assert_eq!((pieces(&conn), scattered_up_to(&conn)), (1, Ok(None)));
        assert_eq!(keys(&conn, "acme", "word77", None, 25), ["k77"]);
        assert_eq!(keys(&conn, "globex", "dawn", None, 25), ["plan"]);
        put(&conn, &tenant("acme"), memory("mesh", "k77", "\"other\""), 7);
        assert!(keys(&conn, "acme", "word77", None, 25).is_empty());
    }

    proptest! {
        #![proptest_config(Config::with_cases(512))]
        #[test]
        fn no_query_text_is_an_error_or_leaves_the_tenant(query in any::<String>(), glue in r#"[ "*()^:+\-{}A-Z\x00]{0,30}"#) {
            let conn = filled();
            for text in [query.clone(), glue.clone(), format!("{glue}dawn{query}"), format!("dawn {glue}")] {
                let hits = find(&conn, &tenant("globex"), &looked(&text, None), 100, 5).unwrap();
                prop_assert!(hits.iter().all(|hit| hit.text == "plan dawn belongs to globex"));
            }
        }
    }
}
