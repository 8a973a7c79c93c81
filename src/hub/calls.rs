//! Calls on the way: which answers are waited for, and what became of them.
//!
//! A session is one socket that has said hello; what was asked on one is never answered by the next.

use super::away::Why;
use crate::openclaw::incoming::Fault;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Most calls that wait for one gateway on one link.
const MOST: usize = 4096;

/// A piece of a frame: JSON text that was read where it came, without a copy.
#[derive(Debug, Clone)]
pub struct Json {
    frame: Utf8Bytes,
    range: Range<usize>,
}

impl Json {
    /// `piece` must lie in `frame`; else it is `null`.
    pub(super) fn of(frame: &Utf8Bytes, piece: Option<&serde_json::value::RawValue>) -> Self {
        let start =
            piece.map(|piece| (piece.get().as_ptr() as usize).wrapping_sub(frame.as_str().as_ptr() as usize));
        let range = start.zip(piece).map(|(start, piece)| start..start.saturating_add(piece.get().len()));
        let range = range.filter(|range| frame.as_str().get(range.clone()).is_some());
        match range {
            Some(range) => Self { frame: frame.clone(), range },
            None => Self { frame: Utf8Bytes::from_static("null"), range: 0..4 },
        }
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.frame.as_str().get(self.range.clone()).unwrap_or("null")
    }

    /// What it says.
    ///
    /// # Errors
    /// When it says something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The gateway is away, or went away before it answered.
    #[error("the gateway is away: {0}")]
    Away(Why),
    /// No answer came in time.
    #[error("the gateway did not answer in time")]
    TimedOut,
    /// Too many calls wait for it already.
    #[error("too many calls wait for the gateway")]
    Busy,
    /// It said no.
    #[error("the gateway refused: {}", .0.fault.code)]
    Refused(Box<Refusal>),
}

/// A gateway's no.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What of it can be decided on.
    pub fault: Fault,
    /// The `error` as it came.
    pub error: Json,
}

/// A call's outcome.
pub type Outcome = Result<Json, CallError>;

/// What waits for answers.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// The session that can be asked, if one can.
    session: Option<u64>,
    sessions: u64,
    last: u64,
    calls: HashMap<u64, oneshot::Sender<Outcome>>,
}

/// A call that waits: its id, the session it belongs to, and where its answer comes.
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) session: u64,
    pub(super) answer: oneshot::Receiver<Outcome>,
    waiting: Arc<Waiting>,
}

impl Drop for Ticket {
    /// Whoever gave up waiting is forgotten.
    fn drop(&mut self) {
        self.waiting.0.lock().calls.remove(&self.id);
    }
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTicket {
    Away,
    Busy,
}

impl Waiting {
    /// A place for one more answer.
    pub(super) fn ticket(self: &Arc<Self>) -> Result<Ticket, NoTicket> {
        let mut open = self.0.lock();
        let session = open.session.ok_or(NoTicket::Away)?;
        if open.calls.len() >= MOST {
            return Err(NoTicket::Busy);
        }
        let (sender, answer) = oneshot::channel();
        open.last += 1;
        let id = open.last;
        open.calls.insert(id, sender);
        Ok(Ticket { id, session, answer, waiting: self.clone() })
    }

    /// A session begins.
    pub(super) fn begin(&self) -> u64 {
        let mut open = self.0.lock();
        open.sessions += 1;
        open.session = Some(open.sessions);
        open.sessions
    }

    /// The session has ended, and with it all that waited.
    pub(super) fn end(&self, why: &Why) {
        let calls = {
            let mut open = self.0.lock();
            open.session = None;
            std::mem::take(&mut open.calls)
        };
        for (_, call) in calls {
            // Who no longer waits needs no answer.
            let _ = call.send(Err(CallError::Away(why.clone())));
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answer(&self, id: &str, outcome: Outcome) {
        let call = id.parse().ok().and_then(|id: u64| self.0.lock().calls.remove(&id));
        if let Some(call) = call {
            let _ = call.send(outcome);
        }
    }

    /// How many wait.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().calls.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openclaw::incoming::{self, Incoming};

    fn null() -> Json {
        Json::of(&Utf8Bytes::from_static(""), None)
    }

    #[test]
    fn a_piece_is_read_where_it_stands() {
        let frame = Utf8Bytes::from_static(r#"{"type":"res","id":"1","ok":true,"payload":{"a":[1,2]}}"#);
        let Incoming::Answer { payload, .. } = incoming::read(frame.as_str()) else { panic!("an answer") };
        let piece = Json::of(&frame, payload);
        assert_eq!(piece.get(), r#"{"a":[1,2]}"#);
        assert_eq!(piece.read::<serde_json::Value>().unwrap()["a"][1], 2);
        // A piece of another text is none of this one.
        assert_eq!(Json::of(&Utf8Bytes::from_static("{}"), payload).get(), "null");
    }

    #[test]
    fn who_gives_up_leaves_nothing_behind() {
        let waiting = Arc::new(Waiting::default());
        assert!(matches!(waiting.ticket(), Err(NoTicket::Away)));
        waiting.begin();
        let ticket = waiting.ticket().unwrap();
        assert_eq!(waiting.len(), 1);
        drop(ticket);
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn an_answer_comes_to_its_own_call() {
        let waiting = Arc::new(Waiting::default());
        waiting.begin();
        let (mut one, mut two) = (waiting.ticket().unwrap(), waiting.ticket().unwrap());
        waiting.answer("nobody", Ok(null()));
        waiting.answer(&two.id.to_string(), Ok(null()));
        assert!(one.answer.try_recv().is_err() && two.answer.try_recv().unwrap().is_ok());
        waiting.end(&Why::Silent);
        assert!(matches!(one.answer.try_recv(), Ok(Err(CallError::Away(Why::Silent)))));
        assert!(matches!(waiting.ticket(), Err(NoTicket::Away)));
        assert!(waiting.begin() > one.session);
    }

    #[test]
    fn waiting_is_bounded() {
        let waiting = Arc::new(Waiting::default());
        waiting.begin();
        let tickets: Vec<Ticket> = (0..MOST).map(|_| waiting.ticket().unwrap()).collect();
        assert!(matches!(waiting.ticket(), Err(NoTicket::Busy)));
        drop(tickets);
        assert!(waiting.ticket().is_ok());
    }
}
