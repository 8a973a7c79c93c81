//! WebSockets to gateways: the client's socket ends here and the edge dials the gateway itself.
//!
//! Ending both sides keeps message boundaries, close codes and reasons while each hop keeps its own
//! timers, and steps round the proxy's raw tunnel, which loses quick connects (docs/architecture.md,
//! "Sockets"). How an open socket goes on is in [`super::relay`], and how one begins whose frames are
//! checked in [`super::gate`].

use super::bounded::Bounded;
use super::exchange::{Exchange, SocketEnd};
use super::gate::Gate;
use super::headers::{self, Origin};
use super::live::{Live, Site};
use super::multiplex;
use super::proxy::peer_of;
use super::relay::{self, Gateway};
use super::screen::{self, Trace};
use super::signers::Slot;
use super::upstream::{Pool, authority};
use super::vigil::{self, Watch};
use crate::admission::{GatewayEntry, Rejection, RouteEntry};
use crate::config::checked::{Access, Frames, Target};
use crate::openclaw::surface;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// A gateway takes messages of 25 MiB; a little more, so that it is the one to refuse.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// tungstenite's own is 128 KiB a side, for every idle socket.
const READ_BUFFER: usize = 8 * 1024;
/// Room between the session and the frames.
pub(super) const PIPE: usize = 32 * 1024;
/// What a client may send before its `connect` was read: one frame of 64 KiB, and what is read along with it.
const BEFORE_CONNECT: usize = 80 * 1024;
/// Time for the gateway's handshake.
const DIAL: Duration = Duration::from_secs(10);

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
    let Some(admitted) = exchange.admitted.as_ref() else { return Ok(Outcome::NotForUs) };
    let head = session.req_header();
    let is_many = multiplex::is_its(&live.policy.routes[admitted.route].target, head.uri.path());
    if admitted.gateway.is_none() && !is_many {
        return Ok(Outcome::NotForUs);
    }
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
    let Some(index) = admitted.gateway else {
        return Box::pin(multiplex::serve(site, live, session, exchange, &accept)).await;
    };
    let entry = &live.policy.gateways[index];
    let route = &live.policy.routes[admitted.route];
    let is_checked = entry.frames == Frames::Checked && route.access != Access::Public;
    // Sockets of another kind speak another protocol; they were admitted by the widest scope.
    let is_checked = is_checked && !is_other(surface::below(head.uri.path(), route.depth));
    let tell = headers::forwarded_to_gateway(entry.forwarded, exchange.trail.client)
        .then(|| Origin::of(live, peer_of(session), exchange, &head.headers));
    let mut fields = headers::for_gateway(exchange, &head.headers, admitted.carrier, tell);
    if is_checked {
        headers::scopes(&mut fields, exchange);
    }
    let target = path(route, Some(entry), &head.method, &head.uri).unwrap_or_else(|| head.uri.to_string());
    let pool = &live.gateways[index];
    let (ahead, protocol, gate) = if is_checked {
        let Some((credential, subject)) =
            exchange.trail.credential.clone().zip(screen::subject(exchange, live, admitted.route))
        else {
            return Ok(Outcome::Refused(Rejection::Scope));
        };
        let offered = fields.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(first_of);
        let trace = Trace::of(&head.headers);
        let rules = route.call_rules(exchange.trail.tariff());
        let gate = Gate { site, live, pool, entry, rules, credential, subject, trace, target, fields };
        let slot = site.signers.enter(gate.credential.number, &entry.id, Instant::now());
        match slot {
            Some(slot) => match dialled(site, exchange, pool, entry, &gate.target, gate.fields.clone()).await
            {
                Ok((gateway, protocol)) => (Some((gateway, Some(slot))), protocol, Some(gate)),
                Err(rejection) => return Ok(Outcome::Refused(rejection)),
            },
            None => (None, offered, Some(gate)),
        }
    } else {
        match dialled(site, exchange, pool, entry, &target, fields).await {
            Ok((gateway, protocol)) => (Some((gateway, None)), protocol, None),
            Err(rejection) => return Ok(Outcome::Refused(rejection)),
        }
    };
    if is_early(session) {
        return Ok(Outcome::Refused(Rejection::Head(crate::identity::head::HeadFault::EarlyUpgradeBytes)));
    }
    session.write_response_header(switching(&accept, protocol, exchange)?, false).await?;
    session.set_read_timeout(None);
    let watch = vigil::over(site, exchange, &session.req_header().headers, Some(entry));
    let end = run(site, session, ahead, gate, watch).await;
    exchange.upstream_took = exchange.upstream_took.or(end.dialled);
    exchange.socket = Some(end);
    Ok(Outcome::Relayed)
}

/// Whether bytes came before the 101, for which a client must wait (RFC 6455 section 4.1).
pub(super) fn is_early(session: &mut Session) -> bool {
    session.downstream_session.read_body_or_idle(true).now_or_never().is_some()
}

/// Dials a gateway before the client's handshake is answered.
async fn dialled(
    site: &Site,
    exchange: &mut Exchange,
    pool: &Pool,
    entry: &GatewayEntry,
    target: &str,
    fields: HeaderMap,
) -> Result<(Gateway, Option<HeaderValue>), Rejection> {
    let began = Instant::now();
    let dialled = dial(pool, entry, target, fields).await;
    let result = if dialled.is_ok() { "relayed" } else { "gateway_refused" };
    site.metrics.websockets.with_label_values(&[result]).inc();
    if dialled.is_ok() {
        exchange.upstream_took = Some(began.elapsed());
    }
    dialled
}

/// Whether a path is one of the gateway's sockets that do not speak in calls.
fn is_other(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "__openclaw__" | "desktop" | "node-desktop" | "node-portal")
}

/// The first of the subprotocols that a client offers: what gateways choose.
fn first_of(offered: &HeaderValue) -> Option<HeaderValue> {
    let text = offered.to_str().ok()?;
    HeaderValue::from_str(text.split(',').next()?.trim()).ok().filter(|first| !first.is_empty())
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

pub(super) fn switching(
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

pub(super) fn frames() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(READ_BUFFER)
}

/// Connects to the gateway and makes the handshake; also says which subprotocol it chose.
pub(super) async fn dial(
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
pub(super) fn path(
    route: &RouteEntry,
    gateway: Option<&GatewayEntry>,
    method: &Method,
    uri: &http::Uri,
) -> Option<String> {
    let path = uri.path();
    let (front, rest) = match (gateway, &route.target) {
        (Some(gateway), _) => {
            let rest = surface::below(path, route.depth);
            // A gateway with a base path has its UI and sockets there, and its interfaces at the root.
            let at_root = surface::place(rest, method).at_root;
            (if at_root { "" } else { gateway.url.base_path.as_str() }, rest)
        }
        (None, Target::Upstream { strip_prefix, add_prefix, .. }) => {
            if strip_prefix.is_empty() && add_prefix.is_empty() {
                return None;
            }
            (add_prefix.as_str(), path.strip_prefix(strip_prefix.as_str()).unwrap_or(path))
        }
        (
            None,
            Target::Folder(_)
            | Target::MissionControl
            | Target::Sessions
            | Target::Outbox
            | Target::Console
            | Target::Gateway(_)
            | Target::GatewayParam(_),
        ) => return None,
    };
    // `/federation/in` taken off whole and `/ingest` put before is `/ingest`; a gateway's base ends in a slash.
    let is_whole = rest.is_empty() && gateway.is_none() && !front.is_empty();
    let slash = if rest.starts_with('/') || is_whole { "" } else { "/" };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{front}{slash}{rest}{query}"))
}

/// Runs both halves until the socket has ended: the session's bytes and the frames in them.
async fn run<'l>(
    site: &'l Arc<Site>,
    session: &mut Session,
    ahead: Option<(Gateway, Option<Slot<'l>>)>,
    gate: Option<Gate<'l>>,
    watch: Watch,
) -> SocketEnd {
    let (near, far) = tokio::io::duplex(PIPE);
    let relayed = async {
        let bound = gate.as_ref().map(|_| BEFORE_CONNECT);
        let far = Bounded::new(far, bound);
        let client = WebSocketStream::from_raw_socket(far, Role::Server, Some(frames())).await;
        match (gate, ahead) {
            (Some(gate), ahead) => {
                let ahead = ahead.and_then(|(gateway, slot)| Some((gateway, slot?)));
                Box::pin(gate.serve(client, ahead, watch)).await
            }
            (None, Some((gateway, _))) => relay::relay(site, client, gateway, watch, None).await,
            (None, None) => SocketEnd::default(),
        }
    };
    let ((), end) = tokio::join!(pump(session, near), relayed);
    end
}

/// Moves bytes between the session and the frames, both ways at once so that neither can block the other.
pub(super) async fn pump(session: &mut Session, near: DuplexStream) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_lists() {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(has_token(&fields, &header::CONNECTION, "upgrade"));
        assert!(!has_token(&fields, &header::UPGRADE, "websocket"));
    }
}
