//! The federation hub behind the edge: it has its own keys, which the edge hands on without knowing them.

use crate::house::client::Request;
use crate::house::double::Double;
use crate::house::doubles::{self, HUB_KEY};
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::site::Site;
use serde_json::json;

const MEMORY: &str =
    r#"{"type":"memory","scope":"federation","key":"k","value":1,"nodeId":"external:hq:ceo","ts":1}"#;

/// `/federation/in` is open at the edge, since other meshes hold the hub's keys; the rest needs the edge's.
fn site(hub: &Double) -> Site {
    Site::new()
        .upstream("hub", hub.address())
        .route("name: in, path: /federation/in, methods: [POST], public: true, forward_credential: true, upstream: hub")
        .route("name: share, path: /federation/share, methods: [POST], scopes: [federation], forward_credential: true, upstream: hub")
        .route("name: hub-health, path: /hub/health, public: true, strip_prefix: /hub, upstream: hub")
        .route("name: hub-metrics, path: /hub/metrics, scopes: [federation], strip_prefix: /hub, upstream: hub")
}

#[test]
fn another_mesh_comes_in_with_the_hubs_own_key_in_either_field() {
    let hub = doubles::hub();
    let edge = Edge::start(&site(&hub));
    let bearer = format!("Bearer {HUB_KEY}");
    for (name, value) in [("Authorization", bearer.as_str()), ("X-API-Key", HUB_KEY)] {
        let request = Request::post("/federation/in", MEMORY).field("X-Mesh-Id", "hq").field(name, value);
        assert_eq!(edge.send(&request).expect(200).json(), json!({"ingested": 1, "memory": 1, "skill": 0}));
        let seen = hub.only();
        assert_eq!(seen.field("x-mesh-id"), Some("hq"));
        assert_eq!(seen.field(&name.to_lowercase()), Some(value));
        assert_eq!(seen.body, MEMORY.as_bytes());
    }
}

#[test]
fn a_batch_arrives_byte_for_byte() {
    let hub = doubles::hub();
    let edge = Edge::start(&site(&hub));
    let batch = format!("[ {MEMORY} ,\n {MEMORY} ]");
    let request =
        Request::post("/federation/in", &batch).field("X-Mesh-Id", "hq").field("X-API-Key", HUB_KEY);
    assert_eq!(edge.send(&request).expect(200).json()["ingested"], 2);
    assert_eq!(hub.only().body, batch.as_bytes());
}

#[test]
fn the_hubs_own_errors_come_through_as_they_are() {
    let hub = doubles::hub();
    let edge = Edge::start(&site(&hub));
    let send = |body: &str, key: &str| {
        edge.send(&Request::post("/federation/in", body).field("X-Mesh-Id", "hq").field("X-API-Key", key))
    };
    assert_eq!(send(MEMORY, "wrong").expect(401).text(), r#"{"error":"Unauthorized"}"#);
    assert_eq!(send("{", HUB_KEY).expect(400).text(), r#"{"error":"Invalid JSON body"}"#);
    assert_eq!(
        send(r#"{"type":"bridge_down"}"#, HUB_KEY).expect(502).text(),
        r#"{"error":"Bridge unreachable"}"#
    );
}

#[test]
fn sharing_needs_the_edges_key_and_hands_on_the_hubs_bearer() {
    let hub = doubles::hub();
    let edge = Edge::start(&site(&hub));
    let request = Request::post("/federation/share", r#"{"messages":[],"audience":"all"}"#)
        .field("Authorization", "Bearer share-secret");
    assert_eq!(edge.caller(ACME).send(&request).expect(200).json(), json!({"shared": 1}));
    let seen = hub.only();
    assert_eq!(seen.field("x-tenant-id"), Some("acme"));
    assert_eq!(seen.field("authorization"), Some("Bearer share-secret"));
    edge.send(&request).refused(401, "unauthorized");
    hub.untouched();
}

#[test]
fn health_and_metrics_are_answered_unchanged_below_a_prefix() {
    let hub = doubles::hub();
    let edge = Edge::start(&site(&hub));
    let health = edge.client().get("/hub/health").expect(200);
    assert_eq!(health.text(), r#"{"ok":true,"service":"openclaw-federation-hub"}"#);
    assert_eq!(hub.only().target, "/health");
    assert_eq!(edge.caller(ACME).get("/hub/metrics").expect(200).text(), "hub_messages_total 0\n");
    assert_eq!(hub.only().target, "/metrics");
    edge.client().get("/hub/metrics").refused(401, "unauthorized");
}
