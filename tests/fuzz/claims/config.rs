//! Any text as a config: it loads or its mistakes are told; reading it never panics.

use openclaw_edge::config::{Effects, Surroundings, parse_in};

/// The claim, for these bytes.
pub(super) fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Files that a text names are read; none that a fuzzer could name matters here.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    let around = Surroundings { env: &|_| Some("a-value-of-the-environment".into()), effects: Effects::None };
    if let Err(problems) = parse_in("edge.yaml", text, around) {
        assert!(!problems.to_string().is_empty());
    }
}
