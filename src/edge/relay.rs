//! One open socket: messages one at a time each way, so that a slow side slows the other and nobody else.
//!
//! Each hop keeps its own timers; boundaries, close codes and reasons pass. Where a screen stands before
//! the gateway, it says what becomes of each message of the client.

use super::bounded::Bounded;
use super::exchange::SocketEnd;
use super::live::Site;
use super::screen::{STORM, Screen, Verdict};
use super::vigil::Watch;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use prometheus::IntCounter;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Both sides are pinged this often; intermediaries cut silence after a minute.
const PING: Duration = Duration::from_secs(25);
/// A side that was silent for three pings is gone.
const SILENCE: Duration = Duration::from_secs(80);
/// Longest stall of a side that does not read.
const STALL: Duration = Duration::from_mins(1);
/// Time for a closing handshake.
pub(super) const CLOSING: Duration = Duration::from_secs(5);
/// Answers of the edge's own that wait for a client; then its frames wait too.
const ANSWERS: usize = 16;

pub(super) type Gateway = WebSocketStream<MaybeTlsStream<TcpStream>>;
pub(super) type Client = WebSocketStream<Bounded<DuplexStream>>;

/// One direction's numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    messages: u64,
    bytes: u64,
    code: Option<u16>,
}

/// Relays until the socket has ended.
pub(super) async fn relay<G>(
    site: &Site,
    client: Client,
    gateway: WebSocketStream<G>,
    watch: Watch,
    mut screen: Option<Screen<'_>>,
) -> SocketEnd
where
    G: AsyncRead + AsyncWrite + Unpin,
{
    let (to_client, from_client) = client.split();
    let (to_gateway, from_gateway) = gateway.split();
    let bytes = |direction| site.metrics.websocket_bytes.with_label_values(&[direction]);
    let (answer, answers) = mpsc::channel(ANSWERS);
    let judge = screen.as_mut().map(|screen| Judge { screen, answer });
    let up =
        Lane { from: from_client, to: to_gateway, bytes: bytes("in"), watch: None, judge, answers: None };
    let down = Lane {
        from: from_gateway,
        to: to_client,
        bytes: bytes("out"),
        watch: Some(watch),
        judge: None,
        answers: Some(answers),
    };
    let (mut up_flow, mut down_flow) = (Flow::default(), Flow::default());
    {
        let (up, down) = (up.run(&mut up_flow), down.run(&mut down_flow));
        tokio::pin!(up, down);
        // Once one side has ended, the other gets a moment for its part of the closing handshake.
        tokio::select! {
            () = &mut up => drop(tokio::time::timeout(CLOSING, down).await),
            () = &mut down => drop(tokio::time::timeout(CLOSING, up).await),
        }
    }
    SocketEnd {
        messages_in: up_flow.messages,
        messages_out: down_flow.messages,
        bytes_in: up_flow.bytes,
        bytes_out: down_flow.bytes,
        code: down_flow.code.or(up_flow.code),
        refused: screen.map_or(0, |screen| screen.refused),
        dialled: None,
    }
}

/// What stands before the gateway, and where its answers go.
struct Judge<'s, 'l> {
    screen: &'s mut Screen<'l>,
    answer: mpsc::Sender<Message>,
}

/// What is sent on of a message.
enum Onward {
    Send(Message),
    Nothing,
    Close(CloseFrame),
}

impl Judge<'_, '_> {
    /// Looks at a message; the client is answered where that is due. While answers wait, so do its frames.
    async fn pass(&mut self, message: Message) -> Onward {
        let text = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                return Onward::Send(message);
            }
        };
        let (answer, end) = match self.screen.judge(text) {
            Verdict::Pass => return Onward::Send(message),
            Verdict::PassAs(text) => return Onward::Send(Message::text(text)),
            Verdict::Drop => return Onward::Nothing,
            Verdict::Answer(text) => (Some(text), None),
            Verdict::End(text) => (text, Some(closing(STORM.0, STORM.1))),
        };
        let told = async {
            for message in
                answer.map(Message::text).into_iter().chain(end.clone().map(|end| Message::Close(Some(end))))
            {
                self.answer.send(message).await?;
            }
            Ok::<(), mpsc::error::SendError<Message>>(())
        };
        let told = matches!(tokio::time::timeout(STALL, told).await, Ok(Ok(())));
        match end {
            Some(end) => Onward::Close(end),
            None if told => Onward::Nothing,
            None => Onward::Close(closing(CloseCode::Away, "the client does not read")),
        }
    }
}

/// One direction of a socket.
struct Lane<'s, 'l, A, B> {
    from: SplitStream<WebSocketStream<A>>,
    to: SplitSink<WebSocketStream<B>, Message>,
    bytes: IntCounter,
    /// Where the far end is the client: what ends its socket from here.
    watch: Option<Watch>,
    /// Where the far end is the gateway, and frames are checked.
    judge: Option<Judge<'s, 'l>>,
    /// Where the far end is the client: what the edge itself answers.
    answers: Option<mpsc::Receiver<Message>>,
}

enum Event {
    Frame(Option<Result<Message, tungstenite::Error>>),
    Answer(Option<Message>),
    Ping,
    End(CloseFrame),
}

impl<A, B> Lane<'_, '_, A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    async fn run(mut self, flow: &mut Flow) {
        let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        let mut heard = Instant::now();
        loop {
            let event = tokio::select! {
                frame = self.from.next() => Event::Frame(frame),
                answer = answered(&mut self.answers) => Event::Answer(answer),
                _ = clock.tick() => Event::Ping,
                frame = ended(&mut self.watch) => Event::End(frame),
            };
            let is_over = matches!(event, Event::End(_));
            let close = match event {
                Event::Frame(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                    heard = Instant::now();
                    let length = message.len() as u64;
                    flow.messages += 1;
                    flow.bytes += length;
                    self.bytes.inc_by(length);
                    let onward = match &mut self.judge {
                        Some(judge) => judge.pass(message).await,
                        None => Onward::Send(message),
                    };
                    match onward {
                        Onward::Send(message) => match self.send(message).await {
                            Ok(()) => continue,
                            Err(()) => return,
                        },
                        Onward::Nothing => continue,
                        Onward::Close(frame) => Some(frame),
                    }
                }
                Event::Frame(Some(Ok(Message::Close(frame))))
                | Event::Answer(Some(Message::Close(frame))) => frame,
                Event::Answer(Some(message)) => match self.send(message).await {
                    Ok(()) => continue,
                    Err(()) => return,
                },
                Event::Answer(None) => {
                    self.answers = None;
                    continue;
                }
                // Pings are answered by the codec.
                Event::Frame(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {
                    heard = Instant::now();
                    continue;
                }
                Event::Ping if heard.elapsed() < SILENCE => {
                    match self.send(Message::Ping(Bytes::new())).await {
                        Ok(()) => continue,
                        Err(()) => return,
                    }
                }
                Event::Ping => Some(closing(CloseCode::Away, "no sign of life from the other side")),
                Event::End(frame) => {
                    self.watch = None;
                    Some(frame)
                }
                Event::Frame(Some(Err(error))) => Some(fault(&error)),
                Event::Frame(None) => Some(closing(CloseCode::Away, "the other side is gone")),
            };
            flow.code = close.as_ref().map(|close| close.code.into());
            let _ = self.send(Message::Close(close)).await;
            // The codec's own answer to a close goes out while the rest is read. A gateway that was not told says no more.
            let rest = async { while let Some(Ok(_)) = self.from.next().await {} };
            if is_over {
                let _ = tokio::time::timeout(CLOSING, rest).await;
            } else {
                rest.await;
            }
            return;
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), ()> {
        match tokio::time::timeout(STALL, self.to.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }
}

async fn ended(watch: &mut Option<Watch>) -> CloseFrame {
    match watch {
        Some(watch) => watch.await,
        None => std::future::pending().await,
    }
}

/// The next of the edge's own answers; none when there will be no more.
async fn answered(answers: &mut Option<mpsc::Receiver<Message>>) -> Option<Message> {
    match answers {
        Some(answers) => answers.recv().await,
        None => std::future::pending().await,
    }
}

pub(super) fn closing(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

/// What the far side is told when this one broke the protocol or broke off.
pub(super) fn fault(error: &tungstenite::Error) -> CloseFrame {
    match error {
        tungstenite::Error::Capacity(_) => closing(CloseCode::Size, "message too big"),
        tungstenite::Error::Utf8(_) => closing(CloseCode::Invalid, "invalid UTF-8"),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            closing(CloseCode::Away, "the other side is gone")
        }
        tungstenite::Error::Protocol(_) => closing(CloseCode::Protocol, "protocol error"),
        tungstenite::Error::Io(error) if error.kind() == std::io::ErrorKind::Other => {
            closing(CloseCode::Size, "message too big")
        }
        _ => closing(CloseCode::Away, "the other side is gone"),
    }
}
