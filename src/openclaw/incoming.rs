//! Frames of a gateway as a client of its own reads them: answers and events, found in the text without a
//! copy; and what an error says.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A frame that a gateway sent.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// The answer to a call that went well.
    Answer {
        /// The call's id.
        id: &'a str,
        /// What it says; nothing where the gateway sent none.
        payload: Option<&'a RawValue>,
    },
    /// The answer to a call that did not.
    Refusal {
        /// The call's id.
        id: &'a str,
        /// Why.
        error: Option<&'a RawValue>,
    },
    /// Something has happened.
    Event {
        /// What.
        name: &'a str,
        /// More of it.
        payload: Option<&'a RawValue>,
        /// Its place among the events of this socket, from 1 on.
        seq: Option<u64>,
    },
    /// Nothing that a client of today's protocols knows.
    Other,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<&'a str>,
    ok: Option<bool>,
    event: Option<&'a str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    seq: Option<u64>,
}

/// Reads a frame. Ids and names that need escapes are nobody's: a client's own ids have none.
#[must_use]
pub fn read(text: &str) -> Incoming<'_> {
    let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else { return Incoming::Other };
    match (frame.kind, frame.id, frame.event) {
        ("res", Some(id), _) if frame.ok == Some(true) => Incoming::Answer { id, payload: frame.payload },
        ("res", Some(id), _) => Incoming::Refusal { id, error: frame.error },
        ("event", _, Some(name)) => Incoming::Event { name, payload: frame.payload, seq: frame.seq },
        _ => Incoming::Other,
    }
}

/// What a gateway says when it refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Its code, such as `FORBIDDEN`.
    pub code: String,
    /// For people.
    pub message: String,
    /// How long to wait, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The narrower code in `details`, such as `PAIRING_REQUIRED`.
    pub detail: Option<String>,
    /// The word in `details` that says why, such as `startup-sidecars`.
    pub reason: Option<String>,
    /// The request that waits for somebody's approval.
    pub request_id: Option<String>,
}

impl Fault {
    /// Reads the `error` of a refusal; what is not there stays empty.
    #[must_use]
    pub fn read(error: Option<&RawValue>) -> Self {
        let error: Value = error.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let details = &error["details"];
        Self {
            code: word(&error["code"]).unwrap_or_default(),
            message: word(&error["message"]).unwrap_or_default(),
            retry_after_ms: error["retryAfterMs"].as_u64(),
            detail: word(&details["code"]),
            reason: word(&details["reason"]),
            request_id: word(&details["requestId"]),
        }
    }
}

/// What the places of events on one socket tell.
#[derive(Debug, Default)]
pub struct Sequence {
    last: Option<u64>,
}

impl Sequence {
    /// Whether events were left out before this one. The first one of a socket may have any place.
    pub fn skips(&mut self, seq: Option<u64>) -> bool {
        let Some(seq) = seq else { return false };
        let skips = self.last.is_some_and(|last| seq > last.saturating_add(1));
        // Never backwards: one that comes twice must not make the next one a gap.
        self.last = Some(self.last.map_or(seq, |last| last.max(seq)));
        skips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_events_are_told_apart() {
        let text = r#"{"type":"res","id":"7","ok":true,"payload":{"a":[1]}}"#;
        assert!(
            matches!(read(text), Incoming::Answer { id: "7", payload: Some(raw) } if raw.get() == r#"{"a":[1]}"#)
        );
        let text = r#"{"type":"res","id":"7","ok":false,"error":{"code":"X"}}"#;
        assert!(matches!(read(text), Incoming::Refusal { id: "7", error: Some(_) }));
        let text =
            r#"{"type":"event","event":"tick","payload":{"ts":1},"seq":34,"stateVersion":{"health":1}}"#;
        assert!(matches!(read(text), Incoming::Event { name: "tick", payload: Some(_), seq: Some(34) }));
        for other in
            ["", "[]", "{}", r#"{"type":"req","id":"1"}"#, r#"{"type":"res"}"#, r#"{"type":"event"}"#]
        {
            assert!(matches!(read(other), Incoming::Other), "{other}");
        }
    }

    #[test]
    fn an_error_is_read_as_far_as_it_goes() {
        let raw = r#"{"code":"NOT_PAIRED","message":"m","retryAfterMs":500,
            "details":{"code":"PAIRING_REQUIRED","reason":"not-paired","requestId":"r-1"}}"#;
        let fault = Fault::read(serde_json::from_str(raw).ok());
        assert_eq!(fault.detail.as_deref(), Some("PAIRING_REQUIRED"));
        assert_eq!((fault.retry_after_ms, fault.request_id.as_deref()), (Some(500), Some("r-1")));
        assert_eq!(Fault::read(None), Fault::default());
    }

    #[test]
    fn a_gap_is_told_once() {
        let mut sequence = Sequence::default();
        let told: Vec<bool> = [Some(3), Some(4), None, Some(6), Some(7), Some(5), Some(8), Some(10)]
            .map(|seq| sequence.skips(seq))
            .into();
        assert_eq!(told, [false, false, false, true, false, false, false, true]);
    }
}
