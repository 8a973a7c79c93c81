//! Mesh messages, signed here without the code under test.
//!
//! A message is made as members with two spellings each: the one that is signed and the one that is sent.
//! So the text under the signature is known beforehand, and no canonical form has to be computed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};

/// A node that signs.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: &'static str,
    key: SigningKey,
}

impl Node {
    /// A node with a key made from its seed.
    pub(crate) fn new(name: &'static str, seed: u8) -> Self {
        Self { name, key: SigningKey::from_bytes(&[seed; 32]) }
    }

    /// Its public key as the config takes it.
    pub(crate) fn public_key(&self) -> String {
        STANDARD.encode(self.key.verifying_key().as_bytes())
    }

    /// The base64 of its signature.
    pub(crate) fn sign(&self, text: &str) -> String {
        STANDARD.encode(self.key.sign(text.as_bytes()).to_bytes())
    }

    /// A signed `memory` message. `signed` is the value's canonical text, `sent` another spelling of it.
    pub(crate) fn memory(&self, key: &str, signed: &str, sent: &str) -> String {
        let node = self.name;
        let text = format!(
            r#"{{"key":"{key}","nodeId":"{node}","scope":"mesh","ts":1739123456,"type":"memory","value":{signed}}}"#
        );
        let sig = self.sign(&text);
        // Another order at the top level and white space: neither is under the signature.
        format!(
            r#"{{ "type":"memory", "scope":"mesh","value":{sent},"key":"{key}" , "ts":1739123456.0,"nodeId":"{node}","sig":"{sig}"}}"#
        )
    }

    /// A signed `skill` message.
    pub(crate) fn skill(&self, name: &str, content: &str) -> String {
        let node = self.name;
        let text = format!(
            r#"{{"content":"{content}","name":"{name}","sourceNode":"{node}","ts":1739123457,"type":"skill"}}"#
        );
        let sig = self.sign(&text);
        format!(
            r#"{{"signature":"{sig}","type":"skill","name":"{name}","sourceNode":"{node}","content":"{content}","ts":1739123457}}"#
        )
    }
}

/// Values in two spellings: as ECMAScript prints them, and as someone else might.
pub(crate) const SPELLINGS: &[(&str, &str)] = &[
    ("1", "1.0"),
    ("0", "-0"),
    ("100", "1e2"),
    ("1e+21", "1000000000000000000000"),
    ("0.1", "0.10"),
    ("\"é\"", r#""\u00e9""#),
    ("\"/\"", r#""\/""#),
    (r#"{"b":1,"a":2}"#, r#"{ "b" : 1, "a" : 2 }"#),
    (r#"{"2":"x","10":"y","z":0}"#, r#"{"z":0,"10":"y","2":"x"}"#),
    ("[1,[],{}]", "[ 1 , [ ] , { } ]"),
    ("null", " null "),
    (r#""\n\u0001""#, r#""\u000a\u0001""#),
    (r#"{"shortAnswers":true}"#, "{\"shortAnswers\":\ttrue}"),
];

/// Puts a message into an envelope of this kind.
pub(crate) fn enveloped(kind: &str, message: &str) -> String {
    let text = serde_json::Value::from(message).to_string();
    match kind {
        "telegram" => {
            format!(r#"{{"update_id":1,"message":{{"message_id":2,"chat":{{"id":3}},"text":{text}}}}}"#)
        }
        "discord" => format!(r#"{{"id":"9","content":{text}}}"#),
        "generic" => format!(r#"{{"body":{message}}}"#),
        other => panic!("no such envelope: {other}"),
    }
}
