//! Every key of a schema as Markdown: one section a mapping, one row a key.
//!
//! The words are those of the raw structs' comments; nothing is written here that they do not say.

use super::shape::{alternatives, types, words};
use serde_json::Value;
use std::fmt::Write as _;

/// A mapping and the places where it may stand.
struct Section<'s> {
    schema: &'s Value,
    paths: Vec<String>,
}

/// The reference of a whole schema.
pub(super) fn of(root: &Value) -> String {
    let mut sections: Vec<Section<'_>> = Vec::new();
    collect(root, root, "", &mut sections);
    let mut out = String::from(
        "# Configuration\n\nMade from the schema (`openclaw-edge schema`); every key that the file may have. \
         `[]` stands for each item of a list, `*` for each name of a mapping.\n\n\
         A value may hold `${NAME}`, which is replaced from the environment, unless it stands in single \
         quotes; `$${` stands for `${` itself.\n",
    );
    for section in &sections {
        write_section(root, section, &mut out);
    }
    out
}

fn collect<'s>(root: &'s Value, schema: &'s Value, path: &str, sections: &mut Vec<Section<'s>>) {
    for one in alternatives(root, schema) {
        if let Some(items) = one.get("items") {
            collect(root, items, &format!("{path}[]"), sections);
        }
        if let Some(values) = one.get("additionalProperties").filter(|values| values.is_object()) {
            collect(root, values, &below(path, "*"), sections);
        }
        let Some(properties) = one.get("properties").and_then(Value::as_object) else { continue };
        if let Some(known) = sections.iter_mut().find(|section| std::ptr::eq(section.schema, one)) {
            known.paths.push(path.to_owned());
            continue;
        }
        sections.push(Section { schema: one, paths: vec![path.to_owned()] });
        for (key, own) in properties {
            collect(root, own, &below(path, key), sections);
        }
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

fn write_section(root: &Value, section: &Section<'_>, out: &mut String) {
    let places: Vec<String> = section.paths.iter().map(|path| format!("`{path}`")).collect();
    let title = match section.paths.first() {
        Some(path) if path.is_empty() => "The whole file".to_owned(),
        _ => places.join(", "),
    };
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "\n## {title}\n\n");
    if let Some(text) = description(section.schema).filter(|_| !section.paths[0].is_empty()) {
        let _ = write!(out, "{text}\n\n");
    }
    out.push_str("| key | value | meaning |\n| --- | --- | --- |\n");
    let required = section.schema.get("required").and_then(Value::as_array);
    let is_required = |key: &str| required.is_some_and(|list| list.iter().any(|one| one == key));
    let properties = section.schema.get("properties").and_then(Value::as_object);
    for (key, own) in properties.into_iter().flatten() {
        let need = if is_required(key) { ", required" } else { "" };
        let value = cell(&kind(root, own));
        let _ = writeln!(out, "| `{key}` | {value}{need} | {} |", cell(&meaning(root, own)));
    }
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// What may stand there.
fn kind(root: &Value, schema: &Value) -> String {
    let mut kinds: Vec<String> = Vec::new();
    let mut add = |kind: String| {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    };
    for one in alternatives(root, schema) {
        if let Some(words) = words(one) {
            for word in words {
                add(format!("`{word}`"));
            }
            continue;
        }
        for name in types(one) {
            match name {
                "string" => add("text".into()),
                "integer" | "number" => add("number".into()),
                "boolean" => add("`true`, `false`".into()),
                "array" => add(match one.get("items") {
                    Some(items) => format!("list of {}", kind(root, items)),
                    None => "list".into(),
                }),
                "object" => add(object(one)),
                _ => {}
            }
        }
    }
    kinds.join(" or ")
}

fn object(schema: &Value) -> String {
    let required = schema.get("required").and_then(Value::as_array);
    let properties = schema.get("properties").and_then(Value::as_object);
    match (properties, required) {
        (None, _) => "mapping by name".into(),
        // Small enough to be shown whole, such as `{ env: … }`.
        (Some(properties), Some(_)) if properties.len() == 1 => {
            let keys: Vec<String> = properties.keys().map(|key| format!("{key}: …")).collect();
            format!("`{{ {} }}`", keys.join(", "))
        }
        _ => "mapping".into(),
    }
}

/// What it means, what it is by default, and what each word means.
fn meaning(root: &Value, schema: &Value) -> String {
    let mut text = description(schema).unwrap_or_default().to_owned();
    let default = schema.get("default").filter(|value| !value.is_null());
    if let Some(default) = default.filter(|value| !value.is_object() && !value.is_array())
        && !text.contains("efault")
    {
        let shown = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        let _ = write!(text, " Default `{shown}`.");
    }
    for one in alternatives(root, schema) {
        if let (Some([word]), Some(own)) = (words(one).as_deref(), description(one)) {
            let _ = write!(text, "<br>`{word}`: {own}");
        }
    }
    text
}

/// Text for one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
