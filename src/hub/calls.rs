//! Calls on the way: which answers are waited for, and what became of them.
//!
//! A session is one socket that has said hello; what was asked on one is never answered by the next.

use super::away::Why;
use crate::openclaw::incoming::Fault;
use parking_lot::Mutex;
use serde::Deserialize;
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
    calls: HashMap<u64, Call>,
}

/// A call on the way.
#[derive(Debug)]
struct Call {
    /// Where its next answer goes.
    next: oneshot::Sender<Outcome>,
    /// Where the one after that goes, if the next only says that the call was accepted.
    then: Option<oneshot::Sender<Outcome>>,
}

/// How often a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Once.
    One,
    /// Again, if the first answer says `accepted`.
    Two,
}

/// A call that waits: its id, the session it belongs to, and where its answer comes.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) session: u64,
    pub(super) answer: oneshot::Receiver<Outcome>,
    /// Where the second answer comes; closed as soon as there will be none.
    pub(super) then: Option<oneshot::Receiver<Outcome>>,
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

impl Open {
    /// Where an answer goes; after its last one a call is forgotten.
    fn next(&mut self, id: u64, outcome: &Outcome) -> Option<oneshot::Sender<Outcome>> {
        let call = self.calls.get_mut(&id)?;
        match call.then.take_if(|_| outcome.as_ref().is_ok_and(is_accepted)) {
            Some(then) => Some(std::mem::replace(&mut call.next, then)),
            None => self.calls.remove(&id).map(|call| call.next),
        }
    }
}

/// Whether an answer says that its call was accepted.
fn is_accepted(payload: &Json) -> bool {
    #[derive(Deserialize)]
    struct Says {
        status: String,
    }
    payload.read::<Says>().is_ok_and(|says| says.status == "accepted")
}

impl Waiting {
    /// A place for one more call.
    pub(super) fn ticket(self: &Arc<Self>, answers: Answers) -> Result<Ticket, NoTicket> {
        let mut open = self.0.lock();
        let session = open.session.ok_or(NoTicket::Away)?;
        if open.calls.len() >= MOST {
            return Err(NoTicket::Busy);
        }
        let (next, answer) = oneshot::channel();
        let (later, then) = match answers {
            Answers::One => (None, None),
            Answers::Two => {
                let (sender, receiver) = oneshot::channel();
                (Some(sender), Some(receiver))
            }
        };
        open.last += 1;
        let id = open.last;
        open.calls.insert(id, Call { next, then: later });
        Ok(Ticket { id, session, answer, then, waiting: self.clone() })
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
            let _ = call.next.send(Err(CallError::Away(why.clone())));
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answer(&self, id: &str, outcome: Outcome) {
        let sender = id.parse().ok().and_then(|id| self.0.lock().next(id, &outcome));
        if let Some(sender) = sender {
            let _ = sender.send(outcome);
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
        assert!(matches!(waiting.ticket(Answers::One), Err(NoTicket::Away)));
        waiting.begin();
        let ticket = waiting.ticket(Answers::One).unwrap();
        assert_eq!(waiting.len(), 1);
        drop(ticket);
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn an_answer_comes_to_its_own_call() {
        let waiting = Arc::new(Waiting::default());
        waiting.begin();
        let (mut one, mut two) =
            (waiting.ticket(Answers::One).unwrap(), waiting.ticket(Answers::One).unwrap());
        waiting.answer("nobody", Ok(null()));
        waiting.answer(&two.id.to_string(), Ok(null()));
        assert!(one.answer.try_recv().is_err() && two.answer.try_recv().unwrap().is_ok());
        waiting.end(&Why::Silent);
        assert!(matches!(one.answer.try_recv(), Ok(Err(CallError::Away(Why::Silent)))));
        assert!(matches!(waiting.ticket(Answers::One), Err(NoTicket::Away)));
        assert!(waiting.begin() > one.session);
    }

    #[test]
    fn waiting_is_bounded() {
        let waiting = Arc::new(Waiting::default());
        waiting.begin();
        let tickets: Vec<Ticket> = (0..MOST).map(|_| waiting.ticket(Answers::One).unwrap()).collect();
        assert!(matches!(waiting.ticket(Answers::One), Err(NoTicket::Busy)));
        drop(tickets);
        assert!(waiting.ticket(Answers::One).is_ok());
    }
    fn said(payload: &str) -> Json {
        let frame = Utf8Bytes::from(payload);
        Json::of(&frame, Some(serde_json::from_str(&frame).unwrap()))
    }

    #[test]
    fn a_call_that_was_accepted_is_answered_again() {
        let waiting = Arc::new(Waiting::default());
        waiting.begin();
        let mut ticket = waiting.ticket(Answers::Two).unwrap();
        let (id, mut then) = (ticket.id.to_string(), ticket.then.take().unwrap());
        waiting.answer(&id, Ok(said(r#"{"status":"accepted","runId":"r"}"#)));
        assert!(ticket.answer.try_recv().unwrap().unwrap().get().contains("runId"));
        assert_eq!((waiting.len(), then.try_recv().is_err()), (1, true));
        waiting.answer(&id, Ok(said(r#"{"status":"accepted","again":true}"#)));
        assert!(then.try_recv().unwrap().unwrap().get().contains("again"));
        assert_eq!(waiting.len(), 0);
        // A gateway that goes away in between answers too.
        let mut ticket = waiting.ticket(Answers::Two).unwrap();
        waiting.answer(&ticket.id.to_string(), Ok(said(r#"{"status":"accepted"}"#)));
        waiting.end(&Why::Silent);
        let then = ticket.then.as_mut().unwrap().try_recv();
        assert!(matches!(then, Ok(Err(CallError::Away(Why::Silent)))), "{then:?}");
    }

    #[test]
    fn any_other_first_answer_is_the_last() {
        let waiting = Arc::new(Waiting::default());
        waiting.begin();
        for payload in [r#"{"status":"ok"}"#, "{}", "null", r#"{"status":["accepted"]}"#] {
            let mut ticket = waiting.ticket(Answers::Two).unwrap();
            waiting.answer(&ticket.id.to_string(), Ok(said(payload)));
            assert!(ticket.answer.try_recv().unwrap().is_ok(), "{payload}");
            assert_eq!(waiting.len(), 0, "{payload}");
            let then = ticket.then.as_mut().unwrap().try_recv();
            assert_eq!(then.unwrap_err(), oneshot::error::TryRecvError::Closed, "{payload}");
        }
        let mut ticket = waiting.ticket(Answers::One).unwrap();
        waiting.answer(&ticket.id.to_string(), Ok(said(r#"{"status":"accepted"}"#)));
        assert!(ticket.answer.try_recv().unwrap().is_ok() && ticket.then.is_none());
        assert_eq!(waiting.len(), 0);
    }
}
