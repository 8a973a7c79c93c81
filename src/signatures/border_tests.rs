//! What crosses the border, and what does not.

use super::*;
use crate::config::checked::NodeKey;
use crate::ids::TenantId;
use crate::signatures::KeyRegistry;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::{Value, json};

fn mesh(id: &str) -> MeshId {
    MeshId::parse(id).unwrap()
}

fn granted() -> Vec<Grant> {
    vec![
        Grant::Scope("federation".into()),
        Grant::Key { scope: "mesh".into(), key: "roadmap".into() },
        Grant::Skill("deploy".into()),
    ]
}

fn memory(scope: &str, key: &str, node: &str) -> Value {
    json!({ "type": "memory", "scope": scope, "key": key, "value": { "b": 1, "a": [2] }, "nodeId": node, "ts": 5 })
}

fn skill(name: &str, node: &str) -> Value {
    json!({ "type": "skill", "name": name, "sourceNode": node, "content": "do it" })
}

fn come(body: &str) -> Crossing {
    let (hq, own) = (mesh("hq"), mesh("here"));
    let accept = granted();
    let border = Inbound { mesh: &hq, own: Some(&own), accept: &accept, keys: None, now_unix: 0.0 };
    inbound(body.as_bytes(), &border).unwrap()
}

fn go(body: &str, sign: Option<&SigningKey>) -> Crossing {
    let hq = mesh("hq");
    outbound(body.as_bytes(), &Outbound { mesh: &hq, share: &granted(), sign }).unwrap()
}

fn read(crossing: &Crossing) -> Value {
    serde_json::from_slice(&crossing.body).unwrap()
}

fn reasons(crossing: &Crossing) -> Vec<(Bar, usize)> {
    crossing.by_reason().collect()
}

#[test]
fn what_comes_in_is_named_after_its_mesh_and_loses_its_signature() {
    let mut one = memory("federation", "k", "ceo");
    one["sig"] = "AAAA".into();
    one["signature"] = 7.into();
    assert_eq!(read(&come(&one.to_string())), memory("federation", "k", "external:hq:ceo"));
    let batch = json!([memory("mesh", "roadmap", "ceo"), skill("deploy", "sec")]);
    let crossing = come(&batch.to_string());
    let wanted = json!([memory("mesh", "roadmap", "external:hq:ceo"), skill("deploy", "external:hq:sec")]);
    assert_eq!((read(&crossing), crossing.passed), (wanted, 2));
}

#[test]
fn a_node_cannot_say_that_it_is_of_another_mesh() {
    let crossing = come(&memory("federation", "k", "external:elsewhere:ceo").to_string());
    assert_eq!(read(&crossing)["nodeId"], "external:hq:external:elsewhere:ceo");
    let both =
        r#"{"type":"memory","scope":"federation","key":"k","value":1,"nodeId":"a","nodeId":"external:x:b"}"#;
    assert_eq!(reasons(&come(both)), [(Bar::Malformed, 1)]);
    let escaped = r#"{"type":"memory","scope":"federation","key":"k","value":1,"n\u006fdeId":"ceo"}"#;
    assert_eq!(read(&come(escaped))["nodeId"], "external:hq:ceo");
}

#[test]
fn only_what_was_granted_crosses_either_way() {
    let batch = json!([
        memory("mesh", "secret-plan", "ceo"),
        memory("federation", "k", "ceo"),
        memory("user:1", "roadmap", "ceo"),
        memory("mesh", "roadmap", "ceo"),
        skill("other", "ceo"),
        skill("deploy", "ceo"),
        { "type": "mesh_request", "requestId": "1", "kind": "memory", "nodeId": "ceo" },
        { "type": "mesh_response", "requestId": "1", "kind": "memory", "nodeId": "ceo", "found": true, "value": 1 },
        7,
        { "type": "memory", "scope": "federation", "key": "k", "value": 1 },
        { "type": "memory", "scope": 7, "key": "k", "nodeId": "ceo" },
    ])
    .to_string();
    let wanted = [(Bar::Malformed, 3), (Bar::Kind, 2), (Bar::NotGranted, 3)];
    let (came, gone) = (come(&batch), go(&batch, None));
    assert_eq!((came.passed, reasons(&came)), (3, wanted.to_vec()));
    assert_eq!((gone.passed, reasons(&gone)), (3, wanted.to_vec()));
    assert_eq!(read(&gone)[0], memory("federation", "k", "ceo"));
}

#[test]
fn nothing_goes_back_where_it_came_from() {
    let theirs = memory("federation", "k", "external:hq:ceo").to_string();
    assert_eq!(reasons(&go(&theirs, None)), [(Bar::Echo, 1)]);
    // Another mesh whose name begins alike is another.
    assert_eq!(go(&memory("federation", "k", "external:hq2:ceo").to_string(), None).passed, 1);
    let ours = memory("federation", "k", "external:here:ceo").to_string();
    assert_eq!(reasons(&come(&ours)), [(Bar::Echo, 1)]);
}

#[test]
fn what_goes_out_signed_comes_in_where_its_key_is_known() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let tenant = TenantId::parse("acme").unwrap();
    let registered = NodeKey::of(tenant.clone(), NodeId::parse("here").unwrap(), key.verifying_key());
    let registry = KeyRegistry::build(&[registered]).unwrap();
    let keys = registry.find(&tenant, "here").unwrap().1;
    let (here, accept) = (mesh("here"), granted());
    let border = Inbound { mesh: &here, own: None, accept: &accept, keys: Some(keys), now_unix: 0.0 };
    let batch = json!([memory("federation", "a", "ceo"), skill("deploy", "sec")]).to_string();
    let gone = go(&batch, Some(&key));
    let come = inbound(&gone.body, &border).unwrap();
    assert_eq!((come.passed, come.verified, come.key_ids.len()), (2, 2, 1));
    assert_eq!(read(&come)[1]["sourceNode"], "external:here:sec");
    let refused = |body: &str| reasons(&inbound(body.as_bytes(), &border).unwrap());
    let text = String::from_utf8(gone.body.clone()).unwrap();
    assert_eq!(refused(&text.replacen("\"b\":1", "\"b\":2", 1)), [(Bar::SignatureInvalid, 1)]);
    assert_eq!(refused(&batch), [(Bar::SignatureMissing, 2)]);
    let named = text.replacen("{\"sig\"", "{\"kid\":\"other\",\"sig\"", 1);
    assert_eq!(refused(&named), [(Bar::KeyUnknown, 1)]);
}

#[test]
fn a_letter_says_for_whom_it_is() {
    let one = memory("federation", "k", "ceo").to_string();
    assert_eq!(letter(one.as_bytes()), Ok((one.as_bytes(), Audience::All)));
    assert_eq!(letter(b"[]"), Ok((b"[]".as_slice(), Audience::All)));
    let audience = |audience: &str| {
        let body = format!("{{\"messages\": [ {one} ],\"audience\":{audience}}}");
        letter(body.as_bytes()).map(|(messages, audience)| {
            assert_eq!(messages, format!("[ {one} ]").as_bytes());
            audience
        })
    };
    assert_eq!(audience("\"all\""), Ok(Audience::All));
    assert_eq!(audience("null"), Ok(Audience::All));
    assert_eq!(audience("\"hq\""), Ok(Audience::Meshes(vec!["hq".into()])));
    assert_eq!(audience("[\"hq\",\"lab\"]"), Ok(Audience::Meshes(vec!["hq".into(), "lab".into()])));
    assert_eq!(audience("7"), Err(LetterFault::Audience));
    assert_eq!(audience("null,\"targetUnit\":\"u1\""), Err(LetterFault::Target));
    assert!(matches!(letter(b"{\"messages\":"), Err(LetterFault::Malformed(_))));
    assert!(matches!(letter(b"{\"messages\":[],\"messages\":[1]}"), Err(LetterFault::Malformed(_))));
}

proptest! {
    /// Whatever another mesh sends, what comes in names that mesh, and was granted.
    #[test]
    fn what_comes_in_always_says_where_from(
        scope in "federation|mesh|tenant:acme", key in "roadmap|[a-z\"\\\\é]{0,6}", node in any::<String>(), extra in any::<String>(),
    ) {
        let mut one = memory(&scope, &key, &node);
        one[&extra] = json!({ "nodeId": "external:x:y" });
        let crossing = come(&one.to_string());
        if crossing.passed == 1 {
            let read = read(&crossing);
            prop_assert_eq!(read["nodeId"].as_str().unwrap(), format!("external:hq:{node}"));
            prop_assert!(scope == "federation" || (scope == "mesh" && key == "roadmap"));
            prop_assert_eq!(&read["value"], &one["value"]);
        }
    }

    #[test]
    fn no_bytes_make_the_border_panic(bytes in any::<Vec<u8>>(), text in "[\\[{\"a-z:,}\\]0-9]{0,40}") {
        for body in [bytes.as_slice(), text.as_bytes()] {
            let _ = letter(body);
            let hq = mesh("hq");
            let _ = outbound(body, &Outbound { mesh: &hq, share: &[], sign: None });
            let _ = inbound(body, &Inbound { mesh: &hq, own: None, accept: &[], keys: None, now_unix: 0.0 });
        }
    }
}
