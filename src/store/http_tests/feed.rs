//! The feed of changes, and synchronisation.

use super::{Door, House, refused};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A feed that stays open: events as they come.
struct Feed {
    stream: UnixStream,
    text: String,
}

impl Feed {
    async fn open(house: &House, tenant: &str, more: &str) -> Self {
        let Door::Unix(path) = &house.door else { panic!("the edge's own door is a socket") };
        let mut stream = UnixStream::connect(path).await.unwrap();
        let request = format!(
            "GET /mesh/changes{more}\r\nHost: store\r\nX-Tenant-Id: {tenant}\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads until so many events of this name have come; their data.
    async fn events(&mut self, name: &str, count: usize) -> Vec<Value> {
        let start = format!("event: {name}\n");
        loop {
            let found: Vec<Value> = self
                .text
                .split(&start)
                .skip(1)
                .filter_map(|rest| rest.strip_prefix("data: ")?.split_once("\n\n"))
                .map(|(data, _)| serde_json::from_str(data).unwrap())
                .collect();
            if found.len() >= count {
                return found;
            }
            let mut piece = [0; 4096];
            let length = self.stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "the feed ended: {}", self.text);
            // Events here are short, so that no chunk's frame falls into one.
            self.text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }
}

#[tokio::test]
async fn the_feed_brings_every_change_once_in_order_to_those_whose_it_is() {
    let house = House::on_socket().await;
    let put = async |tenant: &str, scope: &str, key: &str| {
        house.put(tenant, &json!({"scope": scope, "key": key, "value": key})).await;
    };
    put("acme", "mesh", "before").await;
    let mut feed = Feed::open(&house, "acme", "?since=0 HTTP/1.1").await;
    assert_eq!(feed.events("change", 1).await[0]["row"]["value"], "before");
    put("globex", "mesh", "theirs").await;
    put("acme", "mesh", "a").await;
    put("acme", "node", "b").await;
    house.ask("acme", "DELETE", "/mesh/memory/mesh/a", None).await;
    let seen = feed.events("change", 4).await;
    let told: Vec<_> = seen
        .iter()
        .map(|one| {
            (one["change"].as_i64().unwrap(), one["action"].as_str().unwrap(), one["key"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, [(1, "put", "before"), (2, "put", "a"), (3, "put", "b"), (4, "delete", "a")]);
    let mut back = Feed::open(&house, "acme", "?scope=mesh HTTP/1.1\r\nLast-Event-ID: 1").await;
    let rest: Vec<_> = back.events("change", 2).await.iter().map(|one| one["change"].clone()).collect();
    assert_eq!(rest, [2, 4]);
    let poll = house.get("acme", "/mesh/changes?since=1&scope=node").await;
    assert_eq!(poll.field("cache-control"), Some("no-store"));
    let poll = poll.json();
    assert_eq!(
        (&poll["changes"][0]["change"], &poll["next"], &poll["reset"]),
        (&json!(3), &json!(4), &json!(false))
    );
    let now = house.get("globex", "/mesh/changes").await;
    assert_eq!(now.body, r#"{"changes":[],"next":1,"reset":false}"#);
    let ahead = house.get("globex", "/mesh/changes?since=4").await;
    assert_eq!(ahead.body, r#"{"changes":[],"next":1,"reset":true}"#, "a number that was never given");
    refused(&house.get("acme", "/mesh/changes?since=x").await, 400, "Invalid number");
    refused(
        &house.get("acme", "/mesh/changes?kind=odd").await,
        400,
        "Unknown kind; use memory, skill or key",
    );
    drop((feed, back));
    house.close().await;
}

#[tokio::test]
async fn a_long_poll_answers_when_something_happens_and_when_the_store_stops() {
    let house = Arc::new(House::on_socket().await);
    let waits = {
        let house = Arc::clone(&house);
        tokio::spawn(async move { house.get("acme", "/mesh/changes?since=0&wait=60").await.json() })
    };
    let mut feed = Feed::open(&house, "acme", "?since=0 HTTP/1.1").await;
    house.put("acme", &json!({"scope": "mesh", "key": "k", "value": 1})).await;
    assert_eq!(waits.await.unwrap()["changes"][0]["key"], "k");
    feed.events("change", 1).await;
    let house = Arc::into_inner(house).unwrap();
    // Would wait for the feed for ever if that did not end with the store.
    house.close().await;
}

#[tokio::test]
async fn nodes_that_synchronise_end_up_with_the_same_rows_and_the_last_writer_wins() {
    let house = House::on_socket().await;
    let sync = async |tenant: &str, body: Value| {
        house.ask(tenant, "POST", "/mesh/sync", Some(&body.to_string())).await
    };
    let memory = |key: &str, ts: f64, value: &str| json!({"type": "memory", "scope": "mesh", "key": key, "value": value, "nodeId": "ceo", "ts": ts, "sig": "kept"});
    let skill = json!({"type": "skill", "name": "s", "sourceNode": "ceo", "content": "c", "ts": 50});
    let delta =
        json!({"type": "sync_delta", "entries": [memory("a", 100.5, "old"), memory("b", 200.0, "b"), skill]});
    assert_eq!(sync("acme", delta).await.body, r#"{"messages":[],"applied":3,"passed":0,"more":false}"#);
    let again =
        json!({"type": "sync_delta", "entries": [memory("a", 100.25, "older"), memory("b", 201.0, "newer")]});
    assert_eq!(sync("acme", again).await.body, r#"{"messages":[],"applied":1,"passed":1,"more":false}"#);
    assert_eq!(house.get("acme", "/mesh/memory/mesh/a").await.json()["value"], "old");
    assert_eq!(house.get("acme", "/mesh/memory/mesh/b").await.json()["value"], "newer");
    let summary = json!({"type": "sync_summary", "nodeId": "cto",
        "keys": [{"scope": "mesh", "key": "a", "ts": 300}, {"scope": "mesh", "key": "b", "ts": 1}], "skills": [{"name": "t", "ts": 5}]});
    let answer = sync("acme", summary).await.json();
    assert_eq!(
        answer["messages"][0],
        json!({"type": "sync_request",
        "keys": [{"scope": "mesh", "key": "a", "ts": 300}], "skills": [{"name": "t", "ts": 5}]})
    );
    assert_eq!(answer["messages"][1]["type"], "sync_delta");
    let sent: Vec<_> =
        answer["messages"][1]["entries"].as_array().unwrap().iter().map(|one| one["ts"].clone()).collect();
    // What was signed comes as it was, the rest in the store's own spelling.
    assert_eq!(sent, [json!(201.0), json!(50)]);
    let request = json!([{"type": "sync_request", "keys": [{"scope": "mesh", "key": "a"}, {"scope": "mesh", "key": "none"}]}]);
    let answer = sync("acme", request.clone()).await.json();
    let expected = json!([memory("a", 100.5, "old")]);
    assert_eq!(answer["messages"][0]["entries"], expected);
    assert_eq!(sync("globex", request).await.json()["messages"][0]["entries"], json!([]));
    for (bad, status) in [
        (json!({"type": "memory"}), 400),
        (json!([7]), 400),
        (json!({"type": "sync_delta", "entries": [{"type": "memory", "scope": "mesh", "key": "k"}]}), 400),
        (json!({"type": "sync_summary", "keys": [{"scope": "mesh", "key": "k"}]}), 400),
        (json!({"type": "sync_summary", "keys": [{"scope": "mesh", "key": "k", "ts": -1}]}), 400),
        (
            json!({"type": "sync_delta", "entries": [{"type": "memory", "scope": "tenant:globex", "key": "k", "value": 1, "nodeId": "n", "ts": 1}]}),
            403,
        ),
    ] {
        assert_eq!(sync("acme", bad.clone()).await.status, status, "{bad}");
    }
}
