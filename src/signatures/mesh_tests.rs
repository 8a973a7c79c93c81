//! Whole bodies: what goes on, what does not, and the reason that is told.

use super::super::sign::sign;
use super::*;
use crate::config::checked::Canonical;
use crate::config::checked::{Envelope, NodeKey};
use ed25519_dalek::SigningKey;
use proptest::prelude::{any, proptest};

const NOW: f64 = 1_739_123_456.0;
const MEMORY: &str = r#"{"type":"memory","scope":"mesh","key":"k","value":{"b":[1.50,"x\ny"]},"nodeId":"ceo","ts":1739123456}"#;
const SKILL: &str = r#"{"type":"skill","name":"triage","sourceNode":"sec","nodeId":"ceo","content":"c"}"#;

fn secret(node: &str) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(node.len()).unwrap() ^ node.as_bytes()[0]; 32])
}

fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn registry() -> KeyRegistry {
    let key = |tenant: &str, node: &str, key: &SigningKey| {
        NodeKey::of(TenantId::parse(tenant).unwrap(), NodeId::parse(node).unwrap(), key.verifying_key())
    };
    KeyRegistry::build(&[
        key("acme", "ceo", &secret("ceo")),
        key("acme", "sec", &secret("sec")),
        key("globex", "other", &secret("other")),
    ])
    .unwrap()
}

fn policy(mode: Mode, on_failure: OnFailure) -> MeshRules {
    MeshRules { mode, on_failure, envelope: Envelope::None, freshness: None, canonical: Canonical::Mesh }
}

const REQUIRED: fn() -> MeshRules = || policy(Mode::Required, OnFailure::Reject);

fn run(body: &str, policy: MeshRules) -> Result<Verified, Failure> {
    let (tenant, keys) = (tenant(), registry());
    let context =
        Context { policy: &policy, tenant: &tenant, keys: &keys, query: None, now_unix: NOW, taken: None };
    verify(body.as_bytes(), &context, &mut Scratch::default())
}

fn refused(body: &str, policy: MeshRules) -> (Reason, Option<usize>) {
    let failure = run(body, policy).unwrap_err();
    (failure.reason, failure.index)
}

fn signed(message: &str, node: &str) -> String {
    String::from_utf8(sign(message.as_bytes(), &secret(node)).unwrap()).unwrap()
}

#[test]
fn a_signed_message_goes_on_as_it_is() {
    let verified = run(&signed(MEMORY, "ceo"), REQUIRED()).unwrap();
    assert_eq!(verified.forward, Forward::AsIs);
    assert_eq!((verified.verified, verified.unsigned, verified.dropped.total()), (1, 0, 0));
    assert_eq!(verified.signer.unwrap().as_str(), "ceo");
}

#[test]
fn a_skill_is_signed_by_its_source_node() {
    assert_eq!(run(&signed(SKILL, "sec"), REQUIRED()).unwrap().signer.unwrap().as_str(), "sec");
    assert_eq!(refused(&signed(SKILL, "ceo"), REQUIRED()), (Reason::SignatureInvalid, None));
    let memory = SKILL.replace("\"skill\"", "\"memory\"");
    assert!(run(&signed(&memory, "ceo"), REQUIRED()).is_ok());
}

#[test]
fn a_node_of_another_tenant_is_unknown() {
    let message = MEMORY.replace("\"ceo\"", "\"other\"");
    assert_eq!(refused(&signed(&message, "other"), REQUIRED()), (Reason::KeyUnknown, None));
    for node in ["\"nobody\"", "7", "null", "\"\\ud800\""] {
        let message = MEMORY.replace("\"ceo\"", node);
        assert_eq!(refused(&signed(&message, "ceo"), REQUIRED()), (Reason::KeyUnknown, None), "{node}");
    }
}

#[test]
fn optional_lets_through_what_has_no_signature_and_nothing_else() {
    let optional = || policy(Mode::Optional, OnFailure::Reject);
    for body in [MEMORY, "[]", "7", "[7,null,[]]", "{}"] {
        let verified = run(body, optional()).unwrap();
        assert_eq!((verified.verified, verified.forward), (0, Forward::AsIs), "{body}");
    }
    for sig in ["null", "\"\"", "7", "\"AAAA\"", "{}"] {
        for name in ["sig", "signature"] {
            let body = MEMORY.replacen('{', &format!("{{\"{name}\":{sig},"), 1);
            assert_eq!(refused(&body, optional()), (Reason::SignatureInvalid, None), "{body}");
        }
    }
    let tampered = signed(MEMORY, "ceo").replace("1.5", "1.6");
    assert_eq!(refused(&tampered, optional()), (Reason::SignatureInvalid, None));
    assert_eq!(refused("[{},{\"a\":1,\"a\":2}]", optional()), (Reason::Malformed, Some(1)));
}

#[test]
fn required_takes_signed_objects_and_an_empty_array() {
    assert_eq!(run("[]", REQUIRED()).unwrap().verified, 0);
    assert_eq!(refused(MEMORY, REQUIRED()), (Reason::SignatureMissing, None));
    for body in ["7", "\"{}\"", "null", "", "[", "{}x"] {
        assert_eq!(refused(body, REQUIRED()), (Reason::Malformed, None), "{body}");
    }
    assert_eq!(refused("[null]", REQUIRED()), (Reason::Malformed, Some(0)));
}

#[test]
fn reject_refuses_a_batch_at_its_first_bad_message() {
    let good = signed(MEMORY, "ceo");
    let skill = signed(SKILL, "sec");
    assert_eq!(run(&format!("[{good}, {skill}]"), REQUIRED()).unwrap().verified, 2);
    let body = format!("[{good},{skill},{MEMORY},{{}}]");
    assert_eq!(refused(&body, REQUIRED()), (Reason::SignatureMissing, Some(2)));
}

#[test]
fn drop_hands_on_the_good_ones_as_they_came() {
    let sieve = || policy(Mode::Required, OnFailure::Drop);
    let good = signed(MEMORY, "ceo").replacen(',', " ,\n", 1);
    let bad = signed(MEMORY, "sec");
    let verified =
        run(&format!("[ {good} , {bad},7,{{\"a\":1,\"a\":1}}, {MEMORY}, {good}]"), sieve()).unwrap();
    assert_eq!(verified.forward, Forward::Rewritten(format!("[{good},{good}]").into_bytes()));
    assert_eq!((verified.verified, verified.unsigned), (2, 0));
    let dropped: Vec<_> = verified.dropped.by_reason().collect();
    let expected = [(Reason::SignatureMissing, 1), (Reason::SignatureInvalid, 1), (Reason::Malformed, 2)];
    assert_eq!(dropped, expected);
    assert_eq!(run(&format!("[{good} ]"), sieve()).unwrap().forward, Forward::AsIs);
    assert_eq!(
        run(&format!("[{good},{bad}]"), sieve()).unwrap().forward,
        Forward::Rewritten(format!("[{good}]").into_bytes())
    );
}

#[test]
fn drop_leaves_an_empty_array_of_a_single_bad_message() {
    let sieve = policy(Mode::Required, OnFailure::Drop);
    let verified = run(MEMORY, sieve).unwrap();
    assert_eq!(verified.forward, Forward::Rewritten(b"[]".to_vec()));
    assert_eq!((verified.dropped.total(), verified.signer), (1, None));
    assert_eq!(run("[]", sieve).unwrap().forward, Forward::AsIs);
    assert_eq!(refused("[{},", sieve), (Reason::Malformed, None));
}

#[test]
fn drop_inside_an_envelope_refuses() {
    let mut policy = policy(Mode::Required, OnFailure::Drop);
    policy.envelope = Envelope::Generic;
    let good = signed(MEMORY, "ceo");
    assert_eq!(
        refused(&format!("{{\"body\":[{good},{MEMORY}]}}"), policy),
        (Reason::SignatureMissing, Some(1))
    );
    assert_eq!(run(&format!("{{\"body\":[{good},{good}]}}"), policy).unwrap().verified, 2);
}

#[test]
fn a_message_from_too_long_ago_is_stale_and_so_is_one_from_the_future() {
    let mut policy = REQUIRED();
    policy.freshness = Some(Duration::from_mins(5));
    for (ts, fresh) in [
        ("1739123456", true),
        ("1739123156", true),
        ("1739123155.5", false),
        ("1739123756", true),
        ("1739123757", false),
        ("\"1739123456\"", false),
        ("null", false),
        ("-1e308", false),
    ] {
        let body = signed(&MEMORY.replace("1739123456", ts), "ceo");
        let found = run(&body, policy).map(drop).map_err(|failure| failure.reason);
        assert_eq!(found, if fresh { Ok(()) } else { Err(Reason::Stale) }, "{ts}");
    }
    let without = MEMORY.replace(",\"ts\":1739123456", "");
    assert_eq!(refused(&signed(&without, "ceo"), policy), (Reason::Stale, None));
    policy.mode = Mode::Optional;
    assert!(run(&without, policy).is_ok());
}

#[test]
fn too_many_messages_are_refused_before_any_is_checked() {
    let body = format!("[{}]", vec!["{}"; 1025].join(","));
    for on_failure in [OnFailure::Reject, OnFailure::Drop] {
        let failure = run(&body, policy(Mode::Optional, on_failure)).unwrap_err();
        assert_eq!((failure.reason, failure.reason.code()), (Reason::TooMany, "malformed"));
    }
}

#[test]
fn a_failure_tells_its_code_and_no_more() {
    let unknown = run(&signed(&MEMORY.replace("ceo", "nobody"), "ceo"), REQUIRED()).unwrap_err();
    assert_eq!(unknown.to_string(), "the body is refused: key_unknown");
    for (place, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, place);
    }
}

#[test]
fn the_query_decides_where_the_policy_says_so() {
    let mut policy = REQUIRED();
    policy.envelope = Envelope::Query;
    let (tenant, keys) = (tenant(), registry());
    let body = format!("{{\"body\":{}}}", signed(MEMORY, "ceo"));
    let mut scratch = Scratch::default();
    let mut run = |query| {
        let context =
            Context { policy: &policy, tenant: &tenant, keys: &keys, query, now_unix: NOW, taken: None };
        verify(body.as_bytes(), &context, &mut scratch).map(drop).map_err(|failure| failure.reason)
    };
    assert_eq!(run(Some("unwrap=generic&handleRequest=true")), Ok(()));
    assert_eq!(run(None), Err(Reason::SignatureMissing));
    assert_eq!(run(Some("unwrap=generic&unwrap=generic")), Err(Reason::Malformed));
}

proptest! {
    /// A changed byte either breaks the message or changes nothing that anyone reads.
    #[test]
    fn no_single_byte_can_be_changed_unseen(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let good = signed(MEMORY, "ceo");
        let text = |body: &[u8]| super::super::sign::canonical_text(body);
        let mut changed = good.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        let (tenant, keys, policy) = (tenant(), registry(), REQUIRED());
        let context = Context { policy: &policy, tenant: &tenant, keys: &keys, query: None, now_unix: NOW, taken: None };
        if verify(&changed, &context, &mut Scratch::default()).is_ok() {
            assert_eq!(text(&changed).unwrap(), text(good.as_bytes()).unwrap());
        }
    }

    #[test]
    fn no_body_makes_it_panic(body in any::<Vec<u8>>(), which in 0_usize..5) {
        let mut policy = policy(Mode::Optional, OnFailure::Drop);
        policy.envelope = [Envelope::None, Envelope::Telegram, Envelope::Discord, Envelope::Generic, Envelope::Query][which];
        let (tenant, keys) = (tenant(), registry());
        let context = Context { policy: &policy, tenant: &tenant, keys: &keys, query: Some("a=b"), now_unix: NOW, taken: None };
        let _ = verify(&body, &context, &mut Scratch::default());
    }
}

#[test]
fn an_array_has_the_verdicts_that_its_messages_have_alone() {
    let key = secret("ceo");
    let node = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
    let tenant = TenantId::parse("acme").unwrap();
    let registered = |name: &str, key: &SigningKey| {
        NodeKey::of(tenant.clone(), NodeId::parse(name).unwrap(), key.verifying_key())
    };
    // One node has one key, the other two.
    let own = [registered("ceo", &key), registered("sec", &node(1)), registered("sec", &node(2))];
    let keys = KeyRegistry::build(&own).unwrap();
    let policy = MeshRules {
        mode: Mode::Required,
        on_failure: OnFailure::Drop,
        envelope: Envelope::None,
        freshness: None,
        canonical: Canonical::Mesh,
    };
    let context =
        Context { policy: &policy, tenant: &tenant, keys: &keys, query: None, now_unix: 0.0, taken: None };
    let mut messages = Vec::new();
    for n in 0..150_u32 {
        let (who, with) = match n % 5 {
            0 | 1 => ("ceo", key.clone()),
            2 => ("sec", node(1)),
            3 => ("sec", node(2)),
            // Signed by another.
            _ => ("ceo", node(3)),
        };
        let text = format!(r#"{{"type":"memory","nodeId":"{who}","n":{n}}}"#);
        let mut signed = String::from_utf8(sign(text.as_bytes(), &with).unwrap()).unwrap();
        match n % 7 {
            5 => signed = signed.replacen(&format!("\"n\":{n}"), "\"n\":0.5", 1),
            6 => signed = text,
            _ => {}
        }
        messages.push(signed);
    }
    // Twice, so that the keys are warm the second time.
    for _ in 0..2 {
        let alone: Vec<bool> = messages
            .iter()
            .map(|one| verify(one.as_bytes(), &context, &mut Scratch::default()).unwrap().verified == 1)
            .collect();
        let array = format!("[{}]", messages.join(","));
        let together = verify(array.as_bytes(), &context, &mut Scratch::default()).unwrap();
        let kept: Vec<&str> =
            messages.iter().zip(&alone).filter(|(_, held)| **held).map(|(one, _)| one.as_str()).collect();
        assert!(kept.len() > 50 && kept.len() < 120, "{}", kept.len());
        assert_eq!(together.forward, Forward::Rewritten(format!("[{}]", kept.join(",")).into_bytes()));
        assert_eq!(together.verified, kept.len());
    }
}
