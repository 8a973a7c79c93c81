//! Tenants of one store, over every endpoint: whatever `globex` asks, it is answered as by a store in which
//! `acme` never was. So nothing of acme's is seen, and nothing can be learnt from it either: no count, no
//! rank, no tag, no time of expiry, no difference between what is another's and what is nobody's.

use crate::house::client::{Answer, Client, Request};
use crate::house::events::Events;
use crate::house::postgres::Postgres;
use crate::house::store::{SECRET, Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use base64::Engine as _;
use serde_json::json;
use std::net::SocketAddr;

/// Stands in everything that acme has.
const MARK: &str = "acmes-own-secret";
/// In the names of acme's rows, and in none of globex's.
const NAME: &str = "plans-of-acme";
/// Scopes that both use.
const SCOPES: [&str; 4] = ["mesh", "node", "user:42", "federation"];

/// A store with both tenants in it, and one that has only ever seen globex.
struct Worlds {
    shared: SocketAddr,
    alone: SocketAddr,
}

impl Worlds {
    fn settle(shared: SocketAddr, alone: SocketAddr) -> Self {
        let worlds = Self { shared, alone };
        worlds.fill_acme("first");
        worlds.fill_globex();
        worlds.fill_acme("second");
        // Vectors come behind the writes.
        for address in [shared, alone] {
            until("globex's vectors", SOON, || {
                let found =
                    caller(address, "globex").get("/mesh/memory?q=dawn&mode=semantic&limit=100").json();
                (found.as_array().unwrap().len() == 3).then_some(())
            });
        }
        until("acme's vectors", SOON, || {
            let found = caller(shared, "acme").get("/mesh/memory?q=dawn&mode=semantic&limit=100").json();
            (found.as_array().unwrap().len() == 100).then_some(())
        });
        worlds
    }

    /// Enough to fill every list and every search, and a bit of everything.
    fn fill_acme(&self, turn: &str) {
        let acme = caller(self.shared, "acme");
        let mut batch: Vec<_> = (0..150)
            .map(|at| {
                let key = format!("{NAME}-{turn}-{at}");
                json!({"op": "put", "scope": SCOPES[at % 4], "key": key, "node_id": "ceo",
                       "value": {"text": format!("dawn attack {MARK}"), "at": at}})
            })
            .collect();
        for scope in ["mesh", "tenant:acme", "user:acme:7"] {
            batch.push(json!({"op": "put", "scope": scope, "key": NAME, "value": MARK, "ttl": 100_000}));
        }
        batch.push(json!({"op": "put", "scope": "mesh", "key": format!("{NAME}-gone"), "value": MARK}));
        batch.push(json!({"op": "delete", "scope": "mesh", "key": format!("{NAME}-gone")}));
        batch.push(json!({"op": "put", "name": NAME, "source_node": "ceo", "content": MARK}));
        // The same name in both: two rows that never meet.
        batch.push(json!({"op": "put", "scope": "mesh", "key": "common", "value": MARK}));
        acme.post("/mesh/batch", json!(batch).to_string()).expect(200);
        let keys =
            Request::put(&format!("/mesh/keys/{MARK}"), json!({"public_key": public_key()}).to_string());
        acme.send(&keys.field("X-Credential-Scopes", "mesh:admin")).expect(200);
    }

    fn fill_globex(&self) {
        for address in [self.shared, self.alone] {
            let globex = caller(address, "globex");
            for (key, value) in
                [("common", "ours: dawn"), ("second", "dawn again"), ("third", "attack at dawn")]
            {
                let body = json!({"scope": "mesh", "key": key, "value": value, "node_id": "ops"});
                globex.put("/mesh/memory", body.to_string()).expect(200);
            }
            let skill = json!({"name": "triage", "source_node": "ops", "content": "ours"});
            globex.put("/mesh/skills", skill.to_string()).expect(200);
        }
    }

    /// Asks both worlds and gives what both said.
    fn ask(&self, request: &Request) -> String {
        self.ask_as(request, |address| caller(address, "globex"))
    }

    fn ask_as(&self, request: &Request, client: impl Fn(SocketAddr) -> Client) -> String {
        let [told, expected] = [self.shared, self.alone].map(|address| seen(&client(address).send(request)));
        assert!(!told.contains(MARK), "{request:?}: {told}");
        assert_eq!(told, expected, "{request:?}: it shows that acme is there");
        told
    }
}

/// Some key's public half, in base64.
fn public_key() -> String {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
    base64::engine::general_purpose::STANDARD.encode(key.as_bytes())
}

/// All that a caller can see, without what is the clock's or the database's own: times and cursors.
fn seen(answer: &Answer) -> String {
    let mut shape = answer.shape();
    if let Some(cursor) = answer.field("mesh-next-cursor") {
        // A shape has no dashes where there is no request's number to hide.
        shape = shape.replace(&cursor.replace('-', "<id>"), "<cursor>");
    }
    let mut out = String::new();
    let mut digits = String::new();
    for c in shape.chars().chain([' ']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        out.push_str(if digits.len() >= 10 { "<time>" } else { &digits });
        digits.clear();
        out.push(c);
    }
    out
}

/// Every read there is, about acme's rows, about globex's own and about nobody's.
fn reads(acme_cursor: &str, acme_tag: &str) -> Vec<Request> {
    let name = format!("/mesh/memory/mesh/{NAME}");
    let mut all: Vec<Request> = [
        "/",
        "/health",
        "/openapi.json",
        "/mesh",
        "/mesh/usage",
        "/mesh/usage?tenant=acme",
        "/mesh/keys",
        "/mesh/keys/acmes-own-secret",
        "/mesh/keys/acmes-own-secret/history",
        "/mesh/keys/ceo",
        "/mesh/tenant",
        "/mesh/tenants",
        "/mesh/memory",
        "/mesh/memory?meta=1",
        "/mesh/memory?scope=mesh&limit=2",
        "/mesh/memory?order=key&limit=1",
        "/mesh/memory?scope=tenant:acme",
        "/mesh/memory?scope=user:acme:7",
        "/mesh/memory?prefix=plans",
        "/mesh/memory?node_id=ceo",
        "/mesh/memory?updated_since=1",
        "/mesh/memory?tenant=acme&tenant_id=acme",
        "/mesh/memory?proof=1",
        "/mesh/skills",
        "/mesh/skills?meta=1&limit=1",
        "/mesh/skills?prefix=plans",
        "/mesh/memory?q=dawn&limit=1",
        "/mesh/memory?q=dawn&limit=100",
        "/mesh/memory?q=attack+dawn&marks=html",
        "/mesh/memory?q=acmes-own-secret",
        "/mesh/memory?q=plans",
        "/mesh/memory?q=acme",
        "/mesh/memory?q=t61636d65",
        "/mesh/memory?q=dawn&scope=tenant:acme",
        "/mesh/memory?q=dawn&prefix=plans",
        "/mesh/memory?q=%22dawn%22+OR+acme*",
        "/mesh/memory?q=dawn&mode=semantic&limit=100",
        "/mesh/memory?q=acmes+own+secret&mode=semantic",
        "/mesh/memory?q=dawn&mode=semantic&scope=tenant:acme",
        "/mesh/memory?q=dawn&mode=semantic&prefix=plans",
        "/mesh/memory?q=attack&mode=hybrid&limit=100",
        "/mesh/memory?q=acmes&mode=hybrid&prefix=plans&marks=html",
        "/mesh/memory/mesh/common",
        "/mesh/memory/mesh/common?meta=1&proof=1",
        "/mesh/memory/mesh/common/history",
        "/mesh/memory/tenant:acme/plans-of-acme",
        "/mesh/memory/tenant%3Aacme/plans-of-acme?meta=1",
        "/mesh/memory/user:acme:7/plans-of-acme",
        "/mesh/memory/mesh/plans-of-acme-gone/history",
        "/mesh/memory/mesh/plans-of-acme?history=1",
        "/mesh/memory/mesh/plans-of-acme?history=1&before=9",
        "/mesh/memory/mesh/..%2F..%2Facme",
        "/mesh/skills/plans-of-acme",
        "/mesh/skills/plans-of-acme/history",
        "/mesh/changes?since=0",
        "/mesh/changes?since=0&limit=1",
        "/mesh/changes?since=5",
        "/mesh/changes?since=900",
        "/mesh/changes?since=0&scope=tenant:acme",
        "/mesh/changes?since=0&prefix=plans",
        "/mesh/changes?since=4&wait=1",
        "/mesh/changes?since=0&kind=skill",
        "/mesh/changes?since=0&kind=key",
        "/mesh/changes",
        "/mesh/memory?cursor=AAAA",
        "/mesh/memory?q=dawn&mode=nearest",
        "/mesh/memory?limit=x",
        "/mesh/memory?scope=%ff",
        "/nowhere",
    ]
    .into_iter()
    .map(Request::get)
    .collect();
    all.push(Request::get(&name));
    all.push(Request::get(&format!("{name}/history")));
    all.push(Request::get(&name).field("If-None-Match", acme_tag));
    all.push(Request::get(&name).field("If-None-Match", "*"));
    all.push(Request::get("/mesh/memory/mesh/common").field("If-None-Match", acme_tag));
    all.push(Request::get("/mesh/memory").field("If-None-Match", acme_tag));
    for query in ["limit=3", "limit=3&scope=mesh", "order=key&limit=3"] {
        all.push(Request::get(&format!("/mesh/memory?{query}&cursor={acme_cursor}")));
    }
    for mode in ["fts", "semantic", "hybrid"] {
        for more in
            [json!({}), json!({"scope": "tenant:acme", "tenant_id": "acme"}), json!({"prefix": "plans"})]
        {
            let mut body = json!({"q": "dawn acmes", "mode": mode, "limit": 100});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all.push(Request::post("/mesh/query", body.to_string()));
        }
    }
    all.push(Request::post("/mesh/query", "{}"));
    all.push(Request::new("PATCH", "/mesh/memory"));
    all.push(Request::new("HEAD", &name));
    all
}

/// Every write there is, at acme's rows; and what shows whether it was one.
fn writes(acme_tag: &str) -> Vec<Request> {
    let mut all = Vec::new();
    for path in [
        format!("/mesh/memory/mesh/{NAME}"),
        format!("/mesh/memory/mesh/{NAME}-gone"),
        format!("/mesh/memory/tenant:acme/{NAME}"),
        format!("/mesh/skills/{NAME}"),
    ] {
        for query in ["", "?purge=1"] {
            all.push(Request::new("DELETE", &format!("{path}{query}")));
            all.push(Request::new("DELETE", &format!("{path}{query}")).field("If-Match", acme_tag));
        }
        for body in ["", r#"{"version":1}"#] {
            all.push(Request::post(&format!("{path}/restore"), body));
        }
    }
    let row =
        |scope: &str| json!({"scope": scope, "key": NAME, "value": 1, "tenant": "acme", "tenant_id": "acme"});
    for scope in ["tenant:acme", "user:acme:7"] {
        all.push(Request::put("/mesh/memory", row(scope).to_string()));
    }
    all.push(Request::put("/mesh/memory", row("mesh").to_string()).field("If-Match", acme_tag));
    all.push(Request::put("/mesh/memory", row("mesh").to_string()).field("If-Match", "*"));
    for op in [
        json!({"op": "delete", "scope": "mesh", "key": NAME}),
        json!({"op": "purge", "name": NAME}),
        json!({"op": "restore", "scope": "mesh", "key": NAME, "version": 1}),
        json!({"op": "put", "scope": "mesh", "key": NAME, "value": 1, "if_match": acme_tag}),
        json!({"op": "put", "scope": "tenant:acme", "key": NAME, "value": 1}),
    ] {
        let first = json!({"op": "put", "scope": "mesh", "key": "undone", "value": 1});
        all.push(Request::post("/mesh/batch", json!([first, op]).to_string()));
    }
    for query in ["", "?confirm=acme", "?confirm=globex"] {
        all.push(Request::new("DELETE", &format!("/mesh/tenant{query}")));
    }
    let admin = |request: Request| request.field("X-Credential-Scopes", "mesh:admin");
    all.push(admin(Request::new("DELETE", "/mesh/tenant?confirm=acme")));
    all.push(admin(Request::new("DELETE", "/mesh/tenant")));
    all.push(admin(Request::get("/mesh/keys")));
    all.push(admin(Request::get("/mesh/keys/ceo")));
    for keys in [format!("/mesh/keys/{MARK}"), "/mesh/keys/nobody".to_owned()] {
        let body = json!({"public_key": public_key()}).to_string();
        all.push(admin(Request::new("DELETE", &keys)));
        all.push(admin(Request::put(&keys, &body).field("If-Match", acme_tag)));
        all.push(Request::put(&keys, &body));
    }
    let names = json!([{"scope": "mesh", "key": NAME}, {"scope": "tenant:acme", "key": NAME}]);
    let skills = json!([{"name": NAME}]);
    all.push(Request::post(
        "/mesh/sync",
        json!({"type": "sync_request", "keys": names, "skills": skills}).to_string(),
    ));
    all.push(Request::post("/mesh/sync", json!({"type": "sync_summary"}).to_string()));
    let old = json!([{"scope": "mesh", "key": NAME, "ts": 1}]);
    all.push(Request::post("/mesh/sync", json!({"type": "sync_summary", "keys": old}).to_string()));
    let foreign = json!({"type": "memory", "scope": "tenant:acme", "key": NAME, "value": 1, "nodeId": "ops", "ts": 9e9});
    all.push(Request::post("/mesh/sync", json!({"type": "sync_delta", "entries": [foreign]}).to_string()));
    // Done, in globex's own space: rows of the same names, old enough that acme's would win if they met.
    let own = json!({"type": "memory", "scope": "mesh", "key": NAME, "value": 1, "nodeId": "ops", "ts": 5});
    all.push(Request::post("/mesh/sync", json!({"type": "sync_delta", "entries": [own]}).to_string()));
    all.push(
        Request::put("/mesh/skills", json!({"name": NAME, "source_node": "ops", "path": "/p"}).to_string())
            .field("If-None-Match", "*"),
    );
    all.push(Request::get(&format!("/mesh/memory/mesh/{NAME}?meta=1")));
    all.push(Request::get(&format!("/mesh/skills/{NAME}?meta=1")));
    all.push(Request::new("DELETE", &format!("/mesh/skills/{NAME}?purge=1")));
    all.push(Request::get("/mesh/changes?since=0"));
    all.push(Request::get("/mesh/memory?q=dawn&limit=100"));
    all
}

fn everything(client: &Client) -> String {
    [
        "/mesh/memory?meta=1",
        "/mesh/skills?meta=1",
        "/mesh/changes?since=0&limit=200",
        "/mesh/memory?q=dawn&limit=100",
        "/mesh/keys",
    ]
    .map(|path| client.get(path).expect(200).text())
    .join("\n")
}

fn matrix(shared: &Store, alone: &Store) {
    let worlds = Worlds::settle(shared.address(), alone.address());
    let acme = caller(shared.address(), "acme");
    let page = acme.get("/mesh/memory?limit=3&scope=mesh").expect(200);
    let cursor = page.field("mesh-next-cursor").expect("there is more").to_owned();
    let tag = acme.get(&format!("/mesh/memory/mesh/{NAME}")).expect(200).field("etag").unwrap().to_owned();
    let before = everything(&acme);
    for request in reads(&cursor, &tag).iter().chain(&writes(&tag)) {
        worlds.ask(request);
    }
    strangers(&worlds);
    assert_eq!(everything(&acme), before, "something of acme's was changed");
    followers(&worlds);
    let after = everything(&acme);
    // And with the admin's right, globex is gone and acme is not.
    let erase =
        Request::new("DELETE", "/mesh/tenant?confirm=globex").field("X-Credential-Scopes", "mesh:admin");
    assert!(worlds.ask(&erase).starts_with("200 "));
    worlds.ask(&Request::get("/mesh/changes?since=0"));
    assert_eq!(everything(&acme), after);
}

/// Who is not let in learns that, and nothing else; and a tenant said twice is nobody's.
fn strangers(worlds: &Worlds) {
    let request = Request::get(&format!("/mesh/memory/mesh/{NAME}"));
    let bare = |address| Client::past_the_edge(address);
    for told in [
        worlds.ask_as(&request, bare),
        worlds.ask_as(&request, |address| bare(address).with("X-Tenant-Id", "acme")),
        worlds.ask_as(&request, |address| {
            bare(address).with("X-Tenant-Id", "acme").with("X-Edge-Auth", "guess")
        }),
        worlds.ask_as(&request, |address| bare(address).with("X-Edge-Auth", SECRET)),
        worlds.ask_as(&request, |address| caller(address, "globex").with("X-Tenant-Id", "acme")),
        worlds.ask_as(&request, |address| caller(address, "globex,acme")),
    ] {
        assert!(told.starts_with("401 ") && told.contains(r#"{"error":"Unauthorized"}"#), "{told}");
    }
}

/// The feed, live: acme's writes neither come, nor wake, nor leave gaps in the numbers.
fn followers(worlds: &Worlds) {
    let open = |address| {
        let mut events = Events::open(&caller(address, "globex"), "/mesh/changes", None).expect("a stream");
        let start: i64 = events.next().expect("where it starts").id.parse().expect("a number");
        (events, start)
    };
    let (mut shared, start) = open(worlds.shared);
    let (_, expected) = open(worlds.alone);
    assert_eq!(start, expected, "the feeds start at one number");
    worlds.fill_acme("third");
    for at in 1..=2 {
        let body = json!({"scope": "mesh", "key": format!("live-{at}"), "value": "ours"});
        worlds.ask(&Request::put("/mesh/memory", body.to_string()));
        let event = shared.next().expect("an event");
        assert_eq!((event.id.clone(), event.name.as_str()), ((start + at).to_string(), "change"));
        assert!(event.data.contains(&format!("live-{at}")) && !event.data.contains(MARK), "{event:?}");
        worlds.fill_acme("fourth");
    }
    // A stream with another tenant's number is told to begin anew, as with any number that is not its own.
    let mut lost =
        Events::open(&caller(worlds.shared, "globex"), "/mesh/changes", Some("800")).expect("a stream");
    assert_eq!(lost.next().expect("where it starts").id, "800");
    assert_eq!(lost.next().expect("a reset").name, "reset");
}

#[test]
fn a_store_over_a_file_answers_each_tenant_as_if_it_were_alone() {
    matrix(&Store::start(Temp::new()), &Store::start(Temp::new()));
}

#[test]
fn a_store_over_postgresql_answers_each_tenant_as_if_it_were_alone() {
    let (Some(one), Some(other)) = (Postgres::start(), Postgres::start()) else { return };
    matrix(&Store::start_on(&one), &Store::start_on(&other));
}
