//! Signed messages: what is genuine passes byte for byte, and what is not never reaches the upstream.

use crate::house::client::{Client, Request};
use crate::house::double::Double;
use crate::house::doubles;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX};
use crate::house::messages::{Node, SPELLINGS, enveloped};
use crate::house::parts;
use crate::house::site::Site;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn nodes() -> [Node; 2] {
    [Node::new("ceo", 7), Node::new("sec", 8)]
}

fn site(bridge: &Double, verify: &str) -> Site {
    let mut site = Site::new().upstream("bridge", bridge.address());
    for node in nodes() {
        site = site.node("acme", node.name, &node.public_key());
    }
    site = site.node("globex", "ops", &Node::new("ops", 9).public_key());
    site.route(&format!("name: ingest, path: /ingest, scopes: [mesh:ingest], verify: {{ scheme: mesh{verify} }}, upstream: bridge"))
        .route(&format!("name: bridge, path: /bridge, scopes: [mesh:ingest], verify: {{ scheme: mesh, envelope: query{verify} }}, upstream: bridge"))
}

/// The `at`-th of many genuine messages, no two alike.
fn genuine(nodes: &[Node; 2], at: usize) -> String {
    let node = &nodes[at % 2];
    let (signed, sent) = SPELLINGS[at % SPELLINGS.len()];
    if at % 5 == 4 {
        node.skill(&format!("skill-{at}"), "first\\nsecond")
    } else {
        node.memory(&format!("k{at}"), signed, sent)
    }
}

/// The same message, no longer genuine: each way of tampering in its turn.
fn tampered(nodes: &[Node; 2], at: usize) -> String {
    let good = genuine(nodes, at);
    let author = nodes[at % 2].name;
    let other = nodes[(at + 1) % 2].name;
    let swapped = |from: &str, to: &str| {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "nothing to tamper with: {good}");
        bad
    };
    let marker = if good.contains("\"sig\"") { "\"sig\":\"" } else { "\"signature\":\"" };
    match at % 8 {
        0 => swapped("\"ts\":1739", "\"ts\":1740"),
        1 => swapped(&format!(":\"{author}\""), &format!(":\"{other}\"")),
        2 => good.replacen('{', "{\"tenant_id\":\"other\",", 1),
        3 => swapped(marker, &marker.replace('s', "z")),
        4 => swapped(marker, "\"sig\":\"AAAA"),
        5 => good.replacen('{', "{\"__proto__\":{\"admin\":true},", 1),
        6 => good.replacen('{', "{\"ts\":1739123456,", 1),
        _ => {
            let start = good.find(marker).expect("a signature") + marker.len();
            let flipped = if &good[start..=start] == "A" { "B" } else { "A" };
            format!("{}{flipped}{}", &good[..start], &good[start + 1..])
        }
    }
}

/// Sends one body in one of the ways in which messages arrive.
fn send(client: &Client, at: usize, message: &str) -> (u16, Vec<u8>) {
    let kinds = ["telegram", "discord", "generic"];
    let (target, body) = match at % 6 {
        0 | 1 => ("/ingest".to_owned(), message.to_owned()),
        2 => ("/ingest".to_owned(), format!("[{message}]")),
        way => {
            let kind = kinds[way % 3];
            (format!("/bridge?unwrap={kind}"), enveloped(kind, message))
        }
    };
    (client.post(&target, &body).status, body.into_bytes())
}

#[test]
fn of_six_hundred_mixed_messages_none_is_wrongly_passed_or_refused() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge, ""));
    let (client, nodes) = (edge.caller(ACME), nodes());
    for at in 0..600 {
        // Coprime strides, so that each kind of message is tampered with in each way and sent in each way.
        let is_genuine = at % 7 < 4;
        let message = if is_genuine { genuine(&nodes, at) } else { tampered(&nodes, at) };
        let (status, body) = send(&client, at / 7, &message);
        if is_genuine {
            assert_eq!(status, 200, "{at} was wrongly refused: {message}");
            assert_eq!(bridge.only().body, body, "{at} was changed on the way");
        } else {
            assert_eq!(status, 401, "{at} was wrongly passed: {message}");
            bridge.untouched();
        }
    }
}

#[test]
fn one_bad_message_refuses_the_whole_array() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge, ""));
    let (client, nodes) = (edge.caller(ACME), nodes());
    let batch = |bad: Option<usize>| {
        let one = |at| if bad == Some(at) { tampered(&nodes, at) } else { genuine(&nodes, at) };
        format!("[ {} ]", (0..20).map(one).collect::<Vec<_>>().join(" ,\n"))
    };
    client.post("/ingest", batch(None)).expect(200);
    assert_eq!(bridge.only().body, batch(None).as_bytes());
    for at in 0..20 {
        let answer = client.post("/ingest", batch(Some(at))).expect(401);
        assert!(!answer.code().is_empty(), "{}", answer.text());
    }
    bridge.untouched();
}

#[test]
fn where_the_route_says_drop_the_good_ones_of_a_batch_go_on() {
    let bridge = doubles::bridge();
    let edge = Edge::start(
        &Site::new()
            .upstream("bridge", bridge.address())
            .node("acme", "ceo", &nodes()[0].public_key())
            .node("acme", "sec", &nodes()[1].public_key())
            .route("name: in, path: /in, scopes: [federation], verify: { scheme: mesh, on_failure: drop }, upstream: bridge"),
    );
    let nodes = nodes();
    let batch: Vec<String> =
        (0..10).map(|at| if at % 3 == 0 { tampered(&nodes, at) } else { genuine(&nodes, at) }).collect();
    edge.caller(ACME).post("/in", format!("[{}]", batch.join(",")));
    let passed = bridge.only().json().expect("an array");
    let wanted: Vec<serde_json::Value> = (0..10)
        .filter(|at| at % 3 != 0)
        .map(|at| serde_json::from_str(&genuine(&nodes, at)).unwrap())
        .collect();
    assert_eq!(passed, serde_json::Value::Array(wanted));
}

#[test]
fn unsigned_messages_pass_only_where_signatures_are_optional() {
    let bridge = doubles::bridge();
    let unsigned = r#"{"type":"memory","scope":"mesh","key":"k","value":1,"nodeId":"ceo","ts":1}"#;
    let strict = Edge::start(&site(&bridge, ""));
    strict.caller(ACME).post("/ingest", unsigned).expect(401);
    for body in ["[]", "{}", "null", "1", "\"text\"", "", "{", "[1]", "[[]]"] {
        let answer = strict.caller(ACME).post("/ingest", body);
        assert!(matches!(answer.status, 200 | 400 | 401), "{body}: {}", answer.text());
        if answer.status == 200 {
            assert_eq!(body, "[]", "a body without a signed message passed");
            bridge.forget();
        }
    }
    bridge.untouched();
    let lenient = Edge::start(&site(&bridge, ", mode: optional"));
    lenient.caller(ACME).post("/ingest", unsigned).expect(200);
    assert_eq!(bridge.only().body, unsigned.as_bytes());
    lenient.caller(ACME).post("/ingest", tampered(&nodes(), 0)).expect(401);
    bridge.untouched();
}

#[test]
fn a_key_of_one_tenant_signs_nothing_in_another() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge, ""));
    let ops = Node::new("ops", 9).memory("k", "1", "1");
    edge.caller(GLOBEX).post("/ingest", &ops).expect(200);
    bridge.forget();
    edge.caller(ACME).post("/ingest", &ops).expect(401);
    edge.caller(GLOBEX).post("/ingest", genuine(&nodes(), 0)).expect(401);
    bridge.untouched();
}

#[test]
fn a_refusal_names_a_reason_and_not_a_key() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge, ""));
    let answer = edge.caller(ACME).post("/ingest", tampered(&nodes(), 0)).expect(401);
    assert_eq!(answer.json()["error"], "Unauthorized");
    for node in nodes() {
        assert!(!answer.text().contains(&node.public_key()));
    }
}

#[test]
fn a_large_signed_batch_arrives_byte_for_byte() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge, ""));
    let node = Node::new("ceo", 7);
    let batch = |count: usize, size: usize| {
        let messages: Vec<String> =
            (0..count).map(|at| node.skill(&format!("s{at}"), &"x".repeat(size))).collect();
        format!("[{}]", messages.join(" ,\n"))
    };
    let large = batch(100, 9000);
    assert!(large.len() > 900_000);
    edge.caller(ACME).post("/ingest", &large).expect(200);
    assert_eq!(bridge.only().body, large.as_bytes());

    let small = batch(50, 900);
    let chunked = |text: &str| {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(7001).collect();
        edge.caller(ACME).send(&Request::new("POST", "/ingest").chunks(&pieces))
    };
    chunked(&small).expect(200);
    assert_eq!(bridge.only().body, small.as_bytes());
    // What must be held and does not say how long it is may be 64 KiB at most.
    chunked(&large).refused(411, "length_required");
    bridge.untouched();
}

#[test]
fn a_body_that_is_held_has_a_bound() {
    let bridge = doubles::bridge();
    let edge = Edge::start(&site(&bridge, ""));
    let message = Node::new("ceo", 7).skill("big", &"x".repeat(1 << 20));
    edge.caller(ACME).post("/ingest", &message).refused(413, "body_too_large");
    let pieces: Vec<&[u8]> = message.as_bytes().chunks(60_000).collect();
    edge.caller(ACME).send(&Request::new("POST", "/ingest").chunks(&pieces)).expect(413);
    bridge.untouched();
}

/// Signs as existing nodes do: with `JSON.stringify` and the runtime's own crypto.
const SIGNER: &str = r"
const { createPrivateKey, sign } = require('node:crypto');
const pem = process.argv[1];
let text = '';
process.stdin.on('data', (piece) => (text += piece)).on('end', () => {
  const key = createPrivateKey(pem);
  for (const line of text.trim().split('\n')) {
    const message = JSON.parse(line);
    const sorted = {};
    for (const name of Object.keys(message).sort()) sorted[name] = message[name];
    const sig = sign(null, Buffer.from(JSON.stringify(sorted), 'utf8'), key).toString('base64');
    console.log(line.replace('{', '{' + JSON.stringify('sig') + ':' + JSON.stringify(sig) + ','));
  }
});
";

#[test]
fn what_an_ecmascript_engine_signed_passes_whatever_its_numbers_and_names() {
    let Some(node) = parts::node() else { return };
    let key = [3_u8; 32];
    let signer = ed25519_dalek::SigningKey::from_bytes(&key);
    let public =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signer.verifying_key().as_bytes());
    // A stand-in that does not parse: not every parser takes a lone surrogate.
    let bridge = Double::mirror();
    let site = Site::new().upstream("bridge", bridge.address()).node("acme", "js", &public).route(
        "name: ingest, path: /ingest, scopes: [mesh:ingest], verify: { scheme: mesh }, upstream: bridge",
    );
    let edge = Edge::start(&site);
    let mut random = fastrand::Rng::with_seed(42);
    let unsigned: Vec<String> = (0..200).map(|_| odd_message(&mut random)).collect();
    let messages = sign_with(&node, &pem(&key), &unsigned);
    assert_eq!(messages.len(), unsigned.len());
    let client = edge.caller(ACME);
    for message in messages {
        let answer = client.post("/ingest", &message);
        assert_eq!(answer.status, 200, "{message}\n{}", answer.text());
        assert_eq!(bridge.only().body, message.as_bytes());
    }
}

fn sign_with(node: &std::path::Path, pem: &str, messages: &[String]) -> Vec<String> {
    let mut child = Command::new(node)
        .args(["-e", SIGNER, "--", pem])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node can be started");
    let text = messages.join("\n");
    child.stdin.take().expect("stdin is a pipe").write_all(text.as_bytes()).expect("node reads");
    let out = child.wait_with_output().expect("node ends");
    assert!(out.status.success());
    String::from_utf8(out.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

fn pem(key: &[u8; 32]) -> String {
    // RFC 8410: the fixed head of a PKCS#8 Ed25519 key, then its 32 bytes.
    let head =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [&head[..], key].concat());
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

/// A memory message with a value that printers of JSON disagree about.
fn odd_message(random: &mut fastrand::Rng) -> String {
    let value = odd_value(random, 3);
    let extra = odd_name(random);
    format!(
        r#"{{"type":"memory","value":{value},"scope":"mesh","key":"k","nodeId":"js",{extra}:{},"ts":{}}}"#,
        odd_number(random),
        odd_number(random)
    )
}

fn odd_value(random: &mut fastrand::Rng, depth: u32) -> String {
    match random.u8(..if depth == 0 { 3 } else { 5 }) {
        0 => odd_number(random),
        1 => odd_text(random),
        2 => ["true", "false", "null"][random.usize(..3)].to_owned(),
        3 => {
            let items: Vec<String> = (0..random.usize(..4)).map(|_| odd_value(random, depth - 1)).collect();
            format!("[ {} ]", items.join(" , "))
        }
        _ => {
            let mut members = std::collections::BTreeMap::new();
            for _ in 0..random.usize(..5) {
                let name = odd_name(random);
                members.insert(name, odd_value(random, depth - 1));
            }
            let mut members: Vec<String> =
                members.into_iter().map(|(name, value)| format!("{name} :{value}")).collect();
            random.shuffle(&mut members);
            format!("{{{}}}", members.join(", "))
        }
    }
}

fn odd_number(random: &mut fastrand::Rng) -> String {
    loop {
        let number = f64::from_bits(random.u64(..));
        let text = match random.u8(..5) {
            0 => format!("{number:e}"),
            1 => random.i64(..).to_string(),
            2 => format!("{}.{}e{}", random.u8(..10), random.u32(..), random.i32(-30..30)),
            3 => "-0.0".to_owned(),
            _ => format!("{:.3}", random.f64() * 1e6),
        };
        if text.parse::<f64>().is_ok_and(f64::is_finite) {
            return text;
        }
    }
}

fn odd_text(random: &mut fastrand::Rng) -> String {
    const PIECES: &[&str] = &[
        "a",
        "é",
        r"\u00e9",
        r"\/",
        "/",
        r"\n",
        r"\u0001",
        "😀",
        r"\ud83d\ude00",
        r"\ud800",
        r#"\""#,
        r"\\",
        "\u{2028}",
        "\u{7f}",
        r"\u0000",
    ];
    let text: String = (0..random.usize(..6)).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
    format!("\"{text}\"")
}

fn odd_name(random: &mut fastrand::Rng) -> String {
    const NAMES: &[&str] = &[
        "\"0\"",
        "\"1\"",
        "\"10\"",
        "\"2\"",
        "\"01\"",
        "\"-1\"",
        "\"4294967294\"",
        "\"4294967295\"",
        "\"é\"",
        "\"｡\"",
        "\"😀\"",
        "\"a b\"",
        "\"Z\"",
        "\"\"",
    ];
    NAMES[random.usize(..NAMES.len())].to_owned()
}
