//! How a socket whose frames are checked begins: challenge, `connect`, and only then the gateway.
//!
//! The caller is known by its key before; its first frame must be a `connect` within a deadline and a
//! bound. Then the gateway is dialled, gets its own secret for callers who have none of it, and its
//! answer is looked at once: it may not have granted more than the caller's scopes. Callers whose
//! devices sign need the gateway's own challenge: they are told so once, and dialled for ahead from
//! then on (see [`super::signers`]).

use super::exchange::SocketEnd;
use super::live::{Live, Site};
use super::relay::{self, Client, Gateway, closing};
use super::screen::{Screen, Trace};
use super::signers::Slot;
use super::tunnel::dial;
use super::upstream::Pool;
use super::vigil::Watch;
use crate::admission::{GatewayEntry, Rejection};
use crate::identity::caller::Credential;
use crate::limits::{RuleSet, Subject};
use crate::openclaw::connect::{Answer, Connect, Hello, MAX_BYTES, Whose};
use crate::openclaw::methods::{Denied, Role};
use crate::openclaw::{frame, reply};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Time for the gateway's challenge, and for its answer to a connect.
const ANSWER: Duration = Duration::from_secs(15);
/// Longest reason of a close (RFC 6455 section 5.5).
const REASON: usize = 123;
/// How much a client that is closed is listened to, so that it gets to read why.
const LINGER: usize = 1 << 20;
/// What makes OpenClaw's own clients come back by themselves.
const COME_BACK: &str = "startup-sidecars";
const SOON_MS: u32 = 100;
const LATER_MS: u32 = 2000;

/// What a socket is opened with.
pub(super) struct Gate<'l> {
    pub(super) site: &'l Arc<Site>,
    pub(super) live: &'l Live,
    pub(super) pool: &'l Pool,
    pub(super) entry: &'l GatewayEntry,
    /// What each call spends.
    pub(super) rules: &'l RuleSet,
    pub(super) credential: Arc<Credential>,
    pub(super) subject: Subject,
    pub(super) trace: Option<Trace>,
    /// Path and fields of the gateway's handshake.
    pub(super) target: String,
    pub(super) fields: HeaderMap,
}

/// A gateway that was dialled before the connect.
pub(super) type Ahead<'l> = Option<(Gateway, Slot<'l>)>;

/// Why a socket does not come to be relayed.
enum Stop {
    /// The client is gone.
    Gone,
    /// It is told this, if anything, and closed with this.
    Close(Option<String>, CloseFrame),
}

impl Stop {
    fn because(code: CloseCode, reason: &str) -> Self {
        Self::telling(None, code, reason)
    }

    fn telling(answer: Option<String>, code: CloseCode, reason: &str) -> Self {
        let end = (0..=REASON.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        Self::Close(answer, CloseFrame { code, reason: reason[..end].to_owned().into() })
    }
}

/// A connect that may go on, and the id that it is answered by.
struct Asked {
    connect: Connect,
    id: String,
}

/// A gateway that has said yes or no.
struct Opened {
    gateway: Gateway,
    role: Role,
    takes_traces: bool,
    dialled: Option<Duration>,
}

impl<'l> Gate<'l> {
    /// Opens the socket and relays it to its end.
    pub(super) async fn serve(self, mut client: Client, ahead: Ahead<'l>, mut watch: Watch) -> SocketEnd {
        let opened = tokio::select! {
            opened = self.open(&mut client, ahead) => opened,
            frame = &mut watch => Err(Stop::Close(None, frame)),
        };
        match opened {
            Ok(opened) => {
                client.get_mut().lift();
                let trace = self.trace.filter(|_| opened.takes_traces);
                let screen = Screen::new(
                    self.site,
                    (self.rules, self.entry),
                    (self.subject, &self.credential),
                    (opened.role, trace),
                );
                let end = relay::relay(self.site, client, opened.gateway, watch, Some(screen)).await;
                SocketEnd { dialled: opened.dialled, ..end }
            }
            Err(stop) => {
                self.site.metrics.websockets.with_label_values(&["not_connected"]).inc();
                close(client, stop).await
            }
        }
    }

    async fn open(&self, client: &mut Client, ahead: Ahead<'l>) -> Result<Opened, Stop> {
        let (mut dialled_ahead, slot) = match ahead {
            Some((gateway, slot)) => (Some(gateway), Some(slot)),
            None => (None, None),
        };
        let challenge = match &mut dialled_ahead {
            Some(gateway) => first_text(gateway).await?,
            None => {
                reply::challenge(&format!("{:032x}", fastrand::u128(..)), super::live::unix_now().as_millis())
            }
        };
        client.send(Message::text(challenge)).await.map_err(|_| Stop::Gone)?;
        let asked = tokio::time::timeout(self.entry.connect_within, self.connect(client)).await;
        let asked = asked.map_err(|_| Stop::because(CloseCode::Policy, "no connect came in time"))??;
        let known = || self.site.signers.note(self.credential.number, &self.entry.id, Instant::now());
        let (mut gateway, dialled) = match dialled_ahead {
            Some(gateway) => {
                if asked.connect.is_signed {
                    known();
                }
                (gateway, None)
            }
            None if asked.connect.is_signed => {
                let wait = if known() { LATER_MS } else { SOON_MS };
                let text = "connect again: a device signs the gateway's own challenge, which comes next";
                let answer = reply::unavailable(&asked.id, text, COME_BACK, wait);
                return Err(Stop::telling(Some(answer), CloseCode::Again, "connect again"));
            }
            None => self.dial(&asked.id).await?,
        };
        let text = asked.connect.text();
        gateway.send(Message::text(text)).await.map_err(|_| self.away(&asked.id, &Rejection::BadUpstream))?;
        let takes_traces = tokio::time::timeout(ANSWER, self.answer(client, &mut gateway, &asked)).await;
        let takes_traces = takes_traces.map_err(|_| self.away(&asked.id, &Rejection::UpstreamTimeout))??;
        drop(slot);
        Ok(Opened { gateway, role: asked.connect.role, takes_traces, dialled })
    }

    /// Waits for the first frame, and judges it.
    async fn connect(&self, client: &mut Client) -> Result<Asked, Stop> {
        let text = first_frame(client).await?;
        if text.len() > MAX_BYTES {
            return Err(Stop::because(CloseCode::Size, "message too big"));
        }
        let call = frame::read(&text).map_err(|(fault, id)| {
            let answer = id.map(|id| reply::invalid(id, &format!("invalid request frame: {fault}")));
            Stop::telling(answer, CloseCode::Policy, "invalid request frame")
        })?;
        let refused =
            |message: &str| Stop::telling(Some(reply::invalid(call.id, message)), CloseCode::Policy, message);
        let mut connect = Connect::read(&call, &text).map_err(|fault| refused(&fault.to_string()))?;
        if let Some(scope) = connect.role.need().filter(|scope| !self.credential.gateway.has(*scope)) {
            let answer = reply::denied(call.id, Denied::Scope(scope));
            let reason = format!("missing scope: {}", scope.as_str());
            return Err(Stop::telling(Some(answer), CloseCode::Policy, &reason));
        }
        connect.narrow(self.credential.gateway);
        // The config's check saw that it is text.
        let secret = self.entry.token.as_ref().and_then(|token| std::str::from_utf8(token.expose()).ok());
        let whose = |text: &str| match self.live.policy.holder(text) {
            Some(holder) if holder.id == self.credential.id => Whose::Callers,
            Some(_) => Whose::Others,
            None => Whose::Nobodys,
        };
        connect.settle(whose, secret).map_err(|fault| refused(&fault.to_string()))?;
        Ok(Asked { connect, id: call.id.to_owned() })
    }

    /// Dials the gateway and takes its challenge, which nobody has to sign.
    async fn dial(&self, id: &str) -> Result<(Gateway, Option<Duration>), Stop> {
        let began = Instant::now();
        let dialled = dial(self.pool, self.entry, &self.target, self.fields.clone()).await;
        let (mut gateway, _) = dialled.map_err(|rejection| {
            self.site.metrics.websockets.with_label_values(&["gateway_refused"]).inc();
            self.away(id, &rejection)
        })?;
        self.site.metrics.websockets.with_label_values(&["relayed"]).inc();
        first_text(&mut gateway).await?;
        Ok((gateway, Some(began.elapsed())))
    }

    /// Hands on what the gateway says to the connect. Whether calls may carry traces; a no is handed on
    /// like a yes, since the gateway's own close follows it.
    async fn answer(&self, client: &mut Client, gateway: &mut Gateway, asked: &Asked) -> Result<bool, Stop> {
        loop {
            let text = match gateway.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => {
                    return Err(Stop::Close(None, frame.unwrap_or_else(|| closing(CloseCode::Away, ""))));
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                    continue;
                }
                Some(Err(_)) | None => return Err(self.away(&asked.id, &Rejection::BadUpstream)),
            };
            let answer = asked.connect.answer(text.as_str());
            let (message, outcome) = match answer {
                Answer::Another => (Message::Text(text), None),
                Answer::Refused { code } => {
                    tracing::debug!(gateway = %self.entry.id, %code, "the gateway refused a connect");
                    (Message::Text(text), Some(false))
                }
                Answer::Hello(hello) => {
                    self.granted(&hello)?;
                    let takes_traces = hello.takes_traces;
                    (hello.rewritten.map_or(Message::Text(text), Message::text), Some(takes_traces))
                }
            };
            client.send(message).await.map_err(|_| Stop::Gone)?;
            if let Some(takes_traces) = outcome {
                return Ok(takes_traces);
            }
        }
    }

    /// A gateway from before 2026.9 takes no bound on scopes from the edge, and a device keeps what it signed.
    fn granted(&self, hello: &Hello) -> Result<(), Stop> {
        let Some(scope) = self.credential.gateway.lacks(hello.granted) else { return Ok(()) };
        let (gateway, credential, scope) = (&self.entry.id, &self.credential.id, scope.as_str());
        tracing::warn!(%gateway, %credential, scope, "a gateway granted a scope that the key does not have");
        Err(Stop::because(
            CloseCode::Policy,
            &format!("this key does not have {scope}: ask for fewer scopes"),
        ))
    }

    fn away(&self, id: &str, rejection: &Rejection) -> Stop {
        let answer = rejection.answer();
        let text = reply::unavailable(id, answer.error, answer.code, 1000);
        tracing::debug!(gateway = %self.entry.id, code = answer.code, "a gateway could not be had");
        Stop::telling(Some(text), CloseCode::Again, answer.error)
    }
}

/// The first message with something in it. Pings are answered by the codec.
async fn first_frame(client: &mut Client) -> Result<Bytes, Stop> {
    loop {
        match client.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.into()),
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err(Stop::Gone),
            Some(Err(error)) => return Err(Stop::Close(None, relay::fault(&error))),
        }
    }
}

/// A gateway's challenge.
async fn first_text(gateway: &mut Gateway) -> Result<String, Stop> {
    let read = async {
        loop {
            match gateway.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(Some(frame)))) => return Err(Stop::Close(None, frame)),
                Some(Ok(Message::Close(None)) | Err(_)) | None => {
                    return Err(Stop::because(CloseCode::Again, "the gateway is gone"));
                }
            }
        }
    };
    match tokio::time::timeout(ANSWER, read).await {
        Ok(text) => text,
        Err(_) => Err(Stop::because(CloseCode::Again, "the gateway sent no challenge")),
    }
}

/// Ends a socket that is not relayed.
async fn close(mut client: Client, stop: Stop) -> SocketEnd {
    let Stop::Close(answer, frame) = stop else { return SocketEnd::default() };
    let code = Some(frame.code.into());
    // A socket closed with unread bytes would reset the answer away.
    client.get_mut().allow(LINGER);
    let told = async {
        if let Some(answer) = answer {
            client.send(Message::text(answer)).await?;
        }
        client.send(Message::Close(Some(frame))).await?;
        while let Some(Ok(_)) = client.next().await {}
        // After a fault the codec reads no more.
        let mut sink = vec![0; 4096];
        while matches!(client.get_mut().read(&mut sink).await, Ok(1..)) {}
        Ok::<(), tokio_tungstenite::tungstenite::Error>(())
    };
    let _ = tokio::time::timeout(relay::CLOSING, told).await;
    SocketEnd { code, refused: 1, ..SocketEnd::default() }
}
