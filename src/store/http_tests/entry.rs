//! Who is let in, and as whom.

use super::{House, refused};
use crate::ids::{CredentialId, TenantId};
use crate::secret::Secret;
use crate::store::testing::Folder;
use crate::store::{ApiKey, Listener, Rights, ServeError, Settings, Store, Trust, Unobserved, serve};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::net::TcpListener;

#[tokio::test]
async fn health_needs_no_tenant() {
    let house = House::on_socket().await;
    for path in ["/health", "/"] {
        let answer = house.with("", "GET", path, None).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, r#"{"ok":true,"service":"openclaw-mesh-store-api","storeAvailable":true}"#);
    }
    let head = house.with("", "HEAD", "/health", None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn tenants_never_meet() {
    let house = House::on_socket().await;
    let names = ["acme", "acme-1", "globex"];
    for name in names {
        house
            .put(name, &json!({"scope": "mesh", "key": "plan", "value": format!("{name} secretword")}))
            .await;
        house.put(name, &json!({"scope": format!("tenant:{name}"), "key": "own", "value": name})).await;
        let skill = json!({"name": "deploy", "source_node": "n", "content": name}).to_string();
        house.ask(name, "PUT", "/mesh/skills", Some(&skill)).await;
    }
    for name in names {
        assert_eq!(
            house.get(name, "/mesh/memory/mesh/plan").await.json()["value"],
            json!(format!("{name} secretword"))
        );
        assert_eq!(house.get(name, "/mesh/memory").await.json().as_array().unwrap().len(), 2);
        assert_eq!(house.get(name, "/mesh/skills/deploy").await.json()["content"], json!(name));
        assert_eq!(house.get(name, "/mesh/skills").await.json().as_array().unwrap().len(), 1);
        let hits = house.get(name, "/mesh/memory?q=secretword&limit=100").await.json();
        assert_eq!(
            hits,
            json!([{"scope": "mesh", "key": "plan", "snippet": format!("plan {name} secretword")}])
        );
        for other in names.iter().filter(|other| **other != name) {
            let hidden = house.get(name, &format!("/mesh/memory/tenant%3A{other}/own")).await;
            let missing = house.get(name, &format!("/mesh/memory/tenant%3A{other}/none")).await;
            refused(&hidden, 404, "Not found");
            assert_eq!(hidden.body, missing.body);
            assert_eq!(house.get(name, &format!("/mesh/memory?scope=tenant%3A{other}")).await.body, "[]");
            assert_eq!(
                house.get(name, &format!("/mesh/memory?q=own&scope=tenant%3A{other}")).await.body,
                "[]"
            );
            for scope in [format!("tenant:{other}"), format!("user:{other}:bob")] {
                let write = house.put(name, &json!({"scope": scope, "key": "own", "value": "taken"})).await;
                refused(&write, 403, "Forbidden");
            }
        }
    }
}

#[tokio::test]
async fn without_a_tenant_nothing_but_health_is_answered() {
    let house = House::on_socket().await;
    for (method, path) in [
        ("GET", "/mesh/memory"),
        ("GET", "/mesh/memory?q=a"),
        ("GET", "/mesh/memory/mesh/k"),
        ("PUT", "/mesh/memory"),
        ("POST", "/mesh/query"),
        ("GET", "/mesh/skills"),
        ("GET", "/mesh/skills/x"),
        ("PUT", "/mesh/skills"),
    ] {
        let answer = house.with("", method, path, None).await;
        refused(&answer, 401, "Unauthorized");
        assert!(answer.head.contains("www-authenticate: Bearer\r\n"), "{}", answer.head);
    }
}

#[tokio::test]
async fn over_a_network_only_the_shared_secret_makes_the_tenant_believed() {
    let house =
        House::build(Trust::SharedSecret(Secret::new(b"between-us".to_vec())), Arc::new(Unobserved)).await;
    refused(&house.get("acme", "/mesh/memory").await, 401, "Unauthorized");
    let ask = async |secret: &str| {
        house
            .with(&format!("X-Edge-Auth: {secret}\r\nX-Tenant-Id: acme\r\n"), "GET", "/mesh/memory", None)
            .await
    };
    refused(&ask("wrong").await, 401, "Unauthorized");
    assert_eq!(ask("between-us").await.status, 200);
}

#[tokio::test]
async fn keys_of_its_own_say_the_tenant_and_the_right() {
    let key = |id: &str, tenant: &str, text: &str, rights| ApiKey {
        id: CredentialId::parse(id).unwrap(),
        tenant: TenantId::parse(tenant).unwrap(),
        hash: Sha256::digest(text.as_bytes()).into(),
        rights,
    };
    let keys = vec![
        key("a", "acme", "acme-key", Rights::Write),
        key("hub", "acme", "hub-key", Rights::Read),
        key("g", "globex", "globex-key", Rights::Write),
    ];
    let house = House::build(Trust::api_keys(keys), Arc::new(Unobserved)).await;
    let memory = r#"{"scope":"mesh","key":"k","value":1}"#;
    let put = async |fields: &str| house.with(fields, "PUT", "/mesh/memory", Some(memory)).await;
    let list = async |fields: &str| house.with(fields, "GET", "/mesh/memory", None).await;
    assert_eq!(put("Authorization: Bearer acme-key\r\n").await.status, 200);
    refused(&put("X-API-Key: hub-key\r\n").await, 403, "Forbidden");
    assert_eq!(list("X-API-Key: hub-key\r\n").await.json().as_array().unwrap().len(), 1);
    assert_eq!(list("Authorization: Bearer globex-key\r\n").await.body, "[]");
    refused(&list("Authorization: Bearer globex-key\r\nX-Tenant-Id: acme\r\n").await, 401, "Unauthorized");
    refused(&list("X-Tenant-Id: acme\r\n").await, 401, "Unauthorized");
}

#[tokio::test]
async fn a_network_listener_that_would_believe_everyone_is_refused() {
    let folder = Folder::new();
    let settings = Settings::new(folder.path("mesh.db"), TenantId::parse("default").unwrap());
    let store = Arc::new(Store::open(&settings, Arc::new(Unobserved)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = serve(Listener::Tcp(listener), store, Trust::Edge, std::future::pending()).await;
    assert!(matches!(refused, Err(ServeError::NoTrust)));
}
