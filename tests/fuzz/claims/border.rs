//! Any bytes at the border between meshes: what crosses was granted, and what comes in is named as a stranger.

use ed25519_dalek::SigningKey;
use openclaw_edge::config::checked::Grant;
use openclaw_edge::ids::MeshId;
use openclaw_edge::signatures::border::{Inbound, Outbound, inbound, letter, outbound};
use serde_json::Value;

fn grants() -> [Grant; 3] {
    let key = Grant::Key { scope: "mesh".into(), key: "plan".into() };
    [Grant::Scope("federation".into()), key, Grant::Skill("look".into())]
}

/// Each message of one or of an array. Half a character in a string is JSON, and more than `serde_json` reads.
fn each(body: &[u8], then: impl Fn(&Value)) {
    match serde_json::from_slice(body) {
        Ok(Value::Array(many)) => many.iter().for_each(then),
        Ok(one) => then(&one),
        Err(_) => assert!(std::str::from_utf8(body).is_ok_and(|text| text.contains("\\u"))),
    }
}

fn is_granted(message: &Value) -> bool {
    let is = |name: &str, text: &str| message[name] == text;
    is("type", "memory") && (is("scope", "federation") || is("scope", "mesh") && is("key", "plan"))
        || is("type", "skill") && is("name", "look")
}

/// The claim, for these bytes.
pub(super) fn hold(bytes: &[u8]) {
    let (mesh, own) = (MeshId::parse("hq").expect("a name"), MeshId::parse("home").expect("a name"));
    let grants = grants();
    let come = Inbound { mesh: &mesh, own: Some(&own), accept: &grants, keys: None, now_unix: 0.0 };
    if let Ok(crossing) = inbound(bytes, &come)
        && crossing.passed > 0
    {
        each(&crossing.body, |message| {
            assert!(is_granted(message));
            let author = if message["type"] == "skill" { "sourceNode" } else { "nodeId" };
            assert!(message[author].as_str().is_some_and(|name| name.starts_with("external:hq:")));
            assert!(message.get("sig").is_none() && message.get("signature").is_none());
        });
    }
    // A zero key signs as well as any.
    let key = SigningKey::from_bytes(&[0; 32]);
    let Ok((messages, _)) = letter(bytes) else { return };
    for sign in [None, Some(&key)] {
        if let Ok(crossing) = outbound(messages, &Outbound { mesh: &mesh, share: &grants, sign })
            && crossing.passed > 0
        {
            each(&crossing.body, |message| {
                assert!(is_granted(message));
                assert!(sign.is_none() || message["sig"].is_string());
            });
        }
    }
}
