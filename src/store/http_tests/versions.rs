//! Versions: conditions, deletion, the past, batches, erasure.

use super::{House, refused};
use serde_json::{Value, json};

#[tokio::test]
async fn no_write_is_lost_by_those_who_say_what_they_have_read() {
    let house = House::on_socket().await;
    let body = |n: i64| json!({"scope": "mesh", "key": "k", "value": n}).to_string();
    let put = async |fields: &str, n| house.asking("acme", fields, "PUT", "/mesh/memory", &body(n)).await;
    let first = put("If-None-Match: *\r\n", 1).await;
    assert_eq!((first.status, first.tag().as_str()), (200, "\"v1.1\""));
    assert_eq!(first.field("mesh-version"), Some("1"));
    refused(&put("If-None-Match: *\r\n", 2).await, 412, "Precondition failed");
    let second = put(&format!("If-Match: {}\r\n", first.tag()), 2).await;
    assert_eq!((second.status, second.tag().as_str()), (200, "\"v2.2\""));
    refused(&put(&format!("If-Match: {}\r\n", first.tag()), 3).await, 412, "Precondition failed");
    refused(&put("If-Match: nonsense\r\n", 3).await, 400, "Invalid If-Match or If-None-Match");
    let required = "This write needs If-Match or If-None-Match: *";
    let path = "/mesh/memory?require_match=1";
    refused(&house.asking("acme", "", "PUT", path, &body(3)).await, 428, required);
    assert_eq!(house.asking("acme", "If-Match: *\r\n", "PUT", path, &body(3)).await.status, 200);
    let read = house.get("acme", "/mesh/memory/mesh/k").await;
    assert_eq!((read.json()["value"].as_i64(), read.tag().as_str()), (Some(3), "\"v3.3\""));
    assert_eq!(read.field("cache-control"), Some("private, no-cache"));
    let again = house.asking("acme", "If-None-Match: \"v3.3\"\r\n", "GET", "/mesh/memory/mesh/k", "").await;
    assert_eq!((again.status, again.body.as_str(), again.tag().as_str()), (304, "", "\"v3.3\""));
    let changed = house.asking("acme", "If-None-Match: \"v2.2\"\r\n", "GET", "/mesh/memory/mesh/k", "").await;
    assert_eq!(changed.status, 200);
    let theirs =
        house.asking("globex", "If-None-Match: \"v3.3\"\r\n", "GET", "/mesh/memory/mesh/k", "").await;
    refused(&theirs, 404, "Not found");
    let meta = house.get("acme", "/mesh/memory/mesh/k?meta=1").await.json();
    assert_eq!((&meta["version"], &meta["etag"]), (&json!(3), &json!("\"v3.3\"")));
}

#[tokio::test]
async fn what_was_deleted_is_gone_kept_in_the_past_and_can_be_brought_back() {
    let house = House::on_socket().await;
    let skill = |n: i64| json!({"name": "a/b", "source_node": "ceo", "content": n.to_string()}).to_string();
    for n in [1, 2] {
        house.put("acme", &json!({"scope": "mesh", "key": "a/b", "value": n})).await;
        house.ask("acme", "PUT", "/mesh/skills", Some(&skill(n))).await;
    }
    for (path, member) in [("/mesh/memory/mesh/a%2Fb", "value"), ("/mesh/skills/a%2Fb", "content")] {
        let value = |n: i64| if member == "value" { json!(n) } else { json!(n.to_string()) };
        let stale = house.asking("acme", "If-Match: \"v1.1\"\r\n", "DELETE", path, "").await;
        refused(&stale, 412, "Precondition failed");
        refused(&house.ask("globex", "DELETE", path, None).await, 404, "Not found");
        let deleted = house.ask("acme", "DELETE", path, None).await;
        assert_eq!((deleted.status, deleted.body.as_str()), (200, r#"{"deleted":true,"version":3}"#));
        refused(&house.get("acme", path).await, 404, "Not found");
        refused(&house.ask("acme", "DELETE", path, None).await, 404, "Not found");
        let past = house.get("acme", &format!("{path}/history")).await.json();
        let actions: Vec<_> =
            past["versions"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect();
        assert_eq!(actions, ["delete", "put", "put"]);
        assert_eq!(past["versions"][2]["row"][member], value(1));
        assert_eq!(house.get("acme", &format!("{path}?history=1")).await.json(), past);
        let page = house.get("acme", &format!("{path}?history=1&limit=1&before=3")).await.json();
        assert_eq!((&page["versions"][0]["version"], &page["next_before"]), (&json!(2), &json!(2)));
        for whole in [format!("{path}/history"), format!("{path}?history=1")] {
            refused(&house.get("globex", &whole).await, 404, "Not found");
        }
        let restore = format!("{path}/restore");
        refused(&house.ask("globex", "POST", &restore, None).await, 404, "Not found");
        refused(&house.ask("acme", "POST", &restore, Some(r#"{"version":9}"#)).await, 404, "Not found");
        refused(&house.ask("acme", "POST", &restore, Some("[]")).await, 400, "Invalid JSON body");
        let back = house.ask("acme", "POST", &restore, None).await;
        assert_eq!((back.status, back.json()[member].clone()), (200, value(2)));
        let first = house.ask("acme", "POST", &restore, Some(r#"{"version":1}"#)).await;
        assert_eq!((first.json()[member].clone(), first.field("mesh-version")), (value(1), Some("5")));
        let purged = house.ask("acme", "DELETE", &format!("{path}?purge=1"), None).await;
        assert_eq!((purged.status, purged.body.as_str()), (200, r#"{"purged":true}"#));
        refused(&house.get("acme", &format!("{path}/history")).await, 404, "Not found");
    }
}

#[tokio::test]
async fn a_key_that_ends_in_history_is_read_as_ever() {
    let house = House::on_socket().await;
    house.put("acme", &json!({"scope": "mesh", "key": "a", "value": 1})).await;
    house.put("acme", &json!({"scope": "mesh", "key": "b/history", "value": 2})).await;
    assert_eq!(house.get("acme", "/mesh/memory/mesh/b/history").await.json()["value"], 2);
    let past = house.get("acme", "/mesh/memory/mesh/a/history").await.json();
    assert_eq!(past["versions"][0]["row"]["value"], 1);
    let past = house.get("acme", "/mesh/memory/mesh/b/history/history").await.json();
    assert_eq!(past["versions"][0]["row"]["value"], 2);
}

#[tokio::test]
async fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let house = House::on_socket().await;
    house.put("acme", &json!({"scope": "mesh", "key": "old", "value": 1})).await;
    let batch = async |tenant: &str, body: Value| {
        house.ask(tenant, "POST", "/mesh/batch", Some(&body.to_string())).await
    };
    let good = json!([
        {"op": "put", "scope": "mesh", "key": "new", "value": {"a": 1.0}, "if_none_match": "*"},
        {"op": "put", "name": "s", "source_node": "ceo", "content": "c"},
        {"op": "delete", "scope": "mesh", "key": "old", "if_match": "\"v1.1\""},
        {"op": "restore", "scope": "mesh", "key": "old", "version": 1},
        {"op": "purge", "name": "s"},
    ]);
    let done = batch("acme", good.clone()).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let results = done.json()["results"].clone();
    assert_eq!((&results[0]["row"]["key"], &results[0]["version"]), (&json!("new"), &json!(1)));
    assert_eq!(
        (&results[2]["deleted"], &results[3]["row"]["value"], &results[4]["purged"]),
        (&json!(true), &json!(1), &json!(true))
    );
    let before = house.get("acme", "/mesh/memory?meta=1").await.body;
    let failed = batch(
        "acme",
        json!({"operations": [
            {"op": "put", "scope": "mesh", "key": "half", "value": 1},
            {"op": "put", "scope": "mesh", "key": "new", "value": 2, "if_none_match": "*"},
        ]}),
    )
    .await;
    assert_eq!((failed.status, failed.body.as_str()), (412, r#"{"error":"Precondition failed","index":1}"#));
    let wrong =
        batch("acme", json!([{"op": "put", "scope": "mesh", "key": "half", "value": 1}, {"op": "drop"}]))
            .await;
    assert_eq!((wrong.status, wrong.json()["index"].clone()), (400, json!(1)));
    let foreign = batch(
        "acme",
        json!([
            {"op": "put", "scope": "mesh", "key": "half", "value": 1},
            {"op": "delete", "scope": "tenant:globex", "key": "x"},
        ]),
    )
    .await;
    assert_eq!((foreign.status, foreign.body.as_str()), (403, r#"{"error":"Forbidden","index":1}"#));
    assert_eq!(house.get("acme", "/mesh/memory?meta=1").await.body, before);
    assert_eq!(house.get("globex", "/mesh/memory").await.body, "[]");
    let many: Vec<_> =
        (0..1001).map(|n| json!({"op": "put", "scope": "mesh", "key": n.to_string(), "value": n})).collect();
    refused(&batch("acme", json!(many)).await, 400, "A batch has at most 1000 operations");
    assert_eq!(batch("acme", json!(many[..1000])).await.status, 200);
    refused(&batch("acme", json!({"x": 1})).await, 400, "Invalid JSON body");
    assert_eq!(batch("acme", json!([])).await.body, r#"{"results":[]}"#);
}

#[tokio::test]
async fn a_tenant_is_erased_by_its_admin_who_says_so_twice() {
    let house = House::on_socket().await;
    for tenant in ["acme", "globex"] {
        house.put(tenant, &json!({"scope": "mesh", "key": "k", "value": 1})).await;
        house.put(tenant, &json!({"scope": "mesh", "key": "k", "value": 2})).await;
    }
    let admin = "X-Credential-Scopes: mesh:read mesh:admin\r\n";
    let erase = async |fields: &str, path: &str| house.asking("acme", fields, "DELETE", path, "").await;
    refused(&erase("", "/mesh/tenant?confirm=acme").await, 403, "Forbidden: this needs the admin right");
    for path in ["/mesh/tenant", "/mesh/tenant?confirm=globex"] {
        refused(&erase(admin, path).await, 400, "Name the tenant in confirm to erase it");
    }
    let erased = erase(admin, "/mesh/tenant?confirm=acme").await;
    assert_eq!(erased.body, r#"{"erased":{"memories":1,"skills":0,"keys":0,"bytes":13,"versions":1}}"#);
    assert_eq!(house.get("acme", "/mesh/memory").await.body, "[]");
    refused(&house.get("acme", "/mesh/memory/mesh/k?history=1").await, 404, "Not found");
    assert_eq!(house.get("globex", "/mesh/memory/mesh/k").await.json()["value"], 2);
    let again = house.put("acme", &json!({"scope": "mesh", "key": "k", "value": 3})).await;
    assert_eq!(again.tag(), "\"v1.4\"", "no tag comes twice");
}
