//! Several edges, one Redis, one limit: exact under load, and each for itself while the Redis is away.

use crate::house::client::{Answer, Client, Request};
use crate::house::double::{Double, Gate, Reply};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, Key};
use crate::house::redis::{Cluster, Redis};
use crate::house::site::Site;
use crate::house::wait::{SOON, until};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

/// No test may be decided by how busy the machine is: only those about silence wait for a short time.
const PATIENT: &str = "deadline: 5s";

fn shared(url: &str, more: &str) -> String {
    format!("shared: {{ url: \"{url}\", edges: 3, {more} }}")
}

fn site(upstream: &Double, redis: &str, limit: &str) -> Site {
    Site::new()
        .top(&shared(redis, PATIENT))
        .upstream("all", upstream.address())
        .limit("together", limit)
        .route("name: work, path: /jobs/**, limits: [together], upstream: all")
        .route("name: mission-control, path: /api/**, scopes: [gateways:read], mission_control: true")
}

fn three(site: &Site) -> Vec<Edge> {
    let edges: Vec<Edge> = (0..3).map(|_| Edge::start(site)).collect();
    until_answered(&edges);
    edges
}

/// Names of limits and what `RateLimit` says is left of them.
fn left(answer: &Answer) -> Vec<(String, u32)> {
    let members = answer.field("ratelimit").expect("RateLimit").split(", ");
    let member = |text: &str| {
        let (name, rest) = text.split_once(";r=").expect("a member");
        (
            name.trim_matches('"').to_owned(),
            rest.split(';').next().expect("a number").parse().expect("a number"),
        )
    };
    members.map(member).collect()
}

fn pairs(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    expected.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

/// Several callers at each edge send as fast as they can; how many were answered with each status.
fn flood(edges: &[Edge], key: Key, each: usize) -> [usize; 3] {
    let counts = [const { AtomicUsize::new(0) }; 3];
    std::thread::scope(|scope| {
        for edge in edges {
            for _ in 0..3 {
                let (client, counts) = (edge.caller(key), &counts);
                scope.spawn(move || send(&client, each, counts));
            }
        }
    });
    counts.map(AtomicUsize::into_inner)
}

fn send(client: &Client, times: usize, counts: &[AtomicUsize; 3]) {
    let mut connection = client.connection();
    for _ in 0..times {
        let place = match connection.send(&Request::get("/jobs/a")).status {
            200 => 0,
            429 => 1,
            _ => 2,
        };
        counts[place].fetch_add(1, Ordering::Relaxed);
    }
}

fn unreachable(edge: &Edge) -> bool {
    edge.metrics().sum("openclaw_edge_shared_unreachable", &[]) > 0.5
}

fn decided(edge: &Edge, by: &str) -> f64 {
    edge.metrics().sum("openclaw_edge_shared_decisions_total", &[("by", by)])
}

fn until_answered(edges: &[Edge]) {
    for edge in edges {
        until("the shared server", SOON, || (!unreachable(edge)).then_some(()));
    }
}

fn exact(limit: &str) -> Option<[usize; 3]> {
    let redis = Redis::start()?;
    let upstream = Double::mirror();
    let edges = three(&site(&upstream, &redis.url(), limit));
    let counts = flood(&edges, ACME, 40);
    assert_eq!(counts[0], upstream.count(), "what was answered 200 is what was admitted");
    let expected = flood(&edges, GLOBEX, 1);
    assert_eq!(expected[0], 9, "another tenant has its own");
    Some(counts)
}

#[test]
fn three_edges_hold_a_small_window_exactly() {
    let Some(counts) = exact("by: tenant, shared: true, window: { limit: 60, per: 1h }") else { return };
    assert_eq!(counts, [60, 300, 0]);
}

#[test]
fn three_edges_hold_a_large_window_exactly() {
    let Some(counts) = exact("by: credential, shared: true, window: { limit: 200, per: 1h }") else { return };
    assert_eq!(counts, [200, 160, 0]);
}

#[test]
fn three_edges_hold_a_quota_exactly() {
    let Some(counts) = exact("by: tenant, shared: true, quota: { limit: 150, per: 1d }") else { return };
    assert_eq!(counts, [150, 210, 0]);
}

#[test]
fn three_edges_hold_a_rate_exactly() {
    // The next one comes after a quarter of an hour.
    let limit = "by: node, shared: true, rate: { per_second: 0.001, burst: 70 }";
    let Some(counts) = exact(limit) else { return };
    assert_eq!(counts, [70, 290, 0]);
}

#[test]
fn three_edges_hold_a_number_in_flight_exactly_and_give_places_back() {
    let Some(redis) = Redis::start() else { return };
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "").after(&held));
    let edges = three(&site(&upstream, &redis.url(), "by: tenant, shared: true, concurrency: 4"));
    std::thread::scope(|scope| {
        let first: Vec<_> = (0..4)
            .map(|nth: usize| {
                let client = edges[nth % 3].caller(ACME);
                scope.spawn(move || client.get("/jobs/a"))
            })
            .collect();
        until("four in flight", SOON, || (upstream.count() == 4).then_some(()));
        for edge in &edges {
            let refused = edge.caller(ACME).get("/jobs/a").refused(429, "limit_exceeded");
            assert_eq!(refused.field("retry-after"), Some("1"));
        }
        gate.open();
        for one in first {
            one.join().expect("no panic").expect(200);
        }
    });
    assert_eq!(upstream.count(), 4);
    // All places are back, wherever they were taken.
    until("the places", SOON, || redis.ask(&["KEYS", "*"]).is_empty().then_some(()));
    edges[2].caller(ACME).get("/jobs/a").expect(200);
}

#[test]
fn places_of_an_edge_that_died_come_back_by_themselves() {
    let Some(redis) = Redis::start() else { return };
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "").after(&held));
    let site = site(&upstream, &redis.url(), "by: tenant, shared: true, concurrency: 1");
    let (doomed, other) = (Edge::start(&site), Edge::start(&site));
    let client = doomed.caller(ACME);
    let gone = std::thread::spawn(move || client.try_send(&Request::get("/jobs/a")).is_ok());
    until("one in flight", SOON, || (upstream.count() == 1).then_some(()));
    drop(doomed.kill());
    assert!(!gone.join().expect("no panic"));
    other.caller(ACME).get("/jobs/a").refused(429, "limit_exceeded");
    // The place has an end in the server that lies within half a minute.
    let key = redis.ask(&["KEYS", "*"]);
    let left: i64 = redis.ask(&["PTTL", &key]).parse().expect("a number");
    assert!((1..=31_000).contains(&left), "{left}");
    gate.open();
}

#[test]
fn a_refusal_spends_nothing_here_or_there_and_answers_tell_what_is_left_of_all() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let site = Site::new()
        .top(&shared(&redis.url(), PATIENT))
        .upstream("all", upstream.address())
        .limit("here", "by: tenant, window: { limit: 10, per: 1h }")
        .limit("few", "by: credential, shared: true, window: { limit: 3, per: 1h }")
        .limit("many", "by: tenant, shared: true, window: { limit: 9, per: 1h }")
        .route("name: both, path: /both, limits: [here, few, many], upstream: all")
        .route("name: one, path: /one, limits: [here, many], upstream: all");
    let edges = [Edge::start(&site), Edge::start(&site)];
    let caller = edges[0].caller(ACME);
    for _ in 0..2 {
        caller.get("/both").expect(200);
    }
    let answer = edges[1].caller(ACME).get("/both").expect(200);
    assert_eq!(left(&answer), pairs(&[("here", 9), ("few", 0), ("many", 6)]), "of all edges");
    for _ in 0..5 {
        let refused = caller.get("/both").refused(429, "limit_exceeded");
        assert_eq!(refused.json()["violated-policies"], serde_json::json!(["few"]));
    }
    let answer = caller.get("/one").expect(200);
    assert_eq!(left(&answer), pairs(&[("here", 7), ("many", 5)]));
    // A key tells the tenant and not whose it is.
    let keys = redis.ask(&["KEYS", "*"]);
    assert!(keys.contains("openclaw-edge:{acme}:few:") && !keys.contains("acme-ceo"), "{keys}");
}

#[test]
fn strangers_and_requests_without_a_route_spend_shared_limits_too() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let site = Site::new()
        .top(&shared(&redis.url(), PATIENT))
        .top("unmatched: { limits: [lost] }")
        .upstream("all", upstream.address())
        .limit("guesses", "by: ip, shared: true, window: { limit: 4, per: 1h }")
        .limit("lost", "by: ip, shared: true, window: { limit: 2, per: 1h }")
        .route("name: work, path: /jobs/**, limits: [guesses], upstream: all");
    let edges = three(&site);
    for edge in [&edges[0], &edges[1], &edges[2], &edges[0]] {
        edge.client().get("/jobs/a").refused(401, "unauthorized");
    }
    edges[1].client().get("/jobs/a").refused(429, "limit_exceeded");
    edges[1].caller(ACME).get("/jobs/a").refused(429, "limit_exceeded");
    edges[0].client().get("/nowhere").refused(404, "not_found");
    edges[1].client().get("/nowhere").refused(404, "not_found");
    edges[2].client().get("/nowhere").refused(429, "limit_exceeded");
}

#[test]
fn what_an_upstream_failed_is_given_back_to_all() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Double::start(|seen| Reply::text(if seen.path() == "/jobs/bad" { 503 } else { 200 }, ""));
    let limit = "by: tenant, shared: true, refund: upstream_failed, window: { limit: 2, per: 1h }";
    let edges = three(&site(&upstream, &redis.url(), limit));
    for _ in 0..5 {
        edges[0].caller(ACME).get("/jobs/bad").expect(503);
        until("the refund", SOON, || redis.ask(&["KEYS", "*"]).is_empty().then_some(()));
    }
    edges[1].caller(ACME).get("/jobs/a").expect(200);
    edges[2].caller(ACME).get("/jobs/a").expect(200);
    edges[0].caller(ACME).get("/jobs/a").refused(429, "limit_exceeded");
}

#[test]
fn blocks_taken_ahead_let_through_at_most_one_more_for_each_edge() {
    const LIMIT: usize = 120;
    const BLOCK: usize = 10;
    let Some(redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let limit = format!("by: tenant, shared: true, leases: {BLOCK}, window: {{ limit: {LIMIT}, per: 1h }}");
    let edges = three(&site(&upstream, &redis.url(), &limit));
    let [passed, ..] = flood(&edges, ACME, 40);
    // Within one window nothing beyond the limit is given out, and each edge may keep a block to itself.
    assert!(passed <= LIMIT && passed + 3 * BLOCK >= LIMIT, "{passed}");
    assert!(edges.iter().any(|edge| decided(edge, "ahead") > 0.5));
    let asked: f64 = edges.iter().map(|edge| decided(edge, "server")).sum();
    let ahead: f64 = edges.iter().map(|edge| decided(edge, "ahead")).sum();
    assert!(ahead + asked > 359.5, "{ahead} {asked}");
}

#[test]
fn over_windows_a_block_for_each_edge_is_all_that_comes_on_top() {
    const LIMIT: usize = 20;
    const BLOCK: usize = 5;
    let Some(redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let limit = format!("by: tenant, shared: true, leases: {BLOCK}, window: {{ limit: {LIMIT}, per: 2s }}");
    let edges = three(&site(&upstream, &redis.url(), &limit));
    let began = std::time::Instant::now();
    let mut passed = 0;
    while passed <= LIMIT + 3 * BLOCK {
        passed += flood(&edges, ACME, 6)[0];
    }
    let windows = usize::try_from(began.elapsed().as_secs()).expect("a short test") / 2 + 1;
    assert!(passed <= LIMIT * windows + 3 * BLOCK, "{passed} in {windows}");
}

/// What three edges let through of a limit of 60 while the Redis is away.
fn alone(when: &str) -> Option<(Redis, Double, Vec<Edge>)> {
    let mut redis = Redis::start()?;
    let upstream = Double::mirror();
    let limit =
        format!("by: tenant, shared: true, when_unreachable: {when}, window: {{ limit: 60, per: 1h }}");
    let edges = three(&site(&upstream, &redis.url(), &limit));
    assert_eq!(flood(&edges[..1], ACME, 2)[0], 6);
    redis.stop();
    for edge in &edges {
        until("the alarm", SOON, || unreachable(edge).then_some(()));
    }
    Some((redis, upstream, edges))
}

#[test]
fn alone_each_edge_lets_its_share_through_and_pays_when_the_server_is_back() {
    let Some((mut redis, upstream, edges)) = alone("local") else { return };
    upstream.forget();
    let counts = flood(&edges, ACME, 20);
    // Twenty each; the first edge has spent six of its own before.
    assert_eq!(counts, [54, 126, 0]);
    assert!(edges.iter().all(|edge| decided(edge, "local") > 0.5));
    redis.start_again();
    until_answered(&edges);
    assert!(edges.iter().all(|edge| edge.metrics().sum("openclaw_edge_shared_owed", &[]) < 0.5));
    // Six before, fifty-four alone: nothing is left, and nothing is granted twice.
    assert_eq!(flood(&edges, ACME, 2), [0, 18, 0]);
    assert_eq!(flood(&edges, GLOBEX, 20), [60, 120, 0], "exact again, without a restart");
}

#[test]
fn a_rule_that_is_open_lets_all_pass_and_is_exact_again_afterwards() {
    let Some((mut redis, _upstream, edges)) = alone("open") else { return };
    let counts = flood(&edges, ACME, 10);
    assert_eq!(counts, [90, 0, 0]);
    let answer = edges[0].caller(ACME).get("/jobs/a").expect(200);
    assert_eq!(answer.field("ratelimit"), None, "what is not counted is not told");
    redis.start_again();
    until_answered(&edges);
    assert_eq!(flood(&edges, ACME, 10), [54, 36, 0]);
}

#[test]
fn a_rule_that_is_closed_lets_none_pass_and_says_so() {
    let Some((mut redis, upstream, edges)) = alone("closed") else { return };
    upstream.forget();
    for edge in &edges {
        let refused = edge.caller(ACME).get("/jobs/a").refused(503, "limits_unreachable");
        assert_eq!(refused.field("retry-after"), Some("1"));
    }
    upstream.untouched();
    redis.start_again();
    until_answered(&edges);
    assert_eq!(flood(&edges, ACME, 10), [54, 36, 0]);
}

#[test]
fn a_server_that_says_nothing_is_given_up_within_the_deadline_and_found_again() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let site = Site::new()
        .top(&format!("shared: {{ url: \"{}\", edges: 3 }}", redis.url()))
        .upstream("all", upstream.address())
        .limit("together", "by: tenant, shared: true, window: { limit: 9, per: 1h }")
        .route("name: work, path: /jobs/**, limits: [together], upstream: all");
    let edge = Edge::start(&site);
    redis.freeze();
    let caller = edge.caller(ACME);
    // Three are this edge's share; that it was decided at all shows that nobody waited for the server.
    let passed = (0..6).filter(|_| caller.get("/jobs/a").status == 200).count();
    assert_eq!(passed, 3);
    assert!(unreachable(&edge));
    redis.thaw();
    until_answered(std::slice::from_ref(&edge));
    assert!(decided(&edge, "local") > 5.5);
    let other = edge.caller(GLOBEX);
    until("the server decides", SOON, || {
        let _ = other.get("/jobs/a");
        (decided(&edge, "server") > 0.5).then_some(())
    });
}

#[test]
fn what_a_quota_owes_outlives_the_edge_and_is_paid_by_the_next() {
    let Some(mut redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let site = site(&upstream, &redis.url(), "by: tenant, shared: true, quota: { limit: 30, per: 1d }");
    let edge = Edge::start(&site);
    redis.stop();
    until("the alarm", SOON, || unreachable(&edge).then_some(()));
    assert_eq!(flood(std::slice::from_ref(&edge), ACME, 5), [10, 5, 0], "its share");
    let folder = edge.kill();
    redis.start_again();
    let edges = [Edge::start_in(folder, &site), Edge::start(&site)];
    until_answered(&edges);
    assert_eq!(flood(&edges, ACME, 10), [20, 40, 0], "ten were spent alone before");
}

#[test]
fn explanations_and_quotas_show_what_all_edges_have_spent_and_spend_nothing() {
    let Some(mut redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let site = site(&upstream, &redis.url(), "by: tenant, shared: true, quota: { limit: 30, per: 1h }");
    let edges = three(&site);
    for edge in &edges {
        edge.caller(ACME).get("/jobs/a").expect(200);
    }
    let fresh = Edge::start(&site);
    for _ in 0..3 {
        let told = fresh.admin("/explain?path=/jobs/a&ip=127.0.0.1&credential=acme-ceo").expect("an answer");
        let told: Value = serde_json::from_str(&told.body).expect("JSON");
        assert_eq!(told["limits"][0]["remaining"], 27, "{told}");
        assert_eq!(told["limits"][0]["shared"], true);
        let told: Value =
            serde_json::from_str(&fresh.admin("/quotas").expect("an answer").body).expect("JSON");
        assert_eq!(
            (&told["quotas"][0]["spent"], &told["quotas"][0]["of"]),
            (&3.into(), &"acme".into()),
            "{told}"
        );
        assert_eq!(told["quotas"][0]["counted"], "together");
        assert_eq!(told["quotas"].as_array().map(Vec::len), Some(1));
    }
    let own = fresh.caller(ACME).get("/api/quota").expect(200).json();
    assert_eq!(own["quotas"][0]["remaining"], 27, "{own}");
    redis.stop();
    until("the alarm", SOON, || unreachable(&edges[0]).then_some(()));
    let told: Value =
        serde_json::from_str(&edges[0].admin("/quotas").expect("an answer").body).expect("JSON");
    assert_eq!((&told["quotas"][0]["counted"], &told["quotas"][0]["limit"]), (&"alone".into(), &10.into()));
    let told = edges[0].admin("/explain?path=/jobs/a&ip=127.0.0.1&credential=acme-ceo").expect("an answer");
    let told: Value = serde_json::from_str(&told.body).expect("JSON");
    assert_eq!(told["limits"][0]["remaining"], 9, "of its share: {told}");
}

#[test]
fn over_tls_only_a_server_of_the_named_authority_is_asked() {
    let Some((redis, ca)) = with_tls() else { return };
    let upstream = Double::mirror();
    let port = redis.address().port();
    let limit = "by: tenant, shared: true, when_unreachable: closed, window: { limit: 5, per: 1h }";
    let with = |more: &str| {
        Site::new()
            .top("allow_literal_secrets: true")
            .top(&format!(
                "shared: {{ url: \"rediss://localhost:{port}\", username: edge, {more}, {PATIENT} }}"
            ))
            .upstream("all", upstream.address())
            .limit("together", limit)
            .route("name: work, path: /jobs/**, limits: [together], upstream: all")
    };
    let good = with(&format!("password: a-password-of-the-edge, ca: {{ file: \"{ca}\" }}"));
    let edges = three(&good);
    assert_eq!(flood(&edges, ACME, 3), [5, 22, 0]);
    assert!(!edges.iter().any(|edge| edge.all_output().contains("a-password")));
    for bad in [
        with("password: a-password-of-the-edge"),
        with(&format!("password: wrong, ca: {{ file: \"{ca}\" }}")),
    ] {
        let edge = Edge::start(&bad);
        edge.caller(GLOBEX).get("/jobs/a").refused(503, "limits_unreachable");
        assert!(!edge.all_output().contains("a-password"));
    }
}

/// A server with a certificate for `localhost`, a user `edge`, and the path of its authority.
fn with_tls() -> Option<(Redis, String)> {
    let openssl = crate::house::parts::program("openssl")?;
    let make = |folder: &crate::house::temp::Temp, args: &str| {
        let out = std::process::Command::new(&openssl)
            .args(args.split(' '))
            .current_dir(folder.path())
            .output()
            .expect("openssl can be started");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    let ca = std::cell::RefCell::new(String::new());
    let redis = Redis::start_with(|folder, port| {
        folder.write("san", "subjectAltName=DNS:localhost");
        make(
            folder,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority",
        );
        make(
            folder,
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout redis.key -out redis.csr -subj /CN=localhost",
        );
        make(
            folder,
            "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out redis.pem -days 2 -extfile san",
        );
        *ca.borrow_mut() = folder.path().join("ca.pem").display().to_string();
        let port = port.to_string();
        let words = [
            "--port",
            "0",
            "--tls-port",
            &port,
            "--tls-cert-file",
            "redis.pem",
            "--tls-key-file",
            "redis.key",
            "--tls-ca-cert-file",
            "ca.pem",
            "--tls-auth-clients",
            "no",
        ];
        let mut words = words.map(str::to_owned).to_vec();
        let user = ["--user", "edge", "on", ">a-password-of-the-edge", "~openclaw-edge:*"];
        // As docs/operations.md has it.
        words.extend(user.into_iter().chain(["+@all", "-@dangerous", "+cluster"]).map(str::to_owned));
        words
    })?;
    Some((redis, ca.into_inner()))
}

#[test]
fn a_cluster_counts_each_slot_apart_and_all_or_nothing_holds_across_them() {
    let Some(cluster) = Cluster::start() else { return };
    let upstream = Double::mirror();
    let site = Site::new()
        .top(&shared(&cluster.url(), &format!("cluster: true, {PATIENT}")))
        .upstream("all", upstream.address())
        .limit("address", "by: ip, shared: true, window: { limit: 40, per: 1h }")
        .limit("tenant", "by: tenant, shared: true, window: { limit: 25, per: 1h }")
        .limit("route", "by: route, shared: true, window: { limit: 1000, per: 1h }")
        .route("name: work, path: /jobs/**, limits: [address, tenant, route], upstream: all");
    let edges = three(&site);
    let [passed, refused, other] = flood(&edges, ACME, 10);
    assert_eq!((passed + refused, other), (90, 0));
    // While a refused request is being given back it may keep another out, but none comes on top.
    assert!(passed <= 25 && passed == upstream.count(), "{passed}");
    // What was refused by the tenant's limit has spent nothing of the address's: all of the rest is there.
    let spent = |edge: &Edge| {
        let told = edge.admin("/explain?path=/jobs/a&ip=127.0.0.1&credential=acme-ceo").expect("an answer");
        let told: Value = serde_json::from_str(&told.body).expect("JSON");
        let left = |nth: usize| told["limits"][nth]["remaining"].as_u64();
        (left(0), left(1), left(2))
    };
    let passed = passed as u64;
    let expected = (Some(40 - passed), Some(25 - passed), Some(1000 - passed));
    until("what is given back", SOON, || (spent(&edges[0]) == expected).then_some(()));
    let sizes = cluster.sizes();
    assert_eq!(sizes.iter().sum::<usize>(), 3, "{sizes:?}");
}

#[test]
fn in_no_stretch_of_a_window_more_than_its_limit_passes_and_time_moves_on() {
    const LIMIT: usize = 20;
    let Some(redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let limit = format!("by: tenant, shared: true, window: {{ limit: {LIMIT}, per: 1s }}");
    let edges = three(&site(&upstream, &redis.url(), &limit));
    let began = std::time::Instant::now();
    let mut passed = 0;
    while passed <= 2 * LIMIT {
        passed += flood(&edges, ACME, 5)[0];
    }
    // So many whole windows were touched at most.
    let windows = usize::try_from(began.elapsed().as_secs()).expect("a short test") + 1;
    assert!(passed <= LIMIT * windows, "{passed} in {windows}");
}

/// Deliveries that several edges see.
fn hooks(upstream: &Double, redis: &str) -> Site {
    Site::new()
        .top("allow_literal_secrets: true")
        .top(&shared(redis, PATIENT))
        .upstream("hooks", upstream.address())
        .route("name: github, path: /github, tenant: acme, verify: { scheme: github, secret: a-secret-that-is-long-enough }, upstream: hooks")
}

/// A body, signed as GitHub signs.
fn delivery(body: &str) -> Request {
    use openclaw_edge::{config::checked::HmacAlgorithm, secret::Secret, signatures::mac::tag};
    let secret = Secret::new("a-secret-that-is-long-enough".into());
    let hex = hex::encode(tag(HmacAlgorithm::Sha256, &secret, [body.as_bytes()]));
    Request::post("/github", body).field("X-Hub-Signature-256", &format!("sha256={hex}"))
}

#[test]
fn what_one_edges_upstream_took_no_edge_sends_on_again() {
    let Some(mut redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let site = hooks(&upstream, &redis.url());
    let edges = three(&site);
    edges[0].send(&delivery("one")).expect(200);
    for edge in &edges {
        assert_eq!(edge.send(&delivery("one")).expect(200).field("x-replay"), Some("duplicate"));
    }
    assert_eq!(upstream.count(), 1);
    let keys = redis.ask(&["KEYS", "*"]);
    assert!(keys.starts_with("openclaw-edge:{acme}:taken:"), "{keys}");
    let days: i64 = redis.ask(&["TTL", &keys]).parse().expect("a number");
    assert!((3600..=72 * 3600).contains(&days), "{days}");
    // Alone an edge knows what it was told, and tells the others when the server is back.
    redis.stop();
    until("the alarm", SOON, || edges.iter().all(unreachable).then_some(()));
    for edge in &edges {
        assert_eq!(edge.send(&delivery("one")).expect(200).field("x-replay"), Some("duplicate"));
    }
    edges[1].send(&delivery("two")).expect(200);
    redis.start_again();
    until_answered(&edges);
    assert_eq!(edges[2].send(&delivery("two")).expect(200).field("x-replay"), Some("duplicate"));
    assert_eq!(upstream.count(), 2);
}

#[test]
fn two_edges_do_not_send_one_delivery_on_at_the_same_moment() {
    let Some(redis) = Redis::start() else { return };
    let (gate, status) = (Gate::closed(), AtomicUsize::new(503));
    let held = gate.clone();
    let upstream = Double::start(move |_| {
        let status = u16::try_from(status.swap(200, Ordering::SeqCst)).expect("a status");
        Reply::text(status, "").after(&held)
    });
    let edges = three(&hooks(&upstream, &redis.url()));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| edges[0].send(&delivery("one")));
        until("the first delivery", SOON, || (upstream.count() == 1).then_some(()));
        for edge in &edges[1..] {
            edge.send(&delivery("one")).refused(409, "delivery_pending");
        }
        gate.open();
        first.join().expect("no panic").expect(503);
    });
    // It was not taken: the claim is given up, and an honest retry passes at any edge.
    until("the claim's end", SOON, || redis.ask(&["KEYS", "*"]).is_empty().then_some(()));
    assert_eq!(edges[2].send(&delivery("one")).expect(200).field("x-replay"), None);
    assert_eq!(edges[1].send(&delivery("one")).expect(200).field("x-replay"), Some("duplicate"));
    assert_eq!(upstream.count(), 2);
}

#[test]
fn of_a_batch_what_another_edge_sent_on_is_taken_out() {
    let Some(redis) = Redis::start() else { return };
    let bridge = crate::house::doubles::bridge();
    let node = crate::house::messages::Node::new("ceo", 7);
    let site = Site::new()
        .top(&shared(&redis.url(), PATIENT))
        .upstream("bridge", bridge.address())
        .node("acme", "ceo", &node.public_key())
        .route("name: ingest, path: /ingest, scopes: [mesh:ingest], verify: { scheme: mesh, replay: duplicate, on_failure: drop }, upstream: bridge");
    let edges = three(&site);
    let [one, two] = ["a", "b"].map(|key| node.memory(key, "1", "1"));
    edges[0].caller(ACME).post("/ingest", &one).expect(200);
    bridge.forget();
    let answer = edges[1].caller(ACME).post("/ingest", format!("[{one},{two}]")).expect(200);
    assert_eq!(answer.field("x-messages-dropped"), Some("1"));
    assert_eq!(bridge.only().body, format!("[{two}]"));
    let again = edges[2].caller(ACME).post("/ingest", format!("[{two},{one}]")).expect(200);
    assert_eq!(again.field("x-messages-dropped"), Some("2"), "as if it had been sent on here");
}
