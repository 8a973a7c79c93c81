//! What is kept, what may be done to it and what can be asked of it, in words that belong to no engine.
//!
//! A row does not carry its tenant: whoever holds a row was let in to its tenant before. `change` is a
//! tenant's own counter: every write of the tenant takes the next number, none is ever used twice, and
//! numbers become visible in their order. It is the row's entity tag, its place in the feed, and what
//! lists break ties by.

use super::json::{Json, write_string};

/// The two things that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What the nodes of a mesh remember.
    Memory,
    /// What they can do.
    Skill,
}

impl Kind {
    /// How clients and databases write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Skill => "skill",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Memory, Self::Skill].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Memory or skill.
    pub kind: Kind,
    /// The scope of a memory; empty for a skill.
    pub scope: String,
    /// The key of a memory, the name of a skill.
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
}

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

/// What a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A memory.
    Memory(NewMemory),
    /// A skill.
    Skill(NewSkill),
}

impl Content {
    /// The row that it belongs into.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Memory(memory) => Target::memory(&memory.scope, &memory.key),
            Self::Skill(skill) => Target::skill(&skill.name),
        }
    }

    /// The node that wrote it.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::Memory(memory) => &memory.node_id,
            Self::Skill(skill) => &skill.source_node,
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
        };
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }
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
    /// When it was written, in Unix milliseconds: what the sender says, or else the store's own time.
    #[must_use]
    pub fn written_ms(&self) -> i64 {
        self.sent_ms.unwrap_or(self.stamp.updated_at.saturating_mul(1000))
    }
}

/// When a row ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It does not.
    Never,
    /// So many seconds after it is written.
    After(i64),
    /// At this Unix second.
    At(i64),
}

impl Expiry {
    /// The Unix second, for a row that is written at `now`.
    #[must_use]
    pub fn at(self, now: i64) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::After(seconds) => Some(now.saturating_add(seconds)),
            Self::At(second) => Some(second),
        }
    }
}

/// What is done to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Written, new or over the one that is there.
    Put {
        /// What it will hold.
        content: Content,
        /// When it ends.
        expiry: Expiry,
        /// When its sender says that it was written, in Unix milliseconds; the store's own time without.
        sent_ms: Option<i64>,
        /// The signed message that it came with.
        proof: Option<Json>,
    },
    /// Taken away; its history stays.
    Delete(Target),
    /// Written anew with what it held at this version.
    Restore(Target, i64),
    /// Taken away with its history and its past in the feed.
    Purge(Target),
}

impl Act {
    /// The row.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Put { content, .. } => content.target(),
            Self::Delete(target) | Self::Restore(target, _) | Self::Purge(target) => target.clone(),
        }
    }
}

/// What must hold of the row for the act to be done. A row that has expired is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It is there and its `change` is one of these.
    Unchanged(Vec<i64>),
    /// What is there, or was deleted last, is older than this: sent before, or at the same millisecond by
    /// a node whose name sorts before. Last writer wins. Where it does not hold the act is passed over
    /// ([`Done::Passed`]) and nothing is refused.
    Newer {
        /// Unix milliseconds.
        sent_ms: i64,
        /// Settles a tie.
        node: String,
    },
}

/// One act and its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What is done.
    pub act: Act,
    /// What must hold before.
    pub condition: Condition,
}

/// What a tenant may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most rows, both kinds together.
    pub rows: Option<i64>,
    /// Most bytes of live rows ([`Content::bytes`]).
    pub bytes: Option<i64>,
    /// Versions of the past kept of each row.
    pub history: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rows: None, bytes: None, history: 50 }
    }
}

/// How an act ended, in a batch that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The row as it is now kept; boxed because the other ends are small.
    Written(Box<Row>),
    /// It is gone; what the tombstone says.
    Deleted(Stamp),
    /// It and its past are gone.
    Purged,
    /// Something newer was there.
    Passed,
}

/// Why nothing of a batch was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// No such row, or no such version.
    Missing,
    /// The row is not as the condition says.
    ConditionFailed,
    /// The tenant has as many rows as it may.
    TooManyRows,
    /// The tenant has as many bytes as it may.
    TooManyBytes,
}

/// The order of a list, and where in it to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Newest first, from the beginning.
    Newest,
    /// Newest first, after this row; what was written after `snapshot` comes later.
    After {
        /// Its `updated_at`.
        updated_at: i64,
        /// Its `change`.
        change: i64,
        /// The tenant's counter when the walk began.
        snapshot: i64,
    },
    /// What was written since the walk began or since this change, in the order of writing.
    Late {
        /// The last one seen.
        change: i64,
    },
    /// By scope and key, after this one; from the beginning with both empty.
    Name {
        /// The last scope seen.
        scope: String,
        /// The last key seen.
        name: String,
    },
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Memory or skills.
    pub kind: Kind,
    /// Of this scope alone.
    pub scope: Option<String>,
    /// Whose key or name starts so.
    pub prefix: Option<String>,
    /// Written by this node.
    pub node: Option<String>,
    /// Written at this Unix second or later.
    pub updated_since: Option<i64>,
}

impl Filter {
    /// All of one kind.
    #[must_use]
    pub fn all(kind: Kind) -> Self {
        Self { kind, scope: None, prefix: None, node: None, updated_since: None }
    }
}

/// Most bytes of rows ([`Content::bytes`]) in one page; the row that goes beyond is its last.
pub(crate) const MOST_PAGE_BYTES: i64 = 16 * 1024 * 1024;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most as many rows as were asked for; fewer when they are long ([`MOST_PAGE_BYTES`]).
    pub rows: Vec<Row>,
    /// Where the next page starts; none after the last.
    pub next: Option<Place>,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was written.
    Put,
    /// It was deleted.
    Delete,
    /// It was written with what it once held.
    Restore,
    /// Its time was over.
    Expire,
    /// It was taken away with its past.
    Purge,
    /// Everything of the tenant was.
    Erase,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Put, Self::Delete, Self::Restore, Self::Expire, Self::Purge, Self::Erase];

    /// How clients and databases write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Restore => "restore",
            Self::Expire => "expire",
            Self::Purge => "purge",
            Self::Erase => "erase",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// One version of a row, the live one or a past one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// How it came to be.
    pub action: Action,
    /// Its version, when it was written, when it ends.
    pub stamp: Stamp,
    /// What the row held; nothing for tombstones and for what has expired.
    pub content: Option<Content>,
}

/// Which changes of the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// Memory or skills alone.
    pub kind: Option<Kind>,
    /// Of this scope alone.
    pub scope: Option<String>,
    /// Whose key or name starts so.
    pub prefix: Option<String>,
}

/// One entry of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub change: i64,
    /// What happened.
    pub action: Action,
    /// To which row; with empty names for [`Action::Erase`].
    pub target: Target,
    /// The row's version after it; 0 for purges and erasure.
    pub version: i64,
    /// Unix seconds.
    pub at: i64,
    /// What the row held after it, when that version is still kept and has not expired.
    pub content: Option<Content>,
}

/// A stretch of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// In order.
    pub changes: Vec<Change>,
    /// Everything up to here was looked at: where the next stretch starts.
    pub seen: i64,
    /// The feed no longer has what was before this: who asks from further back has missed changes.
    pub start: i64,
    /// The tenant's counter: beyond `seen` there is more when this is larger.
    pub last: i64,
}

/// What a tenant keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Live rows of memory; those that expired count until they are swept.
    pub memories: i64,
    /// Live skills, counted the same way.
    pub skills: i64,
    /// Bytes of live rows ([`Content::bytes`]).
    pub bytes: i64,
    /// Versions of the past.
    pub versions: i64,
    /// The tenant's counter.
    pub last_change: i64,
}

/// Most results of one search.
pub(crate) const MOST_HITS: u32 = 100;

/// Results of a search that does not say how many.
pub(crate) const USUAL_HITS: u32 = 25;

/// A memory that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its scope.
    pub scope: String,
    /// Its key.
    pub key: String,
    /// Why.
    pub found: Found,
}

/// Why a memory was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// It has all words.
    Words {
        /// The words around what was found.
        snippet: Option<String>,
    },
    /// It is near.
    Near {
        /// Cosine distance: 0 is the same, 1 has nothing in common.
        distance: f32,
    },
    /// It is among the first of the ones or the others, or of both.
    Both {
        /// The words around what was found, when it has all words.
        snippet: Option<String>,
        /// Cosine distance, when it is near.
        distance: Option<f32>,
        /// The fused rank; more is better.
        score: f64,
    },
}

/// The first text, in the order of bytes, that is beyond all texts that start so; none when there is none.
#[must_use]
pub(crate) fn past_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

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
    use crate::store::testing::{memory, skill};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

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

    #[test]
    fn the_words_of_closed_sets_are_read_back() {
        for kind in [Kind::Memory, Kind::Skill] {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
    }

    proptest! {
        #[test]
        fn what_is_past_a_prefix_parts_texts_that_start_so_from_those_beyond(prefix in any::<String>(), text in any::<String>()) {
            let end = past_prefix(&prefix);
            let within = text >= prefix && end.as_ref().is_none_or(|end| &text < end);
            prop_assert_eq!(within, text.starts_with(&prefix));
            let longer = format!("{prefix}{text}");
            prop_assert!(longer >= prefix && end.is_none_or(|end| longer < end));
        }
    }
}
