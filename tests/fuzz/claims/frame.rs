//! Any bytes as a client's frame: what is read as a call, a whole parser reads as the same call; and a connect
//! that goes on takes no key of the edge's along.

use openclaw_edge::openclaw::connect::{Connect, Whose};
use openclaw_edge::openclaw::frame::{self, Call};

/// The claim, for these bytes.
pub(super) fn hold(text: &[u8]) {
    let Ok(call) = frame::read(text) else { return };
    assert_eq!(text[call.close], b'}');
    // What no parser reads, no gateway reads; what it reads must be this.
    if let Ok(whole) = serde_json::from_slice::<serde_json::Value>(text) {
        assert_eq!(whole["type"], "req");
        assert_eq!(whole["method"], call.method);
        let id: Result<serde_json::Value, _> = serde_json::from_str(call.id);
        assert_eq!(id.ok().as_ref(), whole.get("id"));
        assert_eq!(whole.get("traceparent").is_some(), call.is_traced);
        // On a socket for many: no reader finds another gateway, or other parameters.
        if let Some(gateway) = call.gateway {
            assert_eq!(whole["gatewayId"], gateway);
        }
        let params =
            call.params.map(|params| serde_json::from_str::<serde_json::Value>(params).expect("JSON"));
        assert_eq!(params.as_ref(), whole.get("params"));
        assert!(!frame::names_none(text) || whole.get("gatewayId").is_none());
    }
    connect(&call, text);
}

/// The caller's key, and another's.
const KEYS: [&str; 2] = ["oce_mine", "oce_theirs"];

fn connect(call: &Call<'_>, text: &[u8]) {
    let Ok(mut connect) = Connect::read(call, text) else { return };
    let whose = |key: &str| match KEYS.iter().position(|known| *known == key) {
        Some(0) => Whose::Callers,
        Some(_) => Whose::Others,
        None => Whose::Nobodys,
    };
    if connect.settle(whose, Some("the gateway's secret")).is_ok() {
        let sent: serde_json::Value = serde_json::from_str(&connect.text()).expect("what is sent is JSON");
        let auth = sent["params"]["auth"].as_object().expect("a secret was put in");
        assert!(auth.values().all(|value| !KEYS.iter().any(|key| value == key)));
    }
    let _ = connect.answer(std::str::from_utf8(text).unwrap_or_default());
}
