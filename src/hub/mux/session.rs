//! One client's socket: its frames in, its queue out, and its places at the gateways of its tenant.
//!
//! It knows which gateways there are for its caller and no others; an id that is not among them is the
//! same to it whether somebody has such a gateway or nobody.

use super::super::dial::Dial;
use super::call::{self, Carried};
use super::frame;
use super::queue::{End, Next, Queue};
use super::switchboard::Switchboard;
use super::trunk::Seated;
use crate::ids::{GatewayId, TenantId};
use crate::openclaw::frame::{self as scan, Call};
use crate::openclaw::{Scopes, names, reply};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

/// Calls of one client that wait for an answer. A gateway starts 256 at once, for everybody.
const MOST_CALLS: usize = 64;
/// Time for a client that is closed to read why; as long as the edge waits for one that does not read.
const LINGER: Duration = Duration::from_mins(1);
/// Why a client is dropped that does not read, in the words of gateways.
const SLOW: &str = "slow consumer";

/// Who calls, as the edge has found it.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) tenant: TenantId,
    pub(super) credential: String,
    pub(super) node: Option<String>,
    /// The upgrade's request id.
    pub(super) request: Option<String>,
    /// What it may do on a gateway.
    pub(super) scopes: Scopes,
}

struct Session {
    board: Arc<Switchboard>,
    who: Arc<Who>,
    queue: Arc<Queue>,
    seats: HashMap<GatewayId, Seated>,
    calls: JoinSet<()>,
}

/// Serves a client until it has gone.
pub(super) async fn serve<S>(board: Arc<Switchboard>, who: Who, socket: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, stream) = socket.split();
    let queue = Arc::<Queue>::default();
    let open = board.metrics.mux.sessions.clone();
    open.inc();
    let mut writer = tokio::spawn(write(sink, queue.clone(), board.clone()));
    let (who, seats) = (Arc::new(who), HashMap::new());
    let session = Session { board: board.clone(), who, queue: queue.clone(), seats, calls: JoinSet::new() };
    session.run(stream).await;
    queue.end(End::Done);
    // Counted now: what is being written to one who does not read may take its time.
    if queue.is_slow() {
        board.metrics.mux.slow.inc();
    }
    if tokio::time::timeout(LINGER, &mut writer).await.is_err() {
        writer.abort();
    }
    open.dec();
}

impl Session {
    async fn run<S>(mut self, mut stream: SplitStream<WebSocketStream<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut changes = self.board.changes();
        let frames = self.board.metrics.mux.frames.with_label_values(&["in"]);
        self.take_seats();
        loop {
            let message = tokio::select! {
                message = stream.next() => message,
                changed = changes.changed() => match changed {
                    Ok(()) => {
                        self.take_seats();
                        continue;
                    }
                    Err(_) => return,
                },
                () = self.queue.ended() => return,
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    frames.inc();
                    self.frame(text.as_bytes());
                }
                Some(Ok(Message::Binary(bytes))) => {
                    frames.inc();
                    self.frame(&bytes);
                }
                // The codec answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            }
        }
    }

    /// Gives up the places at gateways that are gone or moved, and takes those at new ones.
    fn take_seats(&mut self) {
        let dials = self.board.of(&self.who.tenant);
        let stays = |seated: &Seated| dials.iter().any(|dial| Arc::ptr_eq(dial, &seated.trunk.dial));
        let queue = &self.queue;
        self.seats.retain(|id, seated| {
            let stays = stays(seated);
            if !stays {
                queue.event(&frame::disconnected(id, "removed"));
            }
            stays
        });
        for dial in &dials {
            if !self.seats.contains_key(&dial.id) {
                let seated = self.seat(dial);
                self.seats.insert(dial.id.clone(), seated);
            }
        }
    }

    fn seat(&self, dial: &Arc<Dial>) -> Seated {
        self.board.trunk(dial, self.who.scopes).sit(self.queue.clone())
    }

    /// Takes a frame: it is answered here or by a call of its own.
    fn frame(&mut self, text: &[u8]) {
        while self.calls.try_join_next().is_some() {}
        let call = match scan::read(text) {
            Ok(call) => call,
            Err((fault, id)) => {
                self.count("malformed");
                let Some(id) = id else { return };
                let answer = reply::invalid(id, &format!("invalid request frame: {fault}"));
                return self.answer(scan::gateway(text), &answer);
            }
        };
        let refused = self.refused(&call);
        if let Some((result, answer)) = refused {
            self.count(result);
            return self.answer(call.gateway, &answer);
        }
        self.carry(&call);
    }

    /// Why a call does not go on.
    fn refused(&self, call: &Call<'_>) -> Option<(&'static str, String)> {
        let Some(gateway) = call.gateway else {
            return Some((
                "malformed",
                reply::invalid(call.id, "invalid request frame: at /gatewayId: must be string"),
            ));
        };
        if !self.seats.contains_key(gateway) {
            return Some(("no_gateway", reply::no_gateway(call.id)));
        }
        if call.has_others {
            let text = "invalid request frame: only gatewayId, type, id, method, params and traceparent";
            return Some(("malformed", reply::invalid(call.id, text)));
        }
        if call.is_traced && call.trace.is_none() {
            let text = "invalid request frame: at /traceparent: must be a plain string of at most 128 bytes";
            return Some(("malformed", reply::invalid(call.id, text)));
        }
        if self.calls.len() >= MOST_CALLS {
            let text = "too many calls of this client wait for an answer";
            return Some(("busy", reply::unavailable(call.id, text, "too_many_calls", 1000)));
        }
        None
    }

    fn carry(&mut self, call: &Call<'_>) {
        let Some(seated) = call.gateway.and_then(|gateway| self.seats.get(gateway)) else { return };
        let named = names::today(call.method, call.params);
        let Some(params) = call::params(&named) else {
            self.count("malformed");
            let answer = reply::invalid(call.id, "invalid request frame: at /params: must be JSON");
            return self.answer(call.gateway, &answer);
        };
        let carried = Carried {
            trunk: seated.trunk.clone(),
            seat: seated.seat().clone(),
            queue: self.queue.clone(),
            audit: self.board.audit.clone(),
            who: self.who.clone(),
            id: call.id.into(),
            method: named.method.into(),
            params,
            trace: call.trace.map(Into::into),
            shape: named.shape,
            counted: self.board.metrics.mux.calls.clone(),
        };
        if call.method == "connect" {
            self.calls.spawn(carried.greet());
        } else if call::decides(named.method) {
            // It is finished and written down, whether or not its client waits for it.
            tokio::spawn(carried.carry());
        } else {
            self.calls.spawn(carried.carry());
        }
    }

    fn answer(&self, gateway: Option<&str>, answer: &str) {
        let text = frame::own(gateway, answer);
        // One of ours is as short as what would be said instead.
        self.queue.answer(text.clone(), || text);
    }

    fn count(&self, result: &str) {
        self.board.metrics.mux.calls.with_label_values(&[result]).inc();
    }
}

/// Sends what waits until it has ended.
async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    queue: Arc<Queue>,
    board: Arc<Switchboard>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frames = board.metrics.mux.frames.with_label_values(&["out"]);
    loop {
        let end = match queue.next().await {
            Next::Messages(messages) => {
                frames.inc_by(messages.len() as u64);
                match send(&mut sink, messages, &queue).await {
                    Ok(()) => continue,
                    // Nobody reads any longer.
                    Err(_) => return queue.end(End::Done),
                }
            }
            Next::End(end) => end,
        };
        let close = match end {
            End::Slow => Some(CloseFrame { code: CloseCode::Policy, reason: SLOW.into() }),
            End::Done => None,
        };
        let _ = sink.send(Message::Close(close)).await;
        return;
    }
}

async fn send<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    messages: impl IntoIterator<Item = tungstenite::Utf8Bytes>,
    queue: &Queue,
) -> Result<(), tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for text in messages {
        if queue.has_ended() {
            return Ok(());
        }
        sink.feed(Message::Text(text)).await?;
    }
    sink.flush().await
}
