//! What the store has confirmed is kept, whatever happens to the process; what it finds, it carries forward.

use crate::house::client::{Client, Request};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX};
use crate::house::site::Site;
use crate::house::store::{Store, Unready, caller};
use crate::house::temp::Temp;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes until the store is gone; the numbers of all writes that were answered 200.
fn write_until_the_end(client: &Client, writer: usize, count: &AtomicUsize) -> Vec<usize> {
    let mut kept = Vec::new();
    for at in 0.. {
        let body = json!({"scope": "mesh", "key": format!("w{writer}/{at}"), "value": {"at": at}});
        match client.try_send(&Request::put("/mesh/memory", body.to_string())) {
            Ok(answer) if answer.status == 200 => kept.push(at),
            Ok(_) | Err(_) => return kept,
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    kept
}

/// Kills the program when enough writes have been confirmed, and returns what was confirmed.
fn kill_under_writes(client: &Client, kill: impl FnOnce() -> Temp + Send) -> (Temp, Vec<Vec<usize>>) {
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let count = &count;
        let writers: Vec<_> =
            (0..4).map(|writer| scope.spawn(move || write_until_the_end(client, writer, count))).collect();
        crate::house::wait::until("enough writes", crate::house::wait::SOON, || {
            (count.load(Ordering::Relaxed) > 300).then_some(())
        });
        let folder = kill();
        (folder, writers.into_iter().map(|writer| writer.join().unwrap()).collect())
    })
}

fn all_there(client: &Client, kept: &[Vec<usize>]) {
    for (writer, numbers) in kept.iter().enumerate() {
        for at in numbers {
            let answer = client.get(&format!("/mesh/memory/mesh/w{writer}%2F{at}"));
            assert_eq!(answer.status, 200, "a confirmed write is lost: w{writer}/{at}");
            assert_eq!(answer.json()["value"]["at"], *at);
        }
    }
}

#[test]
fn every_write_that_the_store_confirmed_is_there_after_a_kill() {
    let mut folder = Temp::new();
    for _ in 0..3 {
        let store = Store::start(folder);
        let client = caller(store.address(), "acme");
        let kept;
        (folder, kept) = kill_under_writes(&client, || store.kill());
        let store = Store::start(folder);
        all_there(&caller(store.address(), "acme"), &kept);
        folder = store.kill();
    }
}

#[test]
fn every_write_that_the_edge_confirmed_is_there_after_a_kill() {
    let site = Site::new().embedded_store();
    let edge = Edge::start(&site);
    let client = edge.caller(ACME);
    let (folder, kept) = kill_under_writes(&client, || edge.kill());
    let edge = Edge::start_in(folder, &site);
    all_there(&edge.caller(ACME), &kept);
    edge.caller(ACME).get("/mesh/memory?q=w1&limit=5").expect(200);
}

/// A database as the existing store leaves it, with another program's tables in the same file.
fn existing_database(folder: &Temp) {
    let database = Connection::open(folder.path().join("mesh.db")).unwrap();
    let schema = "
        CREATE TABLE mesh_memory (id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, key TEXT NOT NULL,
            value TEXT NOT NULL, node_id TEXT NOT NULL, updated_at INTEGER NOT NULL, UNIQUE(scope, key));
        CREATE VIRTUAL TABLE mesh_memory_fts USING fts5(scope, key, content, tokenize='unicode61');
        CREATE TABLE mesh_skills (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
            source_node TEXT NOT NULL, content TEXT, path TEXT, updated_at INTEGER NOT NULL);
        CREATE TABLE army_registry (id TEXT PRIMARY KEY, rank TEXT);
        CREATE TABLE army_orders (order_id TEXT PRIMARY KEY, status TEXT);
        INSERT INTO army_registry VALUES ('ceo', 'general');
        INSERT INTO army_orders VALUES ('o-1', 'open');
        INSERT INTO mesh_skills (name, source_node, content, path, updated_at) VALUES
            ('triage', 'sec', '# Triage', NULL, 1739000000), ('deploy', 'ceo', NULL, '/deploy.md', 1739000001);";
    database.execute_batch(schema).unwrap();
    for at in 0..250 {
        let (key, value) =
            (format!("pref/{at}"), json!({"drink": format!("espresso{at}"), "list": [at]}).to_string());
        let stamp = 1_739_000_000 + at;
        database
            .execute("INSERT INTO mesh_memory (scope, key, value, node_id, updated_at) VALUES ('mesh', ?1, ?2, 'ceo', ?3)", (&key, &value, stamp))
            .unwrap();
        database
            .execute(
                "INSERT INTO mesh_memory_fts (scope, key, content) VALUES ('mesh', ?1, ?2)",
                (&key, format!("{key} espresso{at}")),
            )
            .unwrap();
    }
}

fn check_existing(client: &Client) {
    let rows = client.get("/mesh/memory?scope=mesh").expect(200).json();
    let rows = rows.as_array().expect("a bare array");
    assert_eq!(rows.len(), 250);
    assert_eq!(rows[0]["key"], "pref/249", "the newest is first");
    let row = client.get("/mesh/memory/mesh/pref%2F7").expect(200).json();
    let expected = json!({"scope": "mesh", "key": "pref/7", "value": {"drink": "espresso7", "list": [7]}, "node_id": "ceo", "updated_at": 1_739_000_007});
    assert_eq!(row, expected);
    let hits = client.get("/mesh/memory?q=espresso42").expect(200).json();
    assert_eq!((hits.as_array().map(Vec::len), &hits[0]["key"]), (Some(1), &json!("pref/42")));
    let skills = client.get("/mesh/skills").expect(200).json();
    assert_eq!((skills[0]["name"].as_str(), skills[1]["name"].as_str()), (Some("deploy"), Some("triage")));
    assert_eq!(client.get("/mesh/skills/deploy").expect(200).json()["path"], "/deploy.md");
}

#[test]
fn an_existing_database_opens_in_place_and_belongs_to_the_tenant_it_is_given() {
    let folder = Temp::new();
    existing_database(&folder);
    let site = Site::new()
        .upstream_entry("store", "embedded: { database: \"$FOLDER/mesh.db\", legacy_tenant: acme }")
        .store_routes();
    let edge = Edge::start_in(folder, &site);
    check_existing(&edge.caller(ACME));
    assert_eq!(edge.caller(GLOBEX).get("/mesh/memory").expect(200).json(), json!([]));
    assert_eq!(edge.caller(GLOBEX).get("/mesh/skills").expect(200).json(), json!([]));
    edge.caller(GLOBEX)
        .put("/mesh/memory", r#"{"scope":"mesh","key":"pref/7","value":"globex's"}"#)
        .expect(200);
    let row = edge.caller(ACME).put("/mesh/memory", r#"{"scope":"mesh","key":"new","value":"cappuccino"}"#);
    row.expect(200);
    let edge = Edge::start_in(edge.kill(), &site);
    let acme = edge.caller(ACME);
    assert_eq!(acme.get("/mesh/memory/mesh/pref%2F7").expect(200).json()["value"]["drink"], "espresso7");
    assert_eq!(acme.get("/mesh/memory?q=cappuccino").expect(200).json()[0]["key"], "new");
    let folder = edge.kill();
    let database = Connection::open(folder.path().join("mesh.db")).unwrap();
    let army: (String, String) = database
        .query_row("SELECT r.rank, o.status FROM army_registry r, army_orders o", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(army, ("general".to_owned(), "open".to_owned()), "another program's tables were touched");
}

#[test]
fn a_value_that_the_existing_store_wrote_reads_as_it_did_there() {
    let folder = Temp::new();
    existing_database(&folder);
    {
        let database = Connection::open(folder.path().join("mesh.db")).unwrap();
        for (key, value) in [("number", "42"), ("text", "\"hello\""), ("list", "[1,2]"), ("null", "null")] {
            database
                .execute("INSERT INTO mesh_memory (scope, key, value, node_id, updated_at) VALUES ('node', ?1, ?2, 'ceo', 1)", (key, value))
                .unwrap();
        }
    }
    let site = Site::new()
        .upstream_entry("store", "embedded: { database: \"$FOLDER/mesh.db\", legacy_tenant: acme }")
        .store_routes();
    let edge = Edge::start_in(folder, &site);
    let value = |key: &str| -> Value {
        edge.caller(ACME).get(&format!("/mesh/memory/node/{key}")).expect(200).json()["value"].clone()
    };
    assert_eq!(
        (value("number"), value("text"), value("list"), value("null")),
        (json!(42), json!("hello"), json!([1, 2]), json!(null))
    );
}

/// Rows of a database that takes a while to carry over.
const MANY: i64 = 12_000;

/// An existing database with so many rows that carrying it over writes megabytes before it is done.
fn large_existing_database(folder: &Temp) {
    existing_database(folder);
    let mut database = Connection::open(folder.path().join("mesh.db")).unwrap();
    let tx = database.transaction().unwrap();
    for at in 0..MANY {
        let value = json!({"at": at, "text": format!("word{at} {}", "filler ".repeat(60))}).to_string();
        let row = (format!("large/{at}"), value, 1_738_000_000 + at);
        tx.execute(
            "INSERT INTO mesh_memory (scope, key, value, node_id, updated_at) VALUES ('node', ?1, ?2, 'cto', ?3)",
            row,
        )
        .unwrap();
    }
    tx.commit().unwrap();
}

/// Whether the tables are the existing store's still; and then they are whole.
fn is_untouched(folder: &Temp) -> bool {
    let database = Connection::open(folder.path().join("mesh.db")).unwrap();
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    if version > 0 {
        return false;
    }
    let ask = |text: &str| database.query_row(text, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(ask("SELECT count(*) FROM mesh_memory"), 250 + MANY);
    assert_eq!(ask("SELECT count(*) FROM mesh_memory_fts"), 250);
    assert_eq!(ask("SELECT count(*) FROM mesh_skills"), 2);
    true
}

#[test]
fn a_migration_that_was_killed_begins_anew_and_loses_nothing() {
    let mut folder = Temp::new();
    large_existing_database(&folder);
    let mut killed_within = 0;
    // Killed when it has written so much of the new tables, none of it committed.
    for megabytes in [1, 4, 8, 2] {
        let wal = folder.path().join("mesh.db-wal");
        let unready = Unready::start(folder);
        crate::house::wait::until("part of the migration", 3 * crate::house::wait::SOON, || {
            let written = std::fs::metadata(&wal).map_or(0, |file| file.len());
            (written > megabytes << 20 || unready.is_ready()).then_some(())
        });
        folder = unready.kill();
        if !is_untouched(&folder) {
            break;
        }
        killed_within += 1;
    }
    assert!(killed_within > 0, "no kill came before the migration was done");
    // Two at once over one file, and then again: one carries it over, all find it done.
    for _ in 0..2 {
        let first = Unready::start(folder);
        let second = Store::start_over(first.folder());
        let client = caller(second.address(), "default");
        check_existing_among(&client);
        drop(second);
        folder = first.kill();
    }
}

/// The rows of the small database, and the many beside them.
fn check_existing_among(client: &Client) {
    check_existing(client);
    let mut path = "/mesh/memory?scope=node&order=key&limit=1000".to_owned();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let page = client.get(&path).expect(200);
        for row in page.json().as_array().unwrap() {
            let at = row["value"]["at"].as_i64().unwrap();
            assert_eq!(row["key"], format!("large/{at}"));
            assert_eq!(row["updated_at"], 1_738_000_000 + at);
            seen.insert(at);
        }
        let Some(cursor) = page.field("mesh-next-cursor") else { break };
        path = format!("/mesh/memory?scope=node&limit=1000&cursor={cursor}");
    }
    assert_eq!(i64::try_from(seen.len()), Ok(MANY));
    let found = client.get("/mesh/memory?q=word11999").expect(200).json();
    assert_eq!(found[0]["key"], "large/11999");
}
