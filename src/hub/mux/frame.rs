//! Frames to clients: a gateway's own with its id added, cut from the raw text; and the multiplexer's own.

use super::super::away::Why;
use super::super::calls::CallError;
use super::super::link::{Event, Hello};
use crate::ids::GatewayId;
use crate::openclaw::frame as scan;
use crate::openclaw::methods::{self, Role};
use crate::openclaw::{Scopes, reply};
use serde_json::json;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// How long a client waits before it asks a gateway again that is away.
const LATER_MS: u32 = 2000;

/// A gateway's event. It goes on whole; one that names a gateway itself is made anew, so that it cannot
/// pass for another's.
pub(super) fn event(gateway: &GatewayId, event: &Event) -> Utf8Bytes {
    named(gateway, &event.frame).unwrap_or_else(|| told(gateway, &event.name, event.payload.get()))
}

fn named(gateway: &GatewayId, frame: &str) -> Option<Utf8Bytes> {
    let rest = frame.trim_ascii_start().strip_prefix('{').filter(|_| scan::names_none(frame.as_bytes()))?;
    Some(format!("{{\"gatewayId\":\"{gateway}\",{rest}").into())
}

/// An event of a name that needs care, or of the multiplexer's own.
pub(super) fn told(gateway: &GatewayId, name: &str, payload: &str) -> Utf8Bytes {
    let name = serde_json::Value::from(name);
    format!("{{\"gatewayId\":\"{gateway}\",\"type\":\"event\",\"event\":{name},\"payload\":{payload}}}")
        .into()
}

/// The gateway can be asked.
pub(super) fn connected(gateway: &GatewayId, hello: &Hello) -> Utf8Bytes {
    let payload = json!({"version": hello.version, "protocol": hello.protocol, "since": hello.since_ms});
    told(gateway, "proxy.connected", &payload.to_string())
}

/// The gateway cannot be asked.
pub(super) fn disconnected(gateway: &GatewayId, reason: &str) -> Utf8Bytes {
    told(gateway, "proxy.disconnected", &json!({"reason": reason}).to_string())
}

/// Something is wrong with the connection to a gateway.
pub(super) fn fault(gateway: &GatewayId, code: &str, message: &str) -> Utf8Bytes {
    told(gateway, "proxy.error", &json!({"message": message, "code": code}).to_string())
}

/// The same for why it is away.
pub(super) fn away(gateway: &GatewayId, why: &Why) -> Utf8Bytes {
    fault(gateway, why.code(), &format!("the gateway is away: {why}"))
}

/// The answer to a call. `id` is the client's own, as it stood in its frame.
pub(super) fn answer(gateway: &GatewayId, id: &str, payload: &str) -> Utf8Bytes {
    format!("{{\"gatewayId\":\"{gateway}\",\"type\":\"res\",\"id\":{id},\"ok\":true,\"payload\":{payload}}}")
        .into()
}

/// One of the multiplexer's own answers.
pub(super) fn own(gateway: Option<&str>, answer: &str) -> Utf8Bytes {
    reply::addressed(gateway, answer).into()
}

/// Why a call has no result: the gateway's own words where it has refused it.
pub(super) fn failed(gateway: &GatewayId, id: &str, error: &CallError) -> Utf8Bytes {
    let text = match error {
        CallError::Refused(refusal) => {
            let error = refusal.error.get();
            format!("{{\"type\":\"res\",\"id\":{id},\"ok\":false,\"error\":{error}}}")
        }
        CallError::Away(why) => {
            reply::unavailable(id, &format!("the gateway is away: {why}"), why.code(), LATER_MS)
        }
        CallError::TimedOut => reply::unanswered(id, "the gateway did not answer in time", "timeout"),
        CallError::Busy => reply::unavailable(id, "too many calls wait for the gateway", "busy", LATER_MS),
    };
    own(Some(gateway.as_str()), &text)
}

/// What a `connect` of a client is answered: which gateway it is and what the client may do there. None of
/// what the gateway told the edge of itself, its folders or its devices is in it.
pub(super) fn hello(gateway: &GatewayId, id: &str, hello: &Hello, scopes: Scopes) -> Utf8Bytes {
    let may = |name: &&String| methods::allow(methods::find(name), Role::Operator, scopes).is_ok();
    let mut callable: Vec<&String> = hello.methods.iter().filter(may).collect();
    callable.sort();
    let field = scopes.field();
    let words: Vec<&str> = field.split(',').filter(|word| !word.is_empty()).collect();
    let payload = json!({
        "type": "hello-ok", "protocol": hello.protocol, "server": {"version": hello.version},
        "features": {"methods": callable, "events": ["proxy.connected", "proxy.disconnected", "proxy.error"]},
        "snapshot": {}, "auth": {"role": "operator", "scopes": words},
        "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": super::queue::MOST_BYTES, "tickIntervalMs": 30_000},
    });
    answer(gateway, id, &payload.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::super::calls::Json;
    use super::*;
    use crate::openclaw::incoming::{self, Incoming};
    use proptest::prelude::*;
    use serde_json::Value;

    fn ceo() -> GatewayId {
        GatewayId::parse("ceo").unwrap()
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn came(text: &str) -> Event {
        let frame = Utf8Bytes::from(text);
        let Incoming::Event { name, payload, .. } = incoming::read(&frame) else {
            panic!("no event: {text}")
        };
        Event { name: name.to_owned(), payload: Json::of(&frame, payload), frame: frame.clone() }
    }

    #[test]
    fn an_event_goes_on_whole() {
        let text = r#" {"type":"event","event":"health","payload":{"ok":"\u0061"},"seq":3,"stateVersion":{"health":1}}"#;
        let told = read(&event(&ceo(), &came(text)));
        let mut whole = read(text);
        whole["gatewayId"] = "ceo".into();
        assert_eq!(told, whole);
    }

    #[test]
    fn no_event_passes_for_another_gateways() {
        for text in [
            r#"{"type":"event","event":"x","payload":{"a":1},"gatewayId":"sec"}"#,
            r#"{"type":"event","event":"x","payload":{"a":1},"g\u0061tewayId":"sec"}"#,
        ] {
            let told = read(&event(&ceo(), &came(text)));
            assert_eq!(told, json!({"gatewayId": "ceo", "type": "event", "event": "x", "payload": {"a": 1}}));
        }
    }

    #[test]
    fn answers_keep_the_clients_id() {
        let id = r#""a\u0062""#;
        let told = read(&answer(&ceo(), id, r#"{"x":1}"#));
        assert_eq!(
            told,
            json!({"gatewayId": "ceo", "type": "res", "id": "ab", "ok": true, "payload": {"x": 1}})
        );
        let told = read(&failed(&ceo(), id, &CallError::Away(Why::Unreachable)));
        assert_eq!((&told["gatewayId"], &told["ok"]), (&json!("ceo"), &json!(false)));
        assert_eq!(told["error"]["details"]["reason"], "unreachable");
        assert_eq!(read(&failed(&ceo(), id, &CallError::TimedOut))["error"]["retryable"], false);
    }

    proptest! {
        /// Whatever a gateway sends as an event, a client reads it as this gateway's.
        #[test]
        fn events_are_of_the_gateway_that_sent_them(
            name in "[a-z.]{1,12}", key in "\\PC{0,12}", text in "\\PC{0,24}", after in any::<bool>()
        ) {
            let mut frame = json!({"type": "event", "event": name, "payload": {"text": text}});
            if after && !["type", "event", "payload", "seq", "id", "ok", "error"].contains(&key.as_str()) {
                frame[&key] = "sec".into();
            }
            let told = read(&event(&ceo(), &came(&frame.to_string())));
            prop_assert_eq!(&told["gatewayId"], "ceo");
            prop_assert_eq!(&told["event"], &frame["event"]);
            prop_assert_eq!(&told["payload"], &frame["payload"]);
        }
    }
}
