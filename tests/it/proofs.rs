//! The signature that came with a row: kept with it by every way in, and checked again when somebody asks.

use crate::house::client::{Client, Request};
use crate::house::messages::{Node, SPELLINGS};
use crate::house::postgres::Postgres;
use crate::house::store::{Store, caller};
use crate::house::temp::Temp;
use serde_json::{Value, json};

fn admin(store: &Store, tenant: &str) -> Client {
    caller(store.address(), tenant).with("X-Credential-Scopes", "mesh:read mesh:write mesh:admin")
}

fn register(client: &Client, node: &Node, more: &Value) {
    let mut key = json!({"public_key": node.public_key(), "kid": "first"});
    for (name, value) in more.as_object().expect("members") {
        key[name] = value.clone();
    }
    let path = format!("/mesh/keys/{}", node.name);
    client.send(&Request::put(&path, json!({"keys": [key]}).to_string())).expect(200);
}

fn proof(client: &Client, path: &str) -> Value {
    client.get(&format!("{path}?proof=1")).expect(200).json()["proof"].clone()
}

fn status(client: &Client, path: &str) -> String {
    proof(client, path)["status"].as_str().expect("a status").to_owned()
}

/// Every way in, and every way a proof may stand.
fn prove(store: &Store) {
    let (client, ceo) = (admin(store, "acme"), Node::new("ceo", 1));
    // As a body of its own, within a batch, and by synchronisation; a skill too.
    let put = ceo.memory("put", "{\"a\":[1]}", "{\"a\":[1.0]}");
    client.put("/mesh/memory", put.clone()).expect(200);
    let batch = format!("[{{\"op\":\"put\",\"message\":{}}}]", ceo.memory("batch", "1", "1"));
    client.post("/mesh/batch", batch).expect(200);
    let entries = format!("{},{}", ceo.memory("sync", "2", "2"), ceo.skill("s", "how"));
    let delta = format!("{{\"type\":\"sync_delta\",\"entries\":[{entries}]}}");
    assert_eq!(client.post("/mesh/sync", delta).expect(200).json()["applied"], 2);
    client.put("/mesh/skills", Node::new("cto", 2).skill("t", "how")).expect(200);
    client.put("/mesh/memory", r#"{"scope":"mesh","key":"bare","value":1,"node_id":"ceo"}"#).expect(200);
    let signed =
        ["/mesh/memory/mesh/put", "/mesh/memory/mesh/batch", "/mesh/memory/mesh/sync", "/mesh/skills/s"];
    for path in signed {
        assert_eq!(status(&client, path), "key_unknown", "{path}");
        assert_eq!(client.get(path).expect(200).json().get("proof"), None, "only who asks is told");
    }
    register(&client, &ceo, &json!({}));
    for path in signed {
        let told = proof(&client, path);
        assert_eq!(
            (&told["status"], &told["key_id"], &told["node"]),
            (&json!("valid"), &json!("first"), &json!("ceo"))
        );
    }
    let told = proof(&client, "/mesh/memory/mesh/put");
    assert_eq!(told["message"], serde_json::from_str::<Value>(&put).unwrap());
    assert_eq!(status(&client, "/mesh/skills/t"), "key_unknown");
    assert_eq!(proof(&client, "/mesh/memory/mesh/bare"), Value::Null);
    // Lists tell each row's; it is the caller's own tenant's keys that count.
    let rows = client.get("/mesh/memory?proof=1&prefix=b").expect(200);
    let told: Vec<_> =
        rows.json().as_array().unwrap().iter().map(|row| row["proof"]["status"].clone()).collect();
    assert_eq!(told, [Value::Null, json!("valid")]);
    assert_eq!(rows.field("etag"), None);
    let globex = caller(store.address(), "globex");
    globex.put("/mesh/memory", put).expect(200);
    assert_eq!(status(&globex, "/mesh/memory/mesh/put"), "key_unknown");
    // A tag that is known does not keep the standing back.
    let tag = client.get(signed[0]).expect(200).field("etag").expect("a tag").to_owned();
    let again = Request::get(&format!("{}?proof=1", signed[0])).field("If-None-Match", &tag);
    client.send(&again).expect(200);
    client.send(&Request::get(signed[0]).field("If-None-Match", &tag)).expect(304);
    // Another key in its place; one whose time was over when the row was written; the first again.
    register(&client, &Node::new("ceo", 9), &json!({}));
    assert_eq!(status(&client, signed[0]), "invalid");
    register(&client, &ceo, &json!({"not_after": 1_000_000}));
    assert_eq!(status(&client, signed[0]), "key_unknown");
    register(&client, &ceo, &json!({"not_after": 4_000_000_000_u32}));
    assert_eq!(status(&client, signed[0]), "valid");
    // What another node was told by synchronisation has the signature that it came with.
    let asked = json!({"type": "sync_request", "keys": [{"scope": "mesh", "key": "sync"}]}).to_string();
    let answer = client.post("/mesh/sync", asked).expect(200).json();
    let entry = answer["messages"][0]["entries"][0].to_string();
    assert!(entry.contains("\"sig\":"), "{entry}");
    let delta = format!("{{\"type\":\"sync_delta\",\"entries\":[{entry}]}}");
    globex.post("/mesh/sync", delta).expect(200);
    register(&admin(store, "globex"), &ceo, &json!({}));
    assert_eq!(status(&globex, "/mesh/memory/mesh/sync"), "valid");
    // A row that is written over without a signature has none.
    client.put("/mesh/memory", r#"{"scope":"mesh","key":"put","value":2,"node_id":"ceo"}"#).expect(200);
    assert_eq!(proof(&client, "/mesh/memory/mesh/put"), Value::Null);
    // A message that was changed on its way is kept as it came, and does not hold.
    let forged = ceo.memory("forged", "1", "2");
    client.put("/mesh/memory", forged).expect(200);
    assert_eq!(status(&client, "/mesh/memory/mesh/forged"), "invalid");
    // Whatever way a value is spelt: what was signed is what it means.
    for (at, (text, sent)) in SPELLINGS.iter().enumerate() {
        client.put("/mesh/memory", ceo.memory(&format!("spelt{at}"), text, sent)).expect(200);
        assert_eq!(status(&client, &format!("/mesh/memory/mesh/spelt{at}")), "valid", "{sent}");
    }
}

#[test]
fn a_signature_is_kept_and_checked_again_over_a_file() {
    prove(&Store::start(Temp::new()));
}

#[test]
fn a_signature_is_kept_and_checked_again_over_postgresql() {
    let Some(server) = Postgres::start() else { return };
    prove(&Store::start_on(&server));
}
