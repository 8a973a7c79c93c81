//! The whole room over real sockets: every row of the API's table, every error text, every way in.

use super::testing::Folder;
use super::{
    ApiKey, Listener, Observe, Op, Outcome, Policy, Rights, Settings, Store, Trust, Unobserved, serve, socket,
};
use crate::ids::{CredentialId, TenantId};
use crate::secret::Secret;
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running store.
struct House {
    folder: Folder,
    door: Door,
    store: Arc<Store>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

enum Door {
    Unix(PathBuf),
    Tcp(std::net::SocketAddr),
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix))
    }

    #[track_caller]
    fn tag(&self) -> String {
        self.field("etag").unwrap_or_else(|| panic!("no entity tag: {}", self.head)).to_owned()
    }

    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

impl House {
    async fn on_socket() -> Self {
        Self::build(Trust::Edge, Arc::new(Unobserved)).await
    }

    async fn with_policy(policy: Policy) -> Self {
        Self::start(Trust::Edge, Arc::new(Unobserved), |settings| settings.policy = policy).await
    }

    async fn build(trust: Trust, observe: Arc<dyn Observe>) -> Self {
        Self::start(trust, observe, |_| ()).await
    }

    async fn start(trust: Trust, observe: Arc<dyn Observe>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let folder = Folder::new();
        let mut settings = Settings::new(folder.path("mesh.db"), TenantId::parse("default").unwrap());
        adjust(&mut settings);
        let store = Arc::new(Store::open(&settings, observe).unwrap());
        let (listener, door) = if matches!(trust, Trust::Edge) {
            let path = folder.path("store.sock");
            (Listener::Unix(socket::bind(&path).unwrap()), Door::Unix(path))
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let door = Door::Tcp(listener.local_addr().unwrap());
            (Listener::Tcp(listener), door)
        };
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&store), trust, async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(async { serving.await.unwrap() });
        Self { folder, door, store, stop: Some(stop), served }
    }

    async fn raw(&self, request: &[u8]) -> Answer {
        let mut text = Vec::new();
        match &self.door {
            Door::Unix(path) => exchange(UnixStream::connect(path).await.unwrap(), request, &mut text).await,
            Door::Tcp(address) => {
                exchange(TcpStream::connect(address).await.unwrap(), request, &mut text).await;
            }
        }
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
    }

    async fn with(&self, fields: &str, method: &str, path: &str, body: Option<&str>) -> Answer {
        let body = body.unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        );
        self.raw(request.as_bytes()).await
    }

    /// As the edge asks for a tenant.
    async fn ask(&self, tenant: &str, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.with(&format!("X-Tenant-Id: {tenant}\r\n"), method, path, body).await
    }

    /// As the edge asks for a tenant, with more fields.
    async fn asking(&self, tenant: &str, fields: &str, method: &str, path: &str, body: &str) -> Answer {
        self.with(&format!("X-Tenant-Id: {tenant}\r\n{fields}"), method, path, Some(body)).await
    }

    async fn get(&self, tenant: &str, path: &str) -> Answer {
        self.ask(tenant, "GET", path, None).await
    }

    async fn put(&self, tenant: &str, memory: &Value) -> Answer {
        self.ask(tenant, "PUT", "/mesh/memory", Some(&memory.to_string())).await
    }

    async fn close(mut self) -> Folder {
        let _ = self.stop.take().unwrap().send(());
        self.served.await.unwrap();
        self.folder
    }
}

async fn exchange(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    request: &[u8],
    answer: &mut Vec<u8>,
) {
    // A server that refuses a long body may hang up before it has read it all.
    let _ = stream.write_all(request).await;
    let _ = stream.read_to_end(answer).await;
}

#[track_caller]
fn refused(answer: &Answer, status: u16, words: &str) {
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (status, format!("{{\"error\":\"{words}\"}}").as_str())
    );
    answer.json();
}

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
async fn a_memory_that_was_put_is_answered_got_and_listed_in_the_same_words() {
    let house = House::on_socket().await;
    let body =
        r#"{"scope":"mesh","key":"plans/a b","value":{"z":1.0,"a":[12345678901234567890]},"node_id":"ceo"}"#;
    let put = house.ask("acme", "PUT", "/mesh/memory", Some(body)).await;
    assert_eq!(put.status, 200);
    let start = r#"{"scope":"mesh","key":"plans/a b","value":{"z":1.0,"a":[12345678901234567890]},"node_id":"ceo","updated_at":"#;
    assert!(put.body.starts_with(start), "{}", put.body);
    for path in [
        "/mesh/memory/mesh/plans%2Fa%20b",
        "/mesh/memory/mesh/plans/a%20b",
        "/mesh/memory/me%73h/plans/a%20b",
    ] {
        assert_eq!(house.get("acme", path).await.body, put.body, "{path}");
    }
    assert_eq!(house.get("acme", "/mesh/memory").await.body, format!("[{}]", put.body));
    assert_eq!(house.get("acme", "/mesh/memory?scope=mesh").await.body, format!("[{}]", put.body));
    assert_eq!(house.get("acme", "/mesh/memory?scope=node").await.body, "[]");
    assert_eq!(house.get("acme", "/mesh/memory?scope=").await.body, format!("[{}]", put.body));
    let head = house.ask("acme", "HEAD", "/mesh/memory/mesh/plans%2Fa%20b", None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_string_that_looks_like_json_comes_back_as_the_string_that_was_put() {
    let house = House::on_socket().await;
    let row = house.put("acme", &json!({"scope": "mesh", "key": "k", "value": "42"})).await.json();
    assert_eq!((&row["value"], &row["node_id"]), (&json!("42"), &json!("unknown")));
    assert!(row["updated_at"].as_i64().unwrap() > 1_600_000_000);
    assert_eq!(house.get("acme", "/mesh/memory/mesh/k").await.json()["value"], json!("42"));
}

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
async fn skills_are_put_got_and_listed_with_null_for_what_they_lack() {
    let house = House::on_socket().await;
    let put = async |body: &str| house.ask("acme", "PUT", "/mesh/skills", Some(body)).await;
    let first = put(r##"{"name":"code/review","source_node":"ceo","content":"# how"}"##).await;
    let start = r##"{"name":"code/review","source_node":"ceo","content":"# how","path":null,"updated_at":"##;
    assert!(first.status == 200 && first.body.starts_with(start), "{}", first.body);
    let second = put(r#"{"name":"deploy","source_node":"cto","path":"/skills/deploy"}"#).await;
    assert_eq!((&second.json()["content"], &second.json()["path"]), (&Value::Null, &json!("/skills/deploy")));
    assert_eq!(house.get("acme", "/mesh/skills").await.body, format!("[{},{}]", second.body, first.body));
    assert_eq!(house.get("acme", "/mesh/skills/code%2Freview").await.body, first.body);
    refused(&house.get("acme", "/mesh/skills/none").await, 404, "Not found");
    refused(&put(r#"{"name":"x","content":"y"}"#).await, 400, "Missing name or source_node");
    refused(&put(r#"{"name":"x","source_node":"y"}"#).await, 400, "Missing content or path");
    refused(&put("nonsense").await, 400, "Invalid JSON body");
}

#[tokio::test]
async fn every_refusal_has_its_status_and_its_words() {
    let house = House::on_socket().await;
    refused(&house.get("acme", "/mesh/memory/mesh/none").await, 404, "Not found");
    refused(&house.get("acme", "/mesh/memory/mesh").await, 404, "Not found");
    refused(&house.get("acme", "/mesh/memory/mesh/").await, 404, "Not found");
    refused(&house.get("acme", "/elsewhere").await, 404, "Not found");
    refused(&house.get("acme", "/mesh").await, 404, "Not found");
    refused(&house.get("acme", "/mesh/memory/mesh/%zz").await, 400, "Invalid path");
    refused(&house.get("acme", "/mesh/memory/%ff/k").await, 400, "Invalid path");
    refused(&house.get("acme", "/mesh/skills/%ff").await, 400, "Invalid path");
    refused(&house.get("acme", "/mesh/memory?q=%ff").await, 400, "Invalid query string");
    refused(
        &house.get("acme", "/mesh/memory?q=a&mode=magic").await,
        400,
        "Unknown mode; use fts, semantic or hybrid",
    );
    refused(&house.get("acme", "/mesh/memory?q=a&marks=bold").await, 400, "Unknown marks; use html");
    refused(
        &house.put("acme", &json!({"scope": "mesh", "key": "k"})).await,
        400,
        "Missing scope, key, or value",
    );
    refused(&house.ask("acme", "PUT", "/mesh/memory", Some("{]")).await, 400, "Invalid JSON body");
    refused(&house.ask("acme", "PUT", "/mesh/memory", None).await, 400, "Invalid JSON body");
    for (method, path, allowed) in [
        ("DELETE", "/mesh/memory", "GET,HEAD,PUT"),
        ("PUT", "/mesh/memory/mesh/k", "GET,HEAD,DELETE,POST"),
        ("GET", "/mesh/query", "POST"),
        ("POST", "/mesh/skills", "GET,HEAD,PUT"),
        ("POST", "/health", "GET,HEAD"),
    ] {
        let answer = house.ask("acme", method, path, None).await;
        refused(&answer, 405, "Method not allowed");
        assert!(answer.head.contains(&format!("allow: {allowed}\r\n")), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_announced_or_not() {
    let house = House::on_socket().await;
    let value = "x".repeat(8 * 1024 * 1024 - 100);
    let fits = house.put("acme", &json!({"scope": "mesh", "key": "big", "value": value})).await;
    assert_eq!(fits.status, 200);
    let announced = "PUT /mesh/memory HTTP/1.1\r\nHost: store\r\nConnection: close\r\nX-Tenant-Id: acme\r\nContent-Length: 8388609\r\n\r\n";
    refused(&house.raw(announced.as_bytes()).await, 413, "Payload too large");
    let mut chunked = b"PUT /mesh/memory HTTP/1.1\r\nHost: store\r\nConnection: close\r\nX-Tenant-Id: acme\r\nTransfer-Encoding: chunked\r\n\r\n800001\r\n".to_vec();
    chunked.resize(chunked.len() + 0x80_0001, b' ');
    refused(&house.raw(&chunked).await, 413, "Payload too large");
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
    assert!(matches!(refused, Err(super::ServeError::NoTrust)));
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_store_is_opened_again() {
    let house = House::on_socket().await;
    let put = house.put("acme", &json!({"scope": "mesh", "key": "k", "value": [1]})).await;
    let folder = {
        let store = Arc::clone(&house.store);
        let folder = house.close().await;
        drop(store);
        folder
    };
    assert!(!folder.path("store.sock").exists());
    assert!(!folder.path("mesh.db-wal").exists(), "the log was folded into the file");
    let settings = Settings::new(folder.path("mesh.db"), TenantId::parse("default").unwrap());
    let store = Store::open(&settings, Arc::new(Unobserved)).unwrap();
    let row = store.row(&super::Access::of("acme"), super::Target::memory("mesh", "k")).await.unwrap();
    let mut text = Vec::new();
    super::ToJson::write_json(&row.unwrap(), &mut text);
    assert_eq!(String::from_utf8(text).unwrap(), put.body);
}

#[tokio::test]
async fn two_hundred_writes_at_once_are_all_answered_and_all_there() {
    let house = Arc::new(House::on_socket().await);
    let writes: Vec<_> = (0..200)
        .map(|n| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                house.put("acme", &json!({"scope": "mesh", "key": format!("k{n}"), "value": n})).await.status
            })
        })
        .collect();
    for write in writes {
        assert_eq!(write.await.unwrap(), 200);
    }
    assert_eq!(house.get("acme", "/mesh/memory").await.json().as_array().unwrap().len(), 200);
    assert!(house.store.commits() <= 200);
}

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
    assert_eq!(erased.body, r#"{"erased":{"memories":1,"skills":0,"bytes":13,"versions":1}}"#);
    assert_eq!(house.get("acme", "/mesh/memory").await.body, "[]");
    refused(&house.get("acme", "/mesh/memory/mesh/k?history=1").await, 404, "Not found");
    assert_eq!(house.get("globex", "/mesh/memory/mesh/k").await.json()["value"], 2);
    let again = house.put("acme", &json!({"scope": "mesh", "key": "k", "value": 3})).await;
    assert_eq!(again.tag(), "\"v1.4\"", "no tag comes twice");
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

/// A feed that stays open: events as they come.
struct Feed {
    stream: UnixStream,
    text: String,
}

impl Feed {
    async fn open(house: &House, tenant: &str, more: &str) -> Self {
        let Door::Unix(path) = &house.door else { panic!("the edge's own door is a socket") };
        let mut stream = UnixStream::connect(path).await.unwrap();
        let request = format!(
            "GET /mesh/changes{more}\r\nHost: store\r\nX-Tenant-Id: {tenant}\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads until so many events of this name have come; their data.
    async fn events(&mut self, name: &str, count: usize) -> Vec<Value> {
        let start = format!("event: {name}\n");
        loop {
            let found: Vec<Value> = self
                .text
                .split(&start)
                .skip(1)
                .filter_map(|rest| rest.strip_prefix("data: ")?.split_once("\n\n"))
                .map(|(data, _)| serde_json::from_str(data).unwrap())
                .collect();
            if found.len() >= count {
                return found;
            }
            let mut piece = [0; 4096];
            let length = self.stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "the feed ended: {}", self.text);
            // Events here are short, so that no chunk's frame falls into one.
            self.text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }
}

#[tokio::test]
async fn the_feed_brings_every_change_once_in_order_to_those_whose_it_is() {
    let house = House::on_socket().await;
    let put = async |tenant: &str, scope: &str, key: &str| {
        house.put(tenant, &json!({"scope": scope, "key": key, "value": key})).await;
    };
    put("acme", "mesh", "before").await;
    let mut feed = Feed::open(&house, "acme", "?since=0 HTTP/1.1").await;
    assert_eq!(feed.events("change", 1).await[0]["row"]["value"], "before");
    put("globex", "mesh", "theirs").await;
    put("acme", "mesh", "a").await;
    put("acme", "node", "b").await;
    house.ask("acme", "DELETE", "/mesh/memory/mesh/a", None).await;
    let seen = feed.events("change", 4).await;
    let told: Vec<_> = seen
        .iter()
        .map(|one| {
            (one["change"].as_i64().unwrap(), one["action"].as_str().unwrap(), one["key"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, [(1, "put", "before"), (2, "put", "a"), (3, "put", "b"), (4, "delete", "a")]);
    let mut back = Feed::open(&house, "acme", "?scope=mesh HTTP/1.1\r\nLast-Event-ID: 1").await;
    let rest: Vec<_> = back.events("change", 2).await.iter().map(|one| one["change"].clone()).collect();
    assert_eq!(rest, [2, 4]);
    let poll = house.get("acme", "/mesh/changes?since=1&scope=node").await;
    assert_eq!(poll.field("cache-control"), Some("no-store"));
    let poll = poll.json();
    assert_eq!(
        (&poll["changes"][0]["change"], &poll["next"], &poll["reset"]),
        (&json!(3), &json!(4), &json!(false))
    );
    let now = house.get("globex", "/mesh/changes").await;
    assert_eq!(now.body, r#"{"changes":[],"next":1,"reset":false}"#);
    let ahead = house.get("globex", "/mesh/changes?since=4").await;
    assert_eq!(ahead.body, r#"{"changes":[],"next":1,"reset":true}"#, "a number that was never given");
    refused(&house.get("acme", "/mesh/changes?since=x").await, 400, "Invalid number");
    refused(&house.get("acme", "/mesh/changes?kind=odd").await, 400, "Unknown kind; use memory or skill");
    drop((feed, back));
    house.close().await;
}

#[tokio::test]
async fn a_long_poll_answers_when_something_happens_and_when_the_store_stops() {
    let house = Arc::new(House::on_socket().await);
    let waits = {
        let house = Arc::clone(&house);
        tokio::spawn(async move { house.get("acme", "/mesh/changes?since=0&wait=60").await.json() })
    };
    let mut feed = Feed::open(&house, "acme", "?since=0 HTTP/1.1").await;
    house.put("acme", &json!({"scope": "mesh", "key": "k", "value": 1})).await;
    assert_eq!(waits.await.unwrap()["changes"][0]["key"], "k");
    feed.events("change", 1).await;
    let house = Arc::into_inner(house).unwrap();
    // Would wait for the feed for ever if that did not end with the store.
    house.close().await;
}

#[tokio::test]
async fn nodes_that_synchronise_end_up_with_the_same_rows_and_the_last_writer_wins() {
    let house = House::on_socket().await;
    let sync = async |tenant: &str, body: Value| {
        house.ask(tenant, "POST", "/mesh/sync", Some(&body.to_string())).await
    };
    let memory = |key: &str, ts: f64, value: &str| json!({"type": "memory", "scope": "mesh", "key": key, "value": value, "nodeId": "ceo", "ts": ts, "sig": "kept-out"});
    let skill = json!({"type": "skill", "name": "s", "sourceNode": "ceo", "content": "c", "ts": 50});
    let delta =
        json!({"type": "sync_delta", "entries": [memory("a", 100.5, "old"), memory("b", 200.0, "b"), skill]});
    assert_eq!(sync("acme", delta).await.body, r#"{"messages":[],"applied":3,"passed":0,"more":false}"#);
    let again =
        json!({"type": "sync_delta", "entries": [memory("a", 100.25, "older"), memory("b", 201.0, "newer")]});
    assert_eq!(sync("acme", again).await.body, r#"{"messages":[],"applied":1,"passed":1,"more":false}"#);
    assert_eq!(house.get("acme", "/mesh/memory/mesh/a").await.json()["value"], "old");
    assert_eq!(house.get("acme", "/mesh/memory/mesh/b").await.json()["value"], "newer");
    let summary = json!({"type": "sync_summary", "nodeId": "cto",
        "keys": [{"scope": "mesh", "key": "a", "ts": 300}, {"scope": "mesh", "key": "b", "ts": 1}], "skills": [{"name": "t", "ts": 5}]});
    let answer = sync("acme", summary).await.json();
    assert_eq!(
        answer["messages"][0],
        json!({"type": "sync_request",
        "keys": [{"scope": "mesh", "key": "a", "ts": 300}], "skills": [{"name": "t", "ts": 5}]})
    );
    assert_eq!(answer["messages"][1]["type"], "sync_delta");
    let sent: Vec<_> =
        answer["messages"][1]["entries"].as_array().unwrap().iter().map(|one| one["ts"].clone()).collect();
    assert_eq!(sent, [json!(201), json!(50)]);
    let request = json!([{"type": "sync_request", "keys": [{"scope": "mesh", "key": "a"}, {"scope": "mesh", "key": "none"}]}]);
    let answer = sync("acme", request.clone()).await.json();
    let expected = json!([{"type": "memory", "scope": "mesh", "key": "a", "value": "old", "nodeId": "ceo", "ts": 100.5}]);
    assert_eq!(answer["messages"][0]["entries"], expected);
    assert_eq!(sync("globex", request).await.json()["messages"][0]["entries"], json!([]));
    for (bad, status) in [
        (json!({"type": "memory"}), 400),
        (json!([7]), 400),
        (json!({"type": "sync_delta", "entries": [{"type": "memory", "scope": "mesh", "key": "k"}]}), 400),
        (json!({"type": "sync_summary", "keys": [{"scope": "mesh", "key": "k"}]}), 400),
        (json!({"type": "sync_summary", "keys": [{"scope": "mesh", "key": "k", "ts": -1}]}), 400),
        (
            json!({"type": "sync_delta", "entries": [{"type": "memory", "scope": "tenant:globex", "key": "k", "value": 1, "nodeId": "n", "ts": 1}]}),
            403,
        ),
    ] {
        assert_eq!(sync("acme", bad.clone()).await.status, status, "{bad}");
    }
}

/// Remembers what it was told.
#[derive(Default)]
struct Notes(Mutex<Vec<(Op, Outcome)>>);

impl Observe for Notes {
    fn embedding_lag(&self, _: i64) {}

    fn operation(&self, op: Op, outcome: Outcome, seconds: f64) {
        assert!(seconds >= 0.0);
        self.0.lock().push((op, outcome));
    }
}

#[tokio::test]
async fn whoever_counts_is_told_each_operation_and_how_it_ended() {
    let notes = Arc::new(Notes::default());
    let house = House::build(Trust::Edge, Arc::clone(&notes) as Arc<dyn Observe>).await;
    house.put("acme", &json!({"scope": "mesh", "key": "k", "value": 1})).await;
    house.put("acme", &json!({"scope": "tenant:globex", "key": "k", "value": 1})).await;
    house.put("acme", &json!({"scope": "mesh"})).await;
    house.get("acme", "/mesh/memory/mesh/none").await;
    house.get("acme", "/mesh/memory?q=k").await;
    house.get("acme", "/mesh/memory").await;
    let expected = [
        (Op::MemoryPut, Outcome::Done),
        (Op::MemoryPut, Outcome::Forbidden),
        (Op::MemoryPut, Outcome::Invalid),
        (Op::MemoryGet, Outcome::Missing),
        (Op::MemorySearch, Outcome::Done),
        (Op::MemoryList, Outcome::Done),
    ];
    assert_eq!(*notes.0.lock(), expected);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::strategy::Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(Config::with_cases(48))]
    #[test]
    fn any_value_under_any_key_comes_back_byte_for_byte(value in any_value(), scope in "[^:]+", key in any::<String>().prop_filter("a key", |key| !key.is_empty())) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::on_socket().await;
            let put = house.put("acme", &json!({"scope": scope, "key": key, "value": value})).await;
            assert_eq!(put.status, 200, "{}", put.body);
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let got = house.get("acme", &format!("/mesh/memory/{}/{}", encode(&scope), encode(&key))).await;
            assert_eq!(got.body, put.body);
            assert!(got.body.contains(&format!("\"value\":{value},\"node_id\"")), "{}", got.body);
            assert_eq!(got.json()["key"], json!(key));
        });
    }
}
