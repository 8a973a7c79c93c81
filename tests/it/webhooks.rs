//! Webhooks: what a sender's own library signs is taken and goes on byte for byte; with one bit changed it is
//! refused, and the upstream never hears of it.

use crate::house::client::{Client, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::parts;
use crate::house::site::Site;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a-secret-that-is-long-enough";
const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Of the private key whose seed is 32 times 7, as Discord writes it and as base64.
const DISCORD: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";
const PARTNER: &str = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs()
}

/// One route for each sender. `extra` stands in each `verify`.
fn site(upstream: &Double, extra: &str) -> Site {
    let old = "an-older-secret-that-still-counts";
    let mut site = Site::new().top("allow_literal_secrets: true").upstream("hooks", upstream.address());
    let both = format!("secrets: [\"{old}\", \"{SECRET}\"]");
    let routes = [
        ("standard", "standard-webhooks", format!("secret: {STANDARD}")),
        ("stripe", "stripe", both.clone()),
        ("github", "github", both.clone()),
        ("slack", "slack", both.clone()),
        ("twilio", "twilio", format!("{both}, public_url: \"https://hooks.example.com\"")),
        ("shopify", "shopify", both.clone()),
        ("telegram", "telegram", both.clone()),
        ("discord", "discord", format!("public_keys: [{DISCORD}]")),
        (
            "http",
            "http-signatures",
            format!(
                "signers: [{{ id: partner-1, public_key: \"{PARTNER}\" }}, {{ id: partner-2, secret: {SECRET} }}], public_url: \"https://hooks.example.com\""
            ),
        ),
        (
            "generic",
            "generic-hmac",
            format!(
                "{both}, hmac: {{ header: X-Signature, prefix: \"v=\", algorithm: sha512, encoding: base64url, signed: \"{{method}}:{{path}}:{{timestamp}}:{{body}}\", timestamp_header: X-Time }}"
            ),
        ),
    ];
    for (path, scheme, keys) in routes {
        site = site.route(&format!("name: {path}, path: /{path}, methods: [POST], tenant: acme, verify: {{ scheme: {scheme}, {keys}{extra} }}, upstream: hooks"));
    }
    site
}

/// A request that a sender's own library signed.
#[derive(Debug, Clone)]
struct Delivery {
    scheme: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Delivery {
    fn request(&self) -> Request {
        let mut request = Request::new("POST", &self.target);
        for (name, value) in &self.fields {
            request = request.field(name, value);
        }
        request.body(&self.body)
    }
}

/// A delivery of each sender; none where the libraries are not installed.
fn deliveries() -> Option<Vec<Delivery>> {
    let (folder, node) = (parts::senders()?, parts::node()?);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/reference/senders.mjs");
    let output =
        Command::new(node).arg(script).arg(folder).arg(now().to_string()).output().expect("Node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let one = |value: &serde_json::Value| Delivery {
        scheme: text(&value["name"]),
        target: text(&value["target"]),
        fields: value["fields"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        body: text(&value["body"]).into_bytes(),
    };
    Some(all.as_array().expect("an array").iter().map(one).collect())
}

#[test]
fn what_each_senders_own_library_signs_goes_on_byte_for_byte() {
    let Some(deliveries) = deliveries() else { return };
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ""));
    assert_eq!(deliveries.len(), 13);
    for delivery in &deliveries {
        let spoofed = delivery.request().field("X-Verified-Source", "mesh").field("X-Tenant-Id", "globex");
        let answer = edge.send(&spoofed);
        assert_eq!(answer.status, 200, "{delivery:?}: {}", answer.text());
        let seen = upstream.only();
        assert_eq!(seen.body, delivery.body, "{delivery:?}");
        assert_eq!(seen.target, delivery.target);
        assert_eq!(seen.field("x-verified-source"), Some(&*delivery.scheme));
        assert_eq!(seen.field("x-tenant-id"), Some("acme"));
        assert_eq!(seen.field("idempotency-key").map(str::len), Some(32), "{delivery:?}");
        assert_eq!(seen.field("x-telegram-bot-api-secret-token"), None);
    }
    let metrics = edge.metrics();
    let count = |scheme: &str| {
        metrics.sum("openclaw_edge_signatures_total", &[("scheme", scheme), ("result", "verified")])
    };
    assert!(
        (count("standard-webhooks") - 2.0).abs() < f64::EPSILON
            && (count("github") - 1.0).abs() < f64::EPSILON
    );
    assert!(!edge.all_output().contains(SECRET));
}

/// Fields that carry no part of the signature, or carry it outside what is signed.
fn is_signed(name: &str) -> bool {
    !matches!(name, "x-github-event" | "content-type")
}

/// Every request that differs from this one in one bit of what its signature covers.
fn neighbours(good: &Delivery) -> Vec<Delivery> {
    let mut all = Vec::new();
    for at in 0..good.body.len() * 8 {
        // Telegram signs nothing: its secret says who sent it, not what.
        if good.scheme == "telegram" {
            break;
        }
        let mut bad = good.clone();
        bad.body[at / 8] ^= 1 << (at % 8);
        all.push(bad);
    }
    for (place, (name, value)) in good.fields.iter().enumerate() {
        if !is_signed(name) {
            continue;
        }
        let mut without = good.clone();
        without.fields.remove(place);
        all.push(without);
        for at in 0..value.len() * 8 {
            let mut bytes = value.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            // What no field can hold never becomes a request.
            let is_field = bytes.iter().all(|b| (0x20..0x7f).contains(b))
                && !bytes.starts_with(b" ")
                && !bytes.ends_with(b" ");
            if let (true, Ok(text)) = (is_field, String::from_utf8(bytes)) {
                let mut bad = good.clone();
                bad.fields[place].1 = text;
                all.push(bad);
            }
        }
    }
    all
}

fn reasons(client: &Client, good: &Delivery) -> usize {
    let mut connection = client.connection();
    let all = neighbours(good);
    for bad in &all {
        let answer = connection.send(&bad.request());
        let code = answer.code();
        let is_reason = ["signature_missing", "signature_invalid", "key_unknown", "stale", "malformed"]
            .contains(&code.as_str());
        assert!(answer.status == 401 && is_reason, "{} {code}: {bad:?}", answer.status);
    }
    all.len()
}

#[test]
fn with_one_bit_changed_none_of_them_is_taken() {
    let Some(deliveries) = deliveries() else { return };
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ""));
    let client = edge.client();
    let mut tried = 0;
    for delivery in &deliveries {
        tried += reasons(&client, delivery);
    }
    assert!(tried > 4000, "only {tried} were tried");
    upstream.untouched();
}

#[test]
fn a_signature_is_for_one_route_of_one_tenant_and_for_one_secret() {
    let Some(deliveries) = deliveries() else { return };
    let upstream = Double::mirror();
    let edge = Edge::start(
        &Site::new()
            .top("allow_literal_secrets: true")
            .upstream("hooks", upstream.address())
            .route("name: github, path: /github, tenant: globex, verify: { scheme: github, secret: another-secret-of-another-tenant }, upstream: hooks"),
    );
    let github = deliveries.iter().find(|delivery| delivery.scheme == "github").expect("GitHub's");
    edge.send(&github.request()).refused(401, "signature_invalid");
    edge.send(&Request::post("/github", &github.body)).refused(401, "signature_missing");
    upstream.untouched();
}

#[test]
fn calls_at_set_up_are_answered_when_they_are_signed() {
    let Some(node) = parts::node() else { return };
    let sign = |script: &str| {
        let output = Command::new(&node).args(["-e", script]).output().expect("Node starts");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ""));
    let time = now().to_string();
    let slack = r#"{"type":"url_verification","token":"t","challenge":"3eZbrw1aB"}"#;
    let signature = sign(&format!(
        "console.log('v0=' + require('crypto').createHmac('sha256', '{SECRET}').update('v0:{time}:{slack}').digest('hex'))"
    ));
    let call = |signature: &str| {
        Request::post("/slack", slack)
            .field("X-Slack-Signature", signature)
            .field("X-Slack-Request-Timestamp", &time)
    };
    let answer = edge.send(&call(&signature)).expect(200);
    assert_eq!(answer.text(), r#"{"challenge":"3eZbrw1aB"}"#);
    edge.send(&call("v0=00")).refused(401, "signature_invalid");

    let ping = r#"{"type":1}"#;
    let signature = sign(&format!(
        "const {{createPrivateKey, sign}} = require('crypto'); const seed = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]); console.log(sign(null, Buffer.from('{time}' + '{ping}'), createPrivateKey({{ key: seed, format: 'der', type: 'pkcs8' }})).toString('hex'))"
    ));
    let call = |signature: &str| {
        Request::post("/discord", ping)
            .field("X-Signature-Ed25519", signature)
            .field("X-Signature-Timestamp", &time)
    };
    assert_eq!(edge.send(&call(&signature)).expect(200).text(), ping);
    // Discord sends wrong ones on purpose and wants them refused.
    edge.send(&call(&"0".repeat(128))).refused(401, "signature_invalid");
    upstream.untouched();
}

#[test]
fn twilio_is_checked_against_the_url_that_a_trusted_proxy_names() {
    let Some(deliveries) = deliveries() else { return };
    let upstream = Double::mirror();
    let twilio = deliveries.iter().find(|delivery| delivery.scheme == "twilio").expect("Twilio's");
    let route = format!(
        "name: twilio, path: /twilio, tenant: acme, verify: {{ scheme: twilio, secret: {SECRET} }}, upstream: hooks"
    );
    let site =
        Site::new().top("allow_literal_secrets: true").upstream("hooks", upstream.address()).route(&route);
    let told =
        twilio.request().field("X-Forwarded-Proto", "https").field("X-Forwarded-Host", "hooks.example.com");
    let edge = Edge::start(&site);
    edge.send(&told).refused(401, "signature_invalid");
    edge.reload(&site.top("client_address: { trusted_proxies: [127.0.0.0/8] }"));
    edge.send(&told).expect(200);
    edge.send(
        &twilio.request().field("X-Forwarded-Proto", "https").field("X-Forwarded-Host", "other.example.com"),
    )
    .refused(401, "signature_invalid");
}

#[test]
fn a_hook_gets_the_gateways_token_in_place_of_the_senders() {
    let Some(deliveries) = deliveries() else { return };
    let upstream = Double::mirror();
    let token = "a-hook-token-of-the-gateway";
    let edge = Edge::start(&site(&upstream, &format!(", hook_token: {token}")));
    for delivery in &deliveries {
        edge.send(
            &delivery.request().field("Authorization", "Bearer guess").field("Idempotency-Key", "chosen"),
        )
        .expect(200);
        let seen = upstream.only();
        assert_eq!(seen.field("authorization"), Some("Bearer a-hook-token-of-the-gateway"));
        assert_ne!(seen.field("idempotency-key"), Some("chosen"));
    }
    assert!(!edge.all_output().contains(token));
}

/// Runs a subcommand with the edge's own config.
fn run(edge: &Edge, args: &[&str], stdin: &[u8]) -> (bool, String) {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut child = Command::new(crate::house::process::edge_program())
        .args(args)
        .arg("--config")
        .arg(edge.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("stdin is a pipe").write_all(stdin).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_sample_goes_through_each_route_that_has_a_secret() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ""));
    for route in ["standard", "stripe", "github", "slack", "twilio", "shopify", "telegram", "generic"] {
        let (is_good, said) = run(&edge, &["webhooks", "test", route], b"");
        assert!(is_good && said.contains("HTTP/1.1 200"), "{route}: {said}");
        upstream.only();
    }
    for (route, why) in
        [("discord", "only the sender has the key"), ("http", "only the sender"), ("none", "no route")]
    {
        let (is_good, said) = run(&edge, &["webhooks", "test", route], b"");
        assert!(!is_good && said.contains(why), "{route}: {said}");
    }
}

#[test]
fn a_captured_delivery_is_explained() {
    let Some(deliveries) = deliveries() else { return };
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, ""));
    let github = deliveries.iter().find(|delivery| delivery.scheme == "github").expect("GitHub's");
    let wire = |body: &str| {
        let lines = github.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let fields = lines.collect::<Vec<_>>().concat();
        format!("POST /github HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
    };
    let good = String::from_utf8(github.body.clone()).unwrap();
    let (is_good, said) = run(&edge, &["webhooks", "explain", "github"], wire(&good).as_bytes());
    assert!(is_good && said.contains("verdict: good"), "{said}");
    let (is_good, said) =
        run(&edge, &["webhooks", "explain", "github"], wire(&format!("{good}\n")).as_bytes());
    assert!(
        !is_good && said.contains("signature_invalid") && said.contains("without the line end"),
        "{said}"
    );
    let spaced = good.replace(':', ": ");
    let (_, said) = run(&edge, &["webhooks", "explain", "github"], wire(&spaced).as_bytes());
    assert!(said.contains("without spaces"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}
