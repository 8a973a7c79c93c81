//! Tenants do not meet: whatever one asks for, nothing of the other is answered, changed or even hinted at.

use crate::house::client::{Client, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, Key, READER};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, open};
use serde_json::json;

/// A word that stands in all that acme has, and that globex must never see.
const MARK: &str = "acmes-own-secret";

struct House {
    edge: Edge,
    _gateway: EchoGateway,
}

/// An edge with a store and a gateway, both with something of acme's in them.
fn house() -> House {
    let gateway = EchoGateway::start();
    let entry = format!("id: ceo, name: \"{MARK}\", tenant: acme, url: \"ws://{}\"", gateway.address());
    let edge = Edge::start(&Site::new().embedded_store().gateway_entry(&entry).gateway_routes());
    let acme = edge.caller(ACME);
    for scope in ["mesh", "node", "user:42", "tenant:acme", "user:acme:42", "federation"] {
        let body = json!({"scope": scope, "key": "plans", "value": MARK, "node_id": "ceo"});
        acme.put("/mesh/memory", body.to_string()).expect(200);
    }
    let skill = json!({"name": "triage", "source_node": "ceo", "content": MARK});
    acme.put("/mesh/skills", skill.to_string()).expect(200);
    House { edge, _gateway: gateway }
}

/// Everything that can be asked about acme's things.
fn questions() -> Vec<Request> {
    let mut all: Vec<Request> = [
        "/mesh/memory",
        "/mesh/memory?scope=mesh",
        "/mesh/memory?scope=tenant:acme",
        "/mesh/memory?scope=user:acme:42",
        "/mesh/memory?q=acmes",
        "/mesh/memory?q=own&scope=mesh",
        "/mesh/memory?q=acmes*",
        "/mesh/memory/mesh/plans",
        "/mesh/memory/tenant:acme/plans",
        "/mesh/memory/tenant%3Aacme/plans",
        "/mesh/memory/user:acme:42/plans",
        "/mesh/skills",
        "/mesh/skills/triage",
        "/mesh/memory/mesh/plans/history",
        "/mesh/memory/mesh/plans?history=1",
        "/mesh/memory/mesh/plans?meta=1",
        "/mesh/skills/triage/history",
        "/mesh/memory?prefix=plan&meta=1",
        "/mesh/memory?order=key&limit=1",
        "/mesh/memory?node_id=ceo",
        "/mesh/skills?prefix=tri",
        "/mesh/memory?tenant=acme",
        "/mesh/memory?tenant_id=acme",
        "/api/gateways",
        "/api/gateways/ceo/status",
        "/api/tasks",
        "/api/jobs",
        "/gateways/ceo",
        "/gateways/ceo/",
        "/gateways/ceo/healthz",
        "/health",
    ]
    .into_iter()
    .map(Request::get)
    .collect();
    all.push(Request::post("/mesh/query", r#"{"q":"acmes"}"#));
    all.push(Request::post("/mesh/query", r#"{"q":"acmes","scope":"tenant:acme","tenant_id":"acme"}"#));
    all
}

#[test]
fn no_question_of_another_tenant_brings_anything_out() {
    let house = house();
    for disguise in
        [None, Some("X-Tenant-Id"), Some("x-tenant-id"), Some("X-Tenant"), Some("X-Forwarded-Tenant")]
    {
        let mut globex = house.edge.caller(GLOBEX);
        if let Some(name) = disguise {
            globex = globex.with(name, "acme");
        }
        for question in questions() {
            let answer = globex.send(&question);
            let shown = format!("{:?} {}", answer.fields, answer.text());
            assert!(!shown.contains(MARK), "{question:?} with {disguise:?}: {shown}");
            assert!(!shown.contains("plans"), "{question:?} with {disguise:?}: {shown}");
        }
    }
}

#[test]
fn what_belongs_to_another_tenant_looks_like_what_does_not_exist() {
    let house = house();
    let globex = house.edge.caller(GLOBEX);
    for (theirs, nobodys) in [
        ("/mesh/memory/mesh/plans", "/mesh/memory/mesh/snalp"),
        ("/mesh/skills/triage", "/mesh/skills/egairt"),
        ("/mesh/memory/mesh/plans/history", "/mesh/memory/mesh/snalp/history"),
        ("/mesh/memory/mesh/plans?history=1", "/mesh/memory/mesh/snalp?history=1"),
        ("/gateways/ceo", "/gateways/oec"),
        ("/gateways/ceo/healthz", "/gateways/oec/healthz"),
        ("/api/gateways/ceo/status", "/api/gateways/oec/status"),
    ] {
        let (theirs, nobodys) = (globex.get(theirs), globex.get(nobodys));
        assert_eq!(theirs.status, 404);
        assert_eq!(theirs.shape(), nobodys.shape());
    }
    let key = [("X-API-Key", GLOBEX.text)];
    let theirs = open(house.edge.address(), "/gateways/ceo", &key).unwrap_err();
    let nobodys = open(house.edge.address(), "/gateways/oec", &key).unwrap_err();
    assert_eq!((theirs.status, theirs.shape()), (404, nobodys.shape()));
}

#[test]
fn no_write_of_another_tenant_changes_anything() {
    let house = house();
    let before = snapshot(&house.edge.caller(ACME));
    let globex = house.edge.caller(GLOBEX).with("X-Tenant-Id", "acme");
    for scope in ["mesh", "node", "user:42", "federation"] {
        let body = json!({"scope": scope, "key": "plans", "value": "overwritten", "tenant_id": "acme", "tenant": "acme"});
        globex.put("/mesh/memory", body.to_string()).expect(200);
    }
    for scope in ["tenant:acme", "user:acme:42"] {
        let body = json!({"scope": scope, "key": "plans", "value": "overwritten"});
        let answer = globex.put("/mesh/memory", body.to_string());
        assert!(matches!(answer.status, 200 | 400 | 403 | 404), "{scope}: {}", answer.text());
    }
    globex.put("/mesh/skills", r#"{"name":"triage","source_node":"x","content":"overwritten"}"#).expect(200);
    let batch = json!([
        {"op": "put", "scope": "mesh", "key": "plans", "value": "overwritten"},
        {"op": "delete", "scope": "mesh", "key": "plans"},
        {"op": "purge", "scope": "mesh", "key": "plans"},
        {"op": "purge", "name": "triage"},
    ]);
    globex.post("/mesh/batch", batch.to_string()).expect(200);
    for path in ["/mesh/memory/mesh/plans", "/mesh/memory/tenant:acme/plans", "/mesh/skills/triage"] {
        for more in ["", "?purge=1"] {
            let answer = globex.send(&Request::new("DELETE", &format!("{path}{more}")));
            assert!(matches!(answer.status, 403 | 404), "{path}: {}", answer.text());
        }
        let answer = globex.post(&format!("{path}/restore"), r#"{"version":1}"#);
        assert!(matches!(answer.status, 403 | 404), "{path}: {}", answer.text());
    }
    globex.send(&Request::new("DELETE", "/mesh/tenant?confirm=acme")).expect(403);
    assert_eq!(snapshot(&house.edge.caller(ACME)), before);
}

fn snapshot(client: &Client) -> String {
    format!(
        "{}{}",
        client.get("/mesh/memory?meta=1").expect(200).text(),
        client.get("/mesh/skills?meta=1").expect(200).text()
    )
}

#[test]
fn a_tenant_sees_its_own_gateways_alone_and_never_a_secret() {
    let gateway = EchoGateway::start();
    let entry = |id: &str, tenant: &str| {
        format!("id: {id}, tenant: {tenant}, url: \"ws://{}\", token: the-gateways-token", gateway.address())
    };
    let site = Site::new()
        .top("allow_literal_secrets: true")
        .gateway_entry(&entry("ceo", "acme"))
        .gateway_entry(&entry("sec", "acme"))
        .gateway_entry(&entry("ops", "globex"))
        .gateway_routes();
    let edge = Edge::start(&site);
    let ids = |key: Key| -> Vec<String> {
        let answer = edge.caller(key).get("/api/gateways").expect(200);
        assert!(!answer.text().contains("the-gateways-token"), "{}", answer.text());
        let list = answer.json()["gateways"].as_array().expect("a list").clone();
        list.iter().map(|gateway| gateway["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(ACME), ["ceo", "sec"]);
    assert_eq!(ids(GLOBEX), ["ops"]);
    edge.caller(READER).get("/api/gateways").refused(403, "forbidden");
    assert!(!edge.all_output().contains("the-gateways-token"));
}

#[test]
fn an_upstream_hears_who_calls_from_the_edge_alone() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let forged = [
        ("X-Tenant-Id", "globex"),
        ("x-tenant-id", "globex"),
        ("X-Node-Id", "impostor"),
        ("X-Credential-Id", "root"),
        ("X-Credential-Scopes", "mesh:admin root"),
        ("X-Forwarded-For", "203.0.113.66"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "for=203.0.113.66"),
        ("X-Real-IP", "203.0.113.66"),
        ("X-OpenClaw-Scopes", "operator.admin"),
    ];
    let mut request = Request::get("/x?y=z");
    for (name, value) in forged {
        request = request.field(name, value);
    }
    edge.caller(ACME).send(&request).expect(200);
    let seen = upstream.only();
    assert_eq!(seen.field("x-tenant-id"), Some("acme"));
    assert_eq!(seen.field("x-node-id"), Some("ceo"));
    assert_eq!(seen.field("x-credential-id"), Some("acme-ceo"));
    let scopes = seen.field("x-credential-scopes").expect("the key's scopes");
    assert!(scopes.split(' ').any(|scope| scope == "mesh:write"), "{scopes}");
    assert!(!scopes.contains("admin"), "{scopes}");
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some(edge.address().to_string().as_str()));
    for (name, value) in &seen.fields {
        for evil in ["globex", "impostor", "root", "203.0.113.66", "gopher", "evil.example", "operator.admin"]
        {
            assert!(!value.contains(evil), "{name}: {value}");
        }
    }
}

#[test]
fn names_that_a_server_might_take_for_the_internal_ones_do_not_pass_either() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let request = Request::get("/x").field("X_Tenant_Id", "globex").field("X-Tenant_Id", "globex");
    let answer = edge.caller(ACME).send(&request);
    if answer.status == 200 {
        let seen = upstream.only();
        assert!(!seen.fields.iter().any(|(_, value)| value == "globex"), "{seen:?}");
    }
}

#[test]
fn the_key_does_not_go_on_to_the_upstream() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let bearer = format!("Bearer {}", ACME.text);
    for (name, value) in [("X-API-Key", ACME.text), ("Authorization", bearer.as_str())] {
        edge.client().with(name, value).get("/x").expect(200);
        let seen = upstream.only();
        assert!(!seen.fields.iter().any(|(_, value)| value.contains(ACME.text)), "{seen:?}");
    }
    assert!(!edge.all_output().contains(ACME.text));
}

#[test]
fn a_public_route_tells_the_upstream_of_no_tenant() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    edge.client().with("X-Tenant-Id", "acme").with("X-Node-Id", "ceo").get("/x").expect(200);
    let seen = upstream.only();
    assert_eq!((seen.field("x-tenant-id"), seen.field("x-node-id")), (None, None));
}
