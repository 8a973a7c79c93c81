//! JSON as text: checked once, then carried byte for byte, so that numbers, member order and
//! escapes come back as they were put.
//!
//! Knows nothing of rows or tables.

use serde::de::IgnoredAny;

/// Deepest nesting at which strings are found by a search; the value itself is at 0.
const SEARCHED_DEPTH: usize = 3;

/// One JSON text (RFC 8259), exactly as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Takes the text if it is one JSON value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        Some(Self(Box::from(text)))
    }

    /// A JSON string with this content.
    #[must_use]
    pub fn string(content: &str) -> Self {
        let mut out = Vec::with_capacity(content.len() + 2);
        write_string(&mut out, content);
        Self(String::from_utf8_lossy(&out).into())
    }

    /// What a column of this store holds: it was a [`Json`] when it was written.
    pub(crate) fn trusted(text: String) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every string in the value down to the searched depth, without member names, in order.
    #[must_use]
    pub fn strings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut depth = 0_usize;
        let mut last: Option<&str> = None;
        for lexeme in Lexemes(&self.0) {
            match lexeme {
                Lexeme::Text(raw) => last = Some(raw),
                Lexeme::Other(":") => last = None,
                Lexeme::Other(" " | "\t" | "\r" | "\n") => {}
                Lexeme::Number(_) | Lexeme::Other(_) => keep(&mut found, last.take(), depth),
            }
            match lexeme {
                Lexeme::Other("{" | "[") => depth += 1,
                Lexeme::Other("}" | "]") => depth = depth.saturating_sub(1),
                Lexeme::Text(_) | Lexeme::Number(_) | Lexeme::Other(_) => {}
            }
        }
        keep(&mut found, last, depth);
        found
    }

    /// The same value with each number as a program that keeps numbers in doubles writes it.
    #[must_use]
    pub fn with_double_numbers(&self) -> Self {
        let mut out = String::with_capacity(self.0.len());
        for lexeme in Lexemes(&self.0) {
            match lexeme {
                Lexeme::Number(raw) => out.push_str(&as_double(raw)),
                Lexeme::Text(raw) | Lexeme::Other(raw) => out.push_str(raw),
            }
        }
        Self(out.into())
    }
}

fn keep(found: &mut Vec<String>, raw: Option<&str>, depth: usize) {
    let Some(raw) = raw.filter(|_| depth <= SEARCHED_DEPTH) else { return };
    // A lone surrogate is JSON but no text; the escape itself is then what can be searched.
    found.push(serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()));
}

fn as_double(raw: &str) -> String {
    match raw.parse::<f64>() {
        Ok(0.0) => "0".to_owned(),
        Ok(number) if number.is_finite() => ryu_js::Buffer::new().format(number).to_owned(),
        // Beyond a double's range such a program reads infinity and writes null.
        Ok(_) | Err(_) => "null".to_owned(),
    }
}

/// Writes a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, content: &str) {
    // Writing text to memory has no way to fail; an error would leave the quotes out, not data.
    let _ = serde_json::to_writer(out, content);
}

#[derive(Clone, Copy)]
enum Lexeme<'a> {
    /// A string with its quotes.
    Text(&'a str),
    Number(&'a str),
    /// A bracket, colon, comma or blank, or one of the three words.
    Other(&'a str),
}

/// Cuts a text that is known to be JSON into its lexemes; without recursion, so depth costs nothing.
struct Lexemes<'a>(&'a str);

impl<'a> Iterator for Lexemes<'a> {
    type Item = Lexeme<'a>;

    fn next(&mut self) -> Option<Lexeme<'a>> {
        let bytes = self.0.as_bytes();
        let (kind, length): (fn(&'a str) -> Lexeme<'a>, usize) = match bytes.first()? {
            b'"' => (Lexeme::Text, string_length(bytes)),
            b'-' | b'0'..=b'9' => (Lexeme::Number, run(bytes, |b| b"+-.eE0123456789".contains(&b))),
            b'a'..=b'z' => (Lexeme::Other, run(bytes, |b| b.is_ascii_lowercase())),
            _ => (Lexeme::Other, self.0.chars().next()?.len_utf8()),
        };
        let (lexeme, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(kind(lexeme))
    }
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&b| !belongs(b)).unwrap_or(bytes.len())
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
    use serde_json::Value;

    fn strings(text: &str) -> Vec<String> {
        Json::parse(text).unwrap().strings()
    }

    #[test]
    fn strings_are_found_down_to_the_third_level_and_names_are_not() {
        assert_eq!(strings(r#""top""#), ["top"]);
        assert_eq!(strings(r#"{"name" : "a", "n":1, "list":["b",{"x":"c"}]}"#), ["a", "b", "c"]);
        assert_eq!(strings(r#"[[["three",["four"]]]]"#), ["three"]);
        assert_eq!(strings(r#"{"a":"q\"\\ \u00e9","b":true}"#), ["q\"\\ é"]);
        assert_eq!(strings("17"), [""; 0]);
    }

    #[test]
    fn a_lone_surrogate_and_great_depth_do_no_harm() {
        assert_eq!(strings(r#"["\ud800 word","next"]"#), ["\"\\ud800 word\"", "next"]);
        let deep = format!("{}\"x\"{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(strings(&deep).is_empty());
    }

    #[test]
    fn numbers_are_written_as_a_program_with_doubles_writes_them() {
        let doubles = |text: &str| Json::parse(text).unwrap().with_double_numbers().as_str().to_owned();
        assert_eq!(doubles("12345678901234567890"), "12345678901234567000");
        assert_eq!(doubles("[1.0,-0,1e21,1e400,\"1.0\"]"), "[1,0,1e+21,null,\"1.0\"]");
    }

    #[test]
    fn what_is_no_json_is_not_taken() {
        for bad in ["", "hello", "{", "1 2", "01", "NaN", "'a'", "\u{feff}1"] {
            assert_eq!(Json::parse(bad), None, "{bad:?}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn walk(value: &Value, depth: usize, found: &mut Vec<String>) {
        match value {
            Value::String(text) if depth <= SEARCHED_DEPTH => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| walk(item, depth + 1, found)),
            Value::Object(members) => members.values().for_each(|member| walk(member, depth + 1, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    proptest! {
        #[test]
        fn the_walk_over_text_agrees_with_a_walk_over_the_parsed_value(value in any_value()) {
            let mut expected = Vec::new();
            walk(&value, 0, &mut expected);
            assert_eq!(strings(&value.to_string()), expected);
            assert_eq!(strings(&serde_json::to_string_pretty(&value).unwrap()), expected);
        }
    }
}
