//! Single rows: put, read, refused, kept.

use super::{House, refused};
use crate::ids::TenantId;
use crate::store::{Access, Observe, Op, Outcome, Settings, Store, Target, ToJson, Trust, Unobserved};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn a_memory_that_was_put_is_answered_got_and_listed_in_the_same_words() {
    let house = House::on_socket().await;
    let body =
        r#"{"scope":"mesh","key":"plans/a b","value":{"z":1.0,"a":[12345678901234567890]},"node_id":"ceo"}"#;
    let put = house.ask("acme", "PUT", "/mesh/memory", Some(body)).await;
    assert_eq!(put.status, 200);
    let start = r#"{"scope":"mesh","key":"plans/a b","value":{"z":1.0,"a":[12345678901234567890]},"node_id":"ceo","updated_at":"#;
    assert!(put.body.starts_with(start), "{}", put.body);
    for path in [
        "/mesh/memory/mesh/plans%2Fa%20b",
        "/mesh/memory/mesh/plans/a%20b",
        "/mesh/memory/me%73h/plans/a%20b",
    ] {
        assert_eq!(house.get("acme", path).await.body, put.body, "{path}");
    }
    assert_eq!(house.get("acme", "/mesh/memory").await.body, format!("[{}]", put.body));
    assert_eq!(house.get("acme", "/mesh/memory?scope=mesh").await.body, format!("[{}]", put.body));
    assert_eq!(house.get("acme", "/mesh/memory?scope=node").await.body, "[]");
    assert_eq!(house.get("acme", "/mesh/memory?scope=").await.body, format!("[{}]", put.body));
    let head = house.ask("acme", "HEAD", "/mesh/memory/mesh/plans%2Fa%20b", None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_string_that_looks_like_json_comes_back_as_the_string_that_was_put() {
    let house = House::on_socket().await;
    let row = house.put("acme", &json!({"scope": "mesh", "key": "k", "value": "42"})).await.json();
    assert_eq!((&row["value"], &row["node_id"]), (&json!("42"), &json!("unknown")));
    assert!(row["updated_at"].as_i64().unwrap() > 1_600_000_000);
    assert_eq!(house.get("acme", "/mesh/memory/mesh/k").await.json()["value"], json!("42"));
}

#[tokio::test]
async fn skills_are_put_got_and_listed_with_null_for_what_they_lack() {
    let house = House::on_socket().await;
    let put = async |body: &str| house.ask("acme", "PUT", "/mesh/skills", Some(body)).await;
    let first = put(r##"{"name":"code/review","source_node":"ceo","content":"# how"}"##).await;
    let start = r##"{"name":"code/review","source_node":"ceo","content":"# how","path":null,"updated_at":"##;
    assert!(first.status == 200 && first.body.starts_with(start), "{}", first.body);
    let second = put(r#"{"name":"deploy","source_node":"cto","path":"/skills/deploy"}"#).await;
    assert_eq!((&second.json()["content"], &second.json()["path"]), (&Value::Null, &json!("/skills/deploy")));
    assert_eq!(house.get("acme", "/mesh/skills").await.body, format!("[{},{}]", second.body, first.body));
    assert_eq!(house.get("acme", "/mesh/skills/code%2Freview").await.body, first.body);
    refused(&house.get("acme", "/mesh/skills/none").await, 404, "Not found");
    refused(&put(r#"{"name":"x","content":"y"}"#).await, 400, "Missing name or source_node");
    refused(&put(r#"{"name":"x","source_node":"y"}"#).await, 400, "Missing content or path");
    refused(&put("nonsense").await, 400, "Invalid JSON body");
}

#[tokio::test]
async fn every_refusal_has_its_status_and_its_words() {
    let house = House::on_socket().await;
    refused(&house.get("acme", "/mesh/memory/mesh/none").await, 404, "Not found");
    refused(&house.get("acme", "/mesh/memory/mesh").await, 404, "Not found");
    refused(&house.get("acme", "/mesh/memory/mesh/").await, 404, "Not found");
    refused(&house.get("acme", "/elsewhere").await, 404, "Not found");
    refused(&house.get("acme", "/mesh").await, 404, "Not found");
    refused(&house.get("acme", "/mesh/memory/mesh/%zz").await, 400, "Invalid path");
    refused(&house.get("acme", "/mesh/memory/%ff/k").await, 400, "Invalid path");
    refused(&house.get("acme", "/mesh/skills/%ff").await, 400, "Invalid path");
    refused(&house.get("acme", "/mesh/memory?q=%ff").await, 400, "Invalid query string");
    refused(
        &house.get("acme", "/mesh/memory?q=a&mode=magic").await,
        400,
        "Unknown mode; use fts, semantic or hybrid",
    );
    refused(&house.get("acme", "/mesh/memory?q=a&marks=bold").await, 400, "Unknown marks; use html");
    refused(
        &house.put("acme", &json!({"scope": "mesh", "key": "k"})).await,
        400,
        "Missing scope, key, or value",
    );
    refused(&house.ask("acme", "PUT", "/mesh/memory", Some("{]")).await, 400, "Invalid JSON body");
    refused(&house.ask("acme", "PUT", "/mesh/memory", None).await, 400, "Invalid JSON body");
    for (method, path, allowed) in [
        ("DELETE", "/mesh/memory", "GET,HEAD,PUT"),
        ("PUT", "/mesh/memory/mesh/k", "GET,HEAD,DELETE,POST"),
        ("GET", "/mesh/query", "POST"),
        ("POST", "/mesh/skills", "GET,HEAD,PUT"),
        ("POST", "/health", "GET,HEAD"),
    ] {
        let answer = house.ask("acme", method, path, None).await;
        refused(&answer, 405, "Method not allowed");
        assert!(answer.head.contains(&format!("allow: {allowed}\r\n")), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_announced_or_not() {
    let house = House::on_socket().await;
    let value = "x".repeat(8 * 1024 * 1024 - 100);
    let fits = house.put("acme", &json!({"scope": "mesh", "key": "big", "value": value})).await;
    assert_eq!(fits.status, 200);
    let announced = "PUT /mesh/memory HTTP/1.1\r\nHost: store\r\nConnection: close\r\nX-Tenant-Id: acme\r\nContent-Length: 8388609\r\n\r\n";
    refused(&house.raw(announced.as_bytes()).await, 413, "Payload too large");
    let mut chunked = b"PUT /mesh/memory HTTP/1.1\r\nHost: store\r\nConnection: close\r\nX-Tenant-Id: acme\r\nTransfer-Encoding: chunked\r\n\r\n800001\r\n".to_vec();
    chunked.resize(chunked.len() + 0x80_0001, b' ');
    refused(&house.raw(&chunked).await, 413, "Payload too large");
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_store_is_opened_again() {
    let house = House::on_socket().await;
    let put = house.put("acme", &json!({"scope": "mesh", "key": "k", "value": [1]})).await;
    let folder = {
        let store = Arc::clone(&house.store);
        let folder = house.close().await;
        drop(store);
        folder
    };
    assert!(!folder.path("store.sock").exists());
    assert!(!folder.path("mesh.db-wal").exists(), "the log was folded into the file");
    let settings = Settings::new(folder.path("mesh.db"), TenantId::parse("default").unwrap());
    let store = Store::open(&settings, Arc::new(Unobserved)).unwrap();
    let row = store.row(&Access::of("acme"), Target::memory("mesh", "k")).await.unwrap();
    let mut text = Vec::new();
    ToJson::write_json(&row.unwrap(), &mut text);
    assert_eq!(String::from_utf8(text).unwrap(), put.body);
}

#[tokio::test]
async fn two_hundred_writes_at_once_are_all_answered_and_all_there() {
    let house = Arc::new(House::on_socket().await);
    let writes: Vec<_> = (0..200)
        .map(|n| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                house.put("acme", &json!({"scope": "mesh", "key": format!("k{n}"), "value": n})).await.status
            })
        })
        .collect();
    for write in writes {
        assert_eq!(write.await.unwrap(), 200);
    }
    assert_eq!(house.get("acme", "/mesh/memory").await.json().as_array().unwrap().len(), 200);
    assert!(house.store.commits() <= 200);
}

/// Remembers what it was told.
#[derive(Default)]
struct Notes(Mutex<Vec<(Op, Outcome)>>);

impl Observe for Notes {
    fn embedding_lag(&self, _: i64) {}

    fn operation(&self, op: Op, outcome: Outcome, seconds: f64) {
        assert!(seconds >= 0.0);
        self.0.lock().push((op, outcome));
    }
}

#[tokio::test]
async fn whoever_counts_is_told_each_operation_and_how_it_ended() {
    let notes = Arc::new(Notes::default());
    let house = House::build(Trust::Edge, Arc::clone(&notes) as Arc<dyn Observe>).await;
    house.put("acme", &json!({"scope": "mesh", "key": "k", "value": 1})).await;
    house.put("acme", &json!({"scope": "tenant:globex", "key": "k", "value": 1})).await;
    house.put("acme", &json!({"scope": "mesh"})).await;
    house.get("acme", "/mesh/memory/mesh/none").await;
    house.get("acme", "/mesh/memory?q=k").await;
    house.get("acme", "/mesh/memory").await;
    let expected = [
        (Op::MemoryPut, Outcome::Done),
        (Op::MemoryPut, Outcome::Forbidden),
        (Op::MemoryPut, Outcome::Invalid),
        (Op::MemoryGet, Outcome::Missing),
        (Op::MemorySearch, Outcome::Done),
        (Op::MemoryList, Outcome::Done),
    ];
    assert_eq!(*notes.0.lock(), expected);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::strategy::Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(Config::with_cases(48))]
    #[test]
    fn any_value_under_any_key_comes_back_byte_for_byte(value in any_value(), scope in "[^:]+", key in any::<String>().prop_filter("a key", |key| !key.is_empty())) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::on_socket().await;
            let put = house.put("acme", &json!({"scope": scope, "key": key, "value": value})).await;
            assert_eq!(put.status, 200, "{}", put.body);
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let got = house.get("acme", &format!("/mesh/memory/{}/{}", encode(&scope), encode(&key))).await;
            assert_eq!(got.body, put.body);
            assert!(got.body.contains(&format!("\"value\":{value},\"node_id\"")), "{}", got.body);
            assert_eq!(got.json()["key"], json!(key));
        });
    }
}
