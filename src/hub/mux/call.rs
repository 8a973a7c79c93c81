//! One call of a client on its way: asked under today's name, answered in the shape and under the id that
//! the client knows. Decisions on approvals are written down before they go on.

use super::super::away::Why;
use super::super::calls::{Answers, CallError, Json};
use super::super::link::{Answered, Later, LinkState, Question};
use super::frame;
use super::queue::Queue;
use super::session::Who;
use super::shapes::shaped;
use super::trunk::{Seat, Trunk};
use super::wants::Change;
use crate::audit::{Audit, Entry, now};
use crate::openclaw::methods;
use crate::openclaw::names::{Named, Shape};
use crate::openclaw::reply;
use prometheus::IntCounterVec;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Time for an answer, where the call does not say that it takes longer.
const WITHIN: Duration = Duration::from_secs(30);
/// Longest time that a call may ask for (`timeoutMs`), and what is added to it for the way.
const LONGEST: Duration = Duration::from_mins(10);
const WAY: Duration = Duration::from_secs(5);
/// Time for the end of what was accepted: an agent's run may be long.
const RUN: Duration = Duration::from_hours(1);
/// Time for a gateway that is being connected to for the first time.
const CONNECTING: Duration = Duration::from_secs(15);
/// Longest text of a client's that is written to the audit log.
const TOLD: usize = 256;
/// Calls that decide on an approval.
const DECIDES: [&str; 3] = ["exec.approval.resolve", "plugin.approval.resolve", "approval.resolve"];

/// A call, and where its answer goes.
pub(super) struct Carried {
    pub(super) trunk: Arc<Trunk>,
    pub(super) seat: Arc<Seat>,
    pub(super) queue: Arc<Queue>,
    pub(super) audit: Arc<Audit>,
    pub(super) who: Arc<Who>,
    /// The client's id, as it stood in its frame.
    pub(super) id: Box<str>,
    pub(super) method: Box<str>,
    pub(super) params: Box<RawValue>,
    /// The trace that the call is on, as it stood in its frame.
    pub(super) trace: Option<Box<str>>,
    pub(super) shape: Shape,
    pub(super) counted: IntCounterVec,
}

/// What goes back of a gateway's answer.
enum Answer {
    AsItCame(Json),
    /// Another may follow.
    First(Answered),
    Shaped(Box<RawValue>),
}

impl Answer {
    fn get(&self) -> &str {
        match self {
            Self::AsItCame(json) | Self::First(Answered { payload: json, .. }) => json.get(),
            Self::Shaped(raw) => raw.get(),
        }
    }
}

/// Whether a call must be finished even when its client has left.
pub(super) fn decides(method: &str) -> bool {
    DECIDES.contains(&method)
}

/// The parameters of a call: an object where the client sent none.
pub(super) fn params(named: &Named<'_>) -> Option<Box<RawValue>> {
    serde_json::from_str(named.params.unwrap_or("{}")).ok()
}

impl Carried {
    /// Asks, and answers.
    pub(super) async fn carry(self) {
        if decides(&self.method) && self.note("decision", None).await.is_err() {
            let text = "the decision cannot be written to the audit log, so it does not go on";
            self.count("unaudited");
            return self.give(frame::own(
                Some(self.gateway()),
                &reply::unavailable(&self.id, text, "audit_unavailable", 2000),
            ));
        }
        let outcome = self.ask().await;
        let (result, told) = match &outcome {
            Ok(_) => ("answered", "applied"),
            Err(CallError::Refused(refusal)) => ("refused", refusal.fault.code.as_str()),
            Err(CallError::Away(_)) => ("away", "away"),
            Err(CallError::TimedOut) => ("timed_out", "timed_out"),
            Err(CallError::Busy) => ("busy", "busy"),
        };
        self.count(result);
        if decides(&self.method) {
            // The decision itself is on the disk.
            let _ = self.note("outcome", Some(told)).await;
        }
        let gateway = &self.trunk.dial.id;
        let text = match &outcome {
            Ok(payload) => frame::answer(gateway, &self.id, payload.get()),
            Err(error) => frame::failed(gateway, &self.id, error),
        };
        self.give(text);
        if let Ok(Answer::First(Answered { later: Some(later), .. })) = outcome {
            self.finish(later).await;
        }
    }

    /// Waits for the second answer, which comes under the same id.
    async fn finish(self, later: Later) {
        let gateway = &self.trunk.dial.id;
        let text = match later.answer(RUN).await {
            None => return,
            Some(Ok(payload)) => frame::answer(gateway, &self.id, payload.get()),
            Some(Err(error)) => frame::failed(gateway, &self.id, &error),
        };
        self.give(text);
    }

    async fn ask(&self) -> Result<Answer, CallError> {
        let (link, within) = (&self.trunk.link, within(self.params.get()));
        let asked = (&*self.method, &*self.params);
        if let Some(change) = Change::of(&self.method) {
            let changed = self.trunk.change(&self.seat, change, asked);
            let changed = tokio::time::timeout(within, changed).await;
            return changed.map_err(|_| CallError::TimedOut)?.map(Answer::AsItCame);
        }
        let answers = if methods::is_answered_twice(&self.method) { Answers::Two } else { Answers::One };
        let trace = self.trace.as_deref();
        let call = link.ask(Question { method: asked.0, params: asked.1, trace, answers }, within);
        match self.shape {
            Shape::Today => call.await.map(Answer::First),
            Shape::Agents | Shape::Channels | Shape::Sessions => Ok(self.shaped(&call.await?.payload, None)),
            Shape::Status => {
                // Its numbers stand in another answer; without that they are not told.
                let nothing = serde_json::from_str("{}").unwrap_or(RawValue::NULL);
                let (status, health) = tokio::join!(call, link.call("health", nothing, within));
                Ok(self.shaped(&status?.payload, health.ok().as_ref()))
            }
        }
    }

    fn shaped(&self, answer: &Json, health: Option<&Json>) -> Answer {
        let read = |json: &Json| serde_json::from_str::<Box<RawValue>>(json.get()).ok();
        match read(answer) {
            Some(payload) => Answer::Shaped(shaped(self.shape, payload, health.and_then(read).as_deref())),
            None => Answer::AsItCame(answer.clone()),
        }
    }

    /// Answers a `connect` as soon as the gateway can be asked.
    pub(super) async fn greet(self) {
        let mut states = self.trunk.link.state();
        let known = states.wait_for(|state| !matches!(state, LinkState::Connecting));
        let state = match tokio::time::timeout(CONNECTING, known).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) | Err(_) => LinkState::Connecting,
        };
        let gateway = &self.trunk.dial.id;
        let failed = |why| frame::failed(gateway, &self.id, &CallError::Away(why));
        let text = match state {
            LinkState::Here(hello) => frame::hello(gateway, &self.id, &hello, self.who.scopes),
            LinkState::Away(away) => failed(away.why),
            LinkState::Connecting => failed(Why::TimedOut),
        };
        self.count("local");
        self.give(text);
    }

    fn gateway(&self) -> &str {
        self.trunk.dial.id.as_str()
    }

    fn give(&self, text: Utf8Bytes) {
        self.queue.answer(text, || {
            let text = "the answer found no room behind what this client has not read";
            frame::own(Some(self.gateway()), &reply::unanswered(&self.id, text, "slow_consumer"))
        });
    }

    fn count(&self, result: &str) {
        self.counted.with_label_values(&[result]).inc();
    }

    /// Writes to the audit log who decides what.
    async fn note(&self, event: &'static str, outcome: Option<&str>) -> std::io::Result<()> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Decision {
            id: Option<String>,
            decision: Option<String>,
        }
        let decision: Decision = serde_json::from_str(self.params.get()).unwrap_or_default();
        let who = &self.who;
        let entry = Entry {
            at: now(),
            event,
            gateway: Some(self.gateway().to_owned()),
            credential: Some(who.credential.clone()),
            node: who.node.clone(),
            request: who.request.clone(),
            method: Some(self.method.to_string()),
            approval: decision.id.map(bounded),
            decision: decision.decision.map(bounded),
            outcome: outcome.map(|outcome| bounded(outcome.to_owned())),
            ..Entry::default()
        };
        let written = self.audit.write(&who.tenant, entry).await;
        if let Err(error) = &written {
            tracing::error!(tenant = %who.tenant, %error, "the audit log cannot be written");
        }
        written
    }
}

fn bounded(mut text: String) -> String {
    let end = (0..=TOLD.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}

/// How long an answer may take.
fn within(params: &str) -> Duration {
    #[derive(Deserialize)]
    struct Says {
        #[serde(rename = "timeoutMs")]
        timeout_ms: Option<u64>,
    }
    let says = params.contains("timeoutMs").then(|| serde_json::from_str::<Says>(params).ok()).flatten();
    let asked = says.and_then(|says| says.timeout_ms).map(Duration::from_millis);
    asked.map_or(WITHIN, |asked| asked.min(LONGEST) + WAY).max(WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openclaw::names;

    #[test]
    fn a_call_says_how_long_it_takes() {
        assert_eq!(within("{}"), WITHIN);
        assert_eq!(within(r#"{"timeoutMs":60000}"#), Duration::from_secs(65));
        assert_eq!(within(r#"{"timeoutMs":1}"#), WITHIN);
        assert_eq!(within(r#"{"timeoutMs":99999999999}"#), LONGEST + WAY);
        assert_eq!(within(r#"{"timeoutMs":"x"}"#), WITHIN);
        assert_eq!(within(r#"{"text":"timeoutMs"}"#), WITHIN);
    }

    #[test]
    fn parameters_are_json_or_none_go_on() {
        assert_eq!(params(&names::today("x", None)).unwrap().get(), "{}");
        assert_eq!(params(&names::today("x", Some(r#"{"a":1}"#))).unwrap().get(), r#"{"a":1}"#);
        assert!(params(&names::today("x", Some("{]"))).is_none());
    }

    #[test]
    fn what_a_client_says_is_cut_at_a_character() {
        assert_eq!(bounded("ä".repeat(200)).len(), 256);
        assert_eq!(bounded("é".repeat(200).replacen('é', "e", 1)).len(), 255);
        assert!(now().ends_with('Z') && now().len() == 24, "{}", now());
    }
}
