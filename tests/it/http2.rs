//! HTTP/2 from outside: each stream is a request like any other, and what one connection can ask for is bounded.

use crate::house::client::Answer;
use crate::house::double::{Double, Gate, Reply};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX};
use crate::house::pki::Pki;
use crate::house::process::free_address;
use crate::house::site::Site;
use crate::house::tls::{BOTH, Streams, client, request};
use crate::house::wait::{SOON, until};
use bytes::Bytes;

const KEY: (&str, &str) = ("x-api-key", ACME.text);

/// An edge with a socket over TLS, and what opens connections to it.
fn over_http2(site: Site) -> (Edge, impl Fn() -> Streams) {
    let (pki, socket) = (Pki::new(), free_address());
    let files = pki.server("edge", &["edge.test"]);
    let entry = format!("address: \"{socket}\", tls: {{ certificates: [{}] }}", files.entry());
    let edge = Edge::start(&site.listen(&entry));
    let client = client(&pki.roots(), BOTH);
    let connect = move || {
        // The files stay as long as the edge may look at them.
        let _pki = &pki;
        Streams::open(socket, &client, "edge.test")
    };
    (edge, connect)
}

fn get(target: &str, fields: &[(&str, &str)]) -> http::Request<()> {
    request("GET", "edge.test", target, fields)
}

fn post(target: &str, fields: &[(&str, &str)]) -> http::Request<()> {
    request("POST", "edge.test", target, fields)
}

#[test]
fn a_stream_is_a_request_like_any_other() {
    let upstream = Double::mirror();
    let (edge, connect) = over_http2(Site::keyed(&upstream));
    let mut streams = connect();
    let answer = streams.send(get("/a?b=c", &[KEY]), None).expect(200);
    assert_eq!(
        (answer.json()["tenant"].as_str(), answer.json()["target"].as_str()),
        (Some("acme"), Some("/a?b=c"))
    );
    let line = edge.log_line(&answer);
    assert_eq!((line["host"].as_str(), line["path"].as_str()), (Some("edge.test"), Some("/a")));
    let globex = ("x-api-key", GLOBEX.text);
    assert_eq!(streams.send(get("/a", &[globex]), None).expect(200).json()["tenant"], "globex");
    streams.send(get("/a", &[]), None).refused(401, "unauthorized");
    let head = streams.send(request("HEAD", "edge.test", "/a", &[KEY]), None).expect(200);
    assert!(head.body.is_empty());
}

#[test]
fn what_says_who_calls_is_the_edges_to_say() {
    let upstream = Double::mirror();
    let (_edge, connect) = over_http2(Site::keyed(&upstream));
    let forged = [
        KEY,
        ("x-tenant-id", "globex"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "http"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    connect().send(get("/a", &forged), None).expect(200);
    let seen = upstream.only();
    assert_eq!(seen.field("x-tenant-id"), Some("acme"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("host"), Some("edge.test"));
    assert_eq!(seen.field("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.field("x-api-key"), None);
}

#[test]
fn bodies_pass_with_and_without_a_length() {
    let upstream = Double::start(|seen| Reply::text(200, seen.body.clone()));
    let (_edge, connect) = over_http2(Site::open(&upstream));
    let mut streams = connect();
    let small = Bytes::from_static(b"{\"a\":1}");
    assert_eq!(
        streams.send(post("/x", &[("content-length", "7")]), Some(small.clone())).expect(200).body,
        small
    );
    for at in 0..5 {
        let answer = streams.send(post("/x", &[]), Some(small.clone())).expect(200);
        assert_eq!(answer.body, small, "{at}");
    }
    let large = Bytes::from(vec![b'x'; 60_000]);
    assert_eq!(streams.send(post("/x", &[]), Some(large.clone())).expect(200).body, large);
    assert_eq!(streams.send(post("/x", &[]), Some(Bytes::new())).expect(200).body, b"");
}

#[test]
fn a_body_beyond_its_bound_is_refused() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .route("name: all, path: /**, public: true, body: { max: 1KiB }, upstream: all");
    let (_edge, connect) = over_http2(site);
    let mut streams = connect();
    let large = Some(Bytes::from(vec![b'x'; 5000]));
    streams.send(post("/x", &[("content-length", "5000")]), large.clone()).refused(413, "body_too_large");
    streams.send(post("/x", &[]), large).refused(413, "body_too_large");
    streams.send(post("/x", &[]), Some(Bytes::from_static(b"fits"))).expect(200);
}

#[test]
fn limits_count_streams() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .limit("per-ip", "by: ip, window: { limit: 3, per: 1h }")
        .route("name: all, path: /**, public: true, limits: [per-ip], upstream: all");
    let (_edge, connect) = over_http2(site);
    let mut streams = connect();
    for _ in 0..3 {
        streams.send(get("/x", &[]), None).expect(200);
    }
    let refused = streams.send(get("/x", &[]), None).refused(429, "limit_exceeded");
    assert!(refused.field("retry-after").is_some() && refused.field("ratelimit").is_some(), "{refused:?}");
    connect().send(get("/x", &[]), None).refused(429, "limit_exceeded");
    assert_eq!(upstream.count(), 3);
}

#[test]
fn heads_have_one_reading_or_none() {
    let upstream = Double::mirror();
    let (edge, connect) = over_http2(Site::open(&upstream));
    let many: Vec<(&str, &str)> = (0..65).map(|_| ("x-many", "y")).collect();
    let long = "y".repeat(17_000);
    for (request, status, code) in [
        (post("/x", &[("expect", "more")]), 417, "bad_expectation"),
        (get("/x", &many), 431, "too_many_fields"),
        (get("/x", &[("x-long", long.as_str())]), 431, "head_too_large"),
        (request("TRACE", "edge.test", "/x", &[]), 405, "method_not_allowed"),
        (request("GET", "edge.test", "/a/../b", &[]), 400, "path_dot_segment"),
        (request("GET", "edge.test", "/a%2Fb", &[]), 400, "path_encoded_slash"),
    ] {
        let shown = format!("{request:?}");
        let answer = connect().send(request, None);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}");
    }
    // These are refused before anyone sees them; the connection goes on.
    let mut streams = connect();
    for fields in [
        &[("content-length", "5"), ("content-length", "6")][..],
        &[("content-length", "+5")],
        &[("host", "other.test")],
    ] {
        match streams.bare_status(get("/x", fields)) {
            Err(error) => assert!(error.is_reset(), "{fields:?}: {error}"),
            Ok(status) => assert_eq!(status, 400, "{fields:?}"),
        }
    }
    upstream.untouched();
    streams.send(get("/x", &[]), None).expect(200);
    assert!(edge.metrics().sum("openclaw_edge_refusals_total", &[("code", "too_many_fields")]) > 0.5);
}

#[test]
fn many_streams_run_at_once() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |seen| Reply::text(200, seen.target.clone()).after(&held));
    let (_edge, connect) = over_http2(Site::open(&upstream));
    let mut streams = connect();
    let pending: Vec<_> =
        (0..60).map(|at| streams.begin(get(&format!("/{at}"), &[]), None).unwrap()).collect();
    until("all of them", SOON, || (upstream.count() == 60).then_some(()));
    gate.open();
    for (at, (answer, _)) in pending.into_iter().enumerate() {
        let answer: Answer = streams.finish(answer).unwrap();
        assert_eq!(answer.expect(200).text(), format!("/{at}"));
    }
}

#[test]
fn a_client_that_takes_everything_back_is_cut_off() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "late").after(&held));
    let (edge, connect) = over_http2(Site::open(&upstream));
    let mut streams = connect();
    for at in 0..400 {
        let Ok((answer, mut stream)) = streams.begin(get("/x", &[]), None) else { break };
        // Not before it has cost something: until then the codec itself bounds it.
        until("its arrival", SOON, || (upstream.count() > at || streams.is_over()).then_some(()));
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
    }
    assert!(streams.is_closed());
    until("the count", SOON, || {
        (edge.metrics().sum("openclaw_edge_http2_abused_total", &[]) > 0.5).then_some(())
    });
    gate.open();
    connect().send(get("/x", &[]), None).expect(200);
}

#[test]
fn a_webhook_is_verified_over_it() {
    let upstream = Double::mirror();
    let site = Site::new()
        .top("allow_literal_secrets: true")
        .upstream("all", upstream.address())
        .route("name: hook, path: /hook, methods: [POST], tenant: acme, verify: { scheme: github, secret: \"a-secret-that-is-long-enough-for-it\" }, upstream: all");
    let (_edge, connect) = over_http2(site);
    let body = Bytes::from_static(b"{\"zen\":\"hello\"}");
    let mut mac =
        <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(b"a-secret-that-is-long-enough-for-it")
            .unwrap();
    hmac::Mac::update(&mut mac, &body);
    let signed = format!("sha256={}", hex::encode(hmac::Mac::finalize(mac).into_bytes()));
    let fields =
        [("x-github-delivery", "1"), ("x-github-event", "ping"), ("x-hub-signature-256", signed.as_str())];
    let mut streams = connect();
    assert_eq!(streams.send(post("/hook", &fields), Some(body)).expect(200).json()["bytes"], 15);
    let other = Bytes::from_static(b"{\"zen\":\"hellO\"}");
    streams.send(post("/hook", &fields), Some(other)).refused(401, "signature_invalid");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn the_edge_goes_down_without_losing_a_stream() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "in time").after(&held));
    let (mut edge, connect) = over_http2(Site::open(&upstream));
    let mut streams = connect();
    let (answer, _stream) = streams.begin(get("/x", &[]), None).unwrap();
    until("its arrival", SOON, || (upstream.count() == 1).then_some(()));
    edge.sigterm();
    until("the door", SOON, || (!edge.listens()).then_some(()));
    gate.open();
    assert_eq!(streams.finish(answer).unwrap().expect(200).text(), "in time");
    assert!(edge.wait(SOON).success());
}
