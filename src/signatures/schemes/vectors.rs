//! The published vectors of each sender, and those made from its documents, through [`verify`].

use super::*;
use crate::config::checked::{Hmac, HmacAlgorithm, HmacEncoding, HmacPart};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::{any, prop_assert, proptest};
use serde_json::Value;
use std::time::Duration;

fn load(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn secrets(text: &str) -> Vec<Secret> {
    vec![Secret::new(text.into())]
}

/// A request to be checked.
#[derive(Default)]
struct Case<'c> {
    fields: Vec<(&'static str, &'c Value)>,
    body: &'c str,
    origin: &'c str,
    target: &'c str,
    now: u64,
}

impl Case<'_> {
    fn outcome(&self, kind: SenderKind) -> Result<Proved, Reason> {
        let mut fields = HeaderMap::new();
        for (name, value) in &self.fields {
            let texts: Vec<&str> = match value {
                Value::Null => vec![],
                Value::Array(all) => all.iter().map(|one| one.as_str().unwrap()).collect(),
                one => vec![one.as_str().unwrap()],
            };
            for text in texts {
                // What no field can hold is refused before there is a request.
                let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else {
                    return Err(Reason::Malformed);
                };
                fields.append(HeaderName::from_static(name), value);
            }
        }
        let delivery = Delivery {
            method: "POST",
            origin: self.origin,
            target: self.target,
            fields: &fields,
            body: self.body.as_bytes(),
            now_unix: self.now,
        };
        let sender = Sender { kind, tolerance: Duration::from_mins(5) };
        verify(&sender, &delivery).map_err(|failure| failure.reason)
    }
}

/// What a vector's word means here.
fn wanted(expect: &str) -> Option<Reason> {
    match expect {
        "ok" => None,
        "missing-header" => Some(Reason::SignatureMissing),
        "stale" | "future" => Some(Reason::Stale),
        "bad-timestamp"
        | "bad-timestamp or stale"
        | "ambiguous-header"
        | "bad-header"
        | "reject dots in id" => Some(Reason::Malformed),
        "401" | "choice: refuse" => Some(Reason::SignatureInvalid),
        other if other.starts_with("reject: signature is valid bytes-wise") => Some(Reason::Malformed),
        other if other.starts_with("bad-signature") => Some(Reason::SignatureInvalid),
        other => panic!("{other}"),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn check(case: &Value, found: &Result<Proved, Reason>) {
    let expect = text(case, "expect");
    assert_eq!(found.as_ref().err().copied(), wanted(expect), "{}", text(case, "name"));
}

#[test]
fn github() {
    let vectors = load(include_str!("../../../tests/vectors/github.json"));
    for case in vectors["cases"].as_array().unwrap() {
        let name = if case["header"].is_string() { "x-hub-signature" } else { "x-hub-signature-256" };
        let request =
            Case { fields: vec![(name, &case["signature"])], body: text(case, "body"), ..Case::default() };
        let found = request.outcome(SenderKind::Github { secrets: secrets(text(case, "secret")) });
        if text(case, "expect").starts_with("choice") {
            // One signature has one spelling here: GitHub's own.
            assert_eq!(found, Err(Reason::SignatureInvalid));
        } else {
            check(case, &found);
        }
    }
}

#[test]
fn slack() {
    let vectors = load(include_str!("../../../tests/vectors/slack.json"));
    for case in vectors["cases"].as_array().unwrap() {
        let request = Case {
            fields: vec![
                ("x-slack-signature", &case["signature"]),
                ("x-slack-request-timestamp", &case["timestamp"]),
            ],
            body: text(case, "body"),
            now: case["now"].as_u64().unwrap(),
            ..Case::default()
        };
        check(case, &request.outcome(SenderKind::Slack { secrets: secrets(text(case, "secret")) }));
    }
}

#[test]
fn stripe() {
    let vectors = load(include_str!("../../../tests/vectors/stripe_generated.json"));
    for case in vectors["cases"].as_array().unwrap() {
        let request = Case {
            fields: vec![("stripe-signature", &case["header"])],
            body: text(case, "body"),
            now: case["now"].as_u64().unwrap(),
            ..Case::default()
        };
        check(case, &request.outcome(SenderKind::Stripe { secrets: secrets(text(case, "secret")) }));
    }
}

#[test]
fn shopify() {
    let vectors = load(include_str!("../../../tests/vectors/shopify_generated.json"));
    for case in vectors["cases"].as_array().unwrap() {
        let request = Case {
            fields: vec![("x-shopify-hmac-sha256", &case["signature"])],
            body: text(case, "body"),
            ..Case::default()
        };
        let found = request.outcome(SenderKind::Shopify { secrets: secrets(text(case, "secret")) });
        if text(case, "expect").starts_with("replay") {
            // Told from the first by the cache, which knows it by the same identity.
            assert_eq!(
                found,
                request.outcome(SenderKind::Shopify { secrets: secrets(text(case, "secret")) })
            );
            assert!(found.is_ok());
        } else {
            check(case, &found);
        }
    }
}

#[test]
fn discord() {
    let vectors = load(include_str!("../../../tests/vectors/discord_generated.json"));
    let key: [u8; 32] = hex(text(&vectors, "public_key_hex")).unwrap().try_into().unwrap();
    let key = VerifyingKey::from_bytes(&key).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let request = Case {
            fields: vec![
                ("x-signature-ed25519", &case["signature"]),
                ("x-signature-timestamp", &case["timestamp"]),
            ],
            body: text(case, "body"),
            now: 1_700_000_000,
            ..Case::default()
        };
        let found = request.outcome(SenderKind::Discord { keys: vec![key] });
        check(case, &found);
        if let Ok(proved) = found {
            assert_eq!(proved.setup, Some(Setup::Ping));
        }
    }
}

#[test]
fn twilio() {
    let vectors = load(include_str!("../../../tests/vectors/twilio.json"));
    let form = Value::from("application/x-www-form-urlencoded; charset=utf-8");
    for case in vectors["cases"].as_array().unwrap() {
        let pairs =
            case["params"].as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let (origin, target) = text(case, "url").split_at("https://mycompany.com".len());
        let request = Case {
            fields: vec![("x-twilio-signature", &case["signature"]), ("content-type", &form)],
            body: &body,
            origin,
            target,
            now: 0,
        };
        let found = request.outcome(SenderKind::Twilio { secrets: secrets(text(case, "token")) });
        check(case, &found);
    }
}

fn standard(case: &Value, secrets: Vec<Secret>, keys: Vec<VerifyingKey>) {
    let expect = text(case, "expect");
    let request = Case {
        fields: vec![
            ("webhook-id", &case["id"]),
            ("webhook-timestamp", &case["timestamp"]),
            ("webhook-signature", &case["signature"]),
        ],
        body: text(case, "body"),
        now: case["now"].as_u64().unwrap(),
        ..Case::default()
    };
    let found = request.outcome(SenderKind::StandardWebhooks { secrets, keys });
    assert_eq!(found.err(), wanted(expect), "{}", text(case, "name"));
}

#[test]
fn standard_webhooks_with_hmac() {
    let vectors = load(include_str!("../../../tests/vectors/standard_webhooks_v1.json"));
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 33);
    for case in cases.iter().filter(|case| case["expect"] != "config-error") {
        let secret = text(case, "secret");
        let key = base64(secret.strip_prefix("whsec_").unwrap_or(secret)).unwrap();
        standard(case, vec![Secret::new(key)], vec![]);
    }
}

#[test]
fn standard_webhooks_with_ed25519() {
    let vectors = load(include_str!("../../../tests/vectors/standard_webhooks_v1a_ed25519.json"));
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 16);
    // Those about the config are in the config's own tests.
    for case in cases.iter().filter(|case| !text(case, "expect").starts_with("config")) {
        let key = base64(text(case, "public_key").strip_prefix("whpk_").unwrap()).unwrap();
        let key = VerifyingKey::from_bytes(&key.try_into().unwrap()).unwrap();
        standard(case, vec![], vec![key]);
    }
}

#[test]
fn slack_and_discord_are_told_apart_from_ordinary_calls() {
    let call = br#"{"type":"url_verification","token":"t","challenge":"3eZ"}"#;
    assert_eq!(slack::setup(call).unwrap().answer(), r#"{"challenge":"3eZ"}"#);
    assert_eq!(slack::setup(br#"{"type":"event_callback","challenge":"x"}"#), None);
    assert_eq!(slack::setup(b"challenge=x"), None);
    assert_eq!(discord::setup(br#"{"type":1}"#).unwrap().answer(), r#"{"type":1}"#);
    assert_eq!(discord::setup(br#"{"type":2}"#), None);
}

fn generic(signed: Vec<HmacPart>) -> Hmac {
    Hmac {
        header: HeaderName::from_static("x-signature"),
        algorithm: HmacAlgorithm::Sha512,
        encoding: HmacEncoding::Base64url,
        prefix: "v=".into(),
        separator: Some(",".into()),
        signed,
        timestamp_header: None,
        id_header: None,
    }
}

proptest! {
    /// Whatever a stranger sends, it is refused with a reason and nothing panics.
    #[test]
    fn noise_is_refused_by_every_scheme(field in any::<Vec<u8>>(), time in "[0-9]{0,12}", body in any::<Vec<u8>>()) {
        let mut fields = HeaderMap::new();
        let Ok(value) = HeaderValue::from_bytes(&field) else { return Ok(()) };
        for name in ["x-hub-signature-256", "x-slack-signature", "stripe-signature", "webhook-signature",
            "x-signature-ed25519", "x-telegram-bot-api-secret-token", "x-shopify-hmac-sha256",
            "x-twilio-signature", "x-signature"] {
            fields.insert(name, value.clone());
        }
        for name in ["x-slack-request-timestamp", "webhook-timestamp", "x-signature-timestamp", "webhook-id"] {
            fields.insert(name, HeaderValue::from_str(&time).unwrap());
        }
        let delivery = Delivery { method: "POST", origin: "http://a", target: "/b?c", fields: &fields, body: &body, now_unix: 0 };
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let s = || secrets("a-secret-that-nobody-knows");
        for kind in [
            SenderKind::Github { secrets: s() }, SenderKind::Slack { secrets: s() },
            SenderKind::Stripe { secrets: s() }, SenderKind::Telegram { secrets: s() },
            SenderKind::Shopify { secrets: s() }, SenderKind::Twilio { secrets: s() },
            SenderKind::Discord { keys: vec![key] },
            SenderKind::StandardWebhooks { secrets: s(), keys: vec![key] },
            SenderKind::GenericHmac { secrets: s(), hmac: generic(vec![HmacPart::Url, HmacPart::Body]) },
        ] {
            let sender = Sender { kind, tolerance: Duration::from_mins(5) };
            let found = verify(&sender, &delivery);
            prop_assert!(found.is_err());
        }
    }

    /// A generic signature holds for exactly the text that the operator named, with any secret in rotation.
    #[test]
    fn a_generic_signature_covers_what_it_says(body in any::<Vec<u8>>(), flip in any::<(usize, u8)>(), second in any::<bool>()) {
        use ::base64::Engine as _;
        let hmac = generic(vec![HmacPart::Method, HmacPart::Literal(" ".into()), HmacPart::Path, HmacPart::Query, HmacPart::Body]);
        let (old, new) = (Secret::new(b"old secret".to_vec()), Secret::new(b"new secret".to_vec()));
        let signer = if second { &new } else { &old };
        let tag = mac::tag(HmacAlgorithm::Sha512, signer, [b"POST /bc".as_slice(), &body]);
        let sig = ::base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(tag);
        let mut fields = HeaderMap::new();
        fields.insert("x-signature", HeaderValue::from_str(&format!("v=AAAA, v={sig}")).unwrap());
        let kind = SenderKind::GenericHmac { secrets: vec![old, new], hmac };
        let sender = Sender { kind, tolerance: Duration::from_mins(5) };
        let delivery = Delivery { method: "POST", origin: "http://a", target: "/b?c", fields: &fields, body: &body, now_unix: 0 };
        prop_assert!(verify(&sender, &delivery).is_ok());
        let mut other = body.clone();
        if !other.is_empty() {
            let at = flip.0 % other.len();
            other[at] ^= 1 << (flip.1 % 8);
            let found = verify(&sender, &Delivery { body: &other, ..delivery });
            prop_assert!(found.is_err());
        }
        for changed in [Delivery { target: "/b?d", ..delivery }, Delivery { method: "PUT", ..delivery }] {
            let found = verify(&sender, &changed);
            prop_assert!(found.is_err());
        }
    }
}

mod http_messages {
    use super::*;
    use crate::config::checked::{HttpSignatures, Signer, SignerKey};
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        fields
    }

    fn rules(components: &[&str], tag: Option<&str>, signers: Vec<Signer>) -> SenderKind {
        let components = components.iter().map(|&name| name.to_owned()).collect();
        SenderKind::HttpSignatures(HttpSignatures { signers, components, tag: tag.map(str::to_owned) })
    }

    fn ed25519(id: &str, pem: &str) -> Signer {
        let key = crate::signatures::sign::read_public_pem(pem).unwrap();
        Signer { id: id.into(), key: SignerKey::Ed25519(key) }
    }

    fn outcome(
        kind: SenderKind,
        fields: &HeaderMap,
        target: &str,
        body: &[u8],
        now: u64,
    ) -> Result<Proved, Reason> {
        let delivery = Delivery {
            method: "POST",
            origin: "https://Example.com:443",
            target,
            fields,
            body,
            now_unix: now,
        };
        let sender = Sender { kind, tolerance: Duration::from_mins(5) };
        verify(&sender, &delivery).map_err(|failure| failure.reason)
    }

    #[test]
    fn the_examples_of_rfc_9421_hold_and_what_is_wrong_with_others_is_told() {
        let vectors = load(include_str!("../../../tests/vectors/rfc9421.json"));
        let cases = vectors["cases"].as_array().unwrap();
        let pem = text(&cases[0], "public_key_pem");
        let secret = base64(text(&cases[1], "shared_key_b64")).unwrap();
        let signers = || {
            let secret = SignerKey::HmacSha256(Secret::new(secret.clone()));
            vec![ed25519("test-key-ed25519", pem), Signer { id: "test-shared-secret".into(), key: secret }]
        };
        let body = text(&vectors["request"], "body");
        for case in cases {
            let mut all: Vec<(&str, &str)> = vectors["request"]["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
                .collect();
            let input =
                case["signature_input"].as_str().unwrap_or_else(|| text(&cases[0], "signature_input"));
            let label = input.split('=').next().unwrap();
            let zeros = format!("{label}=:{}==:", "A".repeat(86));
            let sig = case["signature"].as_str().unwrap_or(&zeros);
            all.extend([("signature-input", input), ("signature", sig)]);
            let mutated = case["mutate"] == "path";
            let target = if mutated { "/bar?param=Value&Pet=dog" } else { "/foo?param=Value&Pet=dog" };
            let name = text(case, "name");
            let found = outcome(
                rules(&["date", "@authority"], None, signers()),
                &fields(&all),
                target,
                body.as_bytes(),
                1_618_884_473,
            );
            let wanted = match text(case, "expect") {
                "ok" => None,
                "bad-signature" | "reject: algorithm comes from the key record" => {
                    Some(Reason::SignatureInvalid)
                }
                "reject" => Some(Reason::Malformed),
                other => panic!("{other}"),
            };
            assert_eq!(found.as_ref().err().copied(), wanted, "{name}");
            // Sound as they are, they cover less than the edge asks for by default.
            let strict =
                rules(&["@method", "@authority", "@path", "@query", "content-digest"], None, signers());
            assert!(
                outcome(strict, &fields(&all), target, body.as_bytes(), 1_618_884_473).is_err(),
                "{name}"
            );
            if wanted.is_none() {
                let delivery = Delivery {
                    method: "POST",
                    origin: "https://example.com",
                    target,
                    fields: &fields(&all),
                    body: body.as_bytes(),
                    now_unix: 0,
                };
                let sender = Sender { kind: rules(&[], None, signers()), tolerance: Duration::ZERO };
                let statement = read(&sender, &delivery).unwrap();
                assert_eq!(
                    std::str::from_utf8(&statement.texts[0][0]).unwrap(),
                    text(case, "signature_base"),
                    "{name}"
                );
                let late = outcome(
                    rules(&[], None, signers()),
                    &fields(&all),
                    target,
                    body.as_bytes(),
                    1_618_884_774,
                );
                assert_eq!(late, Err(Reason::Stale), "{name}");
            }
        }
    }

    #[test]
    fn the_signatures_of_web_bot_auth_hold() {
        let vectors = load(include_str!("../../../tests/vectors/web_bot_auth_ed25519.json"));
        let all = vectors["vectors"].as_array().unwrap();
        assert_eq!(all.len(), 4);
        for case in all {
            let x = URL_SAFE_NO_PAD.decode(case["key"]["x"].as_str().unwrap()).unwrap();
            let key = VerifyingKey::from_bytes(&x.try_into().unwrap()).unwrap();
            let id = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";
            let kind = |tag| {
                rules(
                    &["@authority"],
                    Some(tag),
                    vec![Signer { id: id.into(), key: SignerKey::Ed25519(key) }],
                )
            };
            let mut sent = vec![
                ("signature-input", text(case, "signature_input")),
                ("signature", text(case, "signature")),
            ];
            sent.extend(case["signature_agent"].as_str().map(|agent| ("signature-agent", agent)));
            let (created, expires) =
                (case["created_ms"].as_u64().unwrap() / 1000, case["expires_ms"].as_u64().unwrap() / 1000);
            for now in [created, created + 1800, expires] {
                let found = outcome(kind("web-bot-auth"), &fields(&sent), "/path/to/resource", b"", now);
                assert_eq!(found.unwrap().key_id.as_deref(), Some(id));
            }
            for now in [created - 301, expires + 1] {
                let found = outcome(kind("web-bot-auth"), &fields(&sent), "/path/to/resource", b"", now);
                assert_eq!(found, Err(Reason::Stale));
            }
            let found = outcome(kind("another"), &fields(&sent), "/path/to/resource", b"", created);
            assert_eq!(found, Err(Reason::SignatureMissing));
        }
    }

    #[test]
    fn a_digest_must_be_known_and_true() {
        let vectors = load(include_str!("../../../tests/vectors/rfc9530_content_digest.json"));
        let check = |body: &str, digest: &str| {
            let fields = fields(&[("content-digest", digest)]);
            let delivery = Delivery {
                method: "POST",
                origin: "https://a",
                target: "/",
                fields: &fields,
                body: body.as_bytes(),
                now_unix: 0,
            };
            digest::check(&delivery).map_err(|failure| failure.reason)
        };
        for case in vectors["vectors"].as_array().unwrap() {
            let (body, short, long) = (text(case, "body"), text(case, "sha256"), text(case, "sha512"));
            for good in [
                short.to_owned(),
                long.to_owned(),
                format!("{short}, {long}"),
                format!("md5=:AAAA:, {short}"),
            ] {
                assert_eq!(check(body, &good), Ok(()), "{good}");
            }
            assert_eq!(check(&format!("{body}x"), short), Err(Reason::SignatureInvalid));
            // One that is right does not make up for one that is wrong.
            let wrong = format!("sha-256=:{}=:, {long}", "A".repeat(43));
            assert_eq!(check(body, &wrong), Err(Reason::SignatureInvalid));
            assert_eq!(
                check(body, &short.replacen("=:", "=", 1).replace("=:", "=")),
                Err(Reason::Malformed),
                "{short}"
            );
        }
        for bad in ["md5=:AAAA:", "sha=:AAAA:", "", "sha-256"] {
            assert_eq!(check("", bad), Err(Reason::Malformed), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn noise_in_the_fields_is_refused(input in "[ -~]{0,80}", sig in "[ -~]{0,80}", digest in "[ -~]{0,40}") {
            let fields = fields(&[("signature-input", &input), ("signature", &sig), ("content-digest", &digest)]);
            let key = SignerKey::HmacSha256(Secret::new(b"a-secret-that-nobody-knows".to_vec()));
            let kind = rules(&[], None, vec![Signer { id: String::new(), key }]);
            let found = outcome(kind, &fields, "/", b"", 0);
            prop_assert!(found.is_err());
        }
    }
}
