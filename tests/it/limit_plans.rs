//! Plans: tenants meet the same limits with other numbers, and credentials may have their own.

use crate::house::client::{Answer, Client};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, ACME_TWO, GLOBEX, hex};
use crate::house::site::Site;
use serde_json::Value;

const OWN_KEY: &str = "oce_globex-batch_4hGq8Wz2Lm9T";

fn site(upstream: &Double) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .top("plans: { scale: { limits: { calls: 7, writes: 40, smooth: { per_second: 0.01, burst: 5 } } } }")
        .credential(&format!(
            "id: globex-batch, tenant: globex, hash: \"sha256:{}\", scopes: [gateways:read], limits: {{ calls: 9 }}",
            hex(OWN_KEY)
        ))
        .limit("calls", "by: credential, window: { limit: 3, per: 1h }")
        .limit("writes", "by: tenant, quota: { limit: 4, per: 1h }")
        .limit("smooth", "by: tenant, rate: { per_second: 0.01, burst: 2 }")
        .route("name: calls, path: /calls, limits: [calls], upstream: all")
        .route("name: writes, path: /writes, limits: [writes], upstream: all")
        .route("name: smooth, path: /smooth, limits: [smooth], upstream: all")
        .route("name: mission-control, path: /api/**, mission_control: true")
}

fn passed(client: &Client, path: &str) -> usize {
    (0..50).filter(|_| client.get(path).status == 200).count()
}

fn policy(answer: &Answer) -> &str {
    answer.field("ratelimit-policy").expect("the limits are told")
}

#[test]
fn tenants_have_their_plans_numbers_and_others_the_limits_own() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream).tenant("acme", "plan: scale"));
    let (acme, globex) = (edge.caller(ACME), edge.caller(GLOBEX));
    assert_eq!(policy(&acme.get("/calls").expect(200)), "\"calls\";q=7;w=3600");
    assert_eq!(policy(&globex.get("/calls").expect(200)), "\"calls\";q=3;w=3600");
    assert_eq!((passed(&acme, "/calls"), passed(&globex, "/calls")), (6, 2));
    // Every credential of the tenant has the plan's number, and a count of its own.
    assert_eq!(passed(&edge.caller(ACME_TWO), "/calls"), 7);
    // A credential's own number stands before its tenant's.
    let own = edge.client().with("X-API-Key", OWN_KEY);
    assert_eq!(policy(&own.get("/calls").expect(200)), "\"calls\";q=9;w=3600");
    assert_eq!(passed(&own, "/calls"), 8);
    assert_eq!((passed(&acme, "/smooth"), passed(&globex, "/smooth")), (5, 2));
    assert_eq!(policy(&acme.get("/smooth").refused(429, "limit_exceeded")), "\"smooth\";q=5;w=500");
}

#[test]
fn quotas_and_explanations_tell_the_callers_own_numbers() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream).tenant("acme", "plan: scale"));
    let (acme, globex) = (edge.caller(ACME), edge.caller(GLOBEX));
    assert_eq!((passed(&acme, "/writes"), passed(&globex, "/writes")), (40, 4));
    let told: Value = serde_json::from_str(&edge.admin("/quotas").expect("admin").body).expect("JSON");
    let limits: Vec<_> = told["quotas"].as_array().expect("a list").iter().map(|one| &one["limit"]).collect();
    assert_eq!(limits, [40, 4]);
    assert_eq!(acme.get("/api/quota").expect(200).json()["quotas"][0]["limit"], 40);
    let told = edge.admin(&format!("/explain?ip=192.0.2.1&path=/writes&credential={}", ACME.id));
    let told: Value = serde_json::from_str(&told.expect("admin").body).expect("JSON");
    assert_eq!((&told["limits"][0]["most"], &told["limits"][0]["remaining"]), (&40.into(), &0.into()));
}

#[test]
fn a_plan_that_changes_applies_to_the_old_count_at_once() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream).tenant("acme", "plan: scale"));
    assert_eq!(passed(&edge.caller(ACME), "/writes"), 40);
    assert_eq!(passed(&edge.caller(GLOBEX), "/writes"), 4);
    // Off the plan: more is spent already than the limit's own number lets through.
    edge.reload(&site(&upstream).tenant("globex", "plan: scale"));
    edge.caller(ACME).get("/writes").refused(429, "limit_exceeded");
    assert_eq!(passed(&edge.caller(GLOBEX), "/writes"), 36);
}
