//! What an operator's `rules` do to a store, over a file and over PostgreSQL, and its listener for metrics.

use crate::house::client::{Client, Request};
use crate::house::edge::{Edge, admin};
use crate::house::keys::{ACME, GLOBEX};
use crate::house::parts::program;
use crate::house::postgres::Postgres;
use crate::house::process::{free_address, store_program};
use crate::house::site::Site;
use crate::house::store::{Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::{Value, json};
use std::process::Command;

const RULES: &str = "\
rules:
  sweep_every: 1s
  history: 3
  feed_entries: 40
  max_rows: 20
  max_key: 64
  max_value: 1KiB
  ttl: { \"brief:*\": 1s }
  tenants:
    acme: { require_match: true, secret_guard: on }
    globex: { max_rows: 5, max_bytes: 200 }
";

fn memory(scope: &str, key: &str, value: &Value) -> Value {
    json!({"scope": scope, "key": key, "value": value, "node_id": "n"})
}

fn put(client: &Client, row: &Value) -> u16 {
    client.send(&Request::put("/mesh/memory", row.to_string())).status
}

/// All of a tenant's feed, to where it has come.
fn feed(client: &Client) -> Vec<Value> {
    let (mut all, mut since) = (Vec::new(), json!(0));
    loop {
        let told = client.get(&format!("/mesh/changes?since={since}")).expect(200).json();
        let changes = told["changes"].as_array().expect("a list").clone();
        if changes.is_empty() {
            return all;
        }
        all.extend(changes);
        since = told["next"].clone();
    }
}

/// What each rule does; `others` are more stores over the same database.
fn hold(store: &Store, others: &[&Store]) {
    let of = |tenant: &str| caller(store.address(), tenant);
    let (acme, globex, initech) = (of("acme"), of("globex"), of("initech"));
    // Conditions.
    let row = memory("mesh", "k", &json!(1));
    assert_eq!(put(&acme, &row), 428);
    let made =
        acme.send(&Request::put("/mesh/memory", row.to_string()).field("If-None-Match", "*")).expect(200);
    assert_eq!(acme.send(&Request::new("DELETE", "/mesh/memory/mesh/k")).status, 428);
    let delete = Request::new("DELETE", "/mesh/memory/mesh/k").field("If-Match", made.field("etag").unwrap());
    acme.send(&delete).expect(200);
    // Secrets.
    let key = format!("-----BEGIN {} KEY-----", "PRIVATE");
    let secret = memory("mesh", "pem", &json!(key)).to_string();
    let told =
        acme.send(&Request::put("/mesh/memory", secret.clone()).field("If-None-Match", "*")).expect(422);
    assert_eq!(
        (&told.json()["code"], &told.json()["pattern"]),
        (&json!("secret_found"), &json!("private-key"))
    );
    globex.send(&Request::put("/mesh/memory", secret)).expect(200);
    globex.send(&Request::new("DELETE", "/mesh/memory/mesh/pem?purge=1")).expect(200);
    // Sizes, and how many: exact, also when many ask at once.
    assert_eq!(put(&globex, &memory("mesh", &"k".repeat(65), &json!(1))), 413);
    assert_eq!(put(&globex, &memory("mesh", "k", &json!("v".repeat(1023)))), 413);
    assert_eq!(put(&globex, &memory("mesh", "k", &json!("v".repeat(200)))), 507);
    let kept: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|n| {
                let client = globex.clone();
                scope.spawn(move || {
                    usize::from(put(&client, &memory("mesh", &format!("w{n}"), &json!(n))) == 200)
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(kept, 5);
    let skill = json!({"name": "s", "source_node": "n", "content": "é\u{0}\u{1}"}).to_string();
    let told = globex.send(&Request::put("/mesh/skills", skill.clone())).expect(507);
    assert_eq!(told.json()["code"], "too_many_rows");
    initech.send(&Request::put("/mesh/skills", skill)).expect(200);
    let usage = globex.get("/mesh/usage").expect(200).json();
    assert_eq!((&usage["memory"], &usage["limits"]["rows"]), (&json!({"rows": 5, "bytes": 40}), &json!(5)));
    let usage = initech.get("/mesh/usage").expect(200).json();
    assert_eq!((&usage["skill"], &usage["bytes"]), (&json!({"rows": 1, "bytes": 6}), &json!(6)));
    assert_eq!((&usage["limits"]["bytes"], &usage["limits"]["rows"]), (&Value::Null, &json!(20)));
    ends(&initech);
    bounds(&initech);
    for other in others {
        let told = caller(other.address(), "initech").get("/mesh/usage").expect(200).json();
        assert_eq!(told, initech.get("/mesh/usage").expect(200).json());
    }
}

/// Rows end, and the feed tells of each end once, however many stores sweep.
fn ends(client: &Client) {
    for n in 0..8 {
        assert_eq!(put(client, &memory("brief:x", &format!("e{n}"), &json!("ends"))), 200);
    }
    until("the sweep", SOON, || (client.get("/mesh/usage").json()["memory"]["rows"] == 0).then_some(()));
    assert_eq!(client.get("/mesh/memory").expect(200).json(), json!([]));
    assert_eq!(client.get("/mesh/memory?q=ends").expect(200).json(), json!([]));
    let mut ended: Vec<String> = feed(client)
        .iter()
        .filter(|change| change["action"] == "expire")
        .map(|change| change["key"].as_str().expect("a key").to_owned())
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, (0..8).map(|n| format!("e{n}")).collect::<Vec<_>>());
    let past = client.get("/mesh/memory/brief%3Ax/e0/history").expect(200).json();
    assert_eq!(past["versions"][0]["action"], "expire");
}

/// The past and the feed are as long as they may be, and who comes from too far back is told so.
fn bounds(client: &Client) {
    for n in 0..60 {
        assert_eq!(put(client, &memory("mesh", "much", &json!(n))), 200);
    }
    let past = client.get("/mesh/memory/mesh/much/history").expect(200).json();
    assert_eq!(past["versions"].as_array().expect("versions").len(), 4);
    until("the feed to be trimmed", SOON, || {
        let changes = client.get("/mesh/usage").json()["changes"].clone();
        let [last, trimmed] = ["last", "trimmed_up_to"].map(|name| changes[name].as_i64());
        (last? - trimmed? == 40).then_some(())
    });
    let told = client.get("/mesh/changes?since=1").expect(200).json();
    assert_eq!((&told["reset"], &told["changes"]), (&json!(true), &json!([])));
    let since = told["next"].as_i64().expect("a number") - 40;
    let told = client.get(&format!("/mesh/changes?since={since}")).expect(200).json();
    assert_eq!((&told["reset"], told["changes"].as_array().map(Vec::len)), (&json!(false), Some(40)));
}

#[test]
fn a_store_over_a_file_keeps_the_operators_rules() {
    hold(&Store::start_with(Temp::new(), None, RULES), &[]);
}

#[test]
fn two_stores_over_one_postgresql_keep_the_operators_rules_together() {
    let Some(server) = Postgres::start() else { return };
    let start = || Store::start_with(Temp::new(), Some(&server), RULES);
    let (one, other) = (start(), start());
    hold(&one, &[&other]);
}

#[test]
fn the_store_inside_the_edge_keeps_them_too() {
    let rules = "embedded: { database: \"$FOLDER/mesh.db\", rules: { secret_guard: on, tenants: { acme: { max_rows: 1 } } } }";
    let edge = Edge::start(&Site::new().upstream_entry("store", rules).store_routes());
    let row = |key: &str, value: &Value| memory("mesh", key, value).to_string();
    edge.caller(ACME).put("/mesh/memory", row("a", &json!(1))).expect(200);
    let full = edge.caller(ACME).put("/mesh/memory", row("b", &json!(1))).expect(507);
    assert_eq!(full.json()["code"], "too_many_rows");
    let token = format!("npm_{}", "a1B2".repeat(9));
    let refused = edge.caller(GLOBEX).put("/mesh/memory", row("b", &json!(token))).expect(422);
    assert_eq!(refused.json()["pattern"], "npm-token");
    assert!(!edge.all_output().contains(&token));
    let usage = edge.caller(ACME).get("/mesh/usage").expect(200).json();
    assert_eq!((&usage["rows"], &usage["limits"]["rows"]), (&json!(1), &json!(1)));
    let metrics = edge.metrics();
    assert!(metrics.sum("mesh_store_secrets_refused_total", &[("pattern", "npm-token")]) > 0.0);
    // Other rules with the edge's reload.
    let rules = rules.replace("secret_guard: on", "secret_guard: off").replace("max_rows: 1", "max_rows: 2");
    edge.reload(&Site::new().upstream_entry("store", &rules).store_routes());
    edge.caller(GLOBEX).put("/mesh/memory", row("b", &json!(token))).expect(200);
    edge.caller(ACME).put("/mesh/memory", row("b", &json!(1))).expect(200);
    edge.caller(ACME).put("/mesh/memory", row("c", &json!(1))).expect(507);
    assert!(!edge.all_output().contains("with the next start"));
}

/// Rules of before, and after.
const FREE: &str = "rules: { sweep_every: 1s }";
const BOUND: &str = "rules: { sweep_every: 1s, tombstones: 2, secret_guard: on }";

/// Rows go, a bound on what is remembered of them comes with SIGHUP, and a mistake changes nothing.
fn follow_the_config(store: &Store) {
    let client = caller(store.address(), "acme");
    for key in ["a", "b", "c", "d"] {
        assert_eq!(put(&client, &memory("mesh", key, &json!(key))), 200);
    }
    for key in ["c", "a", "d"] {
        client.send(&Request::new("DELETE", &format!("/mesh/memory/mesh/{key}"))).expect(200);
    }
    let past = |key: &str| client.get(&format!("/mesh/memory/mesh/{key}/history")).status;
    let secret = memory("mesh", "pem", &json!(format!("-----BEGIN {} KEY-----", "PRIVATE")));
    assert_eq!((past("c"), past("a"), put(&client, &secret)), (200, 200, 200));
    store.reload(FREE, "rules: { sweep_every: 1s, tombstone: 2 }", "the new config is refused");
    assert_eq!(put(&client, &secret), 200);
    store.reload("rules: { sweep_every: 1s, tombstone: 2 }", BOUND, "its rules are in force");
    assert_eq!(put(&client, &secret), 422);
    until("the oldest to be forgotten", SOON, || (past("c") == 404).then_some(()));
    assert_eq!((past("a"), past("d"), past("b")), (200, 200, 200));
    let again = client.send(&Request::put("/mesh/memory", memory("mesh", "c", &json!(1)).to_string()));
    assert!(again.expect(200).field("etag").unwrap().starts_with("\"v1."), "its versions begin anew");
    assert_eq!(client.get("/mesh/usage").expect(200).json()["limits"]["tombstones"], 2);
}

#[test]
fn a_store_over_a_file_takes_new_rules_while_it_runs() {
    follow_the_config(&Store::start_with(Temp::new(), None, FREE));
}

#[test]
fn a_store_over_postgresql_takes_new_rules_while_it_runs() {
    let Some(server) = Postgres::start() else { return };
    follow_the_config(&Store::start_with(Temp::new(), Some(&server), FREE));
}

#[test]
fn a_store_alone_tells_its_metrics_where_the_config_says() {
    let metrics = free_address();
    let store =
        Store::start_with(Temp::new(), None, &format!("metrics: {{ listen: \"{metrics}\" }}\n{RULES}"));
    let client = caller(store.address(), "initech");
    assert_eq!(put(&client, &memory("brief:x", "a", &json!(1))), 200);
    let text = until("the sweep in the metrics", SOON, || {
        let text = admin(metrics, "/metrics").expect("the listener answers").body;
        text.contains("mesh_store_swept_total{what=\"rows\"} 1").then_some(text)
    });
    for line in [
        "mesh_store_operations_total{operation=\"memory_put\",outcome=\"done\"} 1",
        "mesh_store_sweep_failures_total 0",
        "mesh_store_build_info{version=",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("openclaw_edge_") && !text.contains("initech"), "{text}");
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/mesh/memory", 404), ("/", 404)] {
        assert_eq!(admin(metrics, path).expect("an answer").status, status, "{path}");
    }
    assert!(admin(store.address(), "/metrics").is_none_or(|answer| answer.status == 404));
    promtool_reads(&text);
}

fn promtool_reads(text: &str) {
    use std::io::Write as _;
    use std::process::Stdio;
    let Some(promtool) = program("promtool") else { return };
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = check.spawn().expect("promtool can be started");
    child.stdin.take().expect("stdin is a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_mistake_in_the_rules_is_told_with_its_place() {
    let folder = Temp::new();
    let text =
        "listen: unix:s\ndatabase: mesh.db\nrules: { max_value: 9MiB, ttl: { \"a*b\": 1d }, maxrows: 1 }\n";
    let config = folder.write("store.yaml", text);
    let out = Command::new(store_program()).arg("run").arg("--config").arg(config).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr);
    for place in ["store.yaml:3:21: ", "store.yaml:3:34: ", "store.yaml:3:47: "] {
        assert!(told.contains(place), "{place}: {told}");
    }
    assert!(told.contains("max_rows"), "{told}");
}
