//! Any bytes: reading never panics, and a canonical text is its own canonical text.

use openclaw_edge::signatures::sign::canonical_text;

/// The claim, for these bytes.
pub(super) fn hold(body: &[u8]) {
    if let Ok(first) = canonical_text(body) {
        assert_eq!(canonical_text(&first).as_deref(), Ok(first.as_slice()));
    }
}
