//! A real gateway that does not take the edge for a client of its own machine, as it is on another address: there
//! the edge is a device that somebody approves once.

use crate::house::edge::Edge;
use crate::house::gateway::{RealGateway, TOKEN};
use crate::house::keys::{Key, VIEWER};
use crate::house::page::Page;
use crate::house::parts;
use crate::house::process::{Process, edge_program};
use crate::house::site::Site;
use crate::house::wait::until;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

/// An operator that was refused waits 15 seconds before it asks again.
const PATIENCE: Duration = Duration::from_mins(1);
/// May do more than the edge's device was approved for.
const OWNER: Key = Key {
    id: "acme-owner",
    text: "oce_acme-owner_R4tYw8Nq2Lb7",
    scopes: "gateways:read, gateways:connect, operator.admin",
    ..VIEWER
};

fn site(gateway: &RealGateway, more: &str) -> Site {
    let entry = format!("id: ceo, tenant: acme, url: \"ws://{}\", {more}", gateway.address());
    Site::new()
        .top("allow_literal_secrets: true")
        .credential(&OWNER.entry())
        .gateway_entry(&entry)
        .gateway_routes()
}

fn away(edge: &Edge) -> Value {
    let answer = edge.caller(VIEWER).get("/api/tasks").expect(200).json();
    answer["errors"][0]["code"].clone()
}

fn is_connected(edge: &Edge) -> bool {
    edge.caller(VIEWER).get("/api/gateways/ceo/status").expect(200).json()["connected"] == true
}

#[test]
fn a_gateway_elsewhere_knows_the_edge_as_a_device_once_somebody_has_approved_it() {
    let (Some(cache), Some(host)) = (parts::gateway(), parts::own_address()) else { return };
    let gateway = RealGateway::start_for_the_network(&cache, host);
    let mut admin = gateway.admin();

    // With the secret alone it is nobody there: that is why it is paired.
    let edge = Edge::start(&site(&gateway, &format!("token: \"{TOKEN}\"")));
    until("the refusal", PATIENCE, || (away(&edge) == "not_granted").then_some(()));
    edge.stop();

    let edge = Edge::start(&site(&gateway, &format!("token: \"{TOKEN}\", operator: {{ access: device }}")));
    until("the refusal", PATIENCE, || (away(&edge) == "not_paired").then_some(()));
    let mut command = Command::new(edge_program());
    command.args(["gateways", "pair", "ceo", "--scope", "operator.read", "--timeout", "120", "--config"]);
    let mut pairing = Process::start(command.arg(edge.config()));
    let said = |pairing: &Process, word: &str| {
        pairing.stdout().iter().find_map(|line| line.strip_prefix(word).map(|rest| rest.trim().to_owned()))
    };
    let request = until("the request's id", PATIENCE, || said(&pairing, "request "));
    let device = said(&pairing, "device ").expect("it says which device");
    let pending = admin.call("device.pair.list", &json!({}));
    assert!(pending["pending"].to_string().contains(&request), "{pending}");
    admin.call("device.pair.approve", &json!({"requestId": request}));
    assert!(pairing.wait(PATIENCE).success(), "{:?}", pairing.stderr());
    assert_eq!(said(&pairing, "paired ").as_deref(), Some("the gateway grants operator.read"));

    // What it was given is kept for the edge's user alone, and said nowhere.
    let kept = edge.config().parent().expect("a folder").join("data/operator/ceo.json");
    assert_eq!(std::fs::metadata(&kept).expect("a file").permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_slice(&std::fs::read(&kept).expect("a file")).expect("JSON");
    until("the operator's connection", PATIENCE, || is_connected(&edge).then_some(()));
    let mut page = Page::at(&edge, VIEWER, "ceo");
    assert_eq!(page.payload("ceo", "status", &json!({}))["runtimeVersion"], "2026.9.6");

    // Nobody gets more through it than it was approved for.
    let mut owner = Page::open(&edge, OWNER);
    owner.event("ceo", "proxy.disconnected");
    assert_eq!(owner.call("ceo", "cron.list", &json!({}))["ok"], false);

    // And no longer than it is approved.
    admin.call("device.pair.remove", &json!({"deviceId": device}));
    until("its end", PATIENCE, || (!is_connected(&edge)).then_some(()));
    page.event("ceo", "proxy.disconnected");
    let output = format!("{}{}", edge.all_output(), pairing.stdout().join("\n"));
    for secret in [TOKEN, kept["seed"].as_str().expect("a key"), kept["token"].as_str().expect("a token")] {
        assert!(!output.contains(secret), "a secret was said");
    }
}
