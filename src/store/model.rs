//! The two things that are kept: memory and skills, and how their rows look in JSON.
//!
//! A row does not carry its tenant: whoever holds a row was let in to its tenant before.

use super::json::{Json, write_string};

/// What a client puts into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMemory {
    /// Part of the mesh that it is for; see [`Access::may_write`](super::Access::may_write).
    pub scope: String,
    /// Its name within the scope.
    pub key: String,
    /// The value, as the client wrote it.
    pub value: Json,
    /// The node that says so.
    pub node_id: String,
}

/// A memory as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRow {
    /// What was put.
    pub memory: NewMemory,
    /// Unix seconds of the last write.
    pub updated_at: i64,
}

/// What a client puts among the skills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSkill {
    /// Its name.
    pub name: String,
    /// The node that it comes from.
    pub source_node: String,
    /// The skill itself.
    pub content: Option<String>,
    /// Where it is, when it is not here.
    pub path: Option<String>,
}

/// A skill as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkillRow {
    /// What was put.
    pub skill: NewSkill,
    /// Unix seconds of the last write.
    pub updated_at: i64,
}

/// A memory that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its scope.
    pub scope: String,
    /// Its key.
    pub key: String,
    /// The words around what was found.
    pub snippet: Option<String>,
}

/// A row that knows its JSON. Written by hand because a value is copied, not parsed and printed.
pub trait ToJson {
    /// Appends the row as one JSON object.
    fn write_json(&self, out: &mut Vec<u8>);
}

impl ToJson for MemoryRow {
    fn write_json(&self, out: &mut Vec<u8>) {
        member(out, b"{\"scope\":", &self.memory.scope);
        member(out, b",\"key\":", &self.memory.key);
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(self.memory.value.as_str().as_bytes());
        member(out, b",\"node_id\":", &self.memory.node_id);
        moment(out, self.updated_at);
    }
}

impl ToJson for SkillRow {
    fn write_json(&self, out: &mut Vec<u8>) {
        member(out, b"{\"name\":", &self.skill.name);
        member(out, b",\"source_node\":", &self.skill.source_node);
        optional(out, b",\"content\":", self.skill.content.as_deref());
        optional(out, b",\"path\":", self.skill.path.as_deref());
        moment(out, self.updated_at);
    }
}

impl ToJson for Hit {
    fn write_json(&self, out: &mut Vec<u8>) {
        member(out, b"{\"scope\":", &self.scope);
        member(out, b",\"key\":", &self.key);
        optional(out, b",\"snippet\":", self.snippet.as_deref());
        out.push(b'}');
    }
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

fn moment(out: &mut Vec<u8>, updated_at: i64) {
    out.extend_from_slice(b",\"updated_at\":");
    out.extend_from_slice(updated_at.to_string().as_bytes());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(row: &impl ToJson) -> String {
        let mut out = Vec::new();
        row.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_memory_row_has_the_five_members_in_order_and_the_value_as_it_was_put() {
        let memory = NewMemory {
            scope: "mesh".into(),
            key: "a \"b\"".into(),
            value: Json::parse("{\"z\": 1.0, \"a\": 12345678901234567890}").unwrap(),
            node_id: "ceo".into(),
        };
        assert_eq!(
            json(&MemoryRow { memory, updated_at: 7 }),
            r#"{"scope":"mesh","key":"a \"b\"","value":{"z": 1.0, "a": 12345678901234567890},"node_id":"ceo","updated_at":7}"#
        );
    }

    #[test]
    fn what_a_skill_row_lacks_is_null() {
        let skill =
            NewSkill { name: "s".into(), source_node: "n".into(), content: None, path: Some("/p".into()) };
        assert_eq!(
            json(&SkillRow { skill, updated_at: 7 }),
            r#"{"name":"s","source_node":"n","content":null,"path":"/p","updated_at":7}"#
        );
    }
}
