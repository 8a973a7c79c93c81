//! WebSockets to gateways: the client's socket ends here and the edge dials the gateway itself.
//!
//! Ending both sides keeps message boundaries, close codes and reasons while each hop keeps its own
//! timers, and steps round the proxy's raw tunnel, which loses quick connects (docs/architecture.md,
//! "Sockets"). Messages pass one at a time each way: a slow side slows the other and nobody else.

use super::exchange::{Exchange, SocketEnd};
use super::headers::{self, Origin};
use super::live::{Live, Site};
use super::upstream::{Pool, authority};
use crate::admission::{GatewayEntry, Rejection, RouteEntry};
use crate::config::checked::Target;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use prometheus::IntCounter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A gateway takes messages of 25 MiB; a little more, so that it is the one to refuse.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// tungstenite's own is 128 KiB a side, for every idle socket.
const READ_BUFFER: usize = 8 * 1024;
/// Room between the session and the frames.
const PIPE: usize = 32 * 1024;
/// Both sides are pinged this often; intermediaries cut silence after a minute.
const PING: Duration = Duration::from_secs(25);
/// A side that was silent for three pings is gone.
const SILENCE: Duration = Duration::from_secs(80);
/// Longest stall of a side that does not read.
const STALL: Duration = Duration::from_mins(1);
/// Time for the gateway's handshake.
const DIAL: Duration = Duration::from_secs(10);
/// Time for a closing handshake.
const CLOSING: Duration = Duration::from_secs(5);

type Gateway = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Client = WebSocketStream<DuplexStream>;

/// What became of an upgrade request.
pub(super) enum Outcome {
    /// It was relayed to its end.
    Relayed,
    /// It leads to no gateway, or asks for another protocol: it goes on as plain HTTP.
    NotForUs,
    /// It is refused; nothing was written yet.
    Refused(Rejection),
}

/// Relays an admitted upgrade request.
pub(super) async fn serve(
    site: &Arc<Site>,
    live: &Live,
    session: &mut Session,
    exchange: &mut Exchange,
) -> pingora::Result<Outcome> {
    let Some((admitted, index)) = exchange.admitted.as_ref().and_then(|a| Some((a, a.gateway?))) else {
        return Ok(Outcome::NotForUs);
    };
    let head = session.req_header();
    if !has_token(&head.headers, &header::UPGRADE, "websocket") {
        return Ok(Outcome::NotForUs);
    }
    if head.headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") {
        return Ok(Outcome::Refused(Rejection::SocketVersion));
    }
    let Some(key) = handshake_key(head) else { return Ok(Outcome::Refused(Rejection::Handshake)) };
    let accept = derive_accept_key(key.as_bytes());
    let Some(_open) = site.open_socket(live.max_websockets) else {
        return Ok(Outcome::Refused(Rejection::TooManySockets));
    };
    let entry = &live.policy.gateways[index];
    let route = &live.policy.routes[admitted.route];
    let tell = headers::forwarded_to_gateway(entry.forwarded, exchange.trail.client)
        .then(|| Origin::of(live, None, exchange, &head.headers));
    let fields = headers::for_gateway(exchange, &head.headers, admitted.carrier, tell);
    let target = path(route, Some(entry), &head.uri).unwrap_or_else(|| head.uri.to_string());
    let began = Instant::now();
    let dialled = dial(&live.gateways[index], entry, &target, fields).await;
    let (gateway, protocol) = match dialled {
        Ok(dialled) => dialled,
        Err(rejection) => {
            site.metrics.websockets.with_label_values(&["gateway_refused"]).inc();
            return Ok(Outcome::Refused(rejection));
        }
    };
    exchange.upstream_took = Some(began.elapsed());
    // Bytes that came while the gateway was dialled: the client must wait for the 101 (RFC 6455 section 4.1).
    if session.downstream_session.read_body_or_idle(true).now_or_never().is_some() {
        return Ok(Outcome::Refused(Rejection::Head(crate::identity::head::HeadFault::EarlyUpgradeBytes)));
    }
    site.metrics.websockets.with_label_values(&["relayed"]).inc();
    session.write_response_header(switching(&accept, protocol, exchange)?, false).await?;
    session.set_read_timeout(None);
    exchange.socket = Some(run(site, session, gateway).await);
    Ok(Outcome::Relayed)
}

/// The key of a handshake that follows RFC 6455 section 4.2.1.
fn handshake_key(head: &RequestHeader) -> Option<&HeaderValue> {
    let mut keys = head.headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next()?;
    let right = head.method == Method::GET
        && head.version == Version::HTTP_11
        && has_token(&head.headers, &header::CONNECTION, "upgrade")
        && head.headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && keys.next().is_none()
        && key.len() == 24;
    right.then_some(key)
}

fn has_token(fields: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let mut values = fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

fn switching(
    accept: &str,
    protocol: Option<HeaderValue>,
    exchange: &Exchange,
) -> pingora::Result<Box<ResponseHeader>> {
    let mut head = ResponseHeader::build(101, Some(6))?;
    head.insert_header(header::UPGRADE, HeaderValue::from_static("websocket"))?;
    head.insert_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))?;
    head.insert_header(header::SEC_WEBSOCKET_ACCEPT, accept)?;
    head.insert_header("x-request-id", exchange.request_id.field())?;
    if let Some(protocol) = protocol {
        head.insert_header(header::SEC_WEBSOCKET_PROTOCOL, protocol)?;
    }
    Ok(Box::new(head))
}

fn frames() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(READ_BUFFER)
}

/// Connects to the gateway and makes the handshake; also says which subprotocol it chose.
async fn dial(
    pool: &Pool,
    entry: &GatewayEntry,
    target: &str,
    fields: HeaderMap,
) -> Result<(Gateway, Option<HeaderValue>), Rejection> {
    let address: SocketAddr = pool.address().ok_or(Rejection::NoAddress)?;
    let request = handshake(entry, target, fields).ok_or(Rejection::Handshake)?;
    let connect = async {
        let stream = TcpStream::connect(address).await.map_err(|_| Rejection::Unreachable)?;
        stream.set_nodelay(true).map_err(|_| Rejection::Unreachable)?;
        tokio_tungstenite::client_async_tls_with_config(request, stream, Some(frames()), None).await.map_err(
            |error| {
                tracing::debug!(gateway = %entry.id, %error, "the gateway refused a WebSocket");
                match error {
                    tungstenite::Error::Io(_) | tungstenite::Error::Tls(_) => Rejection::Unreachable,
                    _ => Rejection::BadUpstream,
                }
            },
        )
    };
    match tokio::time::timeout(DIAL, connect).await {
        Ok(Ok((socket, answer))) => {
            Ok((socket, answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL).cloned()))
        }
        Ok(Err(rejection)) => Err(rejection),
        Err(_) => Err(Rejection::UpstreamTimeout),
    }
}

fn handshake(entry: &GatewayEntry, target: &str, mut fields: HeaderMap) -> Option<http::Request<()>> {
    let authority = authority(&entry.url.host, entry.url.port);
    let scheme = if entry.url.tls { "wss" } else { "ws" };
    // The client's own Host goes on: gateways compare it with Origin.
    if !fields.contains_key(header::HOST) {
        fields.insert(header::HOST, HeaderValue::from_str(&authority).ok()?);
    }
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    let key = tungstenite::handshake::client::generate_key();
    fields.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key).ok()?);
    let mut request =
        http::Request::builder().uri(format!("{scheme}://{authority}{target}")).body(()).ok()?;
    *request.headers_mut() = fields;
    Some(request)
}

/// The path (with query) that the service behind gets, where it is another than the client's.
pub(super) fn path(route: &RouteEntry, gateway: Option<&GatewayEntry>, uri: &http::Uri) -> Option<String> {
    let path = uri.path();
    let (front, rest) = match (gateway, &route.target) {
        (Some(gateway), _) => (gateway.url.base_path.as_str(), below(path, route.depth)),
        (None, Target::Upstream { strip_prefix, add_prefix, .. }) => {
            if strip_prefix.is_empty() && add_prefix.is_empty() {
                return None;
            }
            (add_prefix.as_str(), path.strip_prefix(strip_prefix.as_str()).unwrap_or(path))
        }
        (None, Target::MissionControl | Target::Outbox | Target::Gateway(_) | Target::GatewayParam(_)) => {
            return None;
        }
    };
    // `/federation/in` taken off whole and `/ingest` put before is `/ingest`; a gateway's base ends in a slash.
    let is_whole = rest.is_empty() && gateway.is_none() && !front.is_empty();
    let slash = if rest.starts_with('/') || is_whole { "" } else { "/" };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{front}{slash}{rest}{query}"))
}

/// What is left of a path behind its first segments.
fn below(path: &str, segments: usize) -> &str {
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    slashes.nth(segments).map_or("", |at| &path[at..])
}

/// Runs both halves until the socket has ended: the session's bytes and the frames in them.
async fn run(site: &Arc<Site>, session: &mut Session, gateway: Gateway) -> SocketEnd {
    let (near, far) = tokio::io::duplex(PIPE);
    let relayed = async {
        let client = WebSocketStream::from_raw_socket(far, Role::Server, Some(frames())).await;
        relay(site, client, gateway).await
    };
    let ((), end) = tokio::join!(pump(session, near), relayed);
    end
}

/// Moves bytes between the session and the frames, both ways at once so that neither can block the other.
async fn pump(session: &mut Session, near: DuplexStream) {
    let (mut from, mut to) = tokio::io::split(near);
    let mut out = vec![0; READ_BUFFER];
    let mut inbound = Bytes::new();
    let mut open = true;
    loop {
        tokio::select! {
            read = session.downstream_session.read_request_body(), if open && inbound.is_empty() => {
                if let Ok(Some(bytes)) = read {
                    inbound = bytes;
                } else {
                    open = false;
                    if to.shutdown().await.is_err() {
                        return;
                    }
                }
            }
            written = to.write(&inbound), if !inbound.is_empty() => match written {
                Ok(n @ 1..) => drop(inbound.split_to(n)),
                Ok(0) | Err(_) => return,
            },
            read = from.read(&mut out) => match read {
                Ok(n @ 1..) => {
                    let piece = Bytes::copy_from_slice(&out[..n]);
                    if session.write_response_body(Some(piece), false).await.is_err() {
                        return;
                    }
                }
                Ok(0) | Err(_) => return,
            },
        }
    }
}

/// One direction's numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    messages: u64,
    bytes: u64,
    code: Option<u16>,
}

async fn relay(site: &Site, client: Client, gateway: Gateway) -> SocketEnd {
    let (to_client, from_client) = client.split();
    let (to_gateway, from_gateway) = gateway.split();
    let bytes = |direction| site.metrics.websocket_bytes.with_label_values(&[direction]);
    let up = Lane { from: from_client, to: to_gateway, bytes: bytes("in"), draining: None };
    let down =
        Lane { from: from_gateway, to: to_client, bytes: bytes("out"), draining: Some(site.draining()) };
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
    }
}

/// One direction of a socket.
struct Lane<A, B> {
    from: SplitStream<WebSocketStream<A>>,
    to: SplitSink<WebSocketStream<B>, Message>,
    bytes: IntCounter,
    /// Where the far end is the client: it is told when the edge goes down.
    draining: Option<watch::Receiver<bool>>,
}

enum Event {
    Frame(Option<Result<Message, tungstenite::Error>>),
    Ping,
    Drain,
}

impl<A, B> Lane<A, B>
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
                _ = clock.tick() => Event::Ping,
                () = drained(&mut self.draining) => Event::Drain,
            };
            let close = match event {
                Event::Frame(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                    heard = Instant::now();
                    let length = message.len() as u64;
                    flow.messages += 1;
                    flow.bytes += length;
                    self.bytes.inc_by(length);
                    match self.send(message).await {
                        Ok(()) => continue,
                        Err(()) => return,
                    }
                }
                Event::Frame(Some(Ok(Message::Close(frame)))) => frame,
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
                Event::Drain => {
                    self.draining = None;
                    Some(closing(CloseCode::Restart, "service restart"))
                }
                Event::Frame(Some(Err(error))) => Some(fault(&error)),
                Event::Frame(None) => Some(closing(CloseCode::Away, "the other side is gone")),
            };
            flow.code = close.as_ref().map(|close| close.code.into());
            let _ = self.send(Message::Close(close)).await;
            // The codec's own answer to a close goes out while the rest is read.
            while let Some(Ok(_)) = self.from.next().await {}
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

async fn drained(draining: &mut Option<watch::Receiver<bool>>) {
    let told = match draining {
        Some(watch) => watch.wait_for(|&draining| draining).await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}

fn closing(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

/// What the far side is told when this one broke the protocol or broke off.
fn fault(error: &tungstenite::Error) -> CloseFrame {
    match error {
        tungstenite::Error::Capacity(_) => closing(CloseCode::Size, "message too big"),
        tungstenite::Error::Utf8(_) => closing(CloseCode::Invalid, "invalid UTF-8"),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            closing(CloseCode::Away, "the other side is gone")
        }
        tungstenite::Error::Protocol(_) => closing(CloseCode::Protocol, "protocol error"),
        _ => closing(CloseCode::Away, "the other side is gone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_gateways_prefix_keeps_its_bytes() {
        assert_eq!(below("/gateways/ceo", 2), "");
        assert_eq!(below("/gateways/ceo/", 2), "/");
        assert_eq!(below("/gateways/ceo/a%20b/c", 2), "/a%20b/c");
        assert_eq!(below("/a", 0), "/a");
    }

    #[test]
    fn tokens_are_found_in_lists() {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(has_token(&fields, &header::CONNECTION, "upgrade"));
        assert!(!has_token(&fields, &header::UPGRADE, "websocket"));
    }
}
