//! What a search finds, and how many of it.

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
