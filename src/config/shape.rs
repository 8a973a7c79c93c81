//! Holds a tree against a JSON Schema, and keeps what fits.
//!
//! The schemas are those that `schemars` makes from raw structs, so only what it writes is understood:
//! `$ref`, `anyOf`, `oneOf`, `type`, `properties`, `additionalProperties`, `required`, `items`, `const`,
//! `enum`, `minimum` and `format`. No value is ever shown, save a word where only certain words may
//! stand. This file does not know what any key means.

use super::checker::{Checker, shown};
use super::problems::{did_you_mean, either, join_or, nearest, printable};
use super::tree::{Entry, Kind, Node, Spot};
use serde_json::Value;

/// Tells all that does not fit, and gives what does: without unknown keys and broken parts. A missing
/// or broken collection that the schema requires stands in as an empty one.
pub(super) fn check(tree: &Node, schema: &Value, checker: &mut Checker) -> Option<Node> {
    Walker { root: schema, checker }.value(tree, schema)
}

/// The schemas of which one must fit, with `$ref`, `anyOf` and `oneOf` resolved.
pub(super) fn alternatives<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or_else(Vec::new, |found| alternatives(root, found));
    }
    match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        Some(list) => list.iter().flat_map(|one| alternatives(root, one)).collect(),
        None => vec![schema],
    }
}

/// The words that a schema allows, if it allows only words.
pub(super) fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(word) = schema.get("const") {
        return word.as_str().map(|word| vec![word]);
    }
    let list = schema.get("enum").and_then(Value::as_array)?;
    Some(list.iter().filter_map(Value::as_str).collect())
}

/// The JSON types that a schema allows.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ if words(schema).is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

struct Walker<'s, 'c> {
    root: &'s Value,
    checker: &'c mut Checker,
}

impl<'s> Walker<'s, '_> {
    fn value(&mut self, node: &Node, schema: &'s Value) -> Option<Node> {
        if matches!(node.kind, Kind::Broken) {
            return None;
        }
        let all = alternatives(self.root, schema);
        let fitting: Vec<&Value> = all.iter().copied().filter(|one| takes(one, node)).collect();
        if fitting.is_empty() {
            self.wrong_type(node, &all);
            return None;
        }
        match &node.kind {
            Kind::Broken => None,
            Kind::Null | Kind::Bool(_) => Some(node.clone()),
            Kind::Number(number) => self.number(node, number, fitting[0]),
            Kind::Text(text) => self.text(node, text, &fitting),
            Kind::List(items) => match fitting[0].get("items") {
                Some(schema) => {
                    let kept: Vec<Node> = items.iter().filter_map(|item| self.value(item, schema)).collect();
                    let partial = kept.len() < items.len();
                    Some(Node { kind: Kind::List(kept), partial, ..node.clone_bare() })
                }
                None => Some(node.clone()),
            },
            Kind::Map(entries) => self.mapping(node, entries, &fitting),
        }
    }

    fn wrong_type(&mut self, node: &Node, all: &[&Value]) {
        let mut expected: Vec<String> = Vec::new();
        let only_words: Vec<&str> = all.iter().filter_map(|one| words(one)).flatten().collect();
        for one in all {
            if words(one).is_some() {
                continue;
            }
            for noun in types(one).into_iter().filter_map(noun) {
                if !expected.iter().any(|known| known == noun) {
                    expected.push(noun.into());
                }
            }
        }
        if !only_words.is_empty() {
            expected.insert(0, either(only_words));
        }
        let wants = |kind: &str| all.iter().any(|one| types(one).contains(&kind));
        let hint = match &node.kind {
            Kind::Number(_) | Kind::Bool(_) if wants("string") => {
                Some("put it in quotes if it is meant as text")
            }
            Kind::Text(_) if wants("boolean") => Some("write `true` or `false`, without quotes"),
            Kind::Text(_) if wants("integer") => Some("write digits alone, without quotes"),
            Kind::Text(_) if wants("array") => Some("put it in brackets: `[…]`"),
            Kind::Null if wants("object") => Some("write `{}` for an empty mapping"),
            Kind::Null if wants("array") => Some("write `[]` for an empty list"),
            _ => None,
        };
        let message = format!("expected {}, found {}", join_or(&expected), node.noun());
        self.checker.told(node.at, message, hint.map(Into::into));
    }

    fn number(&mut self, node: &Node, number: &serde_json::Number, schema: &Value) -> Option<Node> {
        if !types(schema).contains(&"integer") {
            return Some(node.clone());
        }
        let (least, most) = bounds(schema);
        let value = number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from));
        if value.is_some_and(|value| (least..=most).contains(&value)) {
            return Some(node.clone());
        }
        self.checker.problem(node.at, format!("this number is not between {least} and {most}"));
        None
    }

    fn text(&mut self, node: &Node, text: &str, fitting: &[&Value]) -> Option<Node> {
        let mut known = Vec::new();
        for one in fitting {
            match words(one) {
                Some(words) => known.extend(words),
                None => return Some(node.clone()),
            }
        }
        if known.contains(&text) {
            return Some(node.clone());
        }
        let hint = did_you_mean(text, known.iter().copied());
        let found = shown(Spot::of(node), "found", text);
        self.checker.told(node.at, format!("expected {}, {found}", either(known)), hint);
        None
    }

    /// Of several kinds of mapping the one is meant with which the file shares most keys.
    fn mapping(&mut self, node: &Node, entries: &[Entry], fitting: &[&'s Value]) -> Option<Node> {
        let shared = |one: &Value| {
            let known = |entry: &&Entry| property(one, &entry.key).is_some();
            entries.iter().filter(known).count()
        };
        let [first, others @ ..] = fitting else { return None };
        if others.is_empty() {
            return self.object(node, entries, first);
        }
        let best = fitting.iter().max_by_key(|one| shared(one)).filter(|one| shared(one) > 0);
        if let Some(best) = best {
            return self.object(node, entries, best);
        }
        let keys: Vec<&str> = fitting.iter().flat_map(|one| keys(one)).collect();
        let hint = entries
            .iter()
            .find_map(|entry| nearest(&entry.key, keys.iter().copied()))
            .map(|key| format!("did you mean `{key}`?"));
        let at = entries.first().map_or(node.at, |entry| entry.key_at);
        self.checker.told(at, format!("expected one of the keys {}", either(keys)), hint);
        None
    }

    fn object(&mut self, node: &Node, entries: &[Entry], schema: &'s Value) -> Option<Node> {
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let own = property(schema, &entry.key);
            let Some(own) = own.or_else(|| schema.get("additionalProperties")) else {
                kept.push(entry.clone());
                continue;
            };
            if own == &Value::Bool(false) {
                self.unknown_key(entry, schema);
            } else if let Some(value) = self.value(&entry.value, own) {
                kept.push(Entry { value, ..entry.clone_bare() });
            }
        }
        let lost_items = |entry: &Entry| matches!(entry.value.kind, Kind::List(_)) && entry.value.partial;
        let partial = kept.len() < entries.len() || kept.iter().any(lost_items);
        let is_whole = self.complete(node, entries, schema, &mut kept);
        is_whole.then(|| Node { kind: Kind::Map(kept), partial, ..node.clone_bare() })
    }

    fn unknown_key(&mut self, entry: &Entry, schema: &Value) {
        let known: Vec<&str> = keys(schema).collect();
        let hint = did_you_mean(&entry.key, known.iter().copied())
            .or_else(|| (!known.is_empty()).then(|| format!("known here: {}", known.join(", "))));
        let key = printable(&entry.key);
        self.checker.told(entry.key_at, format!("unknown key `{key}`"), hint);
    }

    /// Tells which required keys are missing; whether what is left can be read.
    fn complete(&mut self, node: &Node, entries: &[Entry], schema: &'s Value, kept: &mut Vec<Entry>) -> bool {
        let required = schema.get("required").and_then(Value::as_array);
        let mut is_whole = true;
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if kept.iter().any(|entry| entry.key == key) {
                continue;
            }
            if !entries.iter().any(|entry| entry.key == key) {
                self.checker.problem(node.at, format!("the key `{key}` is missing here"));
            }
            match property(schema, key).and_then(|own| self.stand_in(own)) {
                Some(kind) => {
                    let value = Node::new(node.at, kind);
                    kept.push(Entry { key: key.into(), key_at: node.at, value });
                }
                None => is_whole = false,
            }
        }
        is_whole
    }

    /// An empty collection, where the schema wants one.
    fn stand_in(&self, schema: &'s Value) -> Option<Kind> {
        let [one] = alternatives(self.root, schema)[..] else { return None };
        match types(one)[..] {
            ["array"] => Some(Kind::List(Vec::new())),
            ["object"] if one.get("required").is_none() => Some(Kind::Map(Vec::new())),
            _ => None,
        }
    }
}

fn takes(schema: &Value, node: &Node) -> bool {
    let types = types(schema);
    let has = |kind: &str| types.contains(&kind);
    match &node.kind {
        Kind::Broken => false,
        Kind::Null => has("null"),
        Kind::Bool(_) => has("boolean"),
        Kind::Number(number) if number.is_f64() => has("number"),
        Kind::Number(_) => has("integer") || has("number"),
        Kind::Text(_) => has("string"),
        Kind::List(_) => has("array"),
        Kind::Map(_) => has("object"),
    }
}

fn noun(kind: &str) -> Option<&'static str> {
    match kind {
        "string" => Some("text"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("`true` or `false`"),
        "array" => Some("a list"),
        "object" => Some("a mapping"),
        _ => None,
    }
}

fn bounds(schema: &Value) -> (i128, i128) {
    let (least, most) = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint" | "uint64") => (0, u64::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    };
    let own = |key: &str| schema.get(key).and_then(Value::as_i64).map(i128::from);
    (own("minimum").unwrap_or(least).max(least), own("maximum").unwrap_or(most).min(most))
}

fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    schema.get("properties").and_then(|properties| properties.get(key))
}

fn keys(schema: &Value) -> impl Iterator<Item = &str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}
