//! Keys of mesh nodes: named, with a time of their own, several at once, from folders that are watched.

use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::messages::Node;
use crate::house::site::Site;
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const INGEST: &str =
    "name: ingest, path: /ingest, scopes: [mesh:ingest], verify: { scheme: mesh }, upstream: bridge";

#[test]
fn a_key_may_sign_another_text_than_its_route_asks_for() {
    let bridge = Double::mirror();
    let node = |name: &str, seed: u8, rest: &str| {
        format!("tenant: acme, node: {name}, public_key: \"{}\"{rest}", Node::new("any", seed).public_key())
    };
    let edge = Edge::start(
        &Site::new()
            .upstream("bridge", bridge.address())
            .node_entry(&node("ceo", 7, ", canonical: jcs"))
            .node_entry(&node("cto", 8, ""))
            .route(INGEST),
    );
    let client = edge.caller(ACME);
    // Sorted on all levels, and sorted on the first alone.
    for (name, seed, jcs, mesh) in [("ceo", 7, 200, 401), ("cto", 8, 401, 200)] {
        for (value, status) in [(r#"{"a":1,"b":2}"#, jcs), (r#"{"b":2,"a":1}"#, mesh)] {
            let text = format!(r#"{{"nodeId":"{name}","type":"memory","value":{value}}}"#);
            let sig = Node::new("any", seed).sign(&text);
            let sent =
                format!(r#"{{"value":{{"b":2,"a":1}},"type":"memory","nodeId":"{name}","sig":"{sig}"}}"#);
            client.post("/ingest", &sent).expect(status);
        }
    }
    // In one array, each by its own key's form.
    let message = |name: &str, seed: u8, value: &str| {
        let text = format!(r#"{{"nodeId":"{name}","type":"memory","value":{value}}}"#);
        let sig = Node::new("any", seed).sign(&text);
        format!(r#"{{"value":{{"b":2,"a":1}},"type":"memory","nodeId":"{name}","sig":"{sig}"}}"#)
    };
    let both = [message("ceo", 7, r#"{"a":1,"b":2}"#), message("cto", 8, r#"{"b":2,"a":1}"#)];
    client.post("/ingest", format!("[{}]", both.join(","))).expect(200);
}

/// The public key of a seed, as a PEM file has it.
fn pem(seed: u8) -> String {
    let raw = STANDARD.decode(Node::new("any", seed).public_key()).expect("base64");
    let der = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &raw].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// A memory of `ceo`, signed with a seed's key, that names the key or does not.
fn message(seed: u8, kid: Option<&str>, at: usize) -> String {
    let node = Node::new("ceo", seed);
    let kid = kid.map(|kid| format!("\"kid\":\"{kid}\",")).unwrap_or_default();
    let text = format!("{{\"key\":\"k{at}\",{kid}\"nodeId\":\"ceo\",\"type\":\"memory\",\"value\":1}}");
    text.replacen('{', &format!("{{\"sig\":\"{}\",", node.sign(&text)), 1)
}

#[test]
fn while_keys_change_both_count_and_a_message_may_say_which() {
    let bridge = Double::mirror();
    let key = |seed: u8| Node::new("ceo", seed).public_key();
    let node =
        |seed: u8, rest: &str| format!("tenant: acme, node: ceo, public_key: \"{}\", {rest}", key(seed));
    let edge = Edge::start(
        &Site::new()
            .upstream("bridge", bridge.address())
            .node_entry(&node(1, "id: old, not_after: 2099-12-31"))
            .node_entry(&node(2, "id: new, not_before: 2020-01-01"))
            .node_entry(&node(3, "id: past, not_after: 2020-01-01"))
            .node_entry(&node(4, "id: future, not_before: 2099-01-01"))
            .route(INGEST),
    );
    let client = edge.caller(ACME);
    let post = |seed, kid| client.post("/ingest", message(seed, kid, usize::from(seed)));
    for (seed, kid, id) in
        [(1, None, "old"), (2, None, "new"), (1, Some("old"), "old"), (2, Some("new"), "new")]
    {
        post(seed, kid).expect(200);
        assert_eq!(bridge.only().field("x-verified-key-id"), Some(id));
    }
    post(1, Some("new")).refused(401, "signature_invalid");
    for (seed, kid) in [(1, Some("none")), (3, Some("past")), (4, Some("future"))] {
        post(seed, kid).refused(401, "key_unknown");
    }
    for seed in [3, 4, 5] {
        post(seed, None).refused(401, "signature_invalid");
    }
    bridge.untouched();
}

#[test]
fn a_key_that_is_put_into_the_folder_counts_and_one_that_is_taken_out_does_not() {
    let bridge = Double::mirror();
    let folder = Temp::new();
    folder.write("ceo@old.pem", pem(1));
    let edge = Edge::start(
        &Site::new()
            .upstream("bridge", bridge.address())
            .top(&format!("key_sources: [{{ tenant: acme, directory: \"{}\" }}]", folder.path().display()))
            .route(INGEST),
    );
    let client = edge.caller(ACME);
    let status = |seed: u8| client.post("/ingest", message(seed, None, 0)).status;
    assert_eq!((status(1), status(2)), (200, 401));
    folder.write("ceo@new.pem", pem(2));
    until("the new key", SOON, || (status(2) == 200).then_some(()));
    assert_eq!(status(1), 200);
    std::fs::remove_file(folder.path().join("ceo@old.pem")).expect("it is there");
    until("the old key's end", SOON, || (status(1) == 401).then_some(()));
    assert_eq!(status(2), 200);
    // One bad file leaves all as it was.
    folder.write("sec.pem", "no key");
    until("the refusal", SOON, || (edge.reloads("refused") > 0.0).then_some(()));
    assert_eq!(status(2), 200);
}

#[test]
fn where_the_route_says_jcs_every_level_is_sorted_before_it_is_signed() {
    let bridge = Double::mirror();
    let node = Node::new("ceo", 7);
    let site = |canonical: &str| {
        Site::new().upstream("bridge", bridge.address()).node("acme", "ceo", &node.public_key()).route(&format!(
            "name: ingest, path: /ingest, scopes: [mesh:ingest], verify: {{ scheme: mesh, canonical: {canonical} }}, upstream: bridge"
        ))
    };
    let sorted = r#"{"nodeId":"ceo","type":"memory","value":{"a":1,"b":2}}"#;
    let sent = format!(
        r#"{{"value":{{"b":2,"a":1.0}},"type":"memory","nodeId":"ceo","sig":"{}"}}"#,
        node.sign(sorted)
    );
    let edge = Edge::start(&site("jcs"));
    let client = edge.caller(ACME);
    client.post("/ingest", &sent).expect(200);
    assert_eq!(bridge.only().body, sent.as_bytes());
    edge.reload(&site("mesh"));
    client.post("/ingest", &sent).refused(401, "signature_invalid");
}
