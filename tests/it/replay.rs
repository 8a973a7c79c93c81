//! What an upstream took goes to it no second time: over restarts, reloads, crashes and many callers at once.

use crate::house::client::Request;
use crate::house::double::{Double, Gate, Reply};
use crate::house::doubles;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::messages::Node;
use crate::house::site::Site;
use openclaw_edge::config::checked::HmacAlgorithm;
use openclaw_edge::secret::Secret;
use openclaw_edge::signatures::mac::tag;
use std::sync::atomic::{AtomicU16, Ordering};

const SECRET: &str = "a-secret-that-is-long-enough";

fn site(upstream: &Double, extra: &str) -> Site {
    Site::new()
        .top("allow_literal_secrets: true")
        .upstream("hooks", upstream.address())
        .route(&format!("name: github, path: /github, tenant: acme, verify: {{ scheme: github, secret: {SECRET}{extra} }}, upstream: hooks"))
        .route(&format!("name: globex, path: /globex, tenant: globex, verify: {{ scheme: github, secret: {SECRET}{extra} }}, upstream: hooks"))
}

/// A body, signed as GitHub signs.
fn signed(target: &str, body: &str) -> Request {
    use std::fmt::Write as _;
    let tag = tag(HmacAlgorithm::Sha256, &Secret::new(SECRET.into()), [body.as_bytes()]);
    let hex = tag.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Request::post(target, body).field("X-Hub-Signature-256", &format!("sha256={hex}"))
}

#[test]
fn what_was_taken_is_answered_and_goes_no_further() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ""));
    edge.send(&signed("/github", "one")).expect(200);
    assert_eq!(upstream.only().body, "one");
    let answer = edge.send(&signed("/github", "one")).expect(200);
    assert_eq!(answer.field("x-replay"), Some("duplicate"));
    assert_eq!(answer.json()["duplicate"], true);
    assert_eq!(edge.log_line(&answer)["replay"], "duplicate");
    upstream.untouched();
    edge.send(&signed("/github", "two")).expect(200);
    assert_eq!(upstream.only().body, "two");
    // Another tenant's is another's.
    edge.send(&signed("/globex", "one")).expect(200);
    assert_eq!(upstream.only().body, "one");
    assert!(
        (edge.metrics().sum("openclaw_edge_replays_total", &[("answer", "duplicate")]) - 1.0).abs() < 0.1
    );
}

#[test]
fn where_the_route_says_conflict_it_is_one_and_where_it_says_off_it_goes_on() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ", replay: conflict"));
    edge.send(&signed("/github", "one")).expect(200);
    let answer = edge.send(&signed("/github", "one")).refused(409, "replayed");
    assert_eq!(answer.field("x-replay"), Some("duplicate"));
    upstream.forget();
    edge.reload(&site(&upstream, ", replay: off"));
    edge.send(&signed("/github", "one")).expect(200);
    assert_eq!(upstream.only().body, "one");
}

#[test]
fn what_the_upstream_did_not_take_may_come_again() {
    let status = AtomicU16::new(503);
    let upstream = Double::start(move |_| Reply::text(status.swap(200, Ordering::SeqCst), ""));
    let edge = Edge::start(&site(&upstream, ""));
    edge.send(&signed("/github", "one")).expect(503);
    assert_eq!(edge.send(&signed("/github", "one")).expect(200).field("x-replay"), None);
    assert_eq!(edge.send(&signed("/github", "one")).expect(200).field("x-replay"), Some("duplicate"));
    assert_eq!(upstream.count(), 2);
}

#[test]
fn what_was_answered_survives_a_crash_a_restart_and_reloads() {
    for sync in ["system", "disk"] {
        let upstream = Double::mirror();
        let site = site(&upstream, "").top(&format!("replay_cache: {{ sync: {sync} }}"));
        let edge = Edge::start(&site);
        let bodies: Vec<String> = (0..50).map(|at| format!("{{\"n\":{at}}}")).collect();
        for body in &bodies {
            edge.send(&signed("/github", body)).expect(200);
        }
        edge.reload(&site.clone().top("log: { level: debug }"));
        let folder = edge.kill();
        // As a crash in the middle of a mark leaves it.
        let log = folder.path().join("data/replay.log");
        let mut bytes = std::fs::read(&log).expect("the log is there");
        bytes.extend_from_slice(b"half a mark");
        std::fs::write(&log, bytes).expect("it can be written");
        upstream.forget();
        let edge = Edge::start_in(folder, &site);
        for body in &bodies {
            assert_eq!(edge.send(&signed("/github", body)).expect(200).field("x-replay"), Some("duplicate"));
        }
        upstream.untouched();
        edge.send(&signed("/github", "new")).expect(200);
        assert_eq!(upstream.only().body, "new");
    }
}

#[test]
fn of_many_at_once_one_goes_on() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "").after(&held));
    let edge = Edge::start(&site(&upstream, ""));
    let client = edge.client();
    let first = std::thread::spawn({
        let client = client.clone();
        move || client.send(&signed("/github", "one"))
    });
    crate::house::wait::until("the first delivery", crate::house::wait::SOON, || {
        (upstream.count() == 1).then_some(())
    });
    for _ in 0..10 {
        let answer = client.send(&signed("/github", "one")).refused(409, "delivery_pending");
        assert_eq!(answer.field("retry-after"), Some("1"));
    }
    gate.open();
    first.join().expect("it is answered").expect(200);
    assert_eq!(client.send(&signed("/github", "one")).expect(200).field("x-replay"), Some("duplicate"));
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_forged_delivery_marks_nothing() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ""));
    let forged =
        Request::post("/github", "one").field("X-Hub-Signature-256", &format!("sha256={}", "0".repeat(64)));
    edge.send(&forged).refused(401, "signature_invalid");
    assert_eq!(edge.send(&signed("/github", "one")).expect(200).field("x-replay"), None);
    upstream.only();
}

#[test]
fn mesh_messages_are_known_one_by_one() {
    let bridge = doubles::bridge();
    let node = Node::new("ceo", 7);
    let site = |on_failure: &str| {
        Site::new()
            .upstream("bridge", bridge.address())
            .node("acme", "ceo", &node.public_key())
            .route(&format!("name: ingest, path: /ingest, scopes: [mesh:ingest], verify: {{ scheme: mesh, replay: duplicate, on_failure: {on_failure} }}, upstream: bridge"))
    };
    let edge = Edge::start(&site("reject"));
    let client = edge.caller(ACME);
    let [one, two, three] = ["a", "b", "c"].map(|key| node.memory(key, "1", "1"));
    client.post("/ingest", &one).expect(200);
    assert_eq!(client.post("/ingest", &one).expect(200).field("x-replay"), Some("duplicate"));
    // Another spelling of the same message.
    assert_eq!(
        client.post("/ingest", format!(" [ {one} ]")).expect(200).field("x-replay"),
        Some("duplicate")
    );
    client.post("/ingest", format!("[{two},{one}]")).refused(409, "replayed");
    client.post("/ingest", format!("[{two},{two}]")).refused(409, "replayed");
    bridge.forget();
    edge.reload(&site("drop"));
    let answer = client.post("/ingest", format!("[{one},{two},{two}]")).expect(200);
    assert_eq!(answer.field("x-messages-dropped"), Some("2"));
    assert_eq!(bridge.only().body, format!("[{two}]"));
    client.post("/ingest", format!("[{three}]")).expect(200);
}
