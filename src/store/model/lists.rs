//! Lists: which rows, in which order, from which place on.

use super::rows::{Kind, Row};

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
    /// Of this kind.
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

/// Most bytes of rows (`Content::bytes`) in one page; the row that goes beyond is its last.
pub(crate) const MOST_PAGE_BYTES: i64 = 16 * 1024 * 1024;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most as many rows as were asked for; fewer when they are long ([`MOST_PAGE_BYTES`]).
    pub rows: Vec<Row>,
    /// Where the next page starts; none after the last.
    pub next: Option<Place>,
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

#[cfg(test)]
mod tests {
    use super::past_prefix;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

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
