//! Any bytes as a client's frame: what is read as a call, a whole parser reads as the same call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_edge::openclaw::frame;

fuzz_target!(|text: &[u8]| {
    let Ok(call) = frame::read(text) else { return };
    assert_eq!(text[call.close], b'}');
    // What no parser reads, no gateway reads; what it reads must be this.
    if let Ok(whole) = serde_json::from_slice::<serde_json::Value>(text) {
        assert_eq!(whole["type"], "req");
        assert_eq!(whole["method"], call.method);
        let id: Result<serde_json::Value, _> = serde_json::from_str(call.id);
        assert_eq!(id.ok().as_ref(), whole.get("id"));
        assert_eq!(whole.get("traceparent").is_some(), call.is_traced);
    }
});
