//! Why a delivery is refused is one word in the answer, in the metrics and in the log; and what an OpenClaw
//! gateway's hooks get in place of a sender's secret.

use crate::house::client::Request;
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::messages::Node;
use crate::house::site::Site;
use openclaw_edge::config::checked::HmacAlgorithm;
use openclaw_edge::secret::Secret;
use openclaw_edge::signatures::mac::tag;
use std::fmt::Write as _;

const SECRET: &str = "a-secret-that-is-long-enough";
const HOOK: &str = "the-gateways-own-hook-token";

fn site(upstream: &Double, node: &Node) -> Site {
    Site::new()
        .top("allow_literal_secrets: true")
        .upstream("hooks", upstream.address())
        .node("acme", node.name, &node.public_key())
        .route(&format!("name: github, path: /github, tenant: acme, verify: {{ scheme: github, secret: {SECRET}, replay: conflict, hook_token: {HOOK} }}, upstream: hooks"))
        .route(&format!("name: slack, path: /slack, tenant: acme, verify: {{ scheme: slack, secret: {SECRET} }}, upstream: hooks"))
        .route(&format!("name: mesh, path: /mesh, scopes: [\"mesh:ingest\"], verify: {{ scheme: mesh, hook_token: {HOOK} }}, upstream: hooks"))
}

fn signed(body: &str) -> Request {
    let tag = tag(HmacAlgorithm::Sha256, &Secret::new(SECRET.into()), [body.as_bytes()]);
    let hex = tag.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Request::post("/github", body).field("X-Hub-Signature-256", &format!("sha256={hex}"))
}

#[test]
fn a_reason_is_one_word_in_answer_metrics_and_log() {
    let (upstream, node, stranger) = (Double::mirror(), Node::new("ceo", 7), Node::new("nobody", 8));
    let edge = Edge::start(&site(&upstream, &node));
    edge.send(&signed("taken")).expect(200);
    upstream.forget();
    let bad = format!("sha256={}", "0".repeat(64));
    let unknown = stranger.memory("k", "1", "1");
    let cases = [
        (Request::post("/github", "{}"), "github", 401, "signature_missing"),
        (
            Request::post("/github", "{}").field("X-Hub-Signature-256", &bad),
            "github",
            401,
            "signature_invalid",
        ),
        (Request::post("/mesh", unknown), "mesh", 401, "key_unknown"),
        (
            Request::post("/slack", "{}")
                .field("X-Slack-Request-Timestamp", "1")
                .field("X-Slack-Signature", &format!("v0={}", "0".repeat(64))),
            "slack",
            401,
            "stale",
        ),
        (Request::post("/mesh", r#"{"sig":"x","a":1,"a":2}"#), "mesh", 401, "malformed"),
        (signed("taken"), "github", 409, "replayed"),
    ];
    for (request, scheme, status, code) in cases {
        let caller = if scheme == "mesh" { edge.caller(ACME) } else { edge.client() };
        let answer = caller.send(&request).refused(status, code);
        assert_eq!(edge.log_line(&answer)["refused"], code);
        let metrics = edge.metrics();
        let counted = metrics.sum("openclaw_edge_refusals_total", &[("code", code)]);
        assert!((counted - 1.0).abs() < 0.1, "{code}: {counted}");
        if status == 401 {
            let labels = [("scheme", scheme), ("result", code)];
            let counted = metrics.sum("openclaw_edge_signatures_total", &labels);
            assert!((counted - 1.0).abs() < 0.1, "{code}: {counted}");
        }
        // Never which secret, never how close.
        assert!(!answer.text().contains(SECRET) && answer.text().len() < 200, "{}", answer.text());
    }
    upstream.untouched();
}

#[test]
fn a_gateways_hooks_get_its_token_and_a_key_that_names_the_delivery() {
    let (upstream, node) = (Double::mirror(), Node::new("ceo", 7));
    let edge = Edge::start(&site(&upstream, &node));
    let own = format!("Bearer {HOOK}");
    let spoofed = |request: Request| {
        request
            .field("X-OpenClaw-Token", "a-guess")
            .field("X-Verified-Key-Id", "forged")
            .field("X_Verified_Source", "forged")
            .field("X-Tenant-Id", "globex")
            .field("Idempotency-Key", "forged")
    };
    let message = node.memory("k", "1", "1");
    let mesh = spoofed(Request::post("/mesh", &message));
    let github = spoofed(signed("one")).field("Authorization", "Bearer theirs");
    let mut names = Vec::new();
    for (request, scheme) in [(&mesh, "mesh"), (&mesh, "mesh"), (&github, "github")] {
        let caller = if scheme == "mesh" { edge.caller(ACME) } else { edge.client() };
        caller.send(request).expect(200);
        let seen = upstream.only();
        assert_eq!(seen.field("authorization"), Some(&*own));
        assert_eq!(seen.field("x-verified-source"), Some(scheme));
        assert_eq!(seen.field("x-tenant-id"), Some("acme"));
        assert_ne!(seen.field("x-verified-key-id"), Some("forged"));
        assert!(seen.field("x-openclaw-token").is_none() && seen.field("x_verified_source").is_none());
        names.push(seen.field("idempotency-key").expect("it is named").to_owned());
    }
    assert!(names.iter().all(|name| name.len() == 32 && name != "forged"), "{names:?}");
    assert!(names[0] == names[1] && names[1] != names[2], "{names:?}");
    assert!(!edge.all_output().contains(HOOK));
}
