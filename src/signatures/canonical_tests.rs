//! What the walk writes, what it refuses, and what it never does.

use super::*;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

fn canonical(text: &str) -> Result<String, Malformed> {
    one(text.as_bytes())
}

fn one(body: &[u8]) -> Result<String, Malformed> {
    let mut reader = Canonicaliser::default();
    let document = reader.read(body)?;
    assert_eq!(document.shape(), Shape::Single);
    let (_, content) = document.elements().next().unwrap();
    content.map(|message| std::str::from_utf8(message.canonical).unwrap().to_owned())
}

fn check(text: &str, expected: &str) {
    assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
    assert_eq!(canonical(expected).as_deref(), Ok(expected), "{expected}");
}

#[test]
fn the_top_level_is_sorted_and_what_is_below_keeps_its_order() {
    check(r#"{"b":{"z":1,"a":2},"a":[{"d":1,"c":2}]}"#, r#"{"a":[{"d":1,"c":2}],"b":{"z":1,"a":2}}"#);
    check("{}", "{}");
    check(" {\n} ", "{}");
    check(r#"{"sig":"a","signature":"b"}"#, "{}");
    check(r#"{"x":{"sig":"a","signature":"b"},"s\u0069g":1}"#, r#"{"x":{"sig":"a","signature":"b"}}"#);
}

#[test]
fn array_indexes_come_first_at_every_level() {
    check(
        r#"{"a":{"x":{"9":1,"b":[{"q":0,"1":0,"0":0}],"3":{}},"2":0,"10":0},"5":0,"1":0}"#,
        r#"{"1":0,"5":0,"a":{"2":0,"10":0,"x":{"3":{},"9":1,"b":[{"0":0,"1":0,"q":0}]}}}"#,
    );
    check(r#"{"a":{ "b" : 1 , "\u0031" : 2 } }"#, r#"{"a":{"1":2,"b":1}}"#);
}

#[test]
fn numbers_are_spelled_as_doubles() {
    check(
        r#"{"a":[1.0,10e-1,-0,-0.0,0,1E3,123456789012345,9007199254740993,1e21,1e-7,0.1e-400]}"#,
        r#"{"a":[1,1,0,0,0,1000,123456789012345,9007199254740992,1e+21,1e-7,0]}"#,
    );
}

#[test]
fn strings_escape_only_what_they_must() {
    check(r#"{"a":"\u0041\/\u00e9\u007f\u001F\u0008\u000b"}"#, "{\"a\":\"A/é\u{7f}\\u001f\\b\\u000b\"}");
    check(r#"{"a":"\uD83D\uDE00\uD83D\uDE01"}"#, "{\"a\":\"😀😁\"}");
    check(r#"{"a":"\uD83D\uD83D\uDE00\uDE00"}"#, "{\"a\":\"\\ud83d😀\\ude00\"}");
}

#[test]
fn a_name_that_stands_twice_is_refused_however_it_is_spelled() {
    let twice =
        |text: &str| assert!(matches!(canonical(text), Err(Malformed::RepeatedName { .. })), "{text}");
    twice(r#"{"a":1,"a":1}"#);
    twice(r#"{"a":1,"\u0061":1}"#);
    twice(r#"{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#);
    twice(r#"{"\ud800":1,"\uD800":1}"#);
    twice(r#"{"sig":"a","sig":"b"}"#);
    twice(r#"{"a":{"__proto__":1,"__proto__":2}}"#);
    let many = |last: usize| {
        let names: Vec<_> = (0..1000).map(|n| format!("\"name-{n}\":0")).collect();
        format!(r#"{{"a":{{{},"name-{last}":1}}}}"#, names.join(","))
    };
    for last in [0, 15, 16, 17, 999] {
        twice(&many(last));
    }
    assert!(canonical(&many(1000)).is_ok());
}

#[test]
fn a_hundred_thousand_members_are_read_in_order_and_compared() {
    let names: Vec<_> = (0..100_000).rev().map(|n| format!("\"{n}\":0,\"prefixed-{n}\":0")).collect();
    let nested = format!("{{\"a\":{{{}}}}}", names.join(","));
    let text = canonical(&nested).unwrap();
    assert!(text.starts_with(r#"{"a":{"0":0,"1":0,"#));
    assert!(text.ends_with(r#""prefixed-1":0,"prefixed-0":0}}"#));
    let twice = nested.replace("\"prefixed-0\"", "\"prefixed-99999\"");
    assert!(matches!(canonical(&twice), Err(Malformed::RepeatedName { .. })));
}

#[test]
fn a_prototype_is_refused_at_the_top_level_alone() {
    assert_eq!(canonical(r#"{"__proto__":{}}"#), Err(Malformed::Prototype));
    assert_eq!(canonical(r#"{"\u005f_proto__":{}}"#), Err(Malformed::Prototype));
    check(r#"{"a":{"__proto__":{}}}"#, r#"{"a":{"__proto__":{}}}"#);
}

#[test]
fn each_fault_has_its_own_error() {
    let deep = |levels: usize| format!("{}{}", "{\"a\":".repeat(levels - 1), "{}") + &"}".repeat(levels - 1);
    assert!(canonical(&deep(128)).is_ok());
    assert!(matches!(canonical(&deep(129)), Err(Malformed::TooDeep { .. })));
    assert_eq!(canonical(r#"{"a":1e400}"#), Err(Malformed::NumberRange { at: 5 }));
    assert_eq!(one(b"{\"a\":\"\xff\"}"), Err(Malformed::NotUtf8 { at: 6 }));
    assert_eq!(one(b"{\"a\":\"\xed\xa0\x80\"}"), Err(Malformed::NotUtf8 { at: 6 }));
    assert_eq!(canonical("\u{feff}{}"), Err(Malformed::Syntax { at: 0 }));
    assert_eq!(canonical("{} x"), Err(Malformed::Syntax { at: 3 }));
    assert_eq!(canonical("{\"a\":1"), Err(Malformed::Syntax { at: 6 }));
    assert_eq!(canonical("\"text\""), Err(Malformed::NotAnObject));
}

#[test]
fn an_array_is_cut_into_its_elements_and_one_bad_one_spares_the_next() {
    let body = br#" [ {"b" : 1, "a":2} ,7, {"a":1,"a":2}, [{}] , {"x":1e999},{"ok":true} ] "#;
    let mut reader = Canonicaliser::default();
    let document = reader.read(body).unwrap();
    assert_eq!((document.shape(), document.len()), (Shape::Batch, 6));
    let found: Vec<_> = document
        .elements()
        .map(|(raw, content)| (raw, content.map(|m| std::str::from_utf8(m.canonical).unwrap())))
        .collect();
    assert_eq!(found[0], (r#"{"b" : 1, "a":2}"#, Ok(r#"{"a":2,"b":1}"#)));
    assert_eq!(found[1], ("7", Err(Malformed::NotAnObject)));
    assert!(matches!(found[2], (r#"{"a":1,"a":2}"#, Err(Malformed::RepeatedName { .. }))));
    assert_eq!(found[3], ("[{}]", Err(Malformed::NotAnObject)));
    assert!(matches!(found[4], (r#"{"x":1e999}"#, Err(Malformed::NumberRange { .. }))));
    assert_eq!(found[5], (r#"{"ok":true}"#, Ok(r#"{"ok":true}"#)));
}

#[test]
fn a_batch_has_a_bound() {
    let batch = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    let mut reader = Canonicaliser::default();
    assert_eq!(reader.read(batch(MAX_MESSAGES).as_bytes()).unwrap().len(), MAX_MESSAGES);
    let error = reader.read(batch(MAX_MESSAGES + 1).as_bytes()).unwrap_err();
    assert_eq!(error, Malformed::TooMany { max: MAX_MESSAGES });
    assert!(reader.read(b"[ ]").unwrap().is_empty());
}

#[test]
fn the_members_that_verification_asks_for_are_picked_out_decoded() {
    let body =
        r#"{"type":"sk\u0069ll","sourceNode":"a\/b","nodeId":7,"ts":-1.5e3,"signature":"s","x":{"sig":1}}"#;
    let mut reader = Canonicaliser::default();
    let document = reader.read(body.as_bytes()).unwrap();
    let (_, message) = document.elements().next().unwrap();
    let message = message.unwrap();
    assert_eq!(message.kind, Field::Text("skill"));
    assert_eq!(message.source, Field::Text("a/b"));
    assert_eq!(message.node, Field::NotText);
    assert_eq!(message.sig, Field::Text("s"));
    assert_eq!(message.ts, Some(-1500.0));
    let document = reader.read(br#"{"sig":null,"signature":"s","ts":"1","nodeId":"\ud800"}"#).unwrap();
    let (_, message) = document.elements().next().unwrap();
    let message = message.unwrap();
    assert_eq!((message.sig, message.ts), (Field::NotText, None));
    assert_eq!((message.kind, message.node), (Field::Absent, Field::NotText));
}

#[test]
fn a_reader_that_is_used_again_remembers_nothing() {
    let mut reader = Canonicaliser::default();
    assert!(reader.read(br#"[{"a":{"b":[{"c":1,"#).is_err());
    let document = reader.read(br#"{"d":1}"#).unwrap();
    let (_, message) = document.elements().next().unwrap();
    assert_eq!(message.unwrap().canonical, br#"{"d":1}"#);
}

#[test]
fn the_published_numbers_of_rfc_8785_come_out_as_published() {
    let cases = [
        ("0", "0"),
        ("5e-324", "5e-324"),
        ("-5e-324", "-5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("9007199254740992", "9007199254740992"),
        ("-9007199254740992", "-9007199254740992"),
        ("295147905179352830000", "295147905179352830000"),
        ("9.999999999999997e22", "9.999999999999997e+22"),
        ("1e23", "1e+23"),
        ("999999999999999700000", "999999999999999700000"),
        ("999999999999999900000", "999999999999999900000"),
        ("0.000001", "0.000001"),
        ("333333333.3333332", "333333333.3333332"),
        ("9.999999999999997e-7", "9.999999999999997e-7"),
        ("0.000009999999999999997", "0.000009999999999999997"),
    ];
    for (given, expected) in cases {
        check(&format!("{{\"n\":{given}}}"), &format!("{{\"n\":{expected}}}"));
    }
}

/// Sound JSON of every kind, with names that collide now and then.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "null|true|false|-?[0-9]{1,3}|[1-9]\\.[0-9]{1,5}e-?[0-9]",
        "\"[a-zé😀]{0,6}(\\\\u[0-9a-d]{4}|\\\\n|\\\\/)?\"",
    ];
    leaf.prop_map(|text| if text.starts_with('0') || text.starts_with("-0") { "0".into() } else { text })
        .prop_recursive(4, 40, 5, |inner| {
            let name =
                prop_oneof!["\"[a-c0-9]{1,2}\"", Just("\"sig\"".to_owned()), Just("\"\\u0031\"".to_owned())];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[ {} ]", v.join(" ,"))),
                proptest::collection::vec((name, inner), 0..5).prop_map(|members| {
                    let members: Vec<_> = members.iter().map(|(n, v)| format!("{n} : {v}")).collect();
                    format!("{{{}}}", members.join(", "))
                }),
            ]
        })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = Canonicaliser::default().read(&bytes).map(|document| document.elements().count());
    }

    #[test]
    fn no_broken_json_makes_it_panic(text in json(), cut in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = cut.index(bytes.len());
        bytes[at] = byte;
        let _ = Canonicaliser::default().read(&bytes).map(|document| document.elements().count());
        bytes.truncate(at);
        let _ = Canonicaliser::default().read(&bytes).map(|document| document.elements().count());
    }

    #[test]
    fn a_canonical_text_is_its_own_canonical_text(value in json(), other in json()) {
        let text = format!("{{\"b\":{value} ,\"a\": {other}}}");
        if let Ok(first) = canonical(&text) {
            assert_eq!(canonical(&first).as_deref(), Ok(first.as_str()));
        }
    }

    #[test]
    fn a_canonical_text_means_what_the_message_means(value in json(), other in json()) {
        let text = format!("{{\"b\":{value} ,\"a\": {other}}}");
        // Another reader; it has no lone surrogates.
        if let (Ok(ours), Ok(theirs)) = (canonical(&text), serde_json::from_str::<serde_json::Value>(&text)) {
            let ours: serde_json::Value = serde_json::from_str(&ours).unwrap();
            assert!(same(&ours, &theirs), "{ours} {theirs}");
        }
    }
}

/// Equal, with numbers compared as doubles and members in any order.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(a), Number(b)) => a.as_f64() == b.as_f64(),
        (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Object(a), Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn jcs(text: &str) -> Result<String, Malformed> {
    let mut reader = Canonicaliser::default();
    let document = reader.read_as(text.as_bytes(), Canonical::Jcs)?;
    let (_, content) = document.elements().next().unwrap();
    content.map(|message| std::str::from_utf8(message.canonical).unwrap().to_owned())
}

#[test]
fn in_rfc_8785_every_level_is_sorted_and_indexes_are_names_like_others() {
    let text = r#"{"b":{"z":1,"a":[{"d":1,"10":2,"9":{}}]},"2":0,"10":1.0,"sig":"x","\u0061":"\u00e9"}"#;
    assert_eq!(jcs(text).unwrap(), r#"{"10":1,"2":0,"a":"é","b":{"a":[{"10":2,"9":{},"d":1}],"z":1}}"#);
    assert!(matches!(jcs(r#"{"a":"\ud800"}"#), Err(Malformed::HalfCharacter { .. })));
    assert!(matches!(jcs(r#"{"a":{"\ud800":1}}"#), Err(Malformed::HalfCharacter { .. })));
    assert!(jcs(r#"{"a":"\ud83d\ude00"}"#).is_ok());
}

proptest! {
    /// Sorting is by what names are, not by how they stood: any order of the members is one text.
    #[test]
    fn in_rfc_8785_the_order_of_members_does_not_matter(names in proptest::collection::btree_set(any::<String>(), 0..24), turn in any::<usize>()) {
        let named = |names: &[String]| {
            let members: Vec<String> = names.iter().map(|name| format!("{}:0", serde_json::to_string(name).unwrap())).collect();
            format!("{{\"x\":{{{}}}}}", members.join(","))
        };
        let mut names: Vec<String> = names.into_iter().filter(|name| name != "sig" && name != "signature").collect();
        let one = jcs(&named(&names));
        let turn = turn % names.len().max(1);
        names.rotate_left(turn);
        let other = jcs(&named(&names));
        assert_eq!(&one, &other);
        names.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        let names: Vec<String> = names.into_iter().collect();
        assert_eq!(one.unwrap(), named(&names));
    }
}
