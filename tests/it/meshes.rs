//! Two meshes, each behind an edge of its own: what one shares comes in at the other, once and in order, whatever
//! happens on the way.

use crate::house::client::Request;
use crate::house::double::{Double, Reply};
use crate::house::doubles;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, ACME_TWO, GLOBEX, READER};
use crate::house::messages::Node;
use crate::house::process::edge_program;
use crate::house::relay::{Relay, Way};
use crate::house::site::Site;
use crate::house::wait::{SOON, until};
use base64::Engine as _;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// The key that the mesh `hq` signs with: what is in its PEM, and what others know of it.
fn own_key() -> (String, String) {
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let pem =
        key.to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF).expect("a key has a PEM");
    let public = base64::engine::general_purpose::STANDARD.encode(key.verifying_key().as_bytes());
    (pem.replace('\n', "\\n"), public)
}

/// The edge of `hq`, which shares with `lab` over there.
fn hq(lab: SocketAddr, outbox: &str) -> Site {
    let (pem, _) = own_key();
    Site::new()
        .top("allow_literal_secrets: true")
        .top(&format!("signing_keys: [{{ tenant: acme, private_key: \"{pem}\" }}]"))
        .top(&format!("meshes: [{{ tenant: acme, id: lab, own_id: hq, url: \"http://{lab}/federation/in\", token: {}, sign: edge, timeout: 5s, share: [federation, {{ scope: mesh, key: roadmap }}, {{ skill: deploy }}] }}]", GLOBEX.text))
        .top(&format!("outbox: {{ retry_first: 20ms, retry_most: 100ms{outbox} }}"))
        .route("name: share, path: /federation/share, methods: [POST], scopes: [federation], federation: share")
}

/// The edge of `lab`, whose tenant globex knows `hq` by its key.
fn lab(bridge: &Double) -> Site {
    let (_, public) = own_key();
    Site::new()
        .upstream("bridge", bridge.address())
        .top(&format!("meshes: [{{ tenant: globex, id: hq, own_id: lab, credentials: [globex-ops], public_keys: [\"{public}\"], accept: [federation, {{ skill: \"*\" }}] }}]"))
        .route("name: in, path: /federation/in, methods: [POST], scopes: [federation], federation: in, strip_prefix: /federation/in, add_prefix: /ingest, upstream: bridge")
}

fn memory(scope: &str, key: &str, value: &Value) -> Value {
    json!({ "type": "memory", "scope": scope, "key": key, "value": value, "nodeId": "ceo", "ts": 1 })
}

fn outbox(edge: &Edge, args: &[&str]) -> String {
    let mut command = Command::new(edge_program());
    command.arg("outbox").args(args).arg("--config").arg(edge.config());
    let output =
        command.current_dir(edge.config().parent().expect("it is in a folder")).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn is(counted: f64, wanted: u32) -> bool {
    (counted - f64::from(wanted)).abs() < 0.1
}

fn waiting(edge: &Edge) -> f64 {
    edge.metrics().sum("openclaw_edge_outbox_waiting", &[("mesh", "lab")])
}

fn attempts(edge: &Edge, result: &str) -> f64 {
    edge.metrics().sum("openclaw_edge_outbox_attempts_total", &[("mesh", "lab"), ("result", result)])
}

fn keys(bridge: &Double) -> Vec<Value> {
    bridge.seen().iter().map(|seen| seen.json().expect("JSON")["key"].clone()).collect()
}

#[test]
fn what_one_mesh_shares_comes_in_at_the_other_under_its_name() {
    let bridge = doubles::bridge();
    let lab = Edge::start(&lab(&bridge));
    let hq = Edge::start(&hq(lab.address(), ""));
    let batch = json!([
        memory("federation", "k", &json!({ "b": 1, "a": 2 })),
        memory("mesh", "secret", &json!(1)),
        memory("mesh", "roadmap", &json!(2)),
        { "type": "skill", "name": "deploy", "sourceNode": "sec", "content": "x" },
        { "type": "skill", "name": "other", "sourceNode": "sec", "content": "x" },
    ]);
    let answer = hq.caller(ACME).post("/federation/share", batch.to_string()).expect(202).json();
    assert_eq!((&answer["shared"], &answer["deliveries"][0]["withheld"]), (&json!(3), &json!(2)));
    until("the delivery", SOON, || (bridge.count() == 1).then_some(()));
    let seen = bridge.only();
    // The roadmap may leave hq, but lab takes nothing of the scope `mesh`.
    let wanted = json!([
        { "key": "k", "nodeId": "external:hq:ceo", "scope": "federation", "ts": 1, "type": "memory", "value": { "b": 1, "a": 2 } },
        { "content": "x", "name": "deploy", "sourceNode": "external:hq:sec", "type": "skill" },
    ]);
    assert_eq!(seen.json().expect("JSON"), wanted);
    assert_eq!(seen.field("x-mesh-id"), Some("hq"));
    assert_eq!(seen.field("x-verified-source"), Some("mesh"));
    assert_eq!(seen.field("x-verified-key-id").map(str::len), Some(43));
    assert_eq!(seen.field("x-tenant-id"), Some("globex"));
    assert_eq!(seen.field("authorization"), None);
    let count = |direction: &str, result: &str| {
        let edge = if direction == "out" { &hq } else { &lab };
        edge.metrics()
            .sum("openclaw_edge_federation_messages_total", &[("direction", direction), ("result", result)])
    };
    let counted = [
        count("out", "passed"),
        count("out", "not_granted"),
        count("in", "passed"),
        count("in", "not_granted"),
    ];
    assert!(counted.iter().zip([3, 2, 2, 1]).all(|(n, wanted)| is(*n, wanted)), "{counted:?}");
    until("an empty outbox", SOON, || (waiting(&hq) < 0.5).then_some(()));
    for edge in [&hq, &lab] {
        let output = edge.all_output();
        assert!(!output.contains(GLOBEX.text) && !output.contains("PRIVATE"), "{output}");
    }
}

#[test]
fn nothing_is_lost_or_doubled_when_both_sides_die_and_come_back() {
    let bridge = doubles::bridge();
    let wire = Relay::start();
    let site = hq(wire.address(), "");
    let mut edge = Edge::start(&site);
    let send = |edge: &Edge, n: usize| {
        let body = memory("federation", &format!("k{n}"), &json!(n)).to_string();
        edge.caller(ACME).post("/federation/share", body).expect(202);
    };
    (0..10).for_each(|n| send(&edge, n));
    until("a failed attempt", SOON, || (attempts(&edge, "failed") > 0.5).then_some(()));
    let listed = outbox(&edge, &["list"]);
    assert_eq!(listed.lines().count(), 11, "{listed}");
    assert!(is(waiting(&edge), 10));
    // As a crash in the middle of an append leaves it.
    let folder = edge.kill();
    let log = folder.path().join("data/outbox/acme.log");
    let mut bytes = std::fs::read(&log).expect("the outbox is there");
    bytes.extend_from_slice(&[9, 0, 0, 0, 1, 2, 3]);
    std::fs::write(&log, bytes).expect("it can be written");
    edge = Edge::start_in(folder, &site);
    (10..15).for_each(|n| send(&edge, n));
    let there = Edge::start(&lab(&bridge));
    wire.turn(Way::Through(there.address()));
    until("all deliveries", SOON, || (bridge.count() == 15).then_some(()));
    // The peer goes, comes back at another place, and has kept what it took.
    wire.turn(Way::Cut);
    let there = there.kill();
    (15..20).for_each(|n| send(&edge, n));
    let there = Edge::start_in(there, &lab(&bridge));
    wire.turn(Way::Through(there.address()));
    until("the rest", SOON, || (bridge.count() == 20).then_some(()));
    until("an empty outbox", SOON, || (waiting(&edge) < 0.5).then_some(()));
    let wanted: Vec<Value> = (0..20).map(|n| json!(format!("k{n}"))).collect();
    assert_eq!(keys(&bridge), wanted);
    assert_eq!(outbox(&edge, &["list"]).lines().count(), 1);
}

#[test]
fn when_an_answer_gets_lost_the_peer_sees_that_it_has_the_delivery() {
    let bridge = doubles::bridge();
    let wire = Relay::start();
    let there = Edge::start(&lab(&bridge));
    wire.turn(Way::AnswersLost(there.address()));
    let edge = Edge::start(&hq(wire.address(), ""));
    let body = memory("federation", "k", &json!(1)).to_string();
    edge.caller(ACME).post("/federation/share", &body).expect(202);
    until("a lost answer", SOON, || (wire.lost() > 0).then_some(()));
    // It took it, and its own memory outlives it.
    let there = Edge::start_in(there.kill(), &lab(&bridge));
    wire.turn(Way::Through(there.address()));
    until("the peer's word", SOON, || (attempts(&edge, "duplicate") > 0.5).then_some(()));
    until("an empty outbox", SOON, || (waiting(&edge) < 0.5).then_some(()));
    assert_eq!(keys(&bridge), [json!("k")]);
}

#[test]
fn what_a_caller_says_again_under_its_key_waits_once_and_goes_under_one_name() {
    let peer = Double::start(|_| Reply::text(200, "{}"));
    let wire = Relay::start();
    let edge = Edge::start(&hq(wire.address(), ""));
    let body = memory("federation", "k", &json!(1)).to_string();
    let request = Request::post("/federation/share", &body).field("Idempotency-Key", "once");
    let first = edge.caller(ACME).send(&request).expect(202).json();
    let second = edge.caller(ACME).send(&request).expect(202).json();
    assert_eq!(first, second);
    assert!(is(waiting(&edge), 1));
    wire.turn(Way::Through(peer.address()));
    until("the delivery", SOON, || (peer.count() == 1).then_some(()));
    let seen = peer.only();
    assert_eq!(seen.field("idempotency-key"), first["deliveries"][0]["id"].as_str());
    assert_eq!(seen.field("authorization"), Some(&*format!("Bearer {}", GLOBEX.text)));
    assert_eq!(seen.field("x-mesh-id"), Some("hq"));
    assert_eq!(seen.json().expect("JSON")["sig"].as_str().map(str::len), Some(88));
}

#[test]
fn what_a_peer_refuses_is_laid_aside_lets_others_pass_and_waits_for_a_person() {
    let status = std::sync::Arc::new(AtomicU16::new(422));
    let answers = status.clone();
    let peer = Double::start(move |seen| {
        let is_bad = seen.json().is_some_and(|body| body["key"] == "bad");
        Reply::text(if is_bad { answers.load(Ordering::SeqCst) } else { 200 }, "")
    });
    let edge = Edge::start(&hq(peer.address(), ""));
    for key in ["bad", "good"] {
        edge.caller(ACME)
            .post("/federation/share", memory("federation", key, &json!(1)).to_string())
            .expect(202);
    }
    until("the good one", SOON, || (attempts(&edge, "taken") > 0.5).then_some(()));
    let listed: Value = serde_json::from_str(&outbox(&edge, &["list", "--json"])).expect("JSON");
    assert_eq!((listed[0]["aside"].clone(), listed.as_array().map(Vec::len)), (json!(422), Some(1)));
    assert_eq!(outbox(&edge, &["list", "--tenant", "globex"]).lines().count(), 1);
    let id = listed[0]["id"].as_str().expect("an id").to_owned();
    status.store(200, Ordering::SeqCst);
    assert_eq!(outbox(&edge, &["retry", "acme", "lab"]), "1 put back\n");
    until("both", SOON, || (attempts(&edge, "taken") > 1.5).then_some(()));
    assert!(peer.seen().iter().filter(|seen| seen.field("idempotency-key") == Some(&id)).count() == 2);
    status.store(400, Ordering::SeqCst);
    edge.caller(ACME)
        .post("/federation/share", memory("federation", "bad", &json!(2)).to_string())
        .expect(202);
    until("one aside", SOON, || {
        (edge.metrics().sum("openclaw_edge_outbox_aside", &[("mesh", "lab")]) > 0.5).then_some(())
    });
    assert_eq!(outbox(&edge, &["drop", "acme", "lab", "--aside"]), "1 thrown away\n");
    assert_eq!(outbox(&edge, &["list"]).lines().count(), 1);
}

#[test]
fn what_is_not_taken_in_time_is_laid_aside_and_a_full_outbox_says_so() {
    let wire = Relay::start();
    let edge = Edge::start(&hq(wire.address(), ", give_up: 1s, max_per_mesh: 1KiB"));
    let share = |value: &Value| {
        edge.caller(ACME).post("/federation/share", memory("federation", "k", value).to_string())
    };
    share(&json!("x".repeat(300))).expect(202);
    let full = share(&json!("x".repeat(700))).refused(503, "outbox_full");
    assert!(full.field("retry-after").is_some());
    until("it is laid aside", SOON, || (attempts(&edge, "given_up") > 0.5).then_some(()));
    let listed: Value = serde_json::from_str(&outbox(&edge, &["list", "--json"])).expect("JSON");
    assert_eq!((listed[0]["aside"].clone(), listed.as_array().map(Vec::len)), (json!(0), Some(1)));
}

#[test]
fn only_a_mesh_with_its_own_key_and_its_own_name_comes_in() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&lab(&bridge));
    let body = memory("federation", "k", &json!(1)).to_string();
    let post = |body: &str| Request::post("/federation/in", body);
    edge.send(&post(&body)).refused(401, "unauthorized");
    edge.caller(READER).send(&post(&body)).refused(403, "forbidden");
    // A key of the edge, but of no mesh; and one that says that it is another.
    edge.caller(ACME).send(&post(&body)).refused(403, "mesh_unknown");
    edge.caller(GLOBEX).send(&post(&body).field("X-Mesh-Id", "other")).refused(403, "mesh_unknown");
    edge.caller(GLOBEX).send(&post("{")).refused(400, "invalid_json");
    bridge.untouched();
    // Unsigned, signed by another, changed: each is left out, and nothing is left.
    let stranger = Node::new("ceo", 3).memory("k", "1", "1");
    let answer = edge.caller(GLOBEX).send(&post(&format!("[{body},{stranger}]"))).expect(200);
    assert_eq!(answer.json(), json!({ "ingested": 0, "memory": 0, "skill": 0 }));
    assert_eq!(answer.field("x-messages-dropped"), Some("2"));
    bridge.untouched();
    let metrics = edge.metrics();
    for result in ["signature_missing", "signature_invalid"] {
        let n = metrics.sum("openclaw_edge_federation_messages_total", &[("mesh", "hq"), ("result", result)]);
        assert!(is(n, 1), "{result}: {n}");
    }
}

#[test]
fn what_cannot_be_shared_is_refused_and_tenants_have_meshes_of_their_own() {
    let wire = Relay::start();
    let edge = Edge::start(&hq(wire.address(), ""));
    let one = memory("federation", "k", &json!(1));
    let share = |body: &Value| edge.caller(ACME_TWO).post("/federation/share", body.to_string());
    share(&json!({ "messages": [one], "audience": "elsewhere" })).refused(400, "bad_share");
    share(&json!({ "messages": [one], "targetUnit": "u1" })).refused(400, "bad_share");
    edge.caller(ACME).post("/federation/share", "{").refused(400, "bad_share");
    let answer = share(&json!({ "messages": [one, one], "audience": ["lab"] })).expect(202).json();
    assert_eq!(answer["deliveries"][0]["messages"], 2);
    // Globex has no mesh here: nothing of it leaves, whoever it names.
    let other = edge.caller(GLOBEX).post("/federation/share", one.to_string()).expect(202).json();
    assert_eq!(other, json!({ "shared": 0, "deliveries": [] }));
    let named = json!({ "messages": [one], "audience": "lab" });
    edge.caller(GLOBEX).post("/federation/share", named.to_string()).refused(400, "bad_share");
    assert!(is(waiting(&edge), 1));
}
