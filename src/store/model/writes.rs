//! What may be done to a row, under which conditions and within which bounds, and how it ended.

use super::rows::{Content, Row, Stamp, Target};
use crate::store::json::Json;

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
    /// Most rows, all kinds together.
    pub rows: Option<i64>,
    /// Most bytes of live rows ([`Row::bytes`]).
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

/// What a tenant keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Live rows of memory; those that expired count until they are swept.
    pub memories: i64,
    /// Live skills, counted the same way.
    pub skills: i64,
    /// Nodes that have public keys.
    pub keys: i64,
    /// Bytes of live rows ([`Row::bytes`]).
    pub bytes: i64,
    /// Those of them that are skills'.
    pub skill_bytes: i64,
    /// Those of them that are public keys'.
    pub key_bytes: i64,
    /// Versions of the past.
    pub versions: i64,
    /// The feed's entries up to here were trimmed.
    pub feed_start: i64,
    /// The tenant's counter.
    pub last_change: i64,
}

impl Usage {
    /// Live rows of all kinds.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.memories + self.skills + self.keys
    }
}
