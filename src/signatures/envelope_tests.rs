//! Which part of a body is taken for the messages, and when none is.

use super::*;

/// What is found: `Ok("")` stands for the whole body.
fn found(wrapping: Wrapping, mode: Mode, body: &str) -> Result<String, Malformed> {
    let (mut inner, mut reader) = (Vec::new(), Canonicaliser::default());
    let text = messages(body.as_bytes(), wrapping, mode, &mut inner, &mut reader)?;
    Ok(if text == body.as_bytes() { String::new() } else { String::from_utf8(text.to_vec()).unwrap() })
}

fn check(wrapping: Wrapping, cases: &[(&str, Result<&str, Malformed>)]) {
    for (body, expected) in cases {
        let found = found(wrapping, Mode::Required, body);
        assert_eq!(found.as_deref().map_err(|error| *error), *expected, "{body}");
    }
}

const TWO_WAYS: Result<&str, Malformed> = Err(Malformed::Ambiguous);
const WHOLE: Result<&str, Malformed> = Ok("");

#[test]
fn a_telegram_update_holds_its_message_in_a_text() {
    check(
        Wrapping::Telegram,
        &[
            (r#"{"update_id":1,"message":{"text":"{\"a\":1}"}}"#, Ok(r#"{"a":1}"#)),
            (r#"{"channel_post":{"text":"[1]"}}"#, Ok("[1]")),
            (r#"{"message":null,"edited_message":{"caption":"[1]"}}"#, Ok("[1]")),
            (r#"{"message":{"text":null,"caption":"[1]"}}"#, Ok("[1]")),
            (r#"{"message":{"text":"[1]","caption":"[2]"}}"#, Ok("[1]")),
            (r#"{"message":{"text":"[1]"},"channel_post":{"text":"[2]"}}"#, Ok("[1]")),
            (r#"{"edited_message":{"text":"[1]"},"channel_post":{"text":"[2]"}}"#, Ok("[2]")),
            (r#"{"m\u0065ssage":{"te\u0078t":"[1]"}}"#, Ok("[1]")),
            // Nothing to unwrap, in every reading.
            (r#"{"type":"memory"}"#, WHOLE),
            (r#"{"message":{"photo":[]}}"#, WHOLE),
            (r#"{"message":{"text":""}}"#, WHOLE),
            (r#"{"message":""}"#, WHOLE),
            (r#"{"message":"[1]"}"#, WHOLE),
            ("[1]", WHOLE),
            ("7", WHOLE),
            // Readings that differ.
            (r#"{"message":{"photo":[]},"channel_post":{"text":"[2]"}}"#, TWO_WAYS),
            (r#"{"message":"","channel_post":{"text":"[2]"}}"#, TWO_WAYS),
            (r#"{"message":0,"edited_message":{}}"#, TWO_WAYS),
            (r#"{"message":{"text":"","caption":"[1]"}}"#, TWO_WAYS),
            (r#"{"message":{"text":{"a":1}}}"#, TWO_WAYS),
            (r#"{"message":{"text":7,"caption":"[1]"}}"#, TWO_WAYS),
            (r#"{"message":{"caption":[1]}}"#, TWO_WAYS),
        ],
    );
}

#[test]
fn a_discord_message_holds_it_in_its_content_or_body() {
    check(
        Wrapping::Discord,
        &[
            (r#"{"content":"[1]"}"#, Ok("[1]")),
            (r#"{"content":{"type":"memory"}}"#, Ok(r#"{"type":"memory"}"#)),
            (r#"{"content":{"type":"sk\u0069ll"},"body":"[1]"}"#, Ok(r#"{"type":"sk\u0069ll"}"#)),
            (r#"{"content":null,"body":{"content":"[1]"}}"#, Ok("[1]")),
            (r#"{"body":{"content":{"type":"skill"}}}"#, Ok(r#"{"type":"skill"}"#)),
            (r#"{"body":{"type":"memory"}}"#, Ok(r#"{"type":"memory"}"#)),
            (r#"{"body":"[1]"}"#, Ok("[1]")),
            (r#"{"body":{"type":"mesh_request"}}"#, WHOLE),
            (r#"{"content":{"type":"mesh_request"}}"#, WHOLE),
            (r#"{"content":["memory"]}"#, WHOLE),
            (r#"{"content":""}"#, WHOLE),
            (r#"{"body":{"content":""}}"#, WHOLE),
            (r#"{"body":[1]}"#, WHOLE),
            (r#"{"content":"","body":"[1]"}"#, TWO_WAYS),
            (r#"{"content":{"type":"x"},"body":"[1]"}"#, TWO_WAYS),
            (r#"{"content":7,"body":{"type":"memory"}}"#, TWO_WAYS),
            (r#"{"body":{"type":"memory","content":""}}"#, TWO_WAYS),
            (r#"{"body":{"type":"memory","content":{"type":"x"}}}"#, TWO_WAYS),
        ],
    );
}

#[test]
fn a_generic_webhook_holds_it_in_body_message_or_data() {
    check(
        Wrapping::Generic,
        &[
            (r#"{"body":{"a":1},"message":"[2]"}"#, Ok(r#"{"a":1}"#)),
            (r#"{"body":null,"message":[1]}"#, Ok("[1]")),
            (r#"{"data":"[1]"}"#, Ok("[1]")),
            (r#"{"data":0}"#, WHOLE),
            (r#"{"type":"memory"}"#, WHOLE),
            (r#"{"body":"","data":"[1]"}"#, TWO_WAYS),
            (r#"{"body":false,"data":"[1]"}"#, TWO_WAYS),
            (r#"{"body":-0e5,"data":"[1]"}"#, TWO_WAYS),
            (r#"{"body":7,"message":{}}"#, TWO_WAYS),
        ],
    );
}

#[test]
fn an_envelope_that_names_a_member_twice_is_refused() {
    for (wrapping, body) in [
        (Wrapping::Telegram, r#"{"message":{"text":"[1]"},"message":{"text":"[2]"}}"#),
        (Wrapping::Telegram, r#"{"message":{"text":"[1]","t\u0065xt":"[2]"}}"#),
        (Wrapping::Discord, r#"{"content":"[1]","content":"[2]"}"#),
        (Wrapping::Discord, r#"{"content":{"type":"memory","type":"x"}}"#),
        (Wrapping::Generic, r#"{"body":"[1]","body":"[1]"}"#),
    ] {
        let found = found(wrapping, Mode::Required, body);
        assert!(matches!(found, Err(Malformed::RepeatedName { .. })), "{body}: {found:?}");
    }
    let prototype = r#"{"__proto__":{"body":"[1]"}}"#;
    assert_eq!(found(Wrapping::Generic, Mode::Required, prototype), Err(Malformed::Prototype));
}

#[test]
fn text_that_is_no_message_leaves_an_optional_body_whole() {
    for text in ["hello", "42", "null", "\\\"[1]\\\"", "{", "\u{feff}[1]"] {
        let body = format!("{{\"message\":{{\"text\":\"{text}\"}}}}");
        assert_eq!(found(Wrapping::Telegram, Mode::Optional, &body), Ok(String::new()), "{text}");
        assert_ne!(found(Wrapping::Telegram, Mode::Required, &body), Ok(String::new()), "{text}");
    }
    let body = r#"{"message":{"text":" [1]"}}"#;
    assert_eq!(found(Wrapping::Telegram, Mode::Optional, body).as_deref(), Ok(" [1]"));
}

#[test]
fn half_a_character_in_the_text_is_refused() {
    let body = r#"{"data":"[\"\ud800\"]"}"#;
    assert_eq!(found(Wrapping::Generic, Mode::Required, body), Err(Malformed::InnerText));
    // Spelled as an escape inside the inner text it is a matter of the inner text.
    let body = r#"{"data":"[\"\\ud800\"]"}"#;
    assert_eq!(found(Wrapping::Generic, Mode::Required, body).as_deref(), Ok(r#"["\ud800"]"#));
}

#[test]
fn the_query_and_the_policy_must_not_say_different_things() {
    let agree = [
        (Envelope::Query, None, Wrapping::None),
        (Envelope::Query, Some("handleRequest=true&unwrap=discord"), Wrapping::Discord),
        (Envelope::Query, Some("unwr%61p=tele%67ram"), Wrapping::Telegram),
        (Envelope::Query, Some("Unwrap=generic&unwrapp=telegram&xunwrap=generic"), Wrapping::None),
        (Envelope::Telegram, None, Wrapping::Telegram),
        (Envelope::Telegram, Some("unwrap=telegram"), Wrapping::Telegram),
        (Envelope::None, Some("a=unwrap"), Wrapping::None),
    ];
    for (envelope, query, expected) in agree {
        assert_eq!(wrapping(envelope, query), Ok(expected), "{query:?}");
    }
    let differ = [
        (Envelope::Query, "unwrap=slack"),
        (Envelope::Query, "unwrap="),
        (Envelope::Query, "unwrap"),
        (Envelope::Query, "unwrap=telegram&unwrap=telegram"),
        (Envelope::Query, "unwrap=Telegram"),
        (Envelope::Telegram, "unwrap=generic"),
        (Envelope::Telegram, "unwr%61p=generic"),
        (Envelope::None, "unwrap=generic"),
    ];
    for (envelope, query) in differ {
        assert_eq!(wrapping(envelope, Some(query)), Err(Malformed::Ambiguous), "{query}");
    }
}
