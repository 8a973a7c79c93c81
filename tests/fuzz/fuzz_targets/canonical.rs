//! Any bytes: reading never panics, and a canonical text is its own canonical text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_edge::signatures::sign::canonical_text;

fuzz_target!(|body: &[u8]| {
    if let Ok(first) = canonical_text(body) {
        assert_eq!(canonical_text(&first).as_deref(), Ok(first.as_slice()));
    }
});
