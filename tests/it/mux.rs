//! The multiplexer: one socket of a page for all gateways of its tenant, in front of real gateways.

use crate::house::edge::Edge;
use crate::house::gateway::{RealGateway, TOKEN};
use crate::house::keys::{ACME, GLOBEX, Key, VIEWER, hex};
use crate::house::loud::LoudGateway;
use crate::house::page::Page;
use crate::house::parts;
use crate::house::site::Site;
use crate::house::sockets::{Socket, closed, next_text, open, straight};
use crate::house::wait::{SOON, until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use tokio_tungstenite::tungstenite::Message;

/// May decide and change.
pub(crate) const BOSS: Key = Key {
    id: "acme-boss",
    tenant: "acme",
    node: Some("ceo"),
    text: "oce_acme-boss_9vTq2LmXw4Rc",
    scopes: "gateways:read, gateways:connect, operator.admin",
    expires: None,
};

fn entry(id: &str, tenant: &str, address: SocketAddr) -> String {
    format!(
        "id: {id}, tenant: {tenant}, url: \"ws://{address}\", token: \"{TOKEN}\", operator: {{ access: off }}"
    )
}

fn site() -> Site {
    let limit =
        "by: credential, window: { limit: 100000, per: 1h }, methods: { \"usage.cost\": 60000, health: 0 }";
    Site::new()
        .top("allow_literal_secrets: true")
        .credential(&BOSS.entry())
        .limit("calls", limit)
        .route("name: mission-control, path: /api/**, scopes: [gateways:read], mission_control: true")
        .route("name: multiplex, path: /ws, scopes: [gateways:connect], mission_control: true, call_limits: [calls]")
}

#[test]
fn one_socket_leads_to_all_gateways_of_its_tenant_and_to_no_other() {
    let Some(cache) = parts::gateway() else { return };
    let (mut ceo, ops) = std::thread::scope(|scope| {
        let ops = scope.spawn(|| RealGateway::start(&cache));
        (RealGateway::start(&cache), ops.join().expect("a gateway"))
    });
    let one = site().gateway_entry(&entry("ops", "globex", ops.address()));
    let both = one.clone().gateway_entry(&entry("ceo", "acme", ceo.address()));
    let edge = Edge::start(&both);
    let mut stranger = Page::at(&edge, GLOBEX, "ops");

    who_may_come_in(&edge);
    answers_do_not_cross(&edge);
    another_tenants_gateway_is_nobodys(&edge);
    scopes_and_limits_bound_calls(&edge);
    an_old_page_is_answered(&edge);
    jobs_and_tasks_are_told(&edge);
    subscriptions_are_each_clients_own(&edge);
    an_approval_is_decided_and_written_down(&edge, ceo.address());
    a_call_that_was_accepted_is_answered_again(&edge, &ceo);
    a_gateway_goes_and_comes_back(&edge, &mut ceo);
    a_reload_ends_what_is_gone_and_nothing_else(&edge, &both, &one);

    assert_eq!(stranger.payload("ops", "health", &json!({}))["ok"], true);
    for frame in stranger.kept() {
        assert_eq!(frame["gatewayId"], "ops", "{frame}");
    }
    let output = edge.all_output();
    assert!(!output.contains(TOKEN) && !output.contains(BOSS.text), "a secret is in the log");
}

/// No real gateway tells so much so soon: a stand-in does.
#[test]
fn a_slow_reader_is_dropped_and_nobody_else_waits() {
    let gateway = LoudGateway::start();
    let edge = Edge::start(&site().gateway_entry(&entry("ceo", "acme", gateway.address())));
    let (mut slow, mut page) = (Page::at(&edge, VIEWER, "ceo"), Page::at(&edge, VIEWER, "ceo"));
    let loud = json!({"events": 16, "bytes": 65_536});
    until("the end of the slow one", SOON * 6, || {
        page.payload("ceo", "health", &loud);
        let dropped = edge.metrics().sum("openclaw_edge_mux_slow_clients_total", &[]);
        (dropped > 0.5).then_some(())
    });
    // It hears why once it reads; the other never stopped.
    assert_eq!(closed(&mut slow.socket), (1008, "slow consumer".to_owned()));
    assert_eq!(page.payload("ceo", "health", &loud)["ok"], true);
    assert!((edge.metrics().sum("openclaw_edge_mux_slow_clients_total", &[]) - 1.0).abs() < 0.5);
}

fn who_may_come_in(edge: &Edge) {
    open(edge.address(), "/ws", &[]).unwrap_err().refused(401, "unauthorized");
    assert_eq!(edge.caller(ACME).get("/ws").status, 426);
    // Who a caller is, the edge says and not the caller.
    let fields =
        [("X-API-Key", GLOBEX.text), ("X-Tenant-Id", "acme"), ("X-Credential-Scopes", "operator.admin")];
    let socket = open(edge.address(), "/ws", &fields).expect("an open socket");
    drop(socket);
    let mut page = Page::at(edge, GLOBEX, "ops");
    assert_eq!(page.call("ceo", "status", &json!({}))["error"]["details"]["code"], "GATEWAY_NOT_FOUND");
}

/// Two at once with the same ids: each gets its own answers, and one may leave.
fn answers_do_not_cross(edge: &Edge) {
    let (mut one, mut two) = (Page::at(edge, VIEWER, "ceo"), Page::at(edge, VIEWER, "ceo"));
    let ids: Vec<String> = (0..20).map(|at| at.to_string()).collect();
    for id in &ids {
        one.ask("ceo", id, "agents.list", &json!({}));
        two.ask("ceo", id, "cron.status", &json!({}));
    }
    for id in &ids {
        let answer = one.answer(id);
        assert!(answer["payload"]["agents"].is_array(), "{answer}");
        let answer = two.answer(id);
        assert!(answer["payload"]["enabled"].is_boolean(), "{answer}");
    }
    let links = || edge.metrics().sum("openclaw_edge_gateway_links", &[("gateway", "ceo")]);
    let before = links();
    drop(one);
    until("the end of the first", SOON, || {
        (edge.metrics().sum("openclaw_edge_mux_sessions", &[]) < 2.5).then_some(())
    });
    assert_eq!(two.payload("ceo", "health", &json!({}))["ok"], true);
    assert!((links() - before).abs() < 0.5, "two clients with the same scopes share a connection");
}

fn another_tenants_gateway_is_nobodys(edge: &Edge) {
    let mut page = Page::at(edge, VIEWER, "ceo");
    let mut answers = ["ops", "none"].map(|id| {
        page.ask(id, "x", "status", &json!({}));
        page.answer("x")
    });
    assert_eq!(
        answers[0]["error"],
        json!({"code": "INVALID_REQUEST", "message": "unknown gateway",
        "details": {"code": "GATEWAY_NOT_FOUND"}})
    );
    for answer in &mut answers {
        answer["gatewayId"].take();
    }
    assert_eq!(answers[0], answers[1]);
    // A frame for none, and frames that are none; the socket lives.
    page.send(&json!({"type": "req", "id": "y", "method": "status"}));
    assert_eq!(page.answer("y")["error"]["message"], "invalid request frame: at /gatewayId: must be string");
    page.send(
        &json!({"gatewayId": "ceo", "type": "req", "id": "z", "method": "status", "expectedProfileId": "p"}),
    );
    assert_eq!(page.answer("z")["error"]["code"], "INVALID_REQUEST");
    for text in [
        "hello",
        "{\"gatewayId\":\"ceo\",\"type\":\"req\",\"id\":\"w\",\"method\":\"status\",\"params\":{]}}",
    ] {
        page.socket.send(Message::text(text)).unwrap();
    }
    assert_eq!(page.answer("w")["error"]["code"], "INVALID_REQUEST");
    assert_eq!(page.payload("ceo", "health", &json!({}))["ok"], true);
    for frame in page.kept() {
        assert!(frame["gatewayId"] == "ceo" || frame["gatewayId"].is_null(), "{frame}");
    }
}

fn scopes_and_limits_bound_calls(edge: &Edge) {
    let mut page = Page::at(edge, VIEWER, "ceo");
    for (method, scope) in [
        ("cron.add", "operator.admin"),
        ("chat.send", "operator.write"),
        ("exec.approval.resolve", "operator.approvals"),
        ("no.such.method", "operator.admin"),
    ] {
        let no = page.call("ceo", method, &json!({}));
        assert_eq!((&no["gatewayId"], &no["error"]["code"]), (&json!("ceo"), &json!("FORBIDDEN")), "{no}");
        assert_eq!(no["error"]["details"]["missingScope"], scope, "{no}");
    }
    // A gateway's own refusal goes on in its own words.
    let no = page.call("ceo", "cron.list", &json!({"bogus": 1}));
    assert!(no["error"]["message"].as_str().is_some_and(|text| text.contains("bogus")), "{no}");
    assert_eq!(page.call("ceo", "usage.cost", &json!({}))["ok"], true);
    let no = page.call("ceo", "usage.cost", &json!({}));
    assert_eq!(no["error"]["details"]["code"], "LIMIT_EXCEEDED", "{no}");
    assert_eq!(no["gatewayId"], "ceo", "{no}");
}

/// What the page does that knows neither today's methods nor today's shapes.
fn an_old_page_is_answered(edge: &Edge) {
    let mut page = Page::open(edge, VIEWER);
    let device = json!({"id": "d", "publicKey": "", "signature": ""});
    let hello = page.payload(
        "ceo",
        "connect",
        &json!({"minProtocol": 3, "maxProtocol": 3, "role": "operator",
        "client": {"id": "mission-control", "mode": "operator"}, "device": device, "auth": {"token": "x"}}),
    );
    assert_eq!((&hello["type"], &hello["server"]["version"]), (&json!("hello-ok"), &json!("2026.9.6")));
    assert_eq!(
        hello["auth"],
        json!({"role": "operator", "scopes": ["operator.read", "operator.sessions.read"]})
    );
    let text = hello.to_string();
    assert!(!text.contains('/') && !text.contains("deviceToken") && !text.contains(TOKEN), "{text}");
    let status = page.payload("ceo", "status", &json!({}));
    for number in ["agents", "sessions", "channels"] {
        assert!(status[number].is_u64(), "{number}: {status}");
    }
    assert_eq!((&status["agents"], &status["runtimeVersion"]), (&json!(1), &json!("2026.9.6")));
    for method in ["agent.list", "agent"] {
        let agents = page.payload("ceo", method, &json!({}));
        assert_eq!(
            (&agents["agents"][0]["id"], &agents["agents"][0]["name"]),
            (&json!("main"), &json!("main"))
        );
    }
    for method in ["channels.list", "channels"] {
        assert!(page.payload("ceo", method, &json!({}))["channels"].is_array());
    }
    assert!(page.payload("ceo", "sessions.list", &json!({}))["sessions"].is_array());
}

fn jobs_and_tasks_are_told(edge: &Edge) {
    let (mut boss, mut page) = (Page::at(edge, BOSS, "ceo"), Page::at(edge, VIEWER, "ceo"));
    let job = json!({"name": "echo", "enabled": true, "schedule": {"kind": "every", "everyMs": 3_600_000},
        "sessionTarget": "isolated", "wakeMode": "now", "delivery": {"mode": "none"},
        "payload": {"kind": "command", "argv": ["/bin/sh", "-c", "echo hello from job"], "timeoutSeconds": 20}});
    let added = boss.payload("ceo", "cron.add", &job);
    let id = added["job"]["id"].as_str().or(added["id"].as_str()).expect("a job has an id").to_owned();
    page.event_where("ceo", "cron", |job| job["action"] == "added" && job["jobId"] == id.as_str());
    boss.payload("ceo", "cron.run", &json!({"id": id, "mode": "force"}));
    page.event_where("ceo", "cron", |job| job["action"] == "finished" && job["jobId"] == id.as_str());
    page.event_where("ceo", "task", |told| {
        told["task"]["sourceId"] == id.as_str() && told["task"]["status"] == "completed"
    });
    let tasks = page.payload("ceo", "tasks.list", &json!({}));
    assert_eq!(tasks["tasks"][0]["sourceId"], id.as_str(), "{tasks}");
}

/// One follows a session's messages, the other does not, over one connection.
fn subscriptions_are_each_clients_own(edge: &Edge) {
    let (mut one, mut two) = (Page::at(edge, BOSS, "ceo"), Page::at(edge, BOSS, "ceo"));
    let key = one.payload("ceo", "sessions.create", &json!({"label": "followed"}))["key"].clone();
    let key = key.as_str().expect("a session has a key").to_owned();
    let followed = |page: &mut Page, method: &str| page.payload("ceo", method, &json!({"key": key}));
    assert_eq!(followed(&mut one, "sessions.messages.subscribe")["subscribed"], true);
    assert_eq!(followed(&mut two, "sessions.messages.subscribe")["subscribed"], true);
    // The other's end does not end it for the first.
    assert_eq!(followed(&mut two, "sessions.messages.unsubscribe"), json!({"subscribed": false, "key": key}));
    let note = |page: &mut Page, text: &str| {
        page.payload("ceo", "chat.inject", &json!({"sessionKey": key, "message": text}));
    };
    note(&mut two, "a first note");
    one.event_where("ceo", "session.message", |told| told.to_string().contains("a first note"));
    assert_eq!(two.payload("ceo", "health", &json!({}))["ok"], true);
    assert!(!two.kept().any(|frame| frame["event"] == "session.message"), "{two:?}");
}

/// Straight to the gateway, past the edge: an agent's side of an approval.
pub(crate) fn requester(address: SocketAddr) -> Socket {
    let mut socket = straight(address);
    next_text(&mut socket);
    let connect = json!({"type": "req", "id": "c", "method": "connect", "params": {
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.admin"], "caps": [],
        "client": {"id": "gateway-client", "version": "0.1.0", "platform": "linux", "mode": "backend"},
        "auth": {"token": TOKEN}}});
    socket.send(Message::text(connect.to_string())).unwrap();
    socket
}

pub(crate) fn answered(socket: &mut Socket, id: &str) -> Value {
    loop {
        let frame: Value = serde_json::from_str(&next_text(socket)).expect("a frame");
        if frame["id"] == id {
            return frame;
        }
    }
}

fn an_approval_is_decided_and_written_down(edge: &Edge, gateway: SocketAddr) {
    let (mut boss, mut agent) = (Page::at(edge, BOSS, "ceo"), requester(gateway));
    assert_eq!(answered(&mut agent, "c")["ok"], true);
    let request = json!({"type": "req", "id": "a", "method": "exec.approval.request", "params": {
        "command": "rm -rf /tmp/x", "cwd": "/tmp", "host": "gateway", "security": "allowlist", "ask": "always",
        "timeoutMs": 60_000}});
    agent.send(Message::text(request.to_string())).unwrap();
    let told = boss.event("ceo", "exec.approval.requested");
    assert_eq!(told["payload"]["request"]["command"], "rm -rf /tmp/x", "{told}");
    let id = told["payload"]["id"].as_str().expect("an approval has an id").to_owned();
    assert_eq!(
        boss.call("ceo", "exec.approval.resolve", &json!({"id": "no such", "decision": "deny"}))["ok"],
        false
    );
    boss.payload("ceo", "exec.approval.resolve", &json!({"id": id, "decision": "deny"}));
    assert_eq!(answered(&mut agent, "a")["payload"]["decision"], "deny");
    boss.event_where("ceo", "exec.approval.resolved", |told| told["id"] == id.as_str());

    let path = edge.config().parent().expect("a folder").join("data/audit/acme.ndjson");
    let text = until("the audit log's lines", SOON, || {
        let text = std::fs::read_to_string(&path).ok()?;
        (text.matches("\"decision\":").count() == 4).then_some(text)
    });
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (before, line) in text.lines().zip(&all[1..]) {
        assert_eq!(line["prev"], hex(before));
    }
    // Uses of keys stand between them.
    let lines: Vec<&Value> = all.iter().filter(|line| line["method"].is_string()).collect();
    let read = |line: &Value| {
        ["event", "gateway", "credential", "node", "decision"]
            .map(|name| line[name].as_str().map(str::to_owned))
    };
    let who = ["ceo", "acme-boss", "ceo", "deny"].map(|text| Some(text.to_owned()));
    for (line, event) in lines.iter().zip(["decision", "outcome", "decision", "outcome"]) {
        assert_eq!(read(line)[0].as_deref(), Some(event), "{text}");
        assert_eq!(read(line)[1..], who, "{text}");
    }
    assert_eq!((&lines[1]["outcome"], &lines[3]["outcome"]), (&json!("INVALID_REQUEST"), &json!("applied")));
    assert_eq!(lines[2]["approval"], id.as_str());
}

fn two_phases() -> Value {
    json!({"command": "true", "cwd": "/tmp", "host": "gateway", "security": "allowlist", "ask": "always",
        "timeoutMs": 60_000, "twoPhase": true})
}

/// Under the same id. Who decides must be on another connection than who asks.
fn a_call_that_was_accepted_is_answered_again(edge: &Edge, gateway: &RealGateway) {
    let (mut one, mut other) = (Page::at(edge, BOSS, "ceo"), gateway.admin());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    one.send(&json!({"gatewayId": "ceo", "type": "req", "id": "two", "method": "exec.approval.request",
        "params": two_phases(), "traceparent": trace}));
    let first = one.answer("two");
    assert_eq!(first["payload"]["status"], "accepted", "{first}");
    let id = &first["payload"]["id"];
    other.call("exec.approval.resolve", &json!({"id": id, "decision": "allow-once"}));
    let second = one.answer("two");
    assert_eq!(
        (&second["ok"], &second["payload"]["decision"]),
        (&json!(true), &json!("allow-once")),
        "{second}"
    );
    // A trace that gateways would refuse is refused here.
    for odd in [json!(7), json!("x".repeat(129))] {
        one.send(
            &json!({"gatewayId": "ceo", "type": "req", "id": "odd", "method": "health", "traceparent": odd}),
        );
        assert_eq!(one.answer("odd")["error"]["code"], "INVALID_REQUEST");
    }
}

fn a_gateway_goes_and_comes_back(edge: &Edge, gateway: &mut RealGateway) {
    let mut page = Page::at(edge, VIEWER, "ceo");
    gateway.stop();
    page.event("ceo", "proxy.error");
    page.event("ceo", "proxy.disconnected");
    let no = page.call("ceo", "status", &json!({}));
    assert_eq!((&no["gatewayId"], &no["error"]["code"]), (&json!("ceo"), &json!("UNAVAILABLE")), "{no}");
    assert_eq!(no["error"]["retryable"], true, "{no}");
    assert!(!no.to_string().contains(&gateway.address().port().to_string()), "{no}");
    // One that comes now is told at once.
    let mut late = Page::open(edge, VIEWER);
    late.event("ceo", "proxy.disconnected");
    gateway.again();
    page.event("ceo", "proxy.connected");
    late.event("ceo", "proxy.connected");
    assert_eq!(page.payload("ceo", "status", &json!({}))["runtimeVersion"], "2026.9.6");
}

fn a_reload_ends_what_is_gone_and_nothing_else(edge: &Edge, both: &Site, one: &Site) {
    let (mut acme, mut globex) = (Page::at(edge, VIEWER, "ceo"), Page::at(edge, GLOBEX, "ops"));
    edge.reload(one);
    assert_eq!(acme.event("ceo", "proxy.disconnected")["payload"]["reason"], "removed");
    assert_eq!(acme.call("ceo", "status", &json!({}))["error"]["details"]["code"], "GATEWAY_NOT_FOUND");
    edge.reload(both);
    acme.event("ceo", "proxy.connected");
    assert_eq!(acme.payload("ceo", "health", &json!({}))["ok"], true);
    assert_eq!(globex.payload("ops", "health", &json!({}))["ok"], true);
    for frame in globex.kept() {
        assert!(!frame["event"].as_str().unwrap_or_default().starts_with("proxy."), "{frame}");
    }
}
