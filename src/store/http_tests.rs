//! The whole room over real sockets: every row of the API's table, every error text, every way in.

use super::testing::Folder;
use super::{
    ApiKey, Listener, Observe, Op, Outcome, Rights, Settings, Store, Trust, Unobserved, serve, socket,
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
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

impl House {
    async fn on_socket() -> Self {
        Self::build(Trust::Edge, Arc::new(Unobserved)).await
    }

    async fn build(trust: Trust, observe: Arc<dyn Observe>) -> Self {
        let folder = Folder::new();
        let settings = Settings::new(folder.path("mesh.db"), TenantId::parse("default").unwrap());
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
    let words = "Semantic search is not configured";
    refused(&house.get("acme", "/mesh/memory?q=dawn&mode=semantic").await, 503, words);
    refused(&post(r#"{"q":"dawn","mode":"semantic"}"#).await, 503, words);
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
        "Unknown mode; use fts or semantic",
    );
    refused(
        &house.put("acme", &json!({"scope": "mesh", "key": "k"})).await,
        400,
        "Missing scope, key, or value",
    );
    refused(&house.ask("acme", "PUT", "/mesh/memory", Some("{]")).await, 400, "Invalid JSON body");
    refused(&house.ask("acme", "PUT", "/mesh/memory", None).await, 400, "Invalid JSON body");
    for (method, path, allowed) in [
        ("DELETE", "/mesh/memory", "GET,HEAD,PUT"),
        ("PUT", "/mesh/memory/mesh/k", "GET,HEAD"),
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

/// Remembers what it was told.
#[derive(Default)]
struct Notes(Mutex<Vec<(Op, Outcome)>>);

impl Observe for Notes {
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
