//! The bridge behind the edge: every row of its contract, answered as if the edge were not there.

use crate::house::client::Request;
use crate::house::double::Double;
use crate::house::doubles;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, READER};
use crate::house::messages::enveloped;
use crate::house::site::Site;
use serde_json::json;

fn site(bridge: &Double) -> Site {
    Site::new()
        .upstream("bridge", bridge.address())
        .route("name: bridge-health, path: /health, public: true, upstream: bridge")
        .route("name: bridge-root, path: /, public: true, upstream: bridge")
        .route("name: ingest, path: /ingest, scopes: [mesh:ingest], upstream: bridge")
        .route("name: bridge, path: /bridge, scopes: [mesh:ingest], body: { max: 64KiB }, upstream: bridge")
}

const MEMORY: &str =
    r#"{"type":"memory","scope":"mesh","key":"k","value":{"b":1,"a":2},"nodeId":"ceo","ts":1}"#;
const SKILL: &str = r#"{"type":"skill","name":"triage","sourceNode":"ceo","content":"first"}"#;
const ASKED: &str = r#"{"type":"mesh_request","requestId":"r-1","kind":"memory","nodeId":"ceo","key":"k"}"#;

#[test]
fn its_health_is_answered_unchanged_on_both_paths() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    for path in ["/health", "/"] {
        let answer = edge.client().get(path).expect(200);
        assert_eq!(answer.text(), r#"{"ok":true,"service":"openclaw-bridge-ingest","cacheWritable":true}"#);
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
}

#[test]
fn one_message_and_an_array_are_ingested_and_counted() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    let answer = edge.caller(ACME).post("/ingest", MEMORY).expect(200);
    assert_eq!(answer.json(), json!({"ingested": 1, "memory": 1, "skill": 0}));
    assert_eq!(bridge.only().body, MEMORY.as_bytes());

    let batch = format!("[{MEMORY}, {SKILL}, {{\"type\":\"gossip\"}}]");
    let answer = edge.caller(ACME).post("/ingest", &batch).expect(200);
    assert_eq!(answer.json(), json!({"ingested": 2, "memory": 1, "skill": 1}));
    assert_eq!(bridge.only().body, batch.as_bytes());
}

#[test]
fn a_body_in_chunks_arrives_whole() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    let (front, back) = MEMORY.as_bytes().split_at(17);
    let request = Request::new("POST", "/ingest").chunks(&[front, back]);
    edge.caller(ACME).send(&request).expect(200);
    let seen = bridge.only();
    assert_eq!(seen.body, MEMORY.as_bytes());
}

#[test]
fn each_envelope_reaches_it_with_its_query_and_body_untouched() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    for kind in ["telegram", "discord", "generic"] {
        let body = enveloped(kind, MEMORY);
        let target = format!("/bridge?unwrap={kind}&handleRequest=true");
        let answer = edge.caller(ACME).post(&target, &body).expect(200);
        assert_eq!(answer.json(), json!({"ingested": 1, "memory": 1, "skill": 0}), "{kind}");
        let seen = bridge.only();
        assert_eq!(seen.target, target);
        assert_eq!(seen.body, body.as_bytes());
    }
}

#[test]
fn a_mesh_request_is_answered_with_a_mesh_response() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    let body = enveloped("telegram", ASKED);
    let answer = edge.caller(ACME).post("/bridge?unwrap=telegram&handleRequest=true", body).expect(200);
    assert_eq!(answer.json()["response"]["type"], "mesh_response");
    assert_eq!(answer.json()["response"]["requestId"], "r-1");
}

#[test]
fn its_own_405_comes_through_as_it_is() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = edge.caller(ACME).send(&Request::new(method, "/ingest")).expect(405);
        assert_eq!(answer.text(), r#"{"error":"Method not allowed"}"#);
    }
}

#[test]
fn its_own_error_about_a_broken_body_comes_through_as_it_is() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    let answer = edge.caller(ACME).post("/ingest", "{not json").expect(400);
    assert_eq!(answer.text(), r#"{"error":"Invalid JSON body"}"#);
}

#[test]
fn what_its_guards_refused_the_edge_refuses_in_the_same_words() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    let answer = edge.client().post("/ingest", MEMORY).refused(401, "unauthorized");
    assert_eq!(answer.json()["error"], "Unauthorized");
    edge.caller(READER).post("/ingest", MEMORY).refused(403, "forbidden");

    let large = vec![b' '; 64 * 1024 + 1];
    let answer = edge.caller(ACME).post("/bridge", &large).refused(413, "body_too_large");
    assert_eq!(answer.json()["error"], "Payload too large");
    bridge.untouched();
}

#[test]
fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    let text = |len: usize| format!("{MEMORY}{}", " ".repeat(len - MEMORY.len()));
    edge.caller(ACME).post("/bridge", text(64 * 1024)).expect(200);
    assert_eq!(bridge.only().body.len(), 64 * 1024);
    let over = text(64 * 1024 + 1);
    let (front, back) = over.as_bytes().split_at(1000);
    let chunked = Request::new("POST", "/bridge").chunks(&[front, back]);
    edge.caller(ACME).send(&chunked).expect(413);
}

#[test]
fn a_caller_who_keeps_the_connection_is_served_again_and_again() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge));
    let mut connection = edge.caller(ACME).connection();
    for _ in 0..50 {
        connection.send(&Request::post("/ingest", MEMORY)).expect(200);
        connection.send(&Request::get("/nowhere")).expect(404);
    }
    assert_eq!(bridge.count(), 50);
}
