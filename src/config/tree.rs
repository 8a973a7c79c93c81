//! A file as a tree: nodes and keys that know where they stand, and [`Spot`]s to walk it by.
//!
//! A checker holds a raw value in one hand and its [`Spot`] in the other; when it finds a mistake, the
//! spot says where. This file knows neither YAML nor what a config looks like.

use super::problems::Location;
use serde_json::Value;

/// One node of the tree.
#[derive(Clone)]
pub struct Node {
    /// Where it begins.
    pub at: Location,
    /// What it is.
    pub kind: Kind,
    /// Whether (a part of) it came from the environment; such text is not shown.
    pub interpolated: bool,
    /// Whether keys were taken out of it because of mistakes; what it lacks may be among them.
    pub partial: bool,
}

/// What a node is.
#[derive(Clone)]
pub enum Kind {
    /// Something of which a mistake has been told already.
    Broken,
    /// Nothing.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number, whole or not.
    Number(serde_json::Number),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the file's order.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_at: Location,
    /// The value.
    pub value: Node,
}

// By hand and short: a tree holds secrets.
impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({} at {}:{})", self.noun(), self.at.line, self.at.column)
    }
}

impl Node {
    /// The node's value, without places.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Broken | Kind::Null => Value::Null,
            Kind::Bool(yes) => Value::Bool(*yes),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Node::to_json).collect(),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect())
            }
        }
    }

    /// A node as it was written.
    #[must_use]
    pub fn new(at: Location, kind: Kind) -> Self {
        Self { at, kind, interpolated: false, partial: false }
    }

    /// A node without a place and without a value.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new(Location::default(), Kind::Null)
    }

    /// What it is, with an article, for a sentence.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            Kind::Broken => "a mistake",
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The node without what is in it: place and origin.
    pub(super) fn clone_bare(&self) -> Self {
        let Self { at, interpolated, partial, .. } = *self;
        Self { at, kind: Kind::Null, interpolated, partial }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Kind::Broken | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
                None
            }
        }
    }
}

impl Entry {
    /// The key without its value.
    pub(super) fn clone_bare(&self) -> Self {
        Self { key: self.key.clone(), key_at: self.key_at, value: self.value.clone_bare() }
    }
}

/// A place in the tree, or as near to it as the file gets: a missing key stands where its mapping stands.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    node: Option<&'a Node>,
    /// Where problems about it belong.
    pub at: Location,
}

impl<'a> Spot<'a> {
    /// The spot of a node.
    #[must_use]
    pub fn of(node: &'a Node) -> Self {
        Self { node: Some(node), at: node.at }
    }

    /// The value under `key`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        match self.node.and_then(|node| node.get(key)) {
            Some(node) => Self::of(node),
            None => Self { node: None, at: self.at },
        }
    }

    /// The item at `index`.
    #[must_use]
    pub fn item(self, index: usize) -> Self {
        match self.node.map(|node| &node.kind) {
            Some(Kind::List(items)) => match items.get(index) {
                Some(node) => Self::of(node),
                None => Self { node: None, at: self.at },
            },
            _ => Self { node: None, at: self.at },
        }
    }

    /// Where the key itself stands.
    #[must_use]
    pub fn key_at(self, key: &str) -> Location {
        self.node.and_then(|node| node.entry(key)).map_or(self.at, |entry| entry.key_at)
    }

    /// Whether something stands here.
    #[must_use]
    pub fn exists(self) -> bool {
        self.node.is_some()
    }

    /// Whether it (or a part of it) came from the environment.
    #[must_use]
    pub fn is_interpolated(self) -> bool {
        self.node.is_some_and(|node| node.interpolated)
    }

    /// Whether keys were taken out of it because of mistakes.
    #[must_use]
    pub fn is_partial(self) -> bool {
        self.node.is_some_and(|node| node.partial)
    }

    /// The keys of a mapping, in the file's order; none elsewhere.
    pub fn keys(self) -> impl Iterator<Item = &'a str> {
        let entries = match self.node.map(|node| &node.kind) {
            Some(Kind::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|entry| entry.key.as_str())
    }

    /// The items of a list; none elsewhere.
    pub fn items(self) -> impl Iterator<Item = Spot<'a>> {
        let items = match self.node.map(|node| &node.kind) {
            Some(Kind::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().map(Spot::of)
    }

    /// Whether a list without items stands here.
    #[must_use]
    pub fn is_empty_list(self) -> bool {
        matches!(self.node.map(|node| &node.kind), Some(Kind::List(items)) if items.is_empty())
    }

    /// The text that stands here.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match self.node.map(|node| &node.kind) {
            Some(Kind::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// A file's tree: as it was written, and what of it had the right shape.
#[derive(Debug)]
pub struct Document {
    kept: Node,
    whole: Node,
}

impl Document {
    /// From the parts that had the right shape, and the whole.
    #[must_use]
    pub fn new(kept: Node, whole: Node) -> Self {
        Self { kept, whole }
    }

    /// The top of what the raw struct was made from: lists have its indexes.
    #[must_use]
    pub fn top(&self) -> Spot<'_> {
        Spot::of(&self.kept)
    }

    /// The top of the file as written: says whether a name exists in a part that has other mistakes.
    #[must_use]
    pub fn written(&self) -> Spot<'_> {
        Spot::of(&self.whole)
    }
}
