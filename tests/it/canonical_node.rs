//! The canonical text beside what Node itself writes: generated JSON, sound and broken.
//!
//! Needs Node: a machine without it is named as leaving these out, or fails where nothing may be left out.

use crate::house::parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openclaw_edge::signatures::{Malformed, sign::canonical_text};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Sound texts, and as many broken ones, that are put to both sides.
const TEXTS: usize = 2000;

/// One Node process that answers line for line.
struct Node {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What Node makes of a text.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Text(Vec<u8>),
    Refused,
    NotAnObject,
}

impl Node {
    fn start() -> Option<Self> {
        let program = parts::node()?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/reference/canonical.mjs");
        let mut child = Command::new(program)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a Node that starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, input, output })
    }

    fn ask(&mut self, text: &str) -> Answer {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{}", STANDARD.encode(text)).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        match line.trim_end().split_once(' ') {
            Some(("text", spelled)) => Answer::Text(STANDARD.decode(spelled).unwrap()),
            _ if line == "refused\n" => Answer::Refused,
            _ if line == "other\n" => Answer::NotAnObject,
            _ => panic!("node answered {line:?} to {text:?}"),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// The same texts on every run.
fn runner() -> TestRunner {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(Config::default(), rng)
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// One character of a string, spelled in any way that JSON has.
fn character() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9 ]",
        1 => "[é߿ࠀ｡\u{e000}\u{ffff}\u{2028}\u{7f}😀\u{10ffff}]",
        1 => prop_oneof![Just("\\\""), Just("\\\\"), Just("\\/"), Just("\\b"), Just("\\f"), Just("\\n"),
            Just("\\r"), Just("\\t")].prop_map(str::to_owned),
        1 => (0_u32..0x10000, any::<bool>()).prop_map(|(unit, upper)| hex(unit, upper)),
        1 => (0_u32..0x80, any::<bool>()).prop_map(|(unit, upper)| hex(unit, upper)),
        1 => (0xD7F0_u32..0xE010, any::<bool>()).prop_map(|(unit, upper)| hex(unit, upper)),
        1 => (0xD800_u32..0xDC00, 0xDC00_u32..0xE000).prop_map(|(a, b)| hex(a, true) + &hex(b, false)),
    ]
}

fn hex(unit: u32, upper: bool) -> String {
    if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") }
}

fn string() -> impl Strategy<Value = String> {
    vec(character(), 0..14).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<i32>().prop_map(|n| n.to_string()),
        2 => any::<i64>().prop_map(|n| n.to_string()),
        2 => any::<f64>().prop_filter("JSON has no such number", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        2 => "-?(0|[1-9][0-9]{0,8})\\.(0{0,8}[0-9]{1,8})",
        2 => "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?",
        1 => "-?(0|[1-9])(\\.[0-9]{1,3})?[eE]-[0-9]{3}",
        1 => "[1-9](\\.[0-9]{1,17})?[eE][+]?(2[0-9]|30)[0-9]",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => string(),
        3 => (0_u64..12).prop_map(|n| format!("\"{n}\"")),
        1 => (4_294_967_290_u64..4_294_967_300).prop_map(|n| format!("\"{n}\"")),
        1 => "\"(0[0-9]|-[0-9]|[0-9]\\\\u003[0-9]|[1-9][0-9]{9,11})\"",
        2 => prop_oneof![Just("\"sig\""), Just("\"signature\""), Just("\"type\""), Just("\"nodeId\""),
            Just("\"s\\u0069g\""), Just("\"toString\""), Just("\"constructor\"")].prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned),
        number(),
        string(),
    ];
    leaf.prop_recursive(7, 60, 6, |inner| {
        prop_oneof![
            (vec((space(), inner.clone(), space()), 0..6), space()).prop_map(|(items, empty)| {
                let items: Vec<_> = items.into_iter().map(|(a, v, b)| a + &v + &b).collect();
                format!("[{}{}]", items.join(","), if items.is_empty() { empty } else { String::new() })
            }),
            object(inner),
        ]
    })
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), name(), space(), space(), inner, space());
    vec(member, 0..9).prop_map(|members| {
        let members: Vec<_> =
            members.into_iter().map(|(a, n, b, c, v, d)| format!("{a}{n}{b}:{c}{v}{d}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn message() -> impl Strategy<Value = String> {
    (space(), object(value()), space()).prop_map(|(a, object, b)| a + &object + &b)
}

/// Puts one text to both; answers whether both gave a canonical text.
fn compare(node: &mut Node, text: &str) -> bool {
    let theirs = node.ask(text);
    match (canonical_text(text.as_bytes()), theirs) {
        (Ok(ours), Answer::Text(theirs)) => {
            let (ours, theirs) = (String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
            assert_eq!(ours, theirs, "of {text}");
            true
        }
        (Err(Malformed::Syntax { .. }), Answer::Refused)
        | (Err(Malformed::NotAnObject), Answer::NotAnObject)
        // All that is refused here and read there.
        | (
            Err(Malformed::RepeatedName { .. } | Malformed::NumberRange { .. } | Malformed::TooDeep { .. }
                | Malformed::Prototype),
            Answer::Text(_) | Answer::NotAnObject,
        ) => false,
        (ours, theirs) => panic!("{ours:?} here and {theirs:?} in node, of {text}"),
    }
}

#[test]
fn the_canonical_text_is_the_one_that_node_writes() {
    let Some(mut node) = Node::start() else { return };
    let (mut runner, strategy) = (runner(), message());
    let mut agreed = 0;
    for _ in 0..TEXTS {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        agreed += usize::from(compare(&mut node, &text));
    }
    // The rest have a name twice or a number too large, and were refused.
    assert!(agreed > TEXTS / 2, "only {agreed} of {TEXTS} texts were compared");
}

#[test]
fn what_node_refuses_to_read_is_refused() {
    let Some(mut node) = Node::start() else { return };
    let mut runner = runner();
    let piece = prop_oneof![
        "[ -~]",
        "[\\[\\]{}:,\"0\\\\.e+-]",
        Just("\u{feff}".to_owned()),
        Just("\u{a0}".to_owned()),
        Just("\u{0}".to_owned()),
        Just("\u{1f}".to_owned()),
        Just(String::new())
    ];
    let strategy = (message(), any::<Index>(), 0_usize..3, piece);
    for _ in 0..TEXTS {
        let (text, place, cut, piece) = strategy.new_tree(&mut runner).unwrap().current();
        let mut characters: Vec<char> = text.chars().collect();
        let at = place.index(characters.len());
        let end = (at + cut).min(characters.len());
        characters.splice(at..end, piece.chars());
        compare(&mut node, &characters.into_iter().collect::<String>());
    }
}

#[test]
fn texts_at_the_edges_of_the_grammar_come_out_alike() {
    let Some(mut node) = Node::start() else { return };
    let texts = [
        "",
        " ",
        "{",
        "}",
        "{}",
        "{ }",
        "[]",
        "null",
        "nul",
        "nulll",
        "1",
        "01",
        "-",
        "-0",
        "1.",
        ".5",
        "1e",
        "+1",
        "\"a",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":[1,]}",
        "{\"a\":1}x",
        "{\"a\":1}\0",
        "\u{feff}{}",
        "{\"a\":01}",
        "{\"a\":-01}",
        "{\"a\":1.e1}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{'a':1}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\u{7f}\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\U0041\"}",
        "{\"a\":\"\\u+041\"}",
        "{\"a\":\"\\ud800\\u\"}",
        "{\"a\":\"\\ud800\\ud800\\udc00\"}",
        "{\"a\":-0,\"b\":-0.0,\"c\":-0e9,\"d\":1e-400,\"e\":-1e-400,\"f\":0e999}",
        "{\"a\":1e400}",
        "{\"a\":-1e309}",
        "{\"a\":999999999999999,\"b\":9999999999999999,\"c\":-999999999999999,\"d\":9007199254740993}",
        "{\"a\":1.7976931348623158e308}",
        "{\"a\":1.7976931348623159e308}",
        "{\"a\":5e-324,\"b\":2e-324}",
        "{\"a\":true,\"a\":1}",
        "{\"\\u0061\":1,\"a\":2}",
        "{\"x\":{\"__proto__\":1,\"b\":{}}}",
        "{\"__proto__\":1}",
        "{\"\\u005f_proto__\":1}",
        "{\"b\":{\"y\":1,\"3\":{\"z\":[],\"1\":2},\"0\":[{\"q\":1,\"5\":2}]},\"1\":[]}",
        "{\"\":1,\"\\u0000\":2,\"a\\u0000\":3,\"a\":4}",
        "{\"\\ud800\":1,\"\\ud800\\udc00\":2,\"\\udbff\":3,\"\u{e000}\":4}",
    ];
    for text in texts {
        compare(&mut node, text);
    }
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(compare(&mut node, &deep(128)));
    assert!(!compare(&mut node, &deep(129)));
}
