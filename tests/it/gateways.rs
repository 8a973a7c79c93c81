//! A real OpenClaw gateway behind the edge, and the real CLI in front of it.

use crate::house::edge::Edge;
use crate::house::gateway::{RealGateway, TOKEN};
use crate::house::keys::{ACME, GLOBEX};
use crate::house::parts;
use crate::house::site::Site;
use crate::house::sockets::{ask, next_text, open};
use serde_json::{Value, json};
use std::process::Output;

/// A site with the real gateway, whose token the edge has in a file.
fn site(gateway: &RealGateway) -> Site {
    let entry =
        format!("id: ceo, name: CEO, tenant: acme, url: \"ws://{}\", token: \"{TOKEN}\"", gateway.address());
    Site::new().top("allow_literal_secrets: true").gateway_entry(&entry).gateway_routes()
}

/// `openclaw gateway call status` through the edge, the edge's key in the URL.
fn status(gateway: &RealGateway, edge: &Edge, key: &str, id: &str) -> Output {
    let user = if key.is_empty() { String::new() } else { format!("key:{key}@") };
    let url = format!("ws://{user}{}/gateways/{id}", edge.address());
    gateway.cli(&["gateway", "call", "status", "--url", &url, "--token", TOKEN, "--json"])
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_real_cli_and_a_real_gateway_meet_through_the_edge() {
    let Some(cache) = parts::gateway() else { return };
    let gateway = RealGateway::start(&cache);
    let edge = Edge::start(&site(&gateway));

    let out = status(&gateway, &edge, ACME.text, "ceo");
    assert!(out.status.success(), "{}", text(&out));
    let answer: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&out)));
    assert_eq!(answer["runtimeVersion"], "2026.9.6", "{answer}");

    for (key, id, status_code) in
        [("", "ceo", "401"), ("wrong", "ceo", "401"), (GLOBEX.text, "ceo", "404"), (ACME.text, "none", "404")]
    {
        let out = status(&gateway, &edge, key, id);
        assert!(!out.status.success(), "{}", text(&out));
        assert!(text(&out).contains(status_code), "{}", text(&out));
    }

    a_handshake_of_our_own(&edge);
    another_tenant_learns_nothing(&edge);
    mission_control_sees_it(&edge);
    let output = edge.all_output();
    assert!(!output.contains(TOKEN) && !output.contains(ACME.text), "a secret is in the log");
}

/// The protocol itself, through the edge: challenge, connect, call, and the gateway's own refusals.
fn a_handshake_of_our_own(edge: &Edge) {
    let key = [("X-API-Key", ACME.text)];
    let mut socket = open(edge.address(), "/gateways/ceo", &key).expect("an open socket");
    let challenge: Value = serde_json::from_str(&next_text(&mut socket)).unwrap();
    assert_eq!(challenge["event"], "connect.challenge");
    let connect = json!({"type": "req", "id": "c", "method": "connect", "params": {
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"], "caps": [],
        "client": {"id": "gateway-client", "version": "0.1.0", "platform": "linux", "mode": "backend"},
        "auth": {"token": TOKEN}}});
    let mut hello: Value = serde_json::from_str(&ask(&mut socket, &connect.to_string())).unwrap();
    while hello["id"] != "c" {
        hello = serde_json::from_str(&next_text(&mut socket)).unwrap();
    }
    assert_eq!(hello["payload"]["type"], "hello-ok", "{hello}");
    assert_eq!(hello["payload"]["auth"]["scopes"], json!(["operator.read"]), "{hello}");

    let mut socket = open(edge.address(), "/gateways/ceo", &key).expect("an open socket");
    next_text(&mut socket);
    ask(&mut socket, r#"{"type":"req","id":"x","method":"status"}"#);
    let (code, reason) = crate::house::sockets::closed(&mut socket);
    assert_eq!((code, reason.as_str()), (1008, "invalid handshake: first request must be connect"));
}

fn another_tenant_learns_nothing(edge: &Edge) {
    let key = [("X-API-Key", GLOBEX.text)];
    let theirs = open(edge.address(), "/gateways/ceo", &key).unwrap_err();
    let nobodys = open(edge.address(), "/gateways/none", &key).unwrap_err();
    assert_eq!((theirs.status, theirs.shape()), (404, nobodys.shape()));
    open(edge.address(), "/gateways/ceo", &[]).unwrap_err().refused(401, "unauthorized");
}

fn mission_control_sees_it(edge: &Edge) {
    let own = edge.caller(ACME).get("/api/gateways").expect(200);
    assert!(own.text().contains("\"id\":\"ceo\"") && !own.text().contains(TOKEN), "{}", own.text());
    assert_eq!(edge.caller(GLOBEX).get("/api/gateways").expect(200).text(), "{\"gateways\":[]}");
}
