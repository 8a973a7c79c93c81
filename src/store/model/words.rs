//! Rows and hits as clients read them: JSON, written by hand because a value is copied, not parsed and printed.

use super::hits::{Found, Hit};
use super::rows::{Content, NewMemory, NewSkill, NodeKeys, Row};
use crate::store::json::write_string;

/// A row that knows its JSON. Written by hand because a value is copied, not parsed and printed.
pub trait ToJson {
    /// Appends the row as one JSON object.
    fn write_json(&self, out: &mut Vec<u8>);
}

impl ToJson for Row {
    fn write_json(&self, out: &mut Vec<u8>) {
        match &self.content {
            Content::Memory(memory) => memory_members(out, memory),
            Content::Skill(skill) => skill_members(out, skill),
            Content::Keys(keys) => keys_members(out, keys),
        }
        out.extend_from_slice(b",\"updated_at\":");
        out.extend_from_slice(self.stamp.updated_at.to_string().as_bytes());
        out.push(b'}');
    }
}

fn memory_members(out: &mut Vec<u8>, memory: &NewMemory) {
    member(out, b"{\"scope\":", &memory.scope);
    member(out, b",\"key\":", &memory.key);
    out.extend_from_slice(b",\"value\":");
    out.extend_from_slice(memory.value.as_str().as_bytes());
    member(out, b",\"node_id\":", &memory.node_id);
}

fn skill_members(out: &mut Vec<u8>, skill: &NewSkill) {
    member(out, b"{\"name\":", &skill.name);
    member(out, b",\"source_node\":", &skill.source_node);
    optional(out, b",\"content\":", skill.content.as_deref());
    optional(out, b",\"path\":", skill.path.as_deref());
}

fn keys_members(out: &mut Vec<u8>, keys: &NodeKeys) {
    member(out, b"{\"node\":", &keys.node);
    out.extend_from_slice(b",\"keys\":");
    out.extend_from_slice(keys.keys.as_str().as_bytes());
    optional(out, b",\"updated_by\":", Some(keys.updated_by.as_str()).filter(|node| !node.is_empty()));
}

impl ToJson for Hit {
    fn write_json(&self, out: &mut Vec<u8>) {
        member(out, b"{\"scope\":", &self.scope);
        member(out, b",\"key\":", &self.key);
        match &self.found {
            Found::Words { snippet } => optional(out, b",\"snippet\":", snippet.as_deref()),
            Found::Near { distance } => number(out, b",\"distance\":", f64::from(*distance)),
            Found::Both { snippet, distance, score } => {
                optional(out, b",\"snippet\":", snippet.as_deref());
                match distance {
                    Some(distance) => number(out, b",\"distance\":", f64::from(*distance)),
                    None => out.extend_from_slice(b",\"distance\":null"),
                }
                number(out, b",\"score\":", *score);
            }
        }
        out.push(b'}');
    }
}

/// Six digits: more is noise.
fn number(out: &mut Vec<u8>, name: &[u8], number: f64) {
    out.extend_from_slice(name);
    out.extend_from_slice(format!("{number:.6}").as_bytes());
}

fn member(out: &mut Vec<u8>, name: &[u8], text: &str) {
    out.extend_from_slice(name);
    write_string(out, text);
}

fn optional(out: &mut Vec<u8>, name: &[u8], text: Option<&str>) {
    if let Some(text) = text {
        return member(out, name, text);
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b"null");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::Stamp;
    use crate::store::testing::{memory, skill};

    fn json(content: Content) -> String {
        let stamp = Stamp { version: 3, change: 9, updated_at: 7, expires_at: None };
        let mut out = Vec::new();
        Row { content, stamp, sent_ms: None, proof: None }.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_memory_row_has_the_five_members_in_order_and_the_value_as_it_was_put() {
        let memory = memory("mesh", "a \"b\"", "{\"z\": 1.0, \"a\": 12345678901234567890}");
        assert_eq!(
            json(Content::Memory(memory)),
            r#"{"scope":"mesh","key":"a \"b\"","value":{"z": 1.0, "a": 12345678901234567890},"node_id":"ceo","updated_at":7}"#
        );
    }

    #[test]
    fn what_a_skill_row_lacks_is_null() {
        let skill = NewSkill { content: None, path: Some("/p".into()), ..skill("s", "") };
        assert_eq!(
            json(Content::Skill(skill)),
            r#"{"name":"s","source_node":"ceo","content":null,"path":"/p","updated_at":7}"#
        );
    }
}
