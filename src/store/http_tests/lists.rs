//! Lists and searches.

use super::{House, refused};
use crate::store::Policy;
use serde_json::json;

#[tokio::test]
async fn the_list_is_newest_first() {
    let house = House::on_socket().await;
    for key in ["a", "b", "c", "a"] {
        house.put("acme", &json!({"scope": "mesh", "key": key, "value": 1})).await;
    }
    let list = house.get("acme", "/mesh/memory").await.json();
    let keys: Vec<_> = list.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a", "c", "b"]);
}

#[tokio::test]
async fn searches_may_be_asked_either_way_and_answer_scope_key_and_snippet() {
    let house = House::on_socket().await;
    for (scope, key, value) in
        [("mesh", "plan", json!({"text": "attack at dawn"})), ("node", "weather", json!("foggy dawn"))]
    {
        house.put("acme", &json!({"scope": scope, "key": key, "value": value})).await;
    }
    let plan = r#"[{"scope":"mesh","key":"plan","snippet":"plan attack at dawn"}]"#;
    assert_eq!(house.get("acme", "/mesh/memory?q=attack+dawn").await.body, plan);
    assert_eq!(house.get("acme", "/mesh/memory?q=dawn&scope=mesh&mode=fts").await.body, plan);
    let post = async |body: &str| house.ask("acme", "POST", "/mesh/query", Some(body)).await;
    assert_eq!(post(r#"{"query":"attack"}"#).await.body, plan);
    assert_eq!(post(r#"{"q":"dawn","scope":"mesh","limit":5}"#).await.body, plan);
    assert_eq!(post(r#"{"q":"dawn"}"#).await.json().as_array().unwrap().len(), 2);
    assert_eq!(house.get("acme", "/mesh/memory?q=dawn&limit=1").await.json().as_array().unwrap().len(), 1);
    for odd in ["%22", "%2A", "%00", "%F0%9F%9A%80", "---", "NEAR(", "a%22%20OR%20b", "%28%28", "+"] {
        let answer = house.get("acme", &format!("/mesh/memory?q={odd}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{odd}");
    }
    let marked = r#"[{"scope":"mesh","key":"plan","snippet":"plan <mark>attack</mark> at dawn"}]"#;
    assert_eq!(house.get("acme", "/mesh/memory?q=attack&marks=html&prefix=pl").await.body, marked);
    assert_eq!(house.get("acme", "/mesh/memory?q=attack&prefix=weather").await.body, "[]");
    assert_eq!(post(r#"{"q":"attack","marks":"html"}"#).await.body, marked);
    // Indexed behind the writes: at some time it is there.
    let near = loop {
        let found = house.get("acme", "/mesh/memory?q=attacks&mode=semantic&scope=mesh").await.json();
        if found != json!([]) {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    };
    assert_eq!((&near[0]["key"], &near[0]["snippet"]), (&json!("plan"), &json!(null)));
    assert!(near[0]["distance"].as_f64().unwrap() < 0.9, "{near}");
    let both = post(r#"{"q":"attack","mode":"hybrid"}"#).await.json();
    assert_eq!((&both[0]["key"], &both[0]["snippet"]), (&json!("plan"), &json!("plan attack at dawn")));
    assert!(both[0]["score"].as_f64().unwrap() > 0.03, "first in both lists: {both}");
    assert_eq!(house.get("globex", "/mesh/memory?q=attacks&mode=semantic").await.body, "[]");
    refused(&post("{}").await, 400, "Missing query or q");
    refused(&post("{").await, 400, "Invalid JSON body");
}

#[tokio::test]
async fn limits_are_25_by_default_and_at_most_100() {
    let house = House::on_socket().await;
    for n in 0..110 {
        house.put("acme", &json!({"scope": "mesh", "key": format!("k{n}"), "value": "word"})).await;
    }
    for (limit, found) in [
        ("", 25),
        ("&limit=0", 25),
        ("&limit=-3", 1),
        ("&limit=7", 7),
        ("&limit=1000", 100),
        ("&limit=x", 25),
    ] {
        let hits = house.get("acme", &format!("/mesh/memory?q=word{limit}")).await.json();
        assert_eq!(hits.as_array().unwrap().len(), found, "{limit}");
    }
}

#[tokio::test]
async fn a_list_is_walked_page_by_page_along_its_links() {
    let house = House::on_socket().await;
    for n in 0..25 {
        house.put("acme", &json!({"scope": "mesh", "key": format!("a/{n:02}"), "value": n})).await;
        house.put("globex", &json!({"scope": "mesh", "key": format!("a/{n:02}"), "value": "theirs"})).await;
    }
    house.put("acme", &json!({"scope": "mesh", "key": "b", "value": 1, "node_id": "cto"})).await;
    let whole = house.get("acme", "/mesh/memory?prefix=a/").await;
    assert_eq!(whole.field("link"), None);
    for order in ["newest", "key"] {
        let mut path = format!("/mesh/memory?scope=mesh&prefix=a%2F&limit=10&order={order}");
        let mut seen = Vec::new();
        let mut pages = 0;
        loop {
            let page = house.get("acme", &path).await;
            let rows = page.json();
            seen.extend(rows.as_array().unwrap().iter().map(|row| row["value"].as_i64().unwrap()));
            pages += 1;
            let Some(link) = page.field("link") else { break };
            path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
            assert!(path.ends_with(page.field("mesh-next-cursor").unwrap()));
            refused(&house.get("globex", &path).await, 400, "Invalid cursor");
            refused(&house.get("acme", &path.replace("a%2F", "b")).await, 400, "Invalid cursor");
        }
        let expected: Vec<i64> = if order == "key" { (0..25).collect() } else { (0..25).rev().collect() };
        assert_eq!((seen, pages), (expected, 3), "{order}");
    }
    assert_eq!(house.get("acme", "/mesh/memory?node_id=cto").await.json().as_array().unwrap().len(), 1);
    assert_eq!(house.get("acme", "/mesh/memory?updated_since=9999999999").await.body, "[]");
    let known = house
        .asking("acme", &format!("If-None-Match: {}\r\n", whole.tag()), "GET", "/mesh/memory?prefix=a/", "")
        .await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    house.put("acme", &json!({"scope": "mesh", "key": "a/07", "value": 7})).await;
    let changed = house
        .asking("acme", &format!("If-None-Match: {}\r\n", whole.tag()), "GET", "/mesh/memory?prefix=a/", "")
        .await;
    assert_eq!(changed.status, 200);
    refused(&house.get("acme", "/mesh/memory?limit=many").await, 400, "Invalid number");
    refused(&house.get("acme", "/mesh/memory?order=odd").await, 400, "Unknown order; use newest or key");
    refused(&house.get("acme", "/mesh/memory?cursor=AAAA").await, 400, "Invalid cursor");
}

#[tokio::test]
async fn a_list_without_a_limit_is_whole_up_to_the_cap() {
    let policy = Policy { list_cap: 3, ..Policy::default() };
    let house = House::with_policy(policy).await;
    for n in 0..4 {
        let skill = json!({"name": n.to_string(), "source_node": "ceo", "content": "c"});
        house.ask("acme", "PUT", "/mesh/skills", Some(&skill.to_string())).await;
    }
    let page = house.get("acme", "/mesh/skills").await;
    assert_eq!(page.json().as_array().unwrap().len(), 3);
    let next =
        page.field("link").unwrap().strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    assert_eq!(house.get("acme", next).await.json()[0]["name"], "0");
}
