//! What the edge signs on the way out is taken by its own `verify`, and by the receivers' own libraries.

use crate::house::client::{Client, Request};
use crate::house::double::{Double, Seen};
use crate::house::doubles;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX};
use crate::house::parts;
use crate::house::site::Site;
use base64::Engine as _;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn key(seed: u8) -> (String, String) {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let pem =
        key.to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF).expect("a key has a PEM");
    let public = base64::engine::general_purpose::STANDARD.encode(key.verifying_key().as_bytes());
    (pem.replace('\n', "\\n"), public)
}

/// An edge that signs for two tenants, with a route for each way.
fn signing(to: SocketAddr) -> Site {
    let ((acme, _), (globex, _)) = (key(11), key(12));
    let route = |name: &str, sign: &str| {
        format!(
            "name: {name}, path: /{name}/**, scopes: [\"mesh:ingest\"], sign: {{ {sign} }}, strip_prefix: /{name}, add_prefix: /in, upstream: partner"
        )
    };
    Site::new()
        .top("allow_literal_secrets: true")
        .top(&format!(
            "signing_keys:\n  - {{ tenant: acme, id: acme-1, private_key: \"{acme}\" }}\n  - {{ tenant: globex, id: globex-1, private_key: \"{globex}\" }}\n  - {{ tenant: acme, name: shared, secret: {SHARED} }}\n  - {{ tenant: globex, name: shared, secret: {SHARED} }}"
        ))
        .upstream("partner", to)
        .route(&route("mesh", "scheme: mesh"))
        .route(&route("jcs", "scheme: mesh, canonical: jcs"))
        .route(&route("rfc", "scheme: http-signatures, public_url: \"https://partner.example\", tag: partner, expires: 5m"))
        .route(&route("hmac", "scheme: http-signatures, key: shared"))
        .route(&route("hooks", "scheme: standard-webhooks, key: shared"))
        .route(&route("hooks-a", "scheme: standard-webhooks"))
}

/// An edge that verifies, for each way; the path says which.
fn verifying(bridge: &Double) -> Site {
    let (_, public) = key(11);
    let whpk = format!("whpk_{public}");
    assert!(base64::engine::general_purpose::STANDARD.decode(&public).is_ok());
    let route = |name: &str, verify: &str| {
        format!(
            "name: {name}, path: /in/{name}, tenant: acme, verify: {{ {verify} }}, strip_prefix: /in/{name}, add_prefix: /ingest, upstream: bridge"
        )
    };
    Site::new()
        .top("allow_literal_secrets: true")
        .upstream("bridge", bridge.address())
        .node("acme", "ceo", &public)
        .route(&route("mesh", "scheme: mesh"))
        .route(&route("jcs", "scheme: mesh, canonical: jcs"))
        .route(&route("rfc", &format!("scheme: http-signatures, public_url: \"https://partner.example\", tag: partner, signers: [{{ id: acme-1, public_key: \"{public}\" }}]")))
        .route(&route("hmac", &format!("scheme: http-signatures, signers: [{{ id: shared, secret: {SHARED} }}]")))
        .route(&route("hooks", &format!("scheme: standard-webhooks, secret: {SHARED}")))
        .route(&route("hooks-a", &format!("scheme: standard-webhooks, public_keys: [\"{whpk}\"]")))
}

const BODY: &str =
    r#"{"type":"memory","scope":"mesh","key":"k","value":{"b":1.0,"a":"é"},"nodeId":"ceo","ts":1}"#;
const WAYS: [&str; 6] = ["mesh", "jcs", "rfc", "hmac", "hooks", "hooks-a"];

#[test]
fn what_one_edge_signs_another_takes_and_only_with_the_right_tenants_key() {
    let bridge = doubles::bridge();
    let there = Edge::start(&verifying(&bridge));
    let edge = Edge::start(&signing(there.address()));
    for way in WAYS {
        // What a client says of signatures does not go on, and neither does its key.
        let request = Request::post(&format!("/{way}/{way}?a=1"), BODY)
            .field("Signature", "sig1=:AAAA:")
            .field("Signature-Input", "sig1=();created=1")
            .field("Content-Digest", "sha-256=:AAAA:")
            .field("Webhook-Id", "forged")
            .field("Svix-Signature", "v1,forged");
        edge.caller(ACME).send(&request).expect(200);
        let seen = bridge.only();
        assert_eq!(seen.field("x-tenant-id"), Some("acme"), "{way}");
        assert!(seen.field("x-api-key").is_none(), "{way}");
        assert!(!way.contains("hooks") || seen.field("svix-signature").is_none(), "{way}");
        // Another edge refuses: its answer names its own request.
        let other = Client::past_the_edge(edge.address()).with("X-API-Key", GLOBEX.text);
        other.send(&request).expect(if way == "hmac" || way == "hooks" { 200 } else { 401 });
        bridge.forget();
    }
    for body in [&b"[1]"[..], b"{", b""] {
        edge.caller(ACME).post("/mesh/mesh", body).refused(400, "unsignable");
    }
    bridge.untouched();
    let metrics = edge.metrics();
    for scheme in ["mesh", "http-signatures", "standard-webhooks"] {
        let counted = metrics.sum("openclaw_edge_signed_total", &[("scheme", scheme)]);
        assert!((counted - 4.0).abs() < 0.1, "{scheme}: {counted}");
    }
    let output = edge.all_output();
    assert!(!output.contains(SHARED) && !output.contains("PRIVATE KEY"), "{output}");
}

#[test]
fn an_array_is_signed_message_by_message_and_a_get_without_a_body_as_a_request() {
    let bridge = doubles::bridge();
    let there = Edge::start(&verifying(&bridge));
    let edge = Edge::start(&signing(there.address()));
    edge.caller(ACME).post("/mesh/mesh", format!("[{BODY}, {BODY}]")).expect(200);
    let sent: Value = bridge.only().json().expect("JSON");
    assert_eq!(sent.as_array().map(Vec::len), Some(2));
    assert!(sent[1]["sig"].is_string() && sent[1]["value"] == json!({ "b": 1, "a": "é" }), "{sent}");
    edge.caller(ACME).get("/rfc/rfc?x=1").expect(405);
    assert_eq!(bridge.only().target, "/ingest?x=1");
}

#[test]
fn a_retry_of_a_callers_delivery_keeps_its_name() {
    let partner = Double::mirror();
    let edge = Edge::start(&signing(partner.address()));
    let request = Request::post("/hooks/x", BODY).field("Idempotency-Key", "order-7");
    for _ in 0..2 {
        edge.caller(ACME).send(&request).expect(200);
        assert_eq!(partner.only().field("webhook-id"), Some("order-7"));
    }
    edge.caller(ACME).post("/hooks/x", BODY).expect(200);
    assert_eq!(partner.only().field("webhook-id").map(str::len), Some(32));
}

/// What a library says of what was received: the empty text where it holds.
fn library(kind: &str, seen: &Seen, url: &str, key: &str) -> Option<String> {
    let (folder, node) = (parts::senders()?, parts::node()?);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/reference/receivers.mjs");
    let fields: serde_json::Map<String, Value> =
        seen.fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let body = String::from_utf8(seen.body.to_vec()).expect("text");
    let told = json!({ "kind": kind, "method": seen.method, "url": url, "headers": fields, "body": body, "key": key });
    let mut child = Command::new(node)
        .arg(script)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node starts");
    child.stdin.take().expect("a pipe").write_all(told.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{kind}");
    Some(String::from_utf8(output.stdout).expect("text").trim().to_owned())
}

#[test]
fn the_receivers_own_libraries_take_what_the_edge_signs() {
    let partner = Double::mirror();
    let edge = Edge::start(&signing(partner.address()));
    let ask = |way: &str| {
        edge.caller(ACME).post(&format!("/{way}/orders?a=1"), BODY).expect(200);
        partner.only()
    };
    let rfc = ask("rfc");
    assert_eq!(rfc.field("host"), Some("partner.example"));
    let hmac = ask("hmac");
    let plain = format!("http://{}/in/orders?a=1", edge.address());
    let hooks = ask("hooks");
    let cases = [
        ("http-message-signatures", &rfc, "https://partner.example/in/orders?a=1", key(11).1),
        ("http-message-signatures", &hmac, &plain, SHARED.to_owned()),
        ("standardwebhooks", &hooks, &plain, SHARED.to_owned()),
        ("svix", &hooks, &plain, SHARED.to_owned()),
    ];
    for (kind, seen, url, key) in cases {
        let Some(said) = library(kind, seen, url, &key) else { return };
        assert_eq!(said, "", "{kind}: {seen:?}");
        let mut other = seen.clone();
        other.body = format!("{BODY} ").into();
        assert_ne!(library(kind, &other, url, &key).expect("it was there"), "", "{kind}");
    }
}
