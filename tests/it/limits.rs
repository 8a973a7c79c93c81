//! Limits hold what they promise: so many in any trailing span, all rules or none, and no way round.

use crate::house::client::{Answer, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, ACME_TWO, GLOBEX};
use crate::house::site::Site;
use serde_json::json;

fn site(upstream: &Double, by: &str) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .limit("ingest", &format!("by: {by}, window: {{ limit: 60, per: 1m }}"))
        .route("name: ingest, path: /ingest, limits: [ingest], upstream: all")
        .route("name: free, path: /free, upstream: all")
}

/// Sends until one is refused; how many passed, and the refusal.
fn spend(mut send: impl FnMut() -> Answer, most: usize) -> (usize, Answer) {
    for passed in 0..most {
        let answer = send();
        if answer.status == 429 {
            return (passed, answer);
        }
        answer.expect(200);
    }
    panic!("{most} passed, and none was refused");
}

#[test]
fn sixty_a_minute_are_sixty_and_the_next_is_told_when_to_come_back() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    let caller = edge.caller(ACME);
    let (passed, refused) = spend(|| caller.get("/ingest"), 100);
    assert_eq!(passed, 60);
    assert_eq!(upstream.count(), 60);
    let refused = refused.refused(429, "limit_exceeded");
    let seconds: u64 = refused.field("retry-after").expect("Retry-After").parse().expect("whole seconds");
    // The window is kept in whole seconds, so the way back may be one longer than it.
    assert!((1..=61).contains(&seconds), "{seconds}");
    for _ in 0..20 {
        caller.get("/ingest").refused(429, "limit_exceeded");
    }
    assert_eq!(upstream.count(), 60, "a refused request does not reach the upstream");
}

#[test]
fn a_refusal_is_a_problem_that_names_the_rule() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    let caller = edge.caller(ACME);
    let (_, refused) = spend(|| caller.get("/ingest"), 100);
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    let body = refused.json();
    assert_eq!(body["error"], "Too many requests");
    assert_eq!(body["code"], "limit_exceeded");
    assert_eq!(body["status"], 429);
    assert_eq!(body["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert!(body["title"].is_string());
    assert!(body["violated-policies"].to_string().contains("ingest"), "{body}");
    assert_eq!(body["request_id"].as_str(), refused.field("x-request-id"));
}

#[test]
fn an_answer_says_what_is_left() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    let caller = edge.caller(ACME);
    for left in [59, 58, 57] {
        let answer = caller.get("/ingest").expect(200);
        let policy = answer.field("ratelimit-policy").expect("RateLimit-Policy");
        assert!(
            policy.contains("\"ingest\"") && policy.contains("q=60") && policy.contains("w=60"),
            "{policy}"
        );
        let limit = answer.field("ratelimit").expect("RateLimit");
        assert!(limit.contains("\"ingest\"") && limit.contains(&format!("r={left}")), "{limit}");
    }
    let free = caller.get("/free").expect(200);
    assert_eq!((free.field("ratelimit"), free.field("ratelimit-policy")), (None, None));
    let (_, refused) = spend(|| caller.get("/ingest"), 100);
    assert!(refused.field("ratelimit").is_some_and(|limit| limit.contains("r=0")), "{refused:?}");
}

#[test]
fn each_credential_has_its_own_sixty() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    for key in [ACME, ACME_TWO, GLOBEX] {
        let caller = edge.caller(key);
        assert_eq!(spend(|| caller.get("/ingest"), 100).0, 60, "{}", key.id);
    }
}

#[test]
fn a_tenants_keys_share_what_is_counted_by_tenant() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "tenant"));
    let (one, two) = (edge.caller(ACME), edge.caller(ACME_TWO));
    for _ in 0..30 {
        one.get("/ingest").expect(200);
    }
    assert_eq!(spend(|| two.get("/ingest"), 100).0, 30);
    assert_eq!(spend(|| edge.caller(GLOBEX).get("/ingest"), 100).0, 60);
}

#[test]
fn addresses_are_counted_apart_and_ipv6_by_its_network() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "ip").top("client_address: { trusted_proxies: [127.0.0.0/8] }"));
    let from = |address: &str| edge.caller(ACME).with("X-Forwarded-For", address);
    assert_eq!(spend(|| from("198.51.100.1").get("/ingest"), 100).0, 60);
    assert_eq!(spend(|| from("198.51.100.2").get("/ingest"), 100).0, 60);
    // What stands left of the first stranger is the stranger's word, and no way to a fresh count.
    from("192.0.2.9, 198.51.100.1").get("/ingest").refused(429, "limit_exceeded");
    let mut last = 0;
    let within = || {
        last += 1;
        from(&format!("2001:db8:0:1::{last:x}")).get("/ingest")
    };
    assert_eq!(spend(within, 100).0, 60);
    from("2001:db8:0:2::1").get("/ingest").expect(200);
}

#[test]
fn callers_at_the_same_time_get_no_more_than_callers_in_turn() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    let passed: usize = std::thread::scope(|scope| {
        let caller = || {
            let mut connection = edge.caller(ACME).connection();
            (0..25).filter(|_| connection.send(&Request::get("/ingest")).status == 200).count()
        };
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(caller)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert_eq!(passed, 60);
    assert_eq!(upstream.count(), 60);
}

#[test]
fn when_one_rule_refuses_the_others_are_not_charged() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .limit("wide", "by: tenant, window: { limit: 10, per: 1h }")
        .limit("narrow", "by: credential, window: { limit: 4, per: 1h }")
        .route("name: both, path: /both, limits: [wide, narrow], upstream: all")
        .route("name: wide, path: /wide, limits: [wide], upstream: all");
    let edge = Edge::start(&site);
    let caller = edge.caller(ACME);
    let (passed, refused) = spend(|| caller.get("/both"), 20);
    assert_eq!(passed, 4);
    assert!(refused.json()["violated-policies"].to_string().contains("narrow"), "{}", refused.text());
    for _ in 0..30 {
        caller.get("/both").refused(429, "limit_exceeded");
    }
    assert_eq!(spend(|| caller.get("/wide"), 20).0, 6, "only the four that passed count");
}

#[test]
fn who_is_not_known_does_not_spend_what_belongs_to_who_is() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    for _ in 0..100 {
        edge.client().get("/ingest").refused(401, "unauthorized");
    }
    let caller = edge.caller(ACME);
    assert_eq!(spend(|| caller.get("/ingest"), 100).0, 60);
}

#[test]
fn writes_to_the_store_are_a_tenants_quota_and_reads_are_not() {
    let site = Site::new()
        .upstream_entry("store", "embedded: { database: \"$FOLDER/mesh.db\" }")
        .limit("store-writes", "by: tenant, quota: { limit: 20, per: 1h }")
        .route("name: read, path: /mesh/**, methods: [GET], scopes: [mesh:read], upstream: store")
        .route("name: write, path: /mesh/**, methods: [PUT], scopes: [mesh:write], limits: [store-writes], upstream: store");
    let edge = Edge::start(&site);
    let caller = edge.caller(ACME);
    let mut at = 0;
    let mut put = || {
        at += 1;
        caller.put("/mesh/memory", json!({"scope": "mesh", "key": format!("k{at}"), "value": at}).to_string())
    };
    let (passed, refused) = spend(&mut put, 50);
    assert_eq!(passed, 20);
    let seconds: u64 = refused.field("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!((1..=3600).contains(&seconds), "{seconds}");
    assert_eq!(caller.get("/mesh/memory").expect(200).json().as_array().unwrap().len(), 20);
    edge.caller(GLOBEX).put("/mesh/memory", r#"{"scope":"mesh","key":"k","value":1}"#).expect(200);
}

#[test]
fn a_reload_gives_nobody_a_fresh_start() {
    let upstream = Double::mirror();
    let site = site(&upstream, "credential");
    let edge = Edge::start(&site);
    let caller = edge.caller(ACME);
    for _ in 0..50 {
        caller.get("/ingest").expect(200);
    }
    edge.reload(&site.route("name: more, path: /more, upstream: all"));
    caller.get("/more").expect(200);
    assert_eq!(spend(|| caller.get("/ingest"), 100).0, 10);
}

#[test]
fn a_reload_may_raise_a_limit_and_what_was_spent_stays_spent() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    let caller = edge.caller(ACME);
    assert_eq!(spend(|| caller.get("/ingest"), 100).0, 60);
    let raised = Site::new()
        .upstream("all", upstream.address())
        .limit("ingest", "by: credential, window: { limit: 80, per: 1m }")
        .route("name: ingest, path: /ingest, limits: [ingest], upstream: all");
    edge.reload(&raised);
    let after = spend(|| caller.get("/ingest"), 100).0;
    assert_eq!(after, 20);
}

#[test]
fn what_no_route_takes_is_limited_too_where_the_config_says_so() {
    let upstream = Double::mirror();
    let site = site(&upstream, "credential")
        .limit("strangers", "by: ip, window: { limit: 5, per: 1m }")
        .top("unmatched: { limits: [strangers] }");
    let edge = Edge::start(&site);
    for _ in 0..5 {
        edge.client().get("/scan").refused(404, "not_found");
    }
    edge.client().get("/scan").refused(429, "limit_exceeded");
    edge.caller(ACME).get("/free").expect(200);
}

#[test]
fn the_metrics_name_the_rule_that_refused() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, "credential"));
    let caller = edge.caller(ACME);
    spend(|| caller.get("/ingest"), 100);
    crate::house::wait::until("the count", crate::house::wait::SOON, || {
        let counted = edge.metrics().sum("openclaw_edge_limited_total", &[("limit", "ingest")]);
        (counted >= 1.0).then_some(())
    });
}
