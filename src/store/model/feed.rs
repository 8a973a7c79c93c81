//! What happened to a row: its versions, and the entries of the feed.

use super::rows::{Content, Kind, Stamp, Target};

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
    /// Of this kind alone.
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

/// Most bytes of rows in one stretch of the feed; the entry that goes beyond is its last. It is what a reader
/// costs that does not read.
pub(crate) const MOST_STRETCH_BYTES: i64 = 1024 * 1024;

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

#[cfg(test)]
mod tests {
    use super::{Action, Kind};

    #[test]
    fn the_words_of_closed_sets_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
    }
}
