//! What upkeep takes away, and what it leaves.

use super::rows::Target;

/// What upkeep leaves of a tenant's past, and how much it does at once. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// Entries of the feed from before this go.
    pub feed_from: i64,
    /// Of more entries than these the oldest go.
    pub feed_entries: Option<i64>,
    /// Versions of the past kept of each row.
    pub history: i64,
    /// Versions of the past that ended before this go.
    pub history_from: Option<i64>,
    /// That a row went before this is forgotten, with what is left of its past.
    pub tombstones_from: Option<i64>,
    /// Of more rows of which it is known that they went, those that went first are forgotten in the same way.
    pub tombstones: Option<i64>,
    /// Most of each kind of thing in one transaction.
    pub most: u32,
}

/// What one step of upkeep took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows whose time was over.
    pub rows: u32,
    /// Versions of the past.
    pub versions: u32,
    /// Entries of the feed.
    pub changes: u32,
}

impl Swept {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Versions of the past whose time is over: those of a row up to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outlived {
    /// Which row.
    pub(crate) target: Target,
    /// This version and those before.
    pub(crate) version: i64,
    /// When it was written, by the tenant's counter: a row that was purged and made anew since has versions
    /// of the same numbers that are younger.
    pub(crate) change: i64,
}
