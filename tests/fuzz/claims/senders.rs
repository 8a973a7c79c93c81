//! Any fields and any body for every scheme: never a panic, and without the secret never a yes.

use http::{HeaderMap, HeaderName, HeaderValue};
use openclaw_edge::config::checked::{
    Hmac, HmacAlgorithm, HmacEncoding, HmacPart, HttpSignatures, Sender, SenderKind, Signer, SignerKey,
};
use openclaw_edge::secret::Secret;
use openclaw_edge::signatures::Delivery;
use openclaw_edge::signatures::schemes::verify;
use std::time::Duration;

/// A key whose private half nobody has (RFC 9421, `test-key-ed25519`, is published, but no fuzzer signs).
const KEY: [u8; 32] = [
    0x26, 0xb4, 0x0b, 0x8f, 0x93, 0xff, 0xf3, 0xd8, 0x97, 0x11, 0x2f, 0x7e, 0xbc, 0x58, 0x2b, 0x23, 0x2d,
    0xbd, 0x72, 0x51, 0x7d, 0x08, 0x2f, 0xe8, 0x3c, 0xfb, 0x30, 0xdd, 0xce, 0x43, 0xd1, 0xbb,
];

fn senders() -> Vec<SenderKind> {
    let secrets = || vec![Secret::new(b"a secret that no fuzzer guesses".to_vec())];
    let key = ed25519_dalek::VerifyingKey::from_bytes(&KEY).expect("a published key");
    let hmac = Hmac {
        header: HeaderName::from_static("x-signature"),
        algorithm: HmacAlgorithm::Sha512,
        encoding: HmacEncoding::Base64url,
        prefix: "v=".into(),
        separator: Some(",".into()),
        signed: vec![HmacPart::Url, HmacPart::Timestamp, HmacPart::Body],
        timestamp_header: Some(HeaderName::from_static("x-time")),
        id_header: None,
    };
    let signers = vec![
        Signer { id: "a".into(), key: SignerKey::Ed25519(key) },
        Signer { id: "b".into(), key: SignerKey::HmacSha256(secrets().remove(0)) },
    ];
    vec![
        SenderKind::Github { secrets: secrets() },
        SenderKind::Slack { secrets: secrets() },
        SenderKind::Stripe { secrets: secrets() },
        SenderKind::StandardWebhooks { secrets: secrets(), keys: vec![key] },
        SenderKind::Discord { keys: vec![key] },
        SenderKind::Telegram { secrets: secrets() },
        SenderKind::Shopify { secrets: secrets() },
        SenderKind::Twilio { secrets: secrets() },
        SenderKind::GenericHmac { secrets: secrets(), hmac },
        SenderKind::HttpSignatures(HttpSignatures { signers, components: vec![], tag: None }),
    ]
}

/// Lines of `name: value` up to an empty one, then the body.
pub(super) fn hold(bytes: &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let mut fields = HeaderMap::new();
    for line in bytes[..end].split(|&byte| byte == b'\n').take(32) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    let body = bytes.get(end + 2..).unwrap_or_default();
    for kind in senders() {
        let sender = Sender { kind, tolerance: Duration::from_mins(5) };
        let delivery = Delivery {
            method: "POST",
            origin: "https://hooks.example.com",
            target: "/a?bodySHA256=x",
            fields: &fields,
            body,
            now_unix: 1_700_000_000,
        };
        assert!(verify(&sender, &delivery).is_err());
    }
}
