//! What the operator's rules do: conditions that must be there, ends, upkeep, limits, secrets.

use super::{Answer, House, refused};
use crate::config::checked_store::{ScopeTtl, SecretGuard, StoreRules, TenantRules};
use crate::store::testing::tenant;
use crate::store::{Clock, Policy, Trust, Unobserved};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Rules for `acme` alone.
fn for_acme(rules: TenantRules) -> Policy {
    Policy::new(StoreRules { tenants: [(tenant("acme"), rules)].into(), ..StoreRules::default() })
}

#[track_caller]
fn coded(answer: &Answer, status: u16, code: &str) {
    let told = answer.json();
    assert_eq!((answer.status, told["code"].as_str()), (status, Some(code)), "{}", answer.body);
}

async fn batch(house: &House, tenant: &str, operations: Value) -> Answer {
    house.ask(tenant, "POST", "/mesh/batch", Some(&operations.to_string())).await
}

#[tokio::test]
async fn a_tenant_that_must_say_what_it_read_is_told_so_and_others_need_not() {
    let policy = for_acme(TenantRules { require_match: true, ..TenantRules::default() });
    let house = House::with_policy(policy).await;
    let (path, row) = ("/mesh/memory", json!({"scope": "mesh", "key": "k", "value": 1}));
    let required = "This write needs If-Match or If-None-Match: *";
    refused(&house.put("acme", &row).await, 428, required);
    let skill = r#"{"name":"s","source_node":"n","content":"c"}"#;
    refused(&house.ask("acme", "PUT", "/mesh/skills", Some(skill)).await, 428, required);
    let made = house.asking("acme", "If-None-Match: *\r\n", "PUT", path, &row.to_string()).await;
    assert_eq!(made.status, 200, "{}", made.body);
    refused(&house.ask("acme", "DELETE", "/mesh/memory/mesh/k", None).await, 428, required);
    refused(&house.ask("acme", "POST", "/mesh/memory/mesh/k/restore", None).await, 428, required);
    let bare = batch(&house, "acme", json!([{"op": "delete", "scope": "mesh", "key": "k"}])).await;
    assert_eq!((bare.status, bare.json()["index"].as_i64()), (428, Some(0)));
    let with_tag = format!("If-Match: {}\r\n", made.tag());
    assert_eq!(house.asking("acme", &with_tag, "DELETE", "/mesh/memory/mesh/k", "").await.status, 200);
    assert_eq!(house.put("globex", &row).await.status, 200);
}

#[tokio::test]
async fn rows_end_as_their_scope_says_and_the_feed_tells_once_of_each() {
    let time = Arc::new(AtomicI64::new(1_000));
    let ttl = |pattern: &str, seconds| ScopeTtl { pattern: pattern.into(), seconds };
    let usual = TenantRules { ttl: vec![ttl("session:*", Some(60))], ..TenantRules::default() };
    let own = TenantRules { ttl: vec![ttl("session:*", None)], ..TenantRules::default() };
    let rules = StoreRules {
        sweep_every: Duration::from_millis(5),
        usual,
        tenants: [(tenant("globex"), own)].into(),
        ..StoreRules::default()
    };
    let clock = Clock::Set(Arc::clone(&time));
    let house = House::start(Trust::Edge, Arc::new(Unobserved), |settings| {
        (settings.policy, settings.clock) = (Policy::new(rules), clock);
    })
    .await;
    let row = |scope: &str, key: &str| json!({"scope": scope, "key": key, "value": 1});
    let ended = house.put("acme", &row("session:1", "a")).await;
    assert_eq!(ended.field("mesh-expires-at"), Some("1060"));
    assert_eq!(house.put("acme", &row("mesh", "b")).await.field("mesh-expires-at"), None);
    assert_eq!(house.put("globex", &row("session:1", "a")).await.field("mesh-expires-at"), None);
    let own = json!({"scope": "session:1", "key": "c", "value": 1, "ttl": 5});
    assert_eq!(house.put("acme", &own).await.field("mesh-expires-at"), Some("1005"));
    time.store(1_060, Ordering::Relaxed);
    assert_eq!(house.get("acme", "/mesh/memory/session:1/a").await.status, 404);
    // A long poll that began before they were swept, or after: each end comes once.
    let mut ends = Vec::new();
    let mut next = json!(3);
    while ends.len() < 2 {
        let told = house.get("acme", &format!("/mesh/changes?since={next}&wait=30")).await.json();
        ends.extend(told["changes"].as_array().unwrap().clone());
        next = told["next"].clone();
    }
    let mut told: Vec<_> = ends.iter().map(|end| (end["action"].as_str(), end["key"].as_str())).collect();
    told.sort_unstable();
    assert_eq!(told, [(Some("expire"), Some("a")), (Some("expire"), Some("c"))]);
    let past = house.get("acme", "/mesh/memory/session:1/a/history").await.json();
    assert_eq!(past["versions"][0]["action"], "expire");
    let usage = house.get("acme", "/mesh/usage").await.json();
    assert_eq!((&usage["rows"], &usage["changes"]["last"]), (&json!(1), &json!(5)));
    assert_eq!(house.get("globex", "/mesh/memory/session:1/a").await.status, 200);
}

#[tokio::test]
async fn limits_refuse_with_a_code_and_usage_tells_of_them() {
    let rules = TenantRules {
        max_key: 8,
        max_value: 40,
        max_rows: Some(3),
        max_bytes: Some(60),
        ..TenantRules::default()
    };
    let house = House::with_policy(for_acme(rules)).await;
    let row = |key: &str, value: &str| json!({"scope": "m", "key": key, "value": value, "node_id": "n"});
    coded(&house.put("acme", &row("too-long-a-key", "x")).await, 413, "too_long");
    coded(&house.put("acme", &row("k", &"x".repeat(39))).await, 413, "too_long");
    assert_eq!(house.put("acme", &row("k", &"x".repeat(38))).await.status, 200);
    coded(&house.put("acme", &row("l", &"x".repeat(30))).await, 507, "too_many_bytes");
    let rows = ["k", "a", "b", "c"]
        .map(|key| json!({"op": "put", "scope": "m", "key": key, "value": 1, "node_id": "n"}));
    let full = batch(&house, "acme", json!(rows)).await;
    coded(&full, 507, "too_many_rows");
    assert_eq!(full.json()["index"], 3);
    assert_eq!(batch(&house, "acme", json!(rows[..3])).await.status, 200);
    let skill = r#"{"name":"s","source_node":"n","content":"c"}"#;
    coded(&house.ask("acme", "PUT", "/mesh/skills", Some(skill)).await, 507, "too_many_rows");
    let freed = house.ask("acme", "DELETE", "/mesh/memory/m/a", None).await;
    assert_eq!(freed.status, 200);
    assert_eq!(house.ask("acme", "PUT", "/mesh/skills", Some(skill)).await.status, 200);
    let usage = house.get("acme", "/mesh/usage").await.json();
    assert_eq!(usage["memory"], json!({"rows": 2, "bytes": 8}));
    assert_eq!(usage["skill"], json!({"rows": 1, "bytes": 3}));
    assert_eq!((&usage["rows"], &usage["bytes"]), (&json!(3), &json!(11)));
    let limits = &usage["limits"];
    assert_eq!((&limits["rows"], &limits["bytes"]), (&json!(3), &json!(60)));
    assert_eq!((&limits["key_bytes"], &limits["value_bytes"]), (&json!(8), &json!(40)));
    let other = house.get("globex", "/mesh/usage").await.json();
    assert_eq!((&other["rows"], &other["limits"]["rows"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn however_many_write_at_once_the_limit_is_exact() {
    let rules = TenantRules { max_rows: Some(25), ..TenantRules::default() };
    let house = Arc::new(House::with_policy(for_acme(rules)).await);
    let writers: Vec<_> = (0..40)
        .map(|n| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                let rows: Vec<_> = (0..2)
                    .map(|m| json!({"op": "put", "scope": "m", "key": format!("{n}-{m}"), "value": n}))
                    .collect();
                batch(&house, "acme", json!(rows)).await.status
            })
        })
        .collect();
    let mut done = 0;
    for writer in writers {
        match writer.await.unwrap() {
            200 => done += 2,
            status => assert_eq!(status, 507),
        }
    }
    assert_eq!(done, 24);
    assert_eq!(house.get("acme", "/mesh/usage").await.json()["rows"], 24);
    assert_eq!(house.get("acme", "/mesh/memory").await.json().as_array().unwrap().len(), 24);
}

#[tokio::test]
async fn what_looks_like_a_secret_is_refused_by_every_way_in_and_never_told() {
    let policy = for_acme(TenantRules { secret_guard: SecretGuard::On, ..TenantRules::default() });
    let house = House::with_policy(policy).await;
    let token = format!("ghp_{}", "a1B2".repeat(9));
    let row = json!({"scope": "mesh", "key": "k", "value": {"env": format!("TOKEN={token}")}});
    let single = house.put("acme", &row).await;
    let skill = json!({"name": "s", "source_node": "n", "content": format!("use {token}")});
    let skill = house.ask("acme", "PUT", "/mesh/skills", Some(&skill.to_string())).await;
    let op = json!({"op": "put", "scope": "mesh", "key": "k", "value": token});
    let good = json!({"op": "put", "scope": "mesh", "key": "good", "value": 1});
    let several = batch(&house, "acme", json!([good, op])).await;
    assert_eq!(several.json()["index"], 1);
    let entry =
        json!({"type": "memory", "scope": "mesh", "key": "k", "value": token, "nodeId": "n", "ts": 1});
    let delta = json!({"type": "sync_delta", "entries": [entry]});
    let sync = house.ask("acme", "POST", "/mesh/sync", Some(&delta.to_string())).await;
    for answer in [&single, &skill, &several, &sync] {
        coded(answer, 422, "secret_found");
        assert_eq!(answer.json()["pattern"], "github-token");
        assert!(!answer.body.contains(&token), "{}", answer.body);
    }
    assert_eq!(house.get("acme", "/mesh/memory").await.body, "[]");
    assert_eq!(house.put("globex", &row).await.status, 200);
}

#[tokio::test]
async fn rules_change_while_the_store_runs_and_hold_for_what_is_brought_back() {
    let house = House::with_policy(Policy::default()).await;
    let token = format!("ghp_{}", "a1B2".repeat(9));
    for value in [json!(token), json!(2), json!(3)] {
        house.put("acme", &json!({"scope": "mesh", "key": "k", "value": value})).await;
    }
    let guard = TenantRules { secret_guard: SecretGuard::On, ..TenantRules::default() };
    house.store.apply_rules(&for_acme(guard).rules);
    let restore = async |version: u32| {
        let body = format!("{{\"version\":{version}}}");
        house.ask("acme", "POST", "/mesh/memory/mesh/k/restore", Some(&body)).await
    };
    let op = json!([{"op": "restore", "scope": "mesh", "key": "k", "version": 1}]);
    let several = batch(&house, "acme", op).await;
    assert_eq!(several.json()["index"], 0);
    for answer in [restore(1).await, several] {
        coded(&answer, 422, "secret_found");
        assert!(!answer.body.contains(&token), "{}", answer.body);
    }
    assert_eq!(restore(2).await.status, 200);
    refused(&restore(9).await, 404, "Not found");
    house.store.apply_rules(&StoreRules { feed_entries: Some(2), ..StoreRules::default() });
    assert_eq!(restore(1).await.status, 200, "nobody refuses it any more");
    // Upkeep goes by the new rules at once, and not after the old pause.
    while house.get("acme", "/mesh/usage").await.json()["changes"]["trimmed_up_to"] != 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_asks_for_a_trimmed_part_of_the_feed_is_told_to_begin_anew() {
    let rules =
        StoreRules { sweep_every: Duration::from_millis(5), feed_entries: Some(2), ..StoreRules::default() };
    let house = House::with_policy(Policy::new(rules)).await;
    for n in 0..6 {
        house.put("acme", &json!({"scope": "mesh", "key": n.to_string(), "value": 1})).await;
    }
    let usage = async || house.get("acme", "/mesh/usage").await.json();
    while usage().await["changes"]["trimmed_up_to"] != 4 {
        tokio::task::yield_now().await;
    }
    let lost = house.get("acme", "/mesh/changes?since=3").await.json();
    assert_eq!(lost, json!({"changes": [], "next": 6, "reset": true}));
    let kept = house.get("acme", "/mesh/changes?since=4").await.json();
    assert_eq!((kept["reset"].as_bool(), kept["changes"].as_array().unwrap().len()), (Some(false), 2));
}
