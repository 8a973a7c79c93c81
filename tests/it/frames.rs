//! Frames: how a socket to a gateway begins, which calls go on, and what the others are told.

use crate::house::client::Request;
use crate::house::edge::Edge;
use crate::house::gateway::{RealGateway, TOKEN};
use crate::house::keys::{ACME, VIEWER};
use crate::house::parts;
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, Socket, closed, next_text, open};
use crate::house::wait::{SOON, until};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const ROUTE: &str =
    "name: gateway, path: \"/gateways/{gateway}/**\", scopes: [gateways:connect], gateway: \"{gateway}\"";

fn real(gateway: &RealGateway, more: &str) -> Site {
    let address = gateway.address();
    let entry = format!("id: ceo, tenant: acme, url: \"ws://{address}\", token: \"{TOKEN}\"{more}");
    Site::new().top("allow_literal_secrets: true").gateway_entry(&entry)
}

fn echo(gateway: &EchoGateway, more: &str) -> Edge {
    let entry = format!("id: ceo, tenant: acme, url: \"ws://{}\"{more}", gateway.address());
    Edge::start(&Site::new().gateway_entry(&entry).route(ROUTE))
}

fn socket(edge: &Edge, key: &str) -> (Socket, Value) {
    let mut socket = open(edge.address(), "/gateways/ceo", &[("X-API-Key", key)]).expect("an open socket");
    let challenge = serde_json::from_str(&next_text(&mut socket)).expect("a challenge");
    (socket, challenge)
}

/// The answer to a request, over events that come between.
fn call(socket: &mut Socket, id: &str, method: &str, params: &Value) -> Value {
    let frame = json!({"type": "req", "id": id, "method": method, "params": params});
    socket.send(Message::text(frame.to_string())).expect("the socket is open");
    answer(socket, id)
}

fn answer(socket: &mut Socket, id: &str) -> Value {
    loop {
        let frame: Value = serde_json::from_str(&next_text(socket)).expect("a frame");
        if frame["id"] == id {
            return frame;
        }
    }
}

fn params(scopes: &[&str]) -> Value {
    json!({"minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": scopes, "caps": [],
        "client": {"id": "gateway-client", "version": "0.1.0", "platform": "linux", "mode": "backend"}})
}

/// A connected socket, and what `hello-ok` says.
fn connected(edge: &Edge, key: &str, scopes: &[&str]) -> (Socket, Value) {
    let (mut socket, _) = socket(edge, key);
    let hello = call(&mut socket, "c", "connect", &params(scopes));
    assert_eq!(hello["payload"]["type"], "hello-ok", "{hello}");
    (socket, hello)
}

#[test]
fn a_gateway_hears_of_nobody_who_does_not_connect() {
    let gateway = EchoGateway::start();
    let edge = echo(&gateway, ", connect_within: 1s");
    for (first, answered, reason) in [
        (
            r#"{"type":"req","id":"1","method":"status"}"#,
            true,
            "invalid handshake: first request must be connect",
        ),
        (r#"{"type":"req","id":"1","method":"connect","method":"connect"}"#, true, "invalid request frame"),
        (r#"{"type":"req","id":"1","method":"connect"}"#, true, "invalid connect params"),
        ("hello", false, "invalid request frame"),
        (
            r#"{"type":"req","id":"1","method":"connect","params":{"role":"node"}}"#,
            true,
            "missing scope: node",
        ),
    ] {
        let (mut socket, challenge) = socket(&edge, ACME.text);
        assert_eq!(challenge["event"], "connect.challenge");
        socket.send(Message::text(first)).unwrap();
        if answered {
            assert_eq!(answer(&mut socket, "1")["ok"], false);
        }
        assert_eq!(closed(&mut socket), (1008, reason.to_owned()), "{first}");
    }
    // One that says nothing, and one that says too much.
    let (mut silent, _) = socket(&edge, ACME.text);
    assert_eq!(closed(&mut silent), (1008, "no connect came in time".to_owned()));
    let (mut loud, _) = socket(&edge, ACME.text);
    let _ = loud.send(Message::text("x".repeat(200_000)));
    assert_eq!(closed(&mut loud).0, 1009);
    assert!(gateway.upgrades().is_empty());
    until("the end of all sockets", SOON, || {
        (edge.metrics().sum("openclaw_edge_websockets_open", &[]) < 0.5).then_some(())
    });
    assert!(edge.metrics().sum("openclaw_edge_websockets_total", &[("result", "not_connected")]) > 6.5);
}

#[test]
fn a_gateway_that_is_away_is_said_to_be() {
    let nobody = crate::house::process::free_address();
    let entry = format!("id: ceo, tenant: acme, url: \"ws://{nobody}\"");
    let edge = Edge::start(&Site::new().gateway_entry(&entry).route(ROUTE));
    let (mut socket, _) = socket(&edge, ACME.text);
    let no = call(&mut socket, "c", "connect", &params(&[]));
    assert_eq!(
        (&no["error"]["code"], &no["error"]["retryable"]),
        (&json!("UNAVAILABLE"), &json!(true)),
        "{no}"
    );
    assert_eq!(no["error"]["details"]["reason"], "upstream_unreachable");
    assert!(!no.to_string().contains(&nobody.port().to_string()), "{no}");
    assert_eq!(closed(&mut socket).0, 1013);
}

#[test]
fn a_real_gateways_callers_do_what_their_scopes_say() {
    let Some(cache) = parts::gateway() else { return };
    let gateway = RealGateway::start(&cache);
    let site = real(&gateway, ", max_refused: 8").route(&format!("{ROUTE}, call_limits: [calls]"));
    let limit =
        "by: credential, window: { limit: 30, per: 1h }, methods: { \"cron.list\": 10, \"health\": 0 }";
    let edge = Edge::start(&site.limit("calls", limit));

    scopes_bound_calls(&edge);
    a_storm_ends_the_socket(&edge);
    limits_bound_calls(&edge);
    no_device_token_comes_back(&edge);
    the_cli_needs_no_token_of_the_gateway(&gateway, &edge);
    tools_are_for_those_who_write(&edge);
    let output = edge.all_output();
    assert!(!output.contains(TOKEN) && !output.contains(ACME.text), "a secret is in the log");
}

fn scopes_bound_calls(edge: &Edge) {
    let asked = ["operator.read", "operator.write", "operator.admin"];
    let (mut socket, hello) = connected(edge, VIEWER.text, &asked);
    assert_eq!(hello["payload"]["auth"]["scopes"], json!(["operator.read"]), "{hello}");
    let status = call(&mut socket, "1", "status", &json!({}));
    assert_eq!((&status["ok"], &status["payload"]["runtimeVersion"]), (&json!(true), &json!("2026.9.6")));
    for (method, scope) in [
        ("cron.add", "operator.admin"),
        ("chat.send", "operator.write"),
        ("no.such.method", "operator.admin"),
    ] {
        let no = call(&mut socket, "2", method, &json!({}));
        let details = json!({"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]});
        assert_eq!(no["error"]["code"], "FORBIDDEN", "{no}");
        assert_eq!(no["error"]["details"], details, "{no}");
    }
    let no = call(&mut socket, "3", "node.event", &json!({}));
    assert_eq!(no["error"]["message"], "unauthorized role: operator", "{no}");
    // Bytes that hold a call are one too, and what is none is told or left out; the socket lives.
    let frame = json!({"type": "req", "id": "4", "method": "config.get"});
    socket.send(Message::binary(frame.to_string().into_bytes())).unwrap();
    assert_eq!(answer(&mut socket, "4")["ok"], true);
    socket
        .send(Message::text(r#"{"type":"req","id":"5","method":"health","m\u0065thod":"cron.add"}"#))
        .unwrap();
    assert_eq!(answer(&mut socket, "5")["error"]["code"], "INVALID_REQUEST");
    assert_eq!(call(&mut socket, "6", "health", &json!({}))["ok"], true);
}

fn a_storm_ends_the_socket(edge: &Edge) {
    let (mut socket, _) = connected(edge, VIEWER.text, &["operator.read"]);
    for at in 0..9 {
        let no = call(&mut socket, &at.to_string(), "cron.add", &json!({}));
        assert_eq!(no["error"]["code"], "FORBIDDEN", "{no}");
    }
    assert_eq!(closed(&mut socket), (1008, "repeated refused calls".to_owned()));
}

fn limits_bound_calls(edge: &Edge) {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let fields = [("X-API-Key", ACME.text), ("traceparent", trace)];
    let mut socket = open(edge.address(), "/gateways/ceo", &fields).expect("an open socket");
    next_text(&mut socket);
    let hello = call(&mut socket, "c", "connect", &params(&["operator.read"]));
    assert_eq!(hello["payload"]["auth"]["scopes"], json!(["operator.read"]), "{hello}");
    for at in 0..3 {
        let yes = call(&mut socket, &at.to_string(), "cron.list", &json!({"includeDisabled": true}));
        assert_eq!(yes["ok"], true, "{yes}");
    }
    let no = call(&mut socket, "4", "cron.list", &json!({}));
    let error = &no["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("UNAVAILABLE"), &json!(true)), "{no}");
    assert!(error["retryAfterMs"].as_u64().is_some_and(|wait| wait > 1000), "{no}");
    assert_eq!(
        error["details"],
        json!({"code": "LIMIT_EXCEEDED", "method": "cron.list", "limits": ["calls"]})
    );
    // What costs nothing goes on.
    assert_eq!(call(&mut socket, "5", "health", &json!({}))["ok"], true);
    let metrics = edge.metrics();
    assert!(metrics.sum("openclaw_edge_calls_total", &[("result", "limited")]) > 0.5);
    assert!(metrics.sum("openclaw_edge_calls_total", &[("result", "denied")]) > 9.5);
    assert!(metrics.sum("openclaw_edge_limited_total", &[("limit", "calls")]) > 0.5);
}

/// A device that is new to the gateway: it is told once to come back, then signs the gateway's challenge.
fn no_device_token_comes_back(edge: &Edge) {
    let (first, again) = (device(1), "connect again");
    let (mut early, challenge) = socket(edge, VIEWER.text);
    let no = call(&mut early, "c", "connect", &signed(&first, &challenge));
    assert_eq!(
        (&no["error"]["retryAfterMs"], &no["error"]["code"]),
        (&json!(100), &json!("UNAVAILABLE")),
        "{no}"
    );
    assert_eq!(closed(&mut early), (1013, again.to_owned()));
    let (mut socket_one, challenge) = socket(edge, VIEWER.text);
    let hello = call(&mut socket_one, "c", "connect", &signed(&first, &challenge));
    // What the caller's key does not have is not granted, though the device signed for it.
    assert_eq!(hello["payload"]["auth"]["scopes"], json!(["operator.read"]), "{hello}");
    assert_eq!(call(&mut socket_one, "1", "health", &json!({}))["ok"], true);

    let second = device(2);
    let (mut early, challenge) = socket(edge, ACME.text);
    call(&mut early, "c", "connect", &signed(&second, &challenge));
    assert_eq!(closed(&mut early).0, 1013);
    let (mut socket_two, challenge) = socket(edge, ACME.text);
    let hello = call(&mut socket_two, "c", "connect", &signed(&second, &challenge));
    let auth = &hello["payload"]["auth"];
    assert_eq!(auth["scopes"], json!(["operator.read", "operator.write"]), "{auth}");
    assert!(auth.get("deviceToken").is_none(), "{auth}");
}

fn device(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// A connect that a device signs, over a challenge.
fn signed(key: &SigningKey, challenge: &Value) -> Value {
    let raw = key.verifying_key().to_bytes();
    let id = crate::house::keys::hex_of(&raw);
    let (at, nonce) = (&challenge["payload"]["ts"], challenge["payload"]["nonce"].as_str().expect("a nonce"));
    let text =
        format!("v3|{id}|gateway-client|backend|operator|operator.read,operator.write|{at}||{nonce}|linux|");
    let mut params = params(&["operator.read", "operator.write"]);
    params["device"] = json!({"id": id, "publicKey": URL_SAFE_NO_PAD.encode(raw), "signedAt": at, "nonce": nonce,
        "signature": URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes())});
    params
}

fn the_cli_needs_no_token_of_the_gateway(gateway: &RealGateway, edge: &Edge) {
    let url = format!("ws://key:{}@{}/gateways/ceo", ACME.text, edge.address());
    // With `--token` it comes without a device, with `--password` it signs.
    for how in ["--token", "--password"] {
        let out = gateway.cli(&["gateway", "call", "health", "--url", &url, how, ACME.text, "--json"]);
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{how}: {text}");
        assert!(!text.contains(TOKEN), "{how}: {text}");
    }
}

/// The real gateway takes its secret for its owner's: what came through asked for a tool that is not there.
fn tools_are_for_those_who_write(edge: &Edge) {
    let body = r#"{"tool":"no_such_tool","args":{}}"#;
    let ask = |key| {
        let request =
            Request::post("/gateways/ceo/tools/invoke", body).field("Content-Type", "application/json");
        edge.caller(key).send(&request)
    };
    ask(VIEWER).refused(403, "forbidden");
    let answer = ask(ACME);
    assert!(answer.status == 404 && answer.text().contains("not_found"), "{answer:?}");
    edge.caller(VIEWER).get("/gateways/ceo/healthz").expect(200);
}
