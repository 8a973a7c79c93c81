//! What a search asks and what it finds: words, nearness, or both.
//!
//! Engines find candidates; this file knows no SQL.

use super::embed::EmbedError;
use super::error::StoreError;
use super::model::{Found, Hit, NewMemory};
use super::ranking::Marks;
use super::semantic::Near;
use super::words::words;
use std::collections::HashMap;

/// More of a query than this is not looked at.
const MOST_QUERY_BYTES: usize = 4096;

/// More words than this are not looked at.
const MOST_WORDS: usize = 64;

/// Reciprocal rank fusion's usual constant: how much the first places lead.
const FUSION: f64 = 60.0;

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Memories that have all words.
    #[default]
    FullText,
    /// Memories whose vectors are near.
    Semantic,
    /// Both, fused by reciprocal rank.
    Hybrid,
}

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What to look for.
    pub words: String,
    /// In this scope alone.
    pub scope: Option<String>,
    /// Among keys that start so.
    pub prefix: Option<String>,
    /// Most hits.
    pub limit: u32,
    /// How.
    pub mode: Mode,
    /// How what was found is shown.
    pub marks: Marks,
}

/// Why a search gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no embedding, and so no nearness.
    #[error("semantic search is not configured")]
    NotConfigured,
    /// The service that makes vectors.
    #[error(transparent)]
    Embedding(#[from] EmbedError),
}

/// What an engine looks for: all words, within a scope and a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) words: String,
    pub(crate) scope: Option<String>,
    pub(crate) prefix: Option<String>,
}

impl Looked {
    /// These words, anywhere.
    #[cfg(test)]
    pub(crate) fn anywhere(words: &str) -> Self {
        Self { words: words.to_owned(), scope: None, prefix: None }
    }

    /// The pieces of the query between blanks and quotes, as written. NUL and quotes part words for SQLite.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        let end = self.words.floor_char_boundary(MOST_QUERY_BYTES);
        self.words[..end]
            .split(|c: char| c.is_whitespace() || c.is_control() || c == '"')
            .filter(|word| !word.is_empty())
            .take(MOST_WORDS)
    }

    /// The folded words of each piece, which must stand side by side; pieces without a word are left out.
    pub(crate) fn phrases(&self) -> Vec<Vec<String>> {
        self.pieces()
            .map(|piece| words(piece).map(|word| word.text.into_owned()).collect())
            .filter(|phrase: &Vec<String>| !phrase.is_empty())
            .collect()
    }
}

/// The text of a memory that is searched: its key and the strings of its value.
pub(crate) fn searched_text(memory: &NewMemory) -> String {
    let mut text = memory.key.clone();
    for string in memory.value.strings() {
        text.push(' ');
        text.push_str(&string);
    }
    text
}

/// Both lists in one, best first: each gives a hit the more the further in front it stands.
pub(crate) fn fuse(by_words: Vec<Hit>, by_nearness: Vec<Near>, limit: u32) -> Vec<Hit> {
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let mut fused: Vec<(f64, Hit)> = Vec::new();
    for (rank, hit) in (1_u32..).zip(by_words) {
        let snippet = match hit.found {
            Found::Words { snippet } | Found::Both { snippet, .. } => snippet,
            Found::Near { .. } => None,
        };
        places.insert((hit.scope.clone(), hit.key.clone()), fused.len());
        let found = Found::Both { snippet, distance: None, score: 0.0 };
        fused.push((share(rank), Hit { scope: hit.scope, key: hit.key, found }));
    }
    for (rank, near) in (1_u32..).zip(by_nearness) {
        let place = (near.scope, near.key);
        if let Some(&at) = places.get(&place) {
            fused[at].0 += share(rank);
            if let Found::Both { distance, .. } = &mut fused[at].1.found {
                *distance = Some(near.distance);
            }
        } else {
            let found = Found::Both { snippet: None, distance: Some(near.distance), score: 0.0 };
            fused.push((share(rank), Hit { scope: place.0, key: place.1, found }));
        }
    }
    fused.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    fused.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    fused
        .into_iter()
        .map(|(total, mut hit)| {
            if let Found::Both { score, .. } = &mut hit.found {
                *score = total;
            }
            hit
        })
        .collect()
}

fn share(rank: u32) -> f64 {
    1.0 / (FUSION + f64::from(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_both_lists_comes_before_what_leads_one() {
        let words = ["a", "b"].map(|key| Hit {
            scope: "mesh".into(),
            key: key.into(),
            found: Found::Words { snippet: Some(format!("snippet {key}")) },
        });
        let near = [("c", 0.1), ("b", 0.2)].map(|(key, distance)| Near {
            scope: "mesh".into(),
            key: key.into(),
            distance,
        });
        let fused = fuse(words.to_vec(), near.to_vec(), 2);
        let keys: Vec<_> = fused.iter().map(|hit| hit.key.as_str()).collect();
        assert_eq!(keys, ["b", "a"]);
        let Found::Both { snippet, distance, score } = &fused[0].found else { panic!("{fused:?}") };
        assert_eq!((snippet.as_deref(), *distance), (Some("snippet b"), Some(0.2)));
        assert!((score - (1.0 / 62.0 + 1.0 / 62.0)).abs() < 1e-9);
    }

    #[test]
    fn a_query_is_pieces_and_their_words() {
        let looked = Looked { words: "Weather-report \"🚀\" a\0b".into(), scope: None, prefix: None };
        assert_eq!(looked.pieces().collect::<Vec<_>>(), ["Weather-report", "🚀", "a", "b"]);
        assert_eq!(looked.phrases(), [vec!["weather", "report"], vec!["a"], vec!["b"]]);
    }
}
