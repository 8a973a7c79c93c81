//! How a gateway is reached: its address, what it is shown, and the way to a socket that has said hello.
//!
//! Such a socket is the edge's own: no client's fields go on it, and no `Origin`, which would cost it its
//! scopes. What is kept of a gateway's secrets is in here and in no answer.

use super::away::Why;
use crate::config::checked::{Gateway, GatewayUrl};
use crate::ids::{GatewayId, TenantId};
use crate::openclaw::Scopes;
use crate::openclaw::incoming::{self, Fault, Incoming};
use crate::openclaw::operator::{CONNECT_ID, Challenge, Greeting, Shows, connect};
use crate::secret::Secret;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// What a gateway sends at most, and a little more.
const MAX_MESSAGE: usize = 26 << 20;
const READ_BUFFER: usize = 16 << 10;
/// Time for a connection and the handshake of the WebSocket.
const DIAL: Duration = Duration::from_secs(10);
/// Time for the challenge, and for the answer to the connect (the protocol's own).
const HELLO: Duration = Duration::from_secs(15);

/// A socket to a gateway.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is needed to reach one gateway.
#[derive(Debug)]
pub struct Dial {
    /// Its id.
    pub id: GatewayId,
    /// Whose it is.
    pub tenant: TenantId,
    url: GatewayUrl,
    secret: Option<Secret>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Why,
    /// How long the gateway asked to wait.
    pub(super) asked: Option<Duration>,
}

impl From<Why> for Failed {
    fn from(why: Why) -> Self {
        Self { why, asked: None }
    }
}

impl Dial {
    /// How the config says that it is reached.
    #[must_use]
    pub fn of(gateway: &Gateway) -> Self {
        Self {
            id: gateway.id.clone(),
            tenant: gateway.tenant.clone(),
            url: gateway.url.clone(),
            secret: gateway.token.clone(),
        }
    }

    /// A gateway at an address.
    #[cfg(test)]
    pub(super) fn at(id: GatewayId, tenant: TenantId, url: GatewayUrl, secret: Option<Secret>) -> Self {
        Self { id, tenant, url, secret }
    }

    /// Whether both lead to the same gateway in the same way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_secret = match (&self.secret, &other.secret) {
            (Some(one), Some(other)) => one.matches(other.expose()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_secret && self.id == other.id && self.tenant == other.tenant && self.url == other.url
    }

    /// Connects, and says hello with these scopes.
    pub(super) async fn open(&self, scopes: Scopes) -> Result<(Socket, Greeting), Failed> {
        let mut socket = match tokio::time::timeout(DIAL, self.socket(scopes)).await {
            Ok(socket) => socket?,
            Err(_) => return Err(Why::TimedOut.into()),
        };
        let greeting = match tokio::time::timeout(HELLO, self.hello(&mut socket, scopes)).await {
            Ok(greeting) => greeting?,
            Err(_) => return Err(Why::TimedOut.into()),
        };
        granted(scopes, greeting.granted)?;
        Ok((socket, greeting))
    }

    async fn socket(&self, scopes: Scopes) -> Result<Socket, Failed> {
        let request = self.request(scopes).ok_or(Why::Protocol)?;
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await;
        let stream = stream.map_err(|_| Why::Unreachable)?;
        stream.set_nodelay(true).map_err(|_| Why::Unreachable)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(READ_BUFFER);
        let opened =
            tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), None).await;
        opened.map(|(socket, _)| socket).map_err(|error| {
            tracing::debug!(gateway = %self.id, %error, "the gateway refused a WebSocket");
            refused(&error)
        })
    }

    fn request(&self, scopes: Scopes) -> Option<http::Request<()>> {
        let GatewayUrl { tls, host, port, base_path } = &self.url;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = format!("{host}:{port}");
        let scheme = if *tls { "wss" } else { "ws" };
        let mut fields = HeaderMap::new();
        fields.insert(header::HOST, HeaderValue::from_str(&authority).ok()?);
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        fields.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&generate_key()).ok()?);
        // Gateways from 2026.9 grant no others.
        fields.insert("x-openclaw-scopes", HeaderValue::from_str(&scopes.field()).ok()?);
        let uri = format!("{scheme}://{authority}{base_path}/");
        let mut request = http::Request::builder().uri(uri).body(()).ok()?;
        *request.headers_mut() = fields;
        Some(request)
    }

    async fn hello(&self, socket: &mut Socket, scopes: Scopes) -> Result<Greeting, Failed> {
        let challenge = loop {
            let text = next_text(socket).await?;
            if let Some(challenge) = challenge(&text) {
                break challenge;
            }
        };
        // The config's check saw that it is text.
        let secret = self.secret.as_ref().and_then(|secret| std::str::from_utf8(secret.expose()).ok());
        let shows = secret.map_or(Shows::Nothing, Shows::Secret);
        let frame = connect(scopes, shows, None, &challenge);
        socket.send(Message::text(frame.as_str())).await.map_err(|_| Why::Broken)?;
        loop {
            let text = next_text(socket).await?;
            match incoming::read(&text) {
                Incoming::Answer { id: CONNECT_ID, payload } => {
                    return Greeting::read(payload).ok_or_else(|| Why::Protocol.into());
                }
                Incoming::Refusal { id: CONNECT_ID, error } => return Err(self.told(error)),
                Incoming::Answer { .. }
                | Incoming::Refusal { .. }
                | Incoming::Event { .. }
                | Incoming::Other => {}
            }
        }
    }

    fn told(&self, error: Option<&RawValue>) -> Failed {
        let fault = Fault::read(error);
        let (code, detail) = (&fault.code, fault.detail.as_deref().unwrap_or_default());
        tracing::debug!(gateway = %self.id, %code, %detail, "the gateway refused the edge's connect");
        Failed { why: Why::of_fault(&fault), asked: fault.retry_after_ms.map(Duration::from_millis) }
    }
}

/// The edge asks for the least, so less is of no use; and more is not for those who call through it.
fn granted(asked: Scopes, granted: Scopes) -> Result<(), Why> {
    match (granted.lacks(asked), asked.lacks(granted)) {
        (None, None) => Ok(()),
        (Some(scope), _) | (None, Some(scope)) => Err(Why::NotGranted(scope.as_str())),
    }
}

fn challenge(text: &str) -> Option<Challenge> {
    match incoming::read(text) {
        Incoming::Event { name: "connect.challenge", payload, .. } => {
            serde_json::from_str(payload?.get()).ok()
        }
        Incoming::Event { .. } | Incoming::Answer { .. } | Incoming::Refusal { .. } | Incoming::Other => None,
    }
}

async fn next_text(socket: &mut Socket) -> Result<Utf8Bytes, Failed> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Close(frame))) => {
                return Err(closed(frame.map(|frame| frame.code.into())).into());
            }
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(_)) | None => return Err(Why::Broken.into()),
        }
    }
}

pub(super) fn closed(code: Option<u16>) -> Why {
    code.map_or(Why::Broken, Why::of_close)
}

fn refused(error: &tungstenite::Error) -> Failed {
    let tungstenite::Error::Http(answer) = error else {
        return match error {
            tungstenite::Error::Tls(_) => Why::Tls,
            tungstenite::Error::Io(_) => Why::Unreachable,
            _ => Why::Protocol,
        }
        .into();
    };
    let seconds =
        answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let why = match answer.status().as_u16() {
        503 => Why::Busy,
        429 => Why::LockedOut,
        status => Why::Http(status),
    };
    Failed { why, asked: seconds.map(Duration::from_secs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_is_of_use() {
        let check = |asked: &[&str], got: &[&str]| {
            granted(Scopes::of(asked.iter().copied()), Scopes::of(got.iter().copied()))
        };
        assert_eq!(check(&["operator.read"], &["operator.read"]), Ok(()));
        assert_eq!(check(&["operator.write"], &["operator.read", "operator.write"]), Ok(()));
        assert_eq!(check(&["operator.read"], &[]), Err(Why::NotGranted("operator.read")));
        assert_eq!(check(&["operator.read"], &["operator.admin"]), Err(Why::NotGranted("operator.write")));
    }
}
