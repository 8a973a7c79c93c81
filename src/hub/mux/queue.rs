//! What waits for one client: bounded, so that one who does not read holds up nobody but itself.
//!
//! Events that find no room end the client. Answers that find none become a refusal: whoever asked is told,
//! and asks again. Messages are shared between clients; each counts in full here.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Most bytes that wait for one client; one message may be larger, alone. A gateway's largest is 25 MiB.
pub(super) const MOST_BYTES: usize = 8 << 20;
/// Most messages.
pub(super) const MOST_MESSAGES: usize = 1024;
/// Bytes after which no more is taken out at once.
const AT_ONCE: usize = 256 << 10;
/// What is left to answers when events have filled the rest.
const SLACK_MESSAGES: usize = 128;

/// Why a client is closed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It does not read fast enough.
    Slow,
    /// It is gone, or was told all there is.
    Done,
}

/// What to send next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These, in this order.
    Messages(VecDeque<Utf8Bytes>),
    /// Nothing more.
    End(End),
}

/// One client's messages.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Notify,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Utf8Bytes>,
    bytes: usize,
    end: Option<End>,
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= MOST_BYTES || self.waiting.is_empty();
        fits && self.waiting.len() < MOST_MESSAGES
    }

    fn put(&mut self, text: Utf8Bytes) {
        self.bytes += text.len();
        self.waiting.push_back(text);
    }

    /// What is sent at once: the first, and more up to a bound. The rest goes on to count.
    fn take(&mut self) -> VecDeque<Utf8Bytes> {
        let (mut taken, mut bytes) = (VecDeque::new(), 0);
        while bytes < AT_ONCE
            && let Some(text) = self.waiting.pop_front()
        {
            bytes += text.len();
            taken.push_back(text);
        }
        self.bytes -= bytes;
        taken
    }

    fn give_up(&mut self) {
        *self = Self { end: Some(End::Slow), ..Self::default() };
    }
}

impl Queue {
    /// Puts an event in; a client without room for it is ended.
    pub(super) fn event(&self, text: &Utf8Bytes) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        if state.has_room(text.len()) {
            state.put(text.clone());
        } else {
            state.give_up();
        }
        self.tell(state);
    }

    /// Puts an answer in, or what is said instead of it where there is no room; a client that goes on asking
    /// without reading is ended.
    pub(super) fn answer(&self, text: Utf8Bytes, instead: impl FnOnce() -> Utf8Bytes) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        if state.has_room(text.len()) {
            state.put(text);
        } else if state.waiting.len() < MOST_MESSAGES + SLACK_MESSAGES {
            state.put(instead());
        } else {
            state.give_up();
        }
        self.tell(state);
    }

    /// Wakes whoever waits for what has changed.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let has_ended = state.end.is_some();
        drop(state);
        self.ready.notify_one();
        if has_ended {
            self.ended.notify_one();
        }
    }

    /// Ends it; what waits is not sent.
    pub(super) fn end(&self, why: End) {
        self.state.lock().end.get_or_insert(why);
        self.ready.notify_one();
        self.ended.notify_one();
    }

    /// Waits for something to send. One waits at a time.
    pub(super) async fn next(&self) -> Next {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(end) = state.end {
                    return Next::End(end);
                }
                if !state.waiting.is_empty() {
                    return Next::Messages(state.take());
                }
            }
            self.ready.notified().await;
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().end.is_some()
    }

    /// Whether it has ended because nobody reads.
    pub(super) fn is_slow(&self) -> bool {
        self.state.lock().end == Some(End::Slow)
    }

    /// Waits for its end. One waits at a time.
    pub(super) async fn ended(&self) {
        loop {
            if self.state.lock().end.is_some() {
                return;
            }
            self.ended.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn text(length: usize) -> Utf8Bytes {
        "x".repeat(length).into()
    }

    fn next(queue: &Queue) -> Option<Next> {
        queue.next().now_or_never()
    }

    #[test]
    fn messages_come_out_in_order() {
        let queue = Queue::default();
        assert_eq!(next(&queue), None);
        queue.event(&text(1));
        queue.answer(text(2), || text(0));
        assert_eq!(next(&queue), Some(Next::Messages([text(1), text(2)].into())));
        assert_eq!(next(&queue), None);
        queue.end(End::Done);
        assert_eq!(next(&queue), Some(Next::End(End::Done)));
        queue.event(&text(1));
        assert!(queue.has_ended() && queue.ended().now_or_never().is_some());
    }

    /// How many messages go in until it is ended.
    fn taken(put: impl Fn(&Queue)) -> usize {
        let queue = Queue::default();
        let taken = (0..).take_while(|_| !queue.has_ended()).inspect(|_| put(&queue)).count() - 1;
        assert_eq!(next(&queue), Some(Next::End(End::Slow)));
        taken
    }

    #[test]
    fn one_who_does_not_read_is_ended() {
        assert_eq!(taken(|queue| queue.event(&text(1000))), MOST_MESSAGES);
        assert_eq!(taken(|queue| queue.event(&text(1 << 20))), 8);
        assert_eq!(taken(|queue| queue.answer(text(1), || text(1))), MOST_MESSAGES + SLACK_MESSAGES);
        assert_eq!(taken(|queue| queue.answer(text(1 << 20), || text(1))), MOST_MESSAGES + SLACK_MESSAGES);
    }

    #[test]
    fn a_large_message_goes_through_alone() {
        let queue = Queue::default();
        queue.answer(text(MOST_BYTES * 2), || text(0));
        queue.answer(text(10), || text(3));
        assert_eq!(next(&queue), Some(Next::Messages([text(MOST_BYTES * 2)].into())));
        assert_eq!(next(&queue), Some(Next::Messages([text(3)].into())));
        // An event behind it finds no room.
        queue.answer(text(MOST_BYTES * 2), || text(0));
        queue.event(&text(1));
        assert!(queue.has_ended());
    }
}
