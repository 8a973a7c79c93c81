//! What is kept: rows of two kinds, what they hold, and what the store says of them.

use crate::store::json::Json;

/// The three things that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What the nodes of a mesh remember.
    Memory,
    /// What they can do.
    Skill,
    /// What they sign with: a node's public keys.
    Key,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Skill, Self::Key];

    /// How clients and databases write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Skill => "skill",
            Self::Key => "key",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// What it is.
    pub kind: Kind,
    /// The scope of a memory; empty for all else.
    pub scope: String,
    /// The key of a memory, the name of a skill, the node whose keys they are.
    pub name: String,
}

impl Target {
    /// A memory.
    #[must_use]
    pub fn memory(scope: &str, key: &str) -> Self {
        Self { kind: Kind::Memory, scope: scope.to_owned(), name: key.to_owned() }
    }

    /// A skill.
    #[must_use]
    pub fn skill(name: &str) -> Self {
        Self { kind: Kind::Skill, scope: String::new(), name: name.to_owned() }
    }

    /// A node's public keys.
    #[must_use]
    pub fn keys(node: &str) -> Self {
        Self { kind: Kind::Key, scope: String::new(), name: node.to_owned() }
    }
}

/// What a client puts into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMemory {
    /// Part of the mesh that it is for; see `Access::may_write`.
    pub scope: String,
    /// Its name within the scope.
    pub key: String,
    /// The value, as the client wrote it.
    pub value: Json,
    /// The node that says so.
    pub node_id: String,
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

/// The public keys of a node, all at once: so that one write changes a key for another, and one entity tag
/// says which there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeKeys {
    /// Whose they are.
    pub node: String,
    /// As [`registered`](crate::signatures::registered) writes them.
    pub keys: Json,
    /// The node that says so; empty when it is not known.
    pub updated_by: String,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A memory.
    Memory(NewMemory),
    /// A skill.
    Skill(NewSkill),
    /// A node's public keys.
    Keys(NodeKeys),
}

impl Content {
    /// The row that it belongs into.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Memory(memory) => Target::memory(&memory.scope, &memory.key),
            Self::Skill(skill) => Target::skill(&skill.name),
            Self::Keys(keys) => Target::keys(&keys.node),
        }
    }

    /// The node that wrote it.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::Memory(memory) => &memory.node_id,
            Self::Skill(skill) => &skill.source_node,
            Self::Keys(keys) => &keys.updated_by,
        }
    }

    /// Bytes of all its texts, as a tenant's limit counts them.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        let bytes = match self {
            Self::Memory(memory) => {
                memory.scope.len() + memory.key.len() + memory.value.as_str().len() + memory.node_id.len()
            }
            Self::Skill(skill) => {
                let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                skill.name.len() + skill.source_node.len() + length(&skill.content) + length(&skill.path)
            }
            Self::Keys(keys) => keys.node.len() + keys.keys.as_str().len() + keys.updated_by.len(),
        };
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }
}

/// Bytes of a row that holds this and came with that.
#[must_use]
pub(crate) fn bytes(content: &Content, proof: Option<&Json>) -> i64 {
    let proof = proof.map_or(0, |proof| proof.as_str().len());
    content.bytes().saturating_add(i64::try_from(proof).unwrap_or(i64::MAX))
}

/// What the store says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Writes of this row so far, deletions counted; starts at 1 and goes on after a deletion.
    pub version: i64,
    /// The tenant's counter at its last write.
    pub change: i64,
    /// Unix seconds of the last write.
    pub updated_at: i64,
    /// Unix seconds from which on it is gone.
    pub expires_at: Option<i64>,
}

/// A row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was put.
    pub content: Content,
    /// What the store says of it.
    pub stamp: Stamp,
    /// When its sender says that it was written, in Unix milliseconds.
    pub sent_ms: Option<i64>,
    /// The signed message that it came with, as it was signed.
    pub proof: Option<Json>,
}

impl Row {
    /// Bytes of all its texts, as a tenant's limit counts them: what it holds, and the message that it came with.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        bytes(&self.content, self.proof.as_ref())
    }

    /// When it was written, in Unix milliseconds: what the sender says, or else the store's own time.
    #[must_use]
    pub fn written_ms(&self) -> i64 {
        self.sent_ms.unwrap_or(self.stamp.updated_at.saturating_mul(1000))
    }
}
