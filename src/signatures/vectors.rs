//! The published vectors and the ones made by a reference signer, through the functions that serve
//! requests.

use super::canonical::Canonicaliser;
use super::keys::KeyRegistry;
use super::mesh::{Context, Reason, Scratch, verify};
use super::{sig_text, sign};
use crate::config::checked::{Canonical, Envelope, MeshRules, Mode, NodeKey, OnFailure};
use crate::ids::{NodeId, TenantId};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde_json::Value;

const POLICY: MeshRules = MeshRules {
    mode: Mode::Required,
    on_failure: OnFailure::Reject,
    envelope: Envelope::None,
    freshness: None,
    canonical: Canonical::Mesh,
};

fn load(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn mesh_vectors() -> Value {
    load(include_str!("../../tests/vectors/mesh-signing.json"))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The registry of one node, whose key is the one that the case is checked with.
fn registered(tenant: &TenantId, node: &str, key: VerifyingKey) -> KeyRegistry {
    let node = NodeId::parse(node).unwrap();
    KeyRegistry::build(&[NodeKey::of(tenant.clone(), node, key)]).unwrap()
}

fn outcome(body: &[u8], node: &str, key: VerifyingKey) -> Result<(), Reason> {
    let tenant = TenantId::parse("acme").unwrap();
    let keys = registered(&tenant, node, key);
    let context =
        Context { policy: &POLICY, tenant: &tenant, keys: &keys, query: None, now_unix: 0.0, taken: None };
    verify(body, &context, &mut Scratch::default()).map(drop).map_err(|failure| failure.reason)
}

fn signer_of(body: &str) -> String {
    let body = load(body);
    let name = if body["type"] == "skill" { "sourceNode" } else { "nodeId" };
    text(&body, name).to_owned()
}

#[test]
fn every_reference_message_has_the_reference_outcome() {
    let vectors = mesh_vectors();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 21);
    for case in cases {
        let name = text(case, "name");
        let key = sign::read_public_pem(text(&vectors["keys"][text(case, "key")], "public_pem")).unwrap();
        // Checked with the key that the case names, whoever the message says it is from.
        let body = text(case, "body");
        let found = match name {
            "lone-surrogates" => outcome(body.as_bytes(), "ceo", key),
            _ => outcome(body.as_bytes(), &signer_of(body), key),
        };
        assert_eq!(found.is_ok(), case["valid"].as_bool().unwrap(), "{name}: {found:?}");
        if name == "missing-sig" {
            assert_eq!(found, Err(Reason::SignatureMissing));
        } else if found.is_err() {
            assert_eq!(found, Err(Reason::SignatureInvalid), "{name}");
        }
    }
}

#[test]
fn every_reference_message_has_the_reference_text() {
    let vectors = mesh_vectors();
    let mut reader = Canonicaliser::default();
    for case in vectors["cases"].as_array().unwrap() {
        let Some(expected) = case["canonical"].as_str() else { continue };
        let document = reader.read(text(case, "body").as_bytes()).unwrap();
        let (_, message) = document.elements().next().unwrap();
        assert_eq!(std::str::from_utf8(message.unwrap().canonical), Ok(expected), "{}", case["name"]);
    }
}

#[test]
fn our_signer_makes_the_reference_signatures() {
    let vectors = mesh_vectors();
    for case in vectors["cases"].as_array().unwrap() {
        if case["valid"] != true {
            continue;
        }
        let pem = text(&vectors["keys"][text(case, "key")], "private_pem");
        let key = sign::read_private_pem(pem).unwrap();
        assert_eq!(sign::private_pem(&key).unwrap().as_str(), pem);
        let signed = sign::sign(text(case, "body").as_bytes(), &key).unwrap();
        let mut reader = Canonicaliser::default();
        let sig = |body: &[u8], reader: &mut Canonicaliser| {
            let document = reader.read(body).unwrap();
            let (_, message) = document.elements().next().unwrap();
            sig_text::parse(message.unwrap().sig.text().unwrap()).unwrap()
        };
        let expected = sig(text(case, "body").as_bytes(), &mut reader);
        assert_eq!(sig(&signed, &mut reader), expected, "{}", case["name"]);
    }
}

#[test]
fn the_vectors_of_rfc_8032_come_out_as_published() {
    let vectors = load(include_str!("../../tests/vectors/rfc8032_ed25519.json"));
    for case in vectors["vectors"].as_array().unwrap() {
        let public: [u8; 32] = bytes(text(case, "public_hex")).try_into().unwrap();
        let message = bytes(text(case, "msg_hex"));
        let holds = holds(&public, &message, &bytes(text(case, "sig_hex")));
        assert_eq!(holds, case["valid"].as_bool().unwrap(), "{}", case["name"]);
        if let Some(seed) = case["seed_hex"].as_str() {
            let seed: [u8; 32] = bytes(seed).try_into().unwrap();
            assert_eq!(SigningKey::from_bytes(&seed).verifying_key().to_bytes(), public);
        }
    }
}

#[test]
fn the_vectors_of_project_wycheproof_come_out_as_published() {
    let vectors = load(include_str!("../../tests/vectors/wycheproof_ed25519.json"));
    let tests = vectors["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 150);
    for case in tests {
        let public: [u8; 32] = bytes(text(case, "pk")).try_into().unwrap();
        let found = holds(&public, &bytes(text(case, "msg")), &bytes(text(case, "sig")));
        assert_eq!(found, text(case, "result") == "valid", "{} {}", case["tcId"], case["comment"]);
    }
}

/// The same steps as for a mesh message, from the base64 on: these vectors sign bytes that are no JSON.
fn holds(public: &[u8; 32], message: &[u8], sig: &[u8]) -> bool {
    use base64::Engine;
    let Ok(key) = VerifyingKey::from_bytes(public) else { return false };
    let tenant = TenantId::parse("acme").unwrap();
    let node = NodeId::parse("ceo").unwrap();
    let Ok(keys) = KeyRegistry::build(&[NodeKey::of(tenant.clone(), node, key)]) else {
        return false;
    };
    let (_, keys) = keys.find(&tenant, "ceo").unwrap();
    let spelled = base64::engine::general_purpose::STANDARD.encode(sig);
    let parsed: Option<Signature> = sig_text::parse(&spelled);
    let texts = super::mesh::Texts { raw: "", form: Canonical::Mesh, text: message };
    parsed.is_some_and(|sig| super::mesh::holding(keys, (None, 0.0), texts, &sig).is_some())
}

#[test]
fn the_documents_of_rfc_8785_come_out_as_published() {
    use base64::Engine as _;
    let vectors = load(include_str!("../../tests/vectors/jcs_rfc8785.json"));
    let decoded =
        |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
    let mut reader = Canonicaliser::default();
    let documents = vectors["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 6);
    for case in documents {
        let (input, output) = (decoded(&case["input_b64"]), decoded(&case["output_b64"]));
        // As a member of a message, since messages are objects and some of these are not.
        let wrapped = [b"{\"x\":".as_slice(), &input, b"}"].concat();
        let document = reader.read_as(&wrapped, Canonical::Jcs).unwrap();
        let (_, message) = document.elements().next().unwrap();
        let wanted = [b"{\"x\":".as_slice(), &output, b"}"].concat();
        assert_eq!(message.unwrap().canonical, wanted, "{}", case["name"]);
    }
}

#[test]
fn ten_thousand_numbers_are_spelled_as_published() {
    let mut reader = Canonicaliser::default();
    let mut count = 0;
    for line in include_str!("../../tests/vectors/jcs_es6_numbers_10000.txt").lines() {
        let (bits, wanted) = line.split_once(',').unwrap();
        let value = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        let text = format!("{{\"n\":{value:?}}}");
        let document = reader.read(text.as_bytes()).unwrap();
        let (_, message) = document.elements().next().unwrap();
        assert_eq!(
            std::str::from_utf8(message.unwrap().canonical).unwrap(),
            format!("{{\"n\":{wanted}}}"),
            "{line}"
        );
        count += 1;
    }
    assert_eq!(count, 10_000);
}
