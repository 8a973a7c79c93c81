//! The registry of keys, over real sockets.

use super::{House, refused};
use crate::config::public_key;
use crate::ids::NodeId;
use crate::store::Access;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

const ADMIN: &str = "X-Credential-Scopes: mesh:admin\r\nX-Node-Id: ceo\r\n";

fn key(seed: u8) -> String {
    public_key::write(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
}

async fn put(house: &House, fields: &str, node: &str, body: &Value) -> super::Answer {
    house
        .asking("acme", &format!("{ADMIN}{fields}"), "PUT", &format!("/mesh/keys/{node}"), &body.to_string())
        .await
}

#[tokio::test]
async fn a_nodes_keys_are_put_read_listed_and_changed_without_a_lost_update() {
    let house = House::on_socket().await;
    let first =
        put(&house, "If-None-Match: *\r\n", "ceo", &json!({"public_key": key(1), "kid": "old"})).await;
    let old = json!({"kid": "old", "public_key": key(1), "not_before": null, "not_after": null});
    let seen = first.json();
    assert_eq!(
        (&seen["node"], &seen["keys"], &seen["updated_by"]),
        (&json!("ceo"), &json!([old]), &json!("ceo"))
    );
    let read = house.get("acme", "/mesh/keys/ceo").await;
    assert_eq!((read.status, read.tag(), &read.body), (200, first.tag(), &first.body));
    let known = format!("If-None-Match: {}\r\n", first.tag());
    assert_eq!(house.asking("acme", &known, "GET", "/mesh/keys/ceo", "").await.status, 304);
    // Another joins it for a while: the one who knew nothing of the first is told.
    let both = json!({"keys": [
        {"kid": "old", "public_key": key(1), "not_after": 2_000_000_000},
        {"kid": "new", "public_key": key(2), "not_before": 1_900_000_000},
    ]});
    refused(&put(&house, "If-None-Match: *\r\n", "ceo", &both).await, 412, "Precondition failed");
    let second = put(&house, &format!("If-Match: {}\r\n", first.tag()), "ceo", &both).await;
    assert_eq!((second.status, second.json()["keys"].as_array().unwrap().len()), (200, 2));
    refused(
        &put(&house, &format!("If-Match: {}\r\n", first.tag()), "ceo", &both).await,
        412,
        "Precondition failed",
    );
    put(&house, "", "cto", &json!({"public_key": key(3)})).await;
    let nodes = |answer: &super::Answer| -> Vec<String> {
        answer.json().as_array().unwrap().iter().map(|row| row["node"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(nodes(&house.get("acme", "/mesh/keys?order=key").await), ["ceo", "cto"]);
    let page = house.get("acme", "/mesh/keys?order=key&limit=1").await;
    let link = page.field("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
    assert!(next.starts_with("/mesh/keys?"), "{next}");
    assert_eq!(nodes(&house.get("acme", next).await), ["cto"]);
    let kept = house.store.keys_of(&Access::of("acme"), &NodeId::parse("ceo").unwrap()).await.unwrap();
    assert_eq!(kept.iter().map(|key| &*key.id).collect::<Vec<_>>(), ["old", "new"]);
    assert!(
        house.store.keys_of(&Access::of("globex"), &NodeId::parse("ceo").unwrap()).await.unwrap().is_empty()
    );
}

#[tokio::test]
async fn keys_have_a_past_that_comes_back_and_go_for_good_when_they_are_purged() {
    let house = House::on_socket().await;
    put(&house, "", "ceo", &json!({"public_key": key(1), "kid": "one"})).await;
    put(&house, "", "ceo", &json!({"public_key": key(2), "kid": "two"})).await;
    let admin = async |method: &str, path: &str| house.asking("acme", ADMIN, method, path, "").await;
    assert_eq!(admin("DELETE", "/mesh/keys/ceo").await.body, r#"{"deleted":true,"version":3}"#);
    refused(&house.get("acme", "/mesh/keys/ceo").await, 404, "Not found");
    let past = house.get("acme", "/mesh/keys/ceo/history").await.json();
    let actions: Vec<_> = past["versions"].as_array().unwrap().iter().map(|one| &one["action"]).collect();
    assert_eq!(actions, ["delete", "put", "put"]);
    assert_eq!(past["versions"][2]["row"]["keys"][0]["kid"], "one");
    let back = house.asking("acme", ADMIN, "POST", "/mesh/keys/ceo/restore", r#"{"version":1}"#).await;
    assert_eq!(back.json()["keys"][0]["kid"], "one");
    assert_eq!(admin("DELETE", "/mesh/keys/ceo?purge=1").await.body, r#"{"purged":true}"#);
    refused(&house.get("acme", "/mesh/keys/ceo/history").await, 404, "Not found");
    let erased = house.asking("acme", ADMIN, "DELETE", "/mesh/tenant?confirm=acme", "").await;
    assert_eq!(erased.json()["erased"]["keys"], 0);
}

#[tokio::test]
async fn only_an_admin_writes_keys_and_no_tenant_sees_anothers() {
    let house = House::on_socket().await;
    let body = json!({"public_key": key(1)}).to_string();
    let not_admin = "Forbidden: this needs the admin right";
    for scopes in ["", "X-Credential-Scopes: mesh:write\r\n"] {
        for (method, path) in
            [("PUT", "/mesh/keys/ceo"), ("DELETE", "/mesh/keys/ceo"), ("POST", "/mesh/keys/ceo/restore")]
        {
            refused(&house.asking("acme", scopes, method, path, &body).await, 403, not_admin);
        }
    }
    put(&house, "", "ceo", &json!({"public_key": key(1)})).await;
    assert_eq!(house.get("globex", "/mesh/keys").await.body, "[]");
    refused(&house.get("globex", "/mesh/keys/ceo").await, 404, "Not found");
    refused(&house.get("globex", "/mesh/keys/ceo/history").await, 404, "Not found");
    refused(&house.asking("globex", ADMIN, "DELETE", "/mesh/keys/ceo", "").await, 404, "Not found");
    // Nor is a key a memory, a skill, or anything that a search finds or a sync sends.
    for path in ["/mesh/memory", "/mesh/skills", "/mesh/memory?q=ceo", "/mesh/memory?q=ceo&mode=semantic"] {
        assert_eq!(house.get("acme", path).await.body, "[]", "{path}");
    }
    let sync = house.ask("acme", "POST", "/mesh/sync", Some(r#"{"type":"sync_summary"}"#)).await;
    assert!(!sync.body.contains("ceo"), "{}", sync.body);
}

#[tokio::test]
async fn keys_that_nobody_may_have_are_refused_with_the_reason_and_never_shown() {
    let house = House::on_socket().await;
    let weak = format!("{}=", "A".repeat(43));
    // y = p + 3, which is another way to write y = 3.
    let odd = "8P///////////////////////////////////////38=";
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEy\n-----END PRIVATE KEY-----";
    for (node, body, words) in [
        ("ceo", json!({"public_key": weak}), "A public_key is weak: anyone can sign for it"),
        ("ceo", json!({"public_key": odd}), "A public_key is not written in its canonical form"),
        ("ceo", json!({"public_key": "AAAA"}), "A public_key is PEM or base64 of 32 bytes"),
        (
            "ceo",
            json!({"public_key": private}),
            "A private key stands here; only its public half belongs here",
        ),
        ("ceo", json!({"public_key": 7}), "Keys are objects of kid, public_key, not_before and not_after"),
        ("ceo", json!({"keys": []}), "A node has 1 to 16 keys"),
        (
            "ceo",
            json!({"public_key": key(1), "not_before": 9, "not_after": 9}),
            "A key ends before it begins",
        ),
        ("ceo", json!({"keys": [{"public_key": key(1)}, {"public_key": key(1)}]}), "A key is there twice"),
        ("a%20b", json!({"public_key": key(1)}), "Invalid node_id"),
    ] {
        let answer = put(&house, "", node, &body).await;
        refused(&answer, 400, words);
    }
    refused(&put(&house, "", "a/b", &json!({"public_key": key(1)})).await, 404, "Not found");
    assert_eq!(house.get("acme", "/mesh/keys").await.body, "[]");
}

#[tokio::test]
async fn who_follows_the_feed_of_keys_learns_at_once() {
    let house = House::on_socket().await;
    let start = house.get("acme", "/mesh/changes?kind=key&since=0").await.json();
    assert_eq!(start["changes"], json!([]));
    let follow = house.get("acme", "/mesh/changes?kind=key&since=0&wait=60");
    let write = async {
        house.put("acme", &json!({"scope": "mesh", "key": "k", "value": 1})).await;
        put(&house, "", "ceo", &json!({"public_key": key(1), "kid": "one"})).await
    };
    let (seen, _) = tokio::join!(follow, write);
    let change = &seen.json()["changes"][0];
    assert_eq!(
        (&change["kind"], &change["node"], &change["action"]),
        (&json!("key"), &json!("ceo"), &json!("put"))
    );
    assert_eq!(change["row"]["keys"][0]["kid"], "one");
}
