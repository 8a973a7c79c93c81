//! What limits can do beside counting requests to a ceiling, seen from outside.

use crate::house::client::Answer;
use crate::house::double::{Double, Gate, Reply};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, open};
use crate::house::wait::{SOON, until};

/// One limited route, and one that is not.
fn site(upstream: &Double, limit: &str) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .limit("tried", limit)
        .route("name: limited, path: /limited, limits: [tried], upstream: all")
}

fn passed(mut send: impl FnMut() -> Answer, times: usize) -> usize {
    (0..times).filter(|_| send().status == 200).count()
}

#[test]
fn a_rate_lets_a_burst_through_and_says_when_the_next_may_come() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "by: credential, rate: { per_second: 0.01, burst: 7 }"));
    let caller = edge.caller(ACME);
    assert_eq!(passed(|| caller.get("/limited"), 20), 7);
    let refused = caller.get("/limited").refused(429, "limit_exceeded");
    let seconds: u64 = refused.field("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!((60..=100).contains(&seconds), "{seconds}");
    assert_eq!(refused.field("ratelimit-policy"), Some("\"tried\";q=7;w=700"));
    edge.caller(GLOBEX).get("/limited").expect(200);
}

#[test]
fn requests_in_flight_are_counted_until_their_answer_is_through() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "done").after(&held));
    let edge = Edge::start(&site(&upstream, "by: tenant, concurrency: 3"));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| edge.caller(ACME).get("/limited"))).collect();
        until("three that wait", SOON, || (upstream.count() == 3).then_some(()));
        let refused = edge.caller(ACME).get("/limited").refused(429, "limit_exceeded");
        assert_eq!(refused.field("ratelimit-policy"), Some("\"tried\";q=3;qu=\"concurrent-requests\""));
        gate.open();
        for one in waiting {
            one.join().expect("no panic").expect(200);
        }
    });
    until("all three places again", SOON, || {
        let free = passed(|| edge.caller(ACME).get("/limited"), 3);
        (free == 3).then_some(())
    });
}

#[test]
fn an_open_socket_is_in_flight_as_long_as_it_is_open() {
    let gateway = EchoGateway::start();
    let site = Site::new()
        .gateway("ceo", "acme", gateway.address())
        .limit("sockets", "by: credential, concurrency: 2")
        .route("name: gateway, path: \"/gateways/{gateway}/**\", scopes: [gateways:connect], limits: [sockets], gateway: \"{gateway}\"");
    let edge = Edge::start(&site);
    let key: &[(&str, &str)] = &[("X-API-Key", ACME.text)];
    let mut first = open(edge.address(), "/gateways/ceo", key).expect("an open socket");
    let second = open(edge.address(), "/gateways/ceo", key).expect("an open socket");
    let refused = open(edge.address(), "/gateways/ceo", key).expect_err("no third");
    assert_eq!(refused.status, 429);
    assert_eq!(ask(&mut first, "still here"), "still here");
    drop(second);
    until("a place", SOON, || open(edge.address(), "/gateways/ceo", key).ok().map(drop));
}

#[test]
fn bytes_are_counted_before_they_come_and_unknown_lengths_as_the_most() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .limit("bytes", "by: credential, counts: body_bytes, window: { limit: 10000, per: 1h }")
        .route("name: limited, path: /limited, limits: [bytes], body: { max: 8000 }, upstream: all");
    let edge = Edge::start(&site);
    let caller = edge.caller(ACME);
    caller.post("/limited", vec![b'x'; 1500]).expect(200);
    caller.get("/limited").expect(200);
    let chunked = crate::house::client::Request::new("POST", "/limited").chunks(&[b"ab", b"cd"]);
    caller.send(&chunked).expect(200);
    caller.post("/limited", vec![b'x'; 501]).refused(429, "limit_exceeded");
    let last = caller.post("/limited", vec![b'x'; 500]).expect(200);
    assert_eq!(last.field("ratelimit-policy"), Some("\"bytes\";q=10000;qu=\"content-bytes\";w=3600"));
    assert!(last.field("ratelimit").is_some_and(|left| left.starts_with("\"bytes\";r=0;t=")));
}

#[test]
fn methods_weigh_what_the_limit_says() {
    let upstream = Double::mirror();
    let limit = "by: credential, window: { limit: 10, per: 1h }, cost: 2, methods: { GET: 0, POST: 5 }";
    let edge = Edge::start(&site(&upstream, limit));
    let caller = edge.caller(ACME);
    assert_eq!(passed(|| caller.get("/limited"), 30), 30);
    caller.post("/limited", "a").expect(200);
    caller.put("/limited", "b").expect(200);
    caller.post("/limited", "c").refused(429, "limit_exceeded");
    caller.put("/limited", "d").expect(200);
    caller.put("/limited", "e").refused(429, "limit_exceeded");
}

#[test]
fn what_an_upstream_failed_is_not_spent() {
    let upstream = Double::start(|seen| match seen.query("fail") {
        Some(_) => Reply::text(503, "no"),
        None => Reply::text(200, "yes"),
    });
    let limit = "by: credential, window: { limit: 4, per: 1h }, refund: upstream_failed";
    let edge = Edge::start(&site(&upstream, limit));
    let caller = edge.caller(ACME);
    for _ in 0..12 {
        caller.get("/limited?fail=1").expect(503);
    }
    assert_eq!(passed(|| caller.get("/limited"), 10), 4);
}

#[test]
fn a_proposed_number_refuses_nobody_and_is_counted() {
    let upstream = Double::mirror();
    let limit = "by: credential, window: { limit: 9, per: 1h }, proposed: { limit: 4 }";
    let edge = Edge::start(&site(&upstream, limit));
    let caller = edge.caller(ACME);
    let answers: Vec<_> = (0..9).map(|_| caller.get("/limited").expect(200)).collect();
    assert_eq!(answers[8].field("ratelimit-policy"), Some("\"tried\";q=9;w=3600"), "clients are not told");
    until("the count", SOON, || {
        let told = edge.metrics().sum("openclaw_edge_would_limit_total", &[("limit", "tried.proposed")]);
        (told >= 5.0).then_some(())
    });
    assert_eq!(edge.log_line(&answers[8])["would_refuse"], "tried.proposed");
    caller.get("/limited").refused(429, "limit_exceeded");
}

#[test]
fn a_network_is_counted_as_one_beside_its_addresses() {
    let upstream = Double::mirror();
    let site = Site::new()
        .top("client_address: { trusted_proxies: [127.0.0.0/8] }")
        .upstream("all", upstream.address())
        .limit("address", "by: ip, window: { limit: 3, per: 1h }")
        .limit("network", "by: network, window: { limit: 8, per: 1h }")
        .route("name: open, path: /open, public: true, limits: [address, network], upstream: all");
    let edge = Edge::start(&site);
    let from = |address: &str| edge.client().with("X-Forwarded-For", address);
    for (address, expected) in
        [("2001:db8:5:1::1", 3), ("2001:db8:5:2::1", 3), ("2001:db8:5:3::1", 2), ("2001:db8:6:1::1", 3)]
    {
        assert_eq!(passed(|| from(address).get("/open"), 5), expected, "{address}");
    }
}

#[test]
fn the_older_fields_are_there_for_those_who_ask_for_them() {
    let upstream = Double::mirror();
    let site = site(&upstream, "by: credential, window: { limit: 5, per: 1h }");
    let edge = Edge::start(&site.top("limiter: { dialect: legacy }"));
    let answer = edge.caller(ACME).get("/limited").expect(200);
    assert_eq!(answer.field("x-ratelimit-limit"), Some("5"));
    assert_eq!(answer.field("x-ratelimit-remaining"), Some("4"));
    assert_eq!(answer.field("ratelimit"), None);
}

#[test]
fn values_of_a_field_are_counted_apart_and_requests_without_one_together() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(
        &upstream,
        "by: [tenant, header], header: X-Device-Id, window: { limit: 3, per: 1h }",
    ));
    let acme = edge.caller(ACME);
    let device = |name: &str| acme.with("X-Device-Id", name);
    assert_eq!(passed(|| device("one").get("/limited"), 9), 3);
    assert_eq!(passed(|| device("two").get("/limited"), 9), 3);
    assert_eq!(passed(|| acme.get("/limited"), 9), 3, "leaving it out gains nothing");
    let globex = edge.caller(GLOBEX).with("X-Device-Id", "one");
    assert_eq!(passed(|| globex.get("/limited"), 9), 3, "another tenant's device of that name is another");
    assert!(edge.metrics().is("openclaw_edge_limiter_header_values", &[], 4));
    let told = edge
        .admin(&format!("/explain?ip=192.0.2.1&path=/limited&credential={}&value=two", ACME.id))
        .expect("the admin listener");
    assert!(told.body.contains("limit_exceeded"), "{}", told.body);
}

#[test]
fn a_refusal_says_whose_fault_it_is() {
    const TYPES: &str = "https://iana.org/assignments/http-problem-types#";
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "done").after(&held));
    let site = Site::new()
        .upstream("all", upstream.address())
        .limit("own", "by: tenant, concurrency: 1")
        .limit("everyone", "by: route, concurrency: 1")
        .route("name: own, path: /own, limits: [own], upstream: all")
        .route("name: everyone, path: /everyone, limits: [everyone], upstream: all");
    let edge = Edge::start(&site);
    std::thread::scope(|scope| {
        let waiting = ["/own", "/everyone"].map(|path| {
            let caller = edge.caller(ACME);
            scope.spawn(move || caller.get(path))
        });
        until("two that wait", SOON, || (upstream.count() == 2).then_some(()));
        // The tenant has used up its own place, and is told which limit that is.
        let own = edge.caller(ACME).get("/own").refused(429, "limit_exceeded").json();
        assert_eq!((&own["type"], &own["status"]), (&format!("{TYPES}quota-exceeded").into(), &429.into()));
        assert_eq!(own["violated-policies"][0], "own");
        // The place that all share is taken, by whomever.
        let crowded = edge.caller(GLOBEX).get("/everyone").refused(503, "over_capacity");
        assert_eq!(crowded.field("retry-after"), Some("1"));
        assert_eq!(crowded.field("ratelimit-policy"), Some("\"everyone\";q=1;qu=\"concurrent-requests\""));
        let crowded = crowded.json();
        let kind = format!("{TYPES}temporary-reduced-capacity");
        assert_eq!((&crowded["type"], &crowded["status"]), (&kind.into(), &503.into()));
        assert_eq!(crowded["violated-policies"][0], "everyone");
        gate.open();
        for one in waiting {
            one.join().expect("no panic").expect(200);
        }
    });
    assert!(edge.metrics().is("openclaw_edge_limited_total", &[("limit", "everyone")], 1));
}

#[test]
fn an_upstreams_own_limits_are_told_beside_and_never_loosened() {
    let upstream = Double::start(|_| {
        Reply::text(429, "theirs")
            .field("RateLimit-Policy", "\"tried\";q=3;w=9")
            .field("RateLimit", "\"tried\";r=0;t=9")
            .field("Retry-After", "9")
    });
    let edge = Edge::start(&site(&upstream, "by: tenant, window: { limit: 100, per: 1h }"));
    let answer = edge.caller(ACME).get("/limited").expect(429);
    let told = |name: &str| -> Vec<&str> {
        let all = answer.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        all.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(told("retry-after"), ["9"]);
    assert_eq!(told("ratelimit"), ["\"tried\";r=0;t=9", "\"edge.tried\";r=99;t=3600"]);
    assert_eq!(told("ratelimit-policy"), ["\"tried\";q=3;w=9", "\"edge.tried\";q=100;w=3600"]);
}
