//! The mesh store through the edge: every row of the contract that existing nodes rely on.

use crate::house::client::{Client, Request};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, READER};
use crate::house::site::Site;
use crate::house::store::{SECRET, Store, caller};
use crate::house::temp::Temp;
use serde_json::{Value, json};

fn edge() -> Edge {
    Edge::start(&Site::new().embedded_store())
}

#[track_caller]
fn put(client: &Client, scope: &str, key: &str, value: &Value) -> Value {
    let body = json!({"scope": scope, "key": key, "value": value, "node_id": "ceo"});
    client.put("/mesh/memory", body.to_string()).expect(200).json()
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().expect("a bare array").iter().map(|row| row["key"].as_str().expect("a key")).collect()
}

#[test]
fn health_says_whether_the_database_is_there() {
    let edge = edge();
    let answer = edge.client().get("/health").expect(200).json();
    assert_eq!(answer, json!({"ok": true, "service": "openclaw-mesh-store-api", "storeAvailable": true}));
}

#[test]
fn a_memory_that_was_put_is_answered_as_a_row_and_read_back_equal() {
    let edge = edge();
    let acme = edge.caller(ACME);
    let value = json!({"b": [1, 2.5, null], "a": {"z": "é", "10": true}});
    let row = put(&acme, "mesh", "user.preferences", &value);
    let stamp = row["updated_at"].as_i64().expect("Unix seconds");
    assert!(stamp > 1_700_000_000);
    let expected = json!({"scope": "mesh", "key": "user.preferences", "value": value, "node_id": "ceo", "updated_at": stamp});
    assert_eq!(row, expected);
    assert_eq!(acme.get("/mesh/memory/mesh/user.preferences").expect(200).json(), expected);
    assert_eq!(acme.get("/mesh/memory?scope=mesh").expect(200).json(), json!([expected]));
}

#[test]
fn values_come_back_as_the_json_that_was_put() {
    let edge = edge();
    let acme = edge.caller(ACME);
    let values = [
        json!("42"),
        json!(42),
        json!(null),
        json!(""),
        json!("{\"a\":1}"),
        json!([]),
        json!(false),
        json!(1.5),
    ];
    for (at, value) in values.iter().enumerate() {
        let key = format!("k{at}");
        if value.is_null() {
            continue;
        }
        assert_eq!(&put(&acme, "mesh", &key, value)["value"], value);
        assert_eq!(&acme.get(&format!("/mesh/memory/mesh/{key}")).expect(200).json()["value"], value);
    }
}

#[test]
fn putting_twice_replaces_and_the_list_has_the_newest_first() {
    let edge = edge();
    let acme = edge.caller(ACME);
    put(&acme, "mesh", "first", &json!(1));
    put(&acme, "mesh", "second", &json!(2));
    put(&acme, "node", "elsewhere", &json!(3));
    put(&acme, "mesh", "first", &json!(4));
    let rows = acme.get("/mesh/memory?scope=mesh").expect(200).json();
    let mut keys = names(&rows);
    keys.sort_unstable();
    assert_eq!(keys, ["first", "second"]);
    let stamps: Vec<i64> =
        rows.as_array().unwrap().iter().map(|row| row["updated_at"].as_i64().unwrap()).collect();
    assert!(stamps.is_sorted_by(|newer, older| newer >= older), "{rows}");
    assert_eq!(acme.get("/mesh/memory/mesh/first").expect(200).json()["value"], 4);
    assert_eq!(names(&acme.get("/mesh/memory").expect(200).json()).len(), 3);
    assert_eq!(acme.get("/mesh/memory?scope=none").expect(200).json(), json!([]));
}

#[test]
fn the_node_that_calls_is_not_needed_in_the_body() {
    let edge = edge();
    let body = r#"{"scope":"mesh","key":"k","value":1}"#;
    let row = edge.caller(ACME).put("/mesh/memory", body).expect(200).json();
    assert!(matches!(row["node_id"].as_str(), Some("unknown" | "ceo")), "{row}");
}

#[test]
fn a_key_may_hold_slashes_and_anything_else_when_it_is_encoded() {
    let edge = edge();
    let acme = edge.caller(ACME);
    for (key, path) in [
        ("a/b", "a%2Fb"),
        ("a/b/c", "a/b/c"),
        ("with space", "with%20space"),
        ("grüße", "gr%C3%BC%C3%9Fe"),
        ("100%", "100%25"),
        ("q?x=1", "q%3Fx=1"),
    ] {
        put(&acme, "mesh", key, &json!(key));
        let row = acme.get(&format!("/mesh/memory/mesh/{path}")).expect(200).json();
        assert_eq!(row["key"], key);
        assert_eq!(row["value"], key);
    }
    put(&acme, "user:42", "k", &json!(1));
    for path in ["/mesh/memory/user:42/k", "/mesh/memory/user%3A42/k"] {
        assert_eq!(acme.get(path).expect(200).json()["scope"], "user:42");
    }
}

#[test]
fn what_is_not_there_is_a_404_in_the_stores_words() {
    let edge = edge();
    let acme = edge.caller(ACME);
    for path in ["/mesh/memory/mesh/none", "/mesh/skills/none"] {
        assert_eq!(acme.get(path).expect(404).json()["error"], "Not found");
    }
}

#[test]
fn text_is_found_in_keys_and_in_values_to_the_third_level() {
    let edge = edge();
    let acme = edge.caller(ACME);
    put(&acme, "mesh", "coffee", &json!({"likes": {"drink": "espresso"}}));
    put(&acme, "mesh", "tea", &json!("green tea"));
    put(&acme, "node", "coffee", &json!("at this node"));
    let hits = acme.get("/mesh/memory?q=espresso").expect(200).json();
    assert_eq!(names(&hits), ["coffee"]);
    let mut members: Vec<&String> = hits[0].as_object().unwrap().keys().collect();
    members.sort_unstable();
    assert_eq!(members, ["key", "scope", "snippet"]);
    assert_eq!(acme.get("/mesh/memory?q=coffee").expect(200).json().as_array().unwrap().len(), 2);
    assert_eq!(acme.get("/mesh/memory?q=coffee&scope=node").expect(200).json()[0]["scope"], "node");
    assert_eq!(acme.get("/mesh/memory?q=nothingatall").expect(200).json(), json!([]));
}

#[test]
fn a_query_in_a_body_finds_the_same() {
    let edge = edge();
    let acme = edge.caller(ACME);
    put(&acme, "mesh", "coffee", &json!("espresso"));
    let by_path = acme.get("/mesh/memory?q=espresso").expect(200).json();
    for name in ["q", "query"] {
        let body = json!({name: "espresso", "limit": 5, "mode": "fts"}).to_string();
        assert_eq!(acme.post("/mesh/query", body).expect(200).json(), by_path);
    }
    let answer = acme.post("/mesh/query", "{}").expect(400);
    assert_eq!(answer.json()["error"], "Missing query or q");
}

#[test]
fn a_query_may_hold_what_the_search_engine_takes_for_syntax() {
    let edge = edge();
    let acme = edge.caller(ACME);
    put(&acme, "mesh", "odd", &json!("he said \"stop\" AND (left)"));
    for q in ["%22stop", "stop%22%22", "AND", "(left", "left)", "NEAR(", "*", "a:b", "-", "%27", "stop%20OR"]
    {
        let hits = acme.get(&format!("/mesh/memory?q={q}")).expect(200).json();
        assert!(hits.is_array(), "{q}: {hits}");
    }
}

#[test]
fn the_limit_of_a_search_is_25_and_never_beyond_1_to_100() {
    let edge = edge();
    let acme = edge.caller(ACME);
    for at in 0..120 {
        put(&acme, "mesh", &format!("k{at}"), &json!("needle"));
    }
    let found = |query: &str| acme.get(&format!("/mesh/memory?q=needle{query}")).expect(200).json();
    let count = |query: &str| found(query).as_array().unwrap().len();
    assert_eq!(count(""), 25);
    assert_eq!(count("&limit=3"), 3);
    assert_eq!(count("&limit=100"), 100);
    assert_eq!(count("&limit=1000"), 100);
    assert!(matches!(count("&limit=0"), 1 | 25));
}

#[test]
fn bad_memories_are_refused_in_the_stores_words() {
    let edge = edge();
    let acme = edge.caller(ACME);
    for body in
        [r#"{"key":"k","value":1}"#, r#"{"scope":"mesh","value":1}"#, r#"{"scope":"mesh","key":"k"}"#, "{}"]
    {
        let answer = acme.put("/mesh/memory", body).expect(400);
        assert_eq!(answer.json()["error"], "Missing scope, key, or value", "{body}");
    }
    assert_eq!(acme.put("/mesh/memory", "{").expect(400).json()["error"], "Invalid JSON body");
    assert_eq!(acme.get("/mesh/memory").expect(200).json(), json!([]));
}

#[test]
fn skills_are_put_listed_and_read() {
    let edge = edge();
    let acme = edge.caller(ACME);
    let body = r##"{"name":"triage","source_node":"sec","content":"# Triage"}"##;
    let row = acme.put("/mesh/skills", body).expect(200).json();
    assert_eq!(row["name"], "triage");
    assert_eq!(row["source_node"], "sec");
    assert_eq!(row["content"], "# Triage");
    assert_eq!(row["path"], Value::Null);
    assert!(row["updated_at"].is_i64());
    assert_eq!(acme.get("/mesh/skills/triage").expect(200).json(), row);
    assert_eq!(acme.get("/mesh/skills").expect(200).json(), json!([row]));
    let by_path = r#"{"name":"deploy","source_node":"ceo","path":"/skills/deploy.md"}"#;
    assert_eq!(acme.put("/mesh/skills", by_path).expect(200).json()["content"], Value::Null);
}

#[test]
fn bad_skills_are_refused_in_the_stores_words() {
    let edge = edge();
    let acme = edge.caller(ACME);
    for (body, words) in [
        (r#"{"source_node":"sec","content":"x"}"#, "Missing name or source_node"),
        (r#"{"name":"n","content":"x"}"#, "Missing name or source_node"),
        (r#"{"name":"n","source_node":"sec"}"#, "Missing content or path"),
        ("nope", "Invalid JSON body"),
    ] {
        assert_eq!(acme.put("/mesh/skills", body).expect(400).json()["error"], words, "{body}");
    }
}

#[test]
fn two_tenants_have_the_same_key_each_for_itself() {
    let edge = edge();
    put(&edge.caller(ACME), "mesh", "k", &json!("acme's"));
    put(&edge.caller(GLOBEX), "mesh", "k", &json!("globex's"));
    assert_eq!(edge.caller(ACME).get("/mesh/memory/mesh/k").expect(200).json()["value"], "acme's");
    assert_eq!(edge.caller(GLOBEX).get("/mesh/memory/mesh/k").expect(200).json()["value"], "globex's");
    assert_eq!(names(&edge.caller(GLOBEX).get("/mesh/memory").expect(200).json()), ["k"]);
}

#[test]
fn who_may_only_read_cannot_write() {
    let edge = edge();
    edge.caller(READER).get("/mesh/memory").expect(200);
    edge.caller(READER)
        .put("/mesh/memory", r#"{"scope":"mesh","key":"k","value":1}"#)
        .refused(403, "forbidden");
    edge.client().get("/mesh/memory").refused(401, "unauthorized");
    assert_eq!(edge.caller(READER).get("/mesh/memory").expect(200).json(), json!([]));
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let edge = edge();
    let answer = edge.caller(ACME).send(&Request::new("HEAD", "/mesh/memory")).expect(200);
    assert!(answer.body.is_empty());
}

#[test]
fn a_store_that_runs_by_itself_is_served_just_the_same() {
    let store = Store::start(Temp::new());
    let entry = format!("servers: [\"{}\"], headers: {{ X-Edge-Auth: {SECRET} }}", store.address());
    let site = Site::new().top("allow_literal_secrets: true").upstream_entry("store", &entry).store_routes();
    let edge = Edge::start(&site);
    put(&edge.caller(ACME), "mesh", "k", &json!({"whose": "acme's"}));
    put(&edge.caller(GLOBEX), "mesh", "k", &json!("globex's"));
    assert_eq!(edge.caller(ACME).get("/mesh/memory/mesh/k").expect(200).json()["value"]["whose"], "acme's");
    let forged = edge.caller(GLOBEX).with("X-Tenant-Id", "acme").with("X-Edge-Auth", "guessed");
    assert_eq!(forged.get("/mesh/memory/mesh/k").expect(200).json()["value"], "globex's");
    assert!(!edge.all_output().contains(SECRET));
}

#[test]
fn a_store_believes_nobody_but_the_edge() {
    let store = Store::start(Temp::new());
    let stranger = Client::past_the_edge(store.address()).with("X-Tenant-Id", "acme");
    for client in
        [stranger.clone(), stranger.with("X-Edge-Auth", "guessed"), stranger.with("X-API-Key", ACME.text)]
    {
        let answer = client.get("/mesh/memory").expect(401);
        assert_eq!(answer.json()["error"], "Unauthorized");
    }
    caller(store.address(), "acme").get("/mesh/memory").expect(200);
    let health = Client::past_the_edge(store.address()).get("/").expect(200).json();
    assert_eq!(health, json!({"ok": true, "service": "openclaw-mesh-store-api", "storeAvailable": true}));
}
