//! What an operator does with a store: copies, backups, exports, checks, and the plain client.

use crate::house::client::Request;
use crate::house::postgres::Postgres;
use crate::house::process::store_program;
use crate::house::store::{SECRET, Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

/// A node's public key.
const PUBLIC_KEY: &str = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";

/// Runs `mesh-store` in this folder to its end.
fn run(folder: &Path, args: &[&str], url: Option<&str>) -> Output {
    let mut command = Command::new(store_program());
    command.args(args).current_dir(folder).env("STORE_SECRET", SECRET).stdin(std::process::Stdio::null());
    if let Some(url) = url {
        command.env("MESH_DATABASE_URL", url);
    }
    command.output().unwrap()
}

/// What it printed, when it went well.
fn done(folder: &Path, args: &[&str], url: Option<&str>) -> String {
    let out = run(folder, args, url);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// What it said, when it did not.
fn refused(folder: &Path, args: &[&str]) -> String {
    let out = run(folder, args, None);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// A store with rows of two tenants, one written over, a skill; stopped again.
fn filled() -> Temp {
    let store = Store::start(Temp::new());
    for (tenant, count) in [("acme", 300), ("globex", 3)] {
        let client = caller(store.address(), tenant);
        for n in 0..count {
            let value = json!({"n": n, "text": format!("note \u{0} number {n}")});
            let body = json!({"scope": "mesh", "key": format!("k\u{1}{n}"), "value": value});
            client.send(&Request::put("/mesh/memory", body.to_string())).expect(200);
        }
        let body = json!({"scope": "mesh", "key": "k\u{1}0", "value": "written over"});
        client.send(&Request::put("/mesh/memory", body.to_string())).expect(200);
        let body = json!({"name": "review", "source_node": "ceo", "content": "a\u{0}b"});
        client.send(&Request::put("/mesh/skills", body.to_string())).expect(200);
        let admin = client.with("X-Credential-Scopes", "mesh:admin");
        for kid in ["old", "new"] {
            let body = json!({"public_key": PUBLIC_KEY, "kid": kid, "not_after": 4_000_000_000_u64});
            admin.put("/mesh/keys/ceo", body.to_string()).expect(200);
        }
    }
    store.kill()
}

#[test]
fn a_store_is_copied_to_a_server_and_back_with_everything_it_keeps() {
    let Some(server) = Postgres::start() else { return };
    let url = server.url();
    let folder = filled();
    let there =
        done(folder.path(), &["copy", "--from", "mesh.db", "--to", "env:MESH_DATABASE_URL"], Some(&url));
    assert!(there.contains("acme: 302 rows, 2 past versions, sha256 "), "{there}");
    // Once more: everything is there already, and stays as it is.
    let again =
        done(folder.path(), &["copy", "--from", "mesh.db", "--to", "env:MESH_DATABASE_URL"], Some(&url));
    assert_eq!(again, there);
    let back =
        done(folder.path(), &["copy", "--from", "env:MESH_DATABASE_URL", "--to", "back.db"], Some(&url));
    assert_eq!(back, there);
    assert_eq!(done(folder.path(), &["check", "--from", "back.db"], None), there);
    let store = Store::start_on(&server);
    let client = caller(store.address(), "acme");
    let row = client.get("/mesh/memory/mesh/k%01299").expect(200).json();
    assert_eq!(row["value"], json!({"n": 299, "text": "note \u{0} number 299"}));
    assert_eq!(client.get("/mesh/memory?q=299").expect(200).json()[0]["key"], "k\u{1}299");
    assert_eq!(client.get("/mesh/skills/review").expect(200).json()["content"], "a\u{0}b");
    assert_eq!(client.get("/mesh/keys/ceo").expect(200).json()["keys"][0]["kid"], "new");
}

#[test]
fn a_backup_of_a_store_in_use_is_whole_and_can_be_restored() {
    let store = Store::start(Temp::new());
    let client = caller(store.address(), "acme");
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let (client, stop) = (&client, &stop);
        let writer = scope.spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                let body = json!({"scope": "mesh", "key": n.to_string(), "value": n});
                client.send(&Request::put("/mesh/memory", body.to_string())).expect(200);
                n += 1;
            }
            n
        });
        until("some writes", SOON, || (client.get("/mesh/memory/mesh/50").status == 200).then_some(()));
        done(store.folder(), &["backup", "--from", "mesh.db", "--to", "backup.db"], None);
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(written > 50);
    assert!(
        refused(store.folder(), &["backup", "--from", "mesh.db", "--to", "backup.db"])
            .contains("there already")
    );
    assert!(
        refused(store.folder(), &["restore", "--from", "backup.db", "--to", "mesh.db"]).contains("is in use")
    );
    let folder = store.kill();
    let told = done(folder.path(), &["restore", "--from", "backup.db", "--to", "mesh.db"], None);
    assert!(told.contains("mesh.db.before-restore"), "{told}");
    let store = Store::start(folder);
    caller(store.address(), "acme").get("/mesh/memory/mesh/50").expect(200);
    let folder = store.kill();
    done(folder.path(), &["check", "--from", "mesh.db"], None);
    std::fs::write(folder.path().join("mesh.db"), vec![7_u8; 100_000]).unwrap();
    assert!(!run(folder.path(), &["check", "--from", "mesh.db"], None).status.success());
}

#[test]
fn an_export_comes_back_whole_or_is_refused() {
    let folder = filled();
    done(folder.path(), &["export", "--from", "mesh.db", "--output", "all.ndjson"], None);
    done(folder.path(), &["import", "--to", "new.db", "all.ndjson"], None);
    let (one, other) = (
        done(folder.path(), &["check", "--from", "mesh.db"], None),
        done(folder.path(), &["check", "--from", "new.db"], None),
    );
    assert_eq!(one, other);
    let text = std::fs::read_to_string(folder.path().join("all.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    folder.write("cut.ndjson", lines[..lines.len() - 1].join("\n"));
    assert!(refused(folder.path(), &["import", "--to", "cut.db", "cut.ndjson"]).contains("cut off"));
    folder.write("changed.ndjson", text.replace("written over", "written under"));
    assert!(
        refused(folder.path(), &["import", "--to", "changed.db", "changed.ndjson"]).contains("sums differ")
    );
    folder.write("odd.ndjson", "{\"row\":7}\n");
    assert!(refused(folder.path(), &["import", "--to", "odd.db", "odd.ndjson"]).contains("line 1: "));
    let told = done(folder.path(), &["tenants", "--from", "mesh.db"], None);
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..4], ["acme", "300", "1", "1"], "{told}");
    let told = done(folder.path(), &["tenants", "--from", "mesh.db", "--json"], None);
    let first: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!((&first["tenant"], &first["versions"]), (&json!("acme"), &json!(2)));
    assert!(refused(folder.path(), &["tenants", "--from", "none.db"]).contains("is not there"));
}

#[test]
fn what_a_stores_rules_refuse_does_not_come_in_by_a_copy_or_an_import() {
    let store = Store::start(Temp::new());
    let token = format!("ghp_{}", "a1B2".repeat(9));
    for value in [json!(token), json!("written over")] {
        let body = json!({"scope": "mesh", "key": "k", "value": value}).to_string();
        caller(store.address(), "acme").put("/mesh/memory", body).expect(200);
    }
    let folder = store.kill();
    for (name, guard) in [("on.yaml", "on"), ("off.yaml", "off")] {
        let text = format!("listen: unix:s\ndatabase: to.db\nrules: {{ secret_guard: {guard} }}\n");
        folder.write(name, text);
    }
    done(folder.path(), &["export", "--from", "mesh.db", "--output", "all.ndjson"], None);
    let (copy, import) =
        (["copy", "--from", "mesh.db", "--to", "to.db", "--config"], ["import", "--to", "to.db", "--config"]);
    let mut told = refused(folder.path(), &[&copy[..], &["on.yaml"]].concat());
    told += &refused(folder.path(), &[&import[..], &["on.yaml", "all.ndjson"]].concat());
    assert_eq!(
        told.matches("acme: the memory mesh/k looks like a secret (github-token)").count(),
        2,
        "{told}"
    );
    assert!(told.contains("line 1: ") && !told.contains(&token), "{told}");
    assert_eq!(done(folder.path(), &["tenants", "--from", "to.db", "--json"], None), "");
    done(folder.path(), &[&import[..], &["off.yaml", "all.ndjson"]].concat(), None);
    done(folder.path(), &[&copy[..], &["off.yaml"]].concat(), None);
}

#[test]
fn vectors_can_be_made_before_the_store_is_started() {
    let folder = filled();
    // A copy comes without vectors.
    done(folder.path(), &["copy", "--from", "mesh.db", "--to", "copy.db"], None);
    folder.write("store.yaml", "listen: unix:s\ndatabase: copy.db\n");
    let told = done(folder.path(), &["backfill", "--config", "store.yaml"], None);
    assert!(told.contains("acme: 300 rows looked at, builtin:hashing-1"), "{told}");
    let again = done(folder.path(), &["backfill", "--config", "store.yaml"], None);
    assert!(again.contains("acme: 0 rows looked at"), "{again}");
    folder.write("none.yaml", "listen: unix:s\ndatabase: copy.db\nembeddings: { source: none }\n");
    assert!(refused(folder.path(), &["backfill", "--config", "none.yaml"]).contains("there are no vectors"));
}

#[test]
fn the_client_reads_writes_lists_and_searches_for_people_and_for_scripts() {
    let store = Store::start(Temp::new());
    let url = format!("http://{}", store.address());
    let door = ["--url", &url, "--secret-env", "STORE_SECRET", "--tenant", "acme"];
    let ask = |command: &[&str]| {
        let args: Vec<&str> = command[..1].iter().chain(&door).chain(&command[1..]).copied().collect();
        done(store.folder(), &args, None)
    };
    ask(&["put", "mesh", "plan/a", "attack at dawn"]);
    ask(&["put", "mesh", "number", "42", "--node", "ceo"]);
    assert_eq!(ask(&["get", "mesh", "plan/a"]), "attack at dawn\n");
    assert_eq!(ask(&["get", "mesh", "number"]), "42\n");
    let row: serde_json::Value = serde_json::from_str(&ask(&["get", "mesh", "number", "--json"])).unwrap();
    assert_eq!((&row["value"], &row["node_id"]), (&json!(42), &json!("ceo")));
    let list = ask(&["list", "--scope", "mesh"]);
    assert!(list.starts_with("scope  key") && list.contains("attack at dawn"), "{list}");
    assert_eq!(ask(&["search", "dawn"]), "mesh plan/a\n    plan/a attack at dawn\n");
    let hits: serde_json::Value = serde_json::from_str(&ask(&["search", "dawn", "--json"])).unwrap();
    assert_eq!(hits[0]["snippet"], "plan/a attack at dawn");
    let told = ask(&["watch", "--since", "0", "--count", "2"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].ends_with("put      mesh plan/a  attack at dawn"), "{told}");
    let change: serde_json::Value =
        serde_json::from_str(&ask(&["watch", "--since", "1", "--count", "1", "--json"])).unwrap();
    assert_eq!((&change["change"], &change["key"]), (&json!(2), &json!("number")));
    let args: Vec<&str> = ["get"].iter().chain(&door).chain(&["mesh", "none"]).copied().collect();
    assert!(refused(store.folder(), &args).contains("404 Not Found: Not found"));
    assert!(
        refused(store.folder(), &["get", "--url", &url, "mesh", "none"])
            .contains("MESH_STORE_KEY is not set")
    );
}

#[test]
fn an_admin_changes_a_nodes_keys_from_the_command_line() {
    let store = Store::start(Temp::new());
    let url = format!("http://{}", store.address());
    let door = ["--url", &url, "--secret-env", "STORE_SECRET", "--tenant", "acme"];
    let full = |command: &[&'static str]| -> Vec<String> {
        let (what, rest) = command.split_at(1);
        ["keys"].iter().chain(what).chain(&door).chain(rest).map(ToString::to_string).collect()
    };
    let ask = |command: &[&'static str]| {
        let args = full(command);
        done(store.folder(), &args.iter().map(String::as_str).collect::<Vec<_>>(), None)
    };
    let no = |command: &[&'static str]| {
        let args = full(command);
        refused(store.folder(), &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let write = |name: &str, text: &str| std::fs::write(store.folder().join(name), text).unwrap();
    write("old.pub", PUBLIC_KEY);
    write("new.pub", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n");
    write(
        "private.pem",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n",
    );
    assert_eq!(
        ask(&["put", "ceo", "--public-key", "old.pub"]),
        "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U\n"
    );
    ask(&["put", "ceo", "--public-key", "old.pub", "--kid", "old", "--not-after", "2027-06-30"]);
    let both = ask(&["put", "ceo", "--public-key", "new.pub", "--kid", "new", "--not-before", "2027-06-01"]);
    assert_eq!(both, "old\nnew\n");
    let list = ask(&["list"]);
    assert!(list.contains("ceo   old  -                     2027-07-01T00:00:00Z  JrQLj5P/"), "{list}");
    assert!(list.contains("ceo   new  2027-06-01T00:00:00Z  -                     11qYAYKx"), "{list}");
    let rows: serde_json::Value = serde_json::from_str(&ask(&["list", "--json"])).unwrap();
    assert_eq!(rows[0]["keys"][1]["kid"], "new");
    assert!(no(&["put", "ceo", "--public-key", "private.pem"]).contains("a private key stands here"));
    assert!(no(&["delete", "ceo", "--kid", "none"]).contains("no such key"));
    ask(&["delete", "ceo", "--kid", "old"]);
    assert_eq!(ask(&["put", "ceo", "--public-key", "old.pub", "--kid", "again", "--replace"]), "again\n");
    ask(&["delete", "ceo"]);
    assert_eq!(ask(&["list"]).lines().count(), 1);
}
