//! Keys of mesh nodes that the edge learns while it runs: from a store's registry, and from key sets at URLs.

use crate::house::client::{Client, Request};
use crate::house::double::{Double, Reply};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, ADMIN, GLOBEX};
use crate::house::messages::Node;
use crate::house::site::Site;
use crate::house::store::{SECRET, Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

const INGEST: &str =
    "name: ingest, path: /ingest, scopes: [mesh:ingest], verify: { scheme: mesh }, upstream: bridge";

fn public_key(seed: u8) -> String {
    Node::new("any", seed).public_key()
}

/// A memory of a node, signed with a seed's key.
fn message(node: &str, seed: u8, kid: Option<&str>) -> String {
    let kid = kid.map(|kid| format!("\"kid\":\"{kid}\",")).unwrap_or_default();
    let text = format!("{{\"key\":\"k\",{kid}\"nodeId\":\"{node}\",\"type\":\"memory\",\"value\":1}}");
    text.replacen('{', &format!("{{\"sig\":\"{}\",", Node::new("any", seed).sign(&text)), 1)
}

fn status(client: &Client, node: &str, seed: u8) -> u16 {
    client.post("/ingest", message(node, seed, None)).status
}

fn register(store: &Client, node: &str, keys: &Value) {
    store.put(&format!("/mesh/keys/{node}"), json!({"keys": keys}).to_string()).expect(200);
}

fn loads(edge: &Edge) -> f64 {
    edge.reloads("applied") + edge.reloads("unchanged") + edge.reloads("refused")
}

#[test]
fn a_key_in_the_stores_registry_counts_at_once_and_changes_without_touching_the_config() {
    let bridge = Double::mirror();
    let site = Site::new()
        .upstream("bridge", bridge.address())
        .embedded_store()
        .node("acme", "fixed", &public_key(9))
        .top("key_sources: [{ registry: {} }]")
        .route(INGEST);
    let edge = Edge::start(&site);
    let (acme, globex, admin) = (edge.caller(ACME), edge.caller(GLOBEX), edge.caller(ADMIN));
    acme.post("/ingest", message("ceo", 1, None)).refused(401, "key_unknown");
    register(&admin, "ceo", &json!([{"kid": "one", "public_key": public_key(1)}]));
    until("the first key", SOON, || (status(&acme, "ceo", 1) == 200).then_some(()));
    // Both for a while, then the new one alone.
    let both =
        json!([{"kid": "one", "public_key": public_key(1)}, {"kid": "two", "public_key": public_key(2)}]);
    register(&admin, "ceo", &both);
    until("the second key", SOON, || (status(&acme, "ceo", 2) == 200).then_some(()));
    assert_eq!(status(&acme, "ceo", 1), 200);
    register(&admin, "ceo", &json!([{"kid": "two", "public_key": public_key(2)}]));
    until("the first key's end", SOON, || (status(&acme, "ceo", 1) == 401).then_some(()));
    assert_eq!(status(&acme, "ceo", 2), 200);
    bridge.forget();
    acme.post("/ingest", message("ceo", 2, Some("two"))).expect(200);
    assert_eq!(bridge.only().field("x-verified-key-id"), Some("two"));
    // Another tenant's node of that name is another node.
    globex.post("/ingest", message("ceo", 2, None)).refused(401, "key_unknown");
    // The registry cannot speak for a node that the config speaks for.
    register(&admin, "fixed", &json!([{"kid": "theirs", "public_key": public_key(3)}]));
    register(&admin, "cto", &json!([{"kid": "cto", "public_key": public_key(4)}]));
    until("the next node", SOON, || (status(&acme, "cto", 4) == 200).then_some(()));
    assert_eq!((status(&acme, "fixed", 9), status(&acme, "fixed", 3)), (200, 401));
    admin.send(&Request::new("DELETE", "/mesh/keys/cto")).expect(200);
    until("the node's end", SOON, || (status(&acme, "cto", 4) == 401).then_some(()));
    let labels = [("source", "registry:0"), ("tenant", "acme")];
    let metrics = edge.metrics();
    assert!(metrics.is("openclaw_edge_key_source_keys", &labels, 2));
    assert!(metrics.sum("openclaw_edge_key_source_refreshed_timestamp_seconds", &labels) > 1e9);
    assert!(loads(&edge) < 1.0, "no reload was needed");
    // What was learnt outlives a reload, and is there from the first request after a sudden death.
    edge.reload(&site.clone().limit("more", "by: ip, window: { limit: 1000, per: 1m }"));
    assert_eq!(status(&acme, "ceo", 2), 200);
    let edge = Edge::start_in(edge.kill(), &site);
    assert_eq!(status(&edge.caller(ACME), "ceo", 2), 200);
}

#[test]
fn a_store_elsewhere_that_goes_away_leaves_its_keys_and_is_followed_again_when_it_is_back() {
    let bridge = Double::mirror();
    let folder = Temp::new();
    let store = Store::start(Temp::new());
    let address = store.address();
    let registrar = || caller(address, "acme").with("X-Credential-Scopes", "mesh:admin");
    register(&registrar(), "ceo", &json!([{"public_key": public_key(1)}]));
    let secret = folder.write("secret", SECRET);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("a mode can be set");
    let source = format!(
        "key_sources: [{{ tenant: acme, registry: {{ url: \"http://{address}\", secret: {{ file: \"{}\" }} }} }}]",
        secret.display()
    );
    let edge = Edge::start(&Site::new().upstream("bridge", bridge.address()).top(&source).route(INGEST));
    let acme = edge.caller(ACME);
    assert_eq!(status(&acme, "ceo", 1), 200, "loaded before the first request");
    let data = store.kill();
    let failures = || {
        let labels = [("source", "registry:0"), ("tenant", "acme")];
        edge.metrics().sum("openclaw_edge_key_source_failures_total", &labels)
    };
    until("failures", SOON, || (failures() > 1.0).then_some(()));
    assert_eq!(status(&acme, "ceo", 1), 200, "the last keys stay");
    let store = Store::start_again(address, data);
    register(&registrar(), "ceo", &json!([{"public_key": public_key(2)}]));
    until("the way back", SOON, || (status(&acme, "ceo", 2) == 200).then_some(()));
    assert_eq!(status(&acme, "ceo", 1), 401);
    assert!(!edge.all_output().contains(SECRET));
    drop(store);
}

/// A key set with these nodes' keys.
fn key_set(keys: &[(&str, u8)]) -> Value {
    let jwk = |(kid, seed): &(&str, u8)| {
        let raw = STANDARD.decode(public_key(*seed)).expect("base64");
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(raw)})
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

#[test]
fn a_key_set_at_a_url_is_fetched_again_for_a_key_that_nobody_knows_and_stays_when_it_fails() {
    let bridge = Double::mirror();
    let answer = Arc::new(Mutex::new(Reply::json(200, &key_set(&[("ceo@one", 1)]))));
    let told = answer.clone();
    let server = Double::start(move |_| told.lock().expect("no answer panics").clone());
    let tell = |reply: Reply| *answer.lock().expect("no answer panics") = reply;
    let source = format!(
        "key_sources: [{{ tenant: acme, jwks: {{ url: \"http://{}/keys\", refresh: 1d, max: 64KiB }} }}]",
        server.address()
    );
    let edge = Edge::start(&Site::new().upstream("bridge", bridge.address()).top(&source).route(INGEST));
    let (acme, globex) = (edge.caller(ACME), edge.caller(GLOBEX));
    assert_eq!(status(&acme, "ceo", 1), 200, "loaded before the first request");
    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/keys"));
    // For a node that nobody knows the set is fetched again: a day is not waited for, and no fetch follows another
    // at once, however many ask.
    tell(Reply::json(200, &key_set(&[("ceo@one", 1), ("cto@two", 2)])).field("etag", "\"2\""));
    let mut asked = 0;
    until("the new key", SOON, || {
        asked += 1;
        (status(&acme, "cto", 2) == 200).then_some(())
    });
    assert_eq!(server.count(), 1, "of {asked} questions");
    globex.post("/ingest", message("ceo", 1, None)).refused(401, "key_unknown");
    // Whatever goes wrong there, what was known stays.
    let failures = || {
        let labels = [("source", "jwks:0"), ("tenant", "acme")];
        edge.metrics().sum("openclaw_edge_key_source_failures_total", &labels)
    };
    let weak = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ceo", "x": "A".repeat(43)}]});
    for (at, bad) in [
        Reply::text(500, "no"),
        Reply::text(200, "no keys"),
        Reply::json(200, &weak),
        Reply::text(200, " ".repeat(65 * 1024)),
        Reply::text(302, "").field("location", "http://127.0.0.1:1/"),
    ]
    .into_iter()
    .enumerate()
    {
        tell(bad);
        let before = failures();
        until("another failure", SOON, || {
            let _ = status(&acme, "none", 7);
            (failures() > before).then_some(())
        });
        assert_eq!((status(&acme, "ceo", 1), status(&acme, "cto", 2)), (200, 200), "{at}");
    }
    // And it is followed again: the pauses after failures are short.
    tell(Reply::json(200, &key_set(&[("ceo@three", 3)])));
    until("the way back", SOON, || (status(&acme, "ceo", 3) == 200).then_some(()));
    assert_eq!((status(&acme, "ceo", 1), status(&acme, "cto", 2)), (401, 401));
}
