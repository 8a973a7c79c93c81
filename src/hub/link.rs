//! One connection to one gateway with one set of scopes, that makes itself anew when it breaks.
//!
//! A [`Link`] dials, says hello, hands answers to those who asked and events to those who listen, and when
//! the gateway goes away it comes back as soon as the gateway allows. It knows no tenant's callers: who may
//! ask what is for those to decide who hold it.

use super::away::{Backoff, Why};
use super::calls::{Answers, CallError, Json, NoTicket, Outcome, Refusal, Ticket, Waiting};
use super::dial::{Dial, Failed, Socket, closed};
use crate::metrics::Metrics;
use crate::openclaw::Scopes;
use crate::openclaw::incoming::{self, Fault, Incoming, Sequence};
use crate::openclaw::operator::Greeting;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// How many events a listener may be behind before it is told that it missed some.
const EVENTS: usize = 1024;
/// Calls that wait to be written.
const ORDERS: usize = 256;
/// How long a session lasts before its failures are forgotten.
const LASTED: Duration = Duration::from_secs(10);

/// What a gateway said when it let the edge in.
#[derive(Debug)]
pub struct Hello {
    /// Its version.
    pub version: String,
    /// The protocol that was agreed.
    pub protocol: u64,
    /// Names this start of the gateway.
    pub boot: String,
    /// The methods that it has.
    pub methods: HashSet<String>,
    /// Presence, health and more at that moment.
    pub snapshot: Box<RawValue>,
    /// Whether calls may carry a `traceparent`.
    pub takes_traces: bool,
    /// When, Unix milliseconds.
    pub since_ms: u64,
}

/// Where a link stands.
#[derive(Debug, Clone)]
pub enum LinkState {
    /// The first attempt is under way.
    Connecting,
    /// It can be asked.
    Here(Arc<Hello>),
    /// It cannot, and is tried again by itself.
    Away(Away),
}

/// A gateway that cannot be asked.
#[derive(Debug, Clone)]
pub struct Away {
    /// Why.
    pub why: Why,
    /// Since when, Unix milliseconds: the last hello's end, or the first attempt's.
    pub since_ms: u64,
}

/// What a link tells those who listen, in order.
#[derive(Debug, Clone)]
pub enum Signal {
    /// It can be asked, from now on.
    Connected(Arc<Hello>),
    /// Something has happened at the gateway.
    Event(Arc<Event>),
    /// The gateway has left events out: what is known may be old.
    Gap,
    /// It cannot be asked any longer.
    Disconnected(Why),
}

/// An event as it came.
#[derive(Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its payload; `null` where there is none.
    pub payload: Json,
    /// The whole frame.
    pub frame: Utf8Bytes,
}

/// A connection that keeps itself up. It ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    core: Arc<Core>,
    orders: mpsc::Sender<Order>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.core.waiting.end(&Why::Untried);
    }
}

/// An open connection, counted while it lasts.
struct Counted(prometheus::IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What its task and its holders share.
#[derive(Debug)]
struct Core {
    gateway: Arc<Dial>,
    scopes: Scopes,
    metrics: Arc<Metrics>,
    waiting: Arc<Waiting>,
    signals: broadcast::Sender<Signal>,
    state: watch::Sender<LinkState>,
    /// When anything last came, Unix milliseconds.
    heard_ms: AtomicU64,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a str,
    /// Its parameters.
    pub params: &'a RawValue,
    /// The trace that it is on, as a JSON text; gateways that would refuse it do not hear of it.
    pub trace: Option<&'a str>,
    /// How often it may be answered.
    pub answers: Answers,
}

/// A call's first answer.
#[derive(Debug)]
pub struct Answered {
    /// What the gateway said.
    pub payload: Json,
    /// Its second answer, where one may follow.
    pub later: Option<Later>,
}

/// A second answer that is on its way. Who drops it gets none.
#[derive(Debug)]
pub struct Later {
    then: oneshot::Receiver<Outcome>,
    _ticket: Ticket,
}

impl Later {
    /// The answer; none when the first was the last.
    pub async fn answer(self, within: Duration) -> Option<Outcome> {
        match tokio::time::timeout(within, self.then).await {
            Ok(outcome) => outcome.ok(),
            Err(_) => Some(Err(CallError::TimedOut)),
        }
    }
}

/// A call that is to be written.
struct Order {
    session: u64,
    text: String,
}

impl Link {
    /// Begins to keep a connection up, on the runtime that this is called in.
    #[must_use]
    pub fn open(gateway: Arc<Dial>, scopes: Scopes, metrics: Arc<Metrics>) -> Self {
        let (orders, queue) = mpsc::channel(ORDERS);
        let core = Arc::new(Core {
            gateway,
            scopes,
            metrics,
            waiting: Arc::default(),
            signals: broadcast::Sender::new(EVENTS),
            state: watch::Sender::new(LinkState::Connecting),
            heard_ms: AtomicU64::new(0),
        });
        let task = tokio::spawn(core.clone().run(queue)).abort_handle();
        Self { core, orders, task }
    }

    /// Asks, and waits for the answer no longer than `within`.
    ///
    /// # Errors
    /// [`CallError`]; a gateway that is away is told at once.
    pub async fn call(&self, method: &str, params: &RawValue, within: Duration) -> Outcome {
        let question = Question { method, params, trace: None, answers: Answers::One };
        self.ask(question, within).await.map(|answered| answered.payload)
    }

    /// The same for calls that say more of themselves.
    ///
    /// # Errors
    /// [`CallError`]; a gateway that is away is told at once.
    pub async fn ask(&self, question: Question<'_>, within: Duration) -> Result<Answered, CallError> {
        let outcome = match tokio::time::timeout(within, self.first(question)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::TimedOut),
        };
        let result = match &outcome {
            Ok(_) => "answered",
            Err(CallError::Refused(_)) => "refused",
            Err(CallError::TimedOut) => "timed_out",
            Err(CallError::Away(_)) => "away",
            Err(CallError::Busy) => "busy",
        };
        self.core.metrics.gateways.calls.with_label_values(&[self.core.id(), result]).inc();
        outcome
    }

    async fn first(&self, question: Question<'_>) -> Result<Answered, CallError> {
        let mut ticket = self.core.waiting.ticket(question.answers).map_err(|no| match no {
            NoTicket::Away => CallError::Away(self.why()),
            NoTicket::Busy => CallError::Busy,
        })?;
        let (id, method) = (ticket.id, serde_json::Value::from(question.method));
        let params = question.params.get();
        let text = match question.trace.filter(|_| self.takes_traces()) {
            None => format!(r#"{{"type":"req","id":"{id}","method":{method},"params":{params}}}"#),
            Some(trace) => format!(
                r#"{{"type":"req","id":"{id}","method":{method},"params":{params},"traceparent":{trace}}}"#
            ),
        };
        let order = Order { session: ticket.session, text };
        // The task ends with the link, and whoever calls holds that.
        self.orders.send(order).await.map_err(|_| CallError::Away(Why::Untried))?;
        let payload = match (&mut ticket.answer).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(CallError::Away(self.why())),
        };
        let later = ticket.then.take().map(|then| Later { then, _ticket: ticket });
        Ok(Answered { payload, later })
    }

    fn takes_traces(&self) -> bool {
        match &*self.core.state.borrow() {
            LinkState::Here(hello) => hello.takes_traces,
            LinkState::Connecting | LinkState::Away(_) => false,
        }
    }

    fn why(&self) -> Why {
        match &*self.core.state.borrow() {
            LinkState::Away(away) => away.why.clone(),
            LinkState::Connecting | LinkState::Here(_) => Why::Untried,
        }
    }

    /// What happens from now on. A listener that is too slow is told how much it missed.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Signal> {
        self.core.signals.subscribe()
    }

    /// Where it stands, and every change.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.core.state.subscribe()
    }

    /// When the gateway was last heard of, Unix milliseconds; 0 if never.
    #[must_use]
    pub fn heard_ms(&self) -> u64 {
        self.core.heard_ms.load(Ordering::Relaxed)
    }

    /// Whom it leads to.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Dial> {
        &self.core.gateway
    }
}

impl Core {
    fn id(&self) -> &str {
        self.gateway.id.as_str()
    }

    fn counted(&self) -> Counted {
        let links = self.metrics.gateways.links.with_label_values(&[self.id()]);
        links.inc();
        Counted(links)
    }

    async fn run(self: Arc<Self>, mut orders: mpsc::Receiver<Order>) {
        let mut backoff = Backoff::default();
        loop {
            let Failed { why, asked, request } = match self.gateway.open(self.scopes).await {
                Ok((socket, greeting)) => {
                    let began = Instant::now();
                    let why = self.session(socket, greeting, &mut orders).await;
                    if began.elapsed() >= LASTED {
                        backoff.reset();
                    }
                    why.into()
                }
                Err(failed) => {
                    self.count(failed.why.code());
                    failed
                }
            };
            if let Some(request) = request {
                tracing::info!(gateway = self.id(), %request, "a gateway waits for somebody to approve the edge");
            }
            let pause = backoff.pause(&why, asked, fastrand::f64());
            self.away(why, pause);
            tokio::time::sleep(pause).await;
        }
    }

    fn count(&self, result: &str) {
        self.metrics.gateways.connects.with_label_values(&[self.id(), result]).inc();
    }

    /// Tells that the gateway is away; why it is, is logged when it changes.
    fn away(&self, why: Why, pause: Duration) {
        let before = self.state.borrow().clone();
        let (since_ms, is_news) = match &before {
            LinkState::Away(away) => (away.since_ms, away.why != why),
            LinkState::Connecting | LinkState::Here(_) => (unix_ms(), true),
        };
        let (gateway, pause_ms) = (self.id(), u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        if is_news {
            tracing::warn!(%gateway, %why, pause_ms, "a gateway is away");
        } else {
            tracing::debug!(%gateway, %why, pause_ms, "a gateway is still away");
        }
        self.state.send_replace(LinkState::Away(Away { why: why.clone(), since_ms }));
        if let LinkState::Here(_) = before {
            self.tell(Signal::Disconnected(why));
        }
    }

    /// Nobody may be listening.
    fn tell(&self, signal: Signal) {
        let _ = self.signals.send(signal);
    }

    /// Works with an open socket until it breaks.
    async fn session(&self, socket: Socket, greeting: Greeting, orders: &mut mpsc::Receiver<Order>) -> Why {
        let silence = greeting.tick * 2 + greeting.tick / 4;
        let hello = Arc::new(Hello::of(greeting));
        let (mut sink, stream) = socket.split();
        self.count("connected");
        let _counted = self.counted();
        let (gateway, version, protocol) = (self.id(), &hello.version, hello.protocol);
        tracing::info!(%gateway, %version, protocol, "a gateway is here");
        let session = self.waiting.begin();
        self.heard_ms.store(unix_ms(), Ordering::Relaxed);
        self.state.send_replace(LinkState::Here(hello.clone()));
        self.tell(Signal::Connected(hello));
        let why = tokio::select! {
            why = self.read(stream, silence) => why,
            why = write(&mut sink, orders, session) => why,
        };
        self.waiting.end(&why);
        // Told as far as it can be; a gateway that is gone hears nothing.
        let _ = tokio::time::timeout(Duration::from_millis(250), sink.close()).await;
        why
    }

    /// Hands on what comes.
    async fn read(&self, mut stream: SplitStream<Socket>, silence: Duration) -> Why {
        let mut sequence = Sequence::default();
        loop {
            let message = match tokio::time::timeout(silence, stream.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(_)) | None) => return Why::Broken,
                Err(_) => return Why::Silent,
            };
            self.heard_ms.store(unix_ms(), Ordering::Relaxed);
            match message {
                Message::Text(text) => self.take(&text, &mut sequence),
                Message::Binary(bytes) => {
                    if let Ok(text) = Utf8Bytes::try_from(bytes) {
                        self.take(&text, &mut sequence);
                    }
                }
                Message::Close(frame) => return closed(frame.map(|frame| frame.code.into())),
                // The codec answers pings while it reads.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn take(&self, frame: &Utf8Bytes, sequence: &mut Sequence) {
        match incoming::read(frame) {
            Incoming::Answer { id, payload } => {
                self.waiting.answer(id, Ok(Json::of(frame, payload)));
            }
            Incoming::Refusal { id, error } => {
                let refusal = Refusal { fault: Fault::read(error), error: Json::of(frame, error) };
                self.waiting.answer(id, Err(CallError::Refused(Box::new(refusal))));
            }
            Incoming::Event { name, payload, seq } => {
                if sequence.skips(seq) {
                    self.metrics.gateways.gaps.with_label_values(&[self.id()]).inc();
                    self.tell(Signal::Gap);
                }
                let event =
                    Event { name: name.to_owned(), payload: Json::of(frame, payload), frame: frame.clone() };
                self.tell(Signal::Event(Arc::new(event)));
            }
            Incoming::Other => tracing::debug!(gateway = self.id(), "a frame that is none"),
        }
    }
}

/// Writes what is asked. Orders of a session that has ended were answered already.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    orders: &mut mpsc::Receiver<Order>,
    session: u64,
) -> Why {
    while let Some(order) = orders.recv().await {
        if order.session == session && sink.send(Message::text(order.text)).await.is_err() {
            return Why::Broken;
        }
    }
    // The link itself is gone.
    std::future::pending().await
}

impl Hello {
    /// The device's token stays behind.
    fn of(greeting: Greeting) -> Self {
        Self {
            version: greeting.version,
            protocol: greeting.protocol,
            boot: greeting.boot,
            methods: greeting.methods,
            snapshot: greeting.snapshot,
            takes_traces: greeting.takes_traces,
            since_ms: unix_ms(),
        }
    }
}

/// Unix milliseconds, as gateways tell time.
pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
