//! How a gateway is reached: its address, what it is shown, and the way to a socket that has said hello.
//!
//! Such a socket is the edge's own: no client's fields go on it, and no `Origin`, which would cost it its
//! scopes. What is kept of a gateway's secrets is in here and in no answer.

use super::away::Why;
use super::device::{Device, DeviceError};
use crate::config::checked::{Gateway, GatewayUrl, Operator, OperatorAccess};
use crate::ids::{GatewayId, TenantId};
use crate::openclaw::Scopes;
use crate::openclaw::incoming::{self, Fault, Incoming};
use crate::openclaw::operator::{CONNECT_ID, Challenge, Greeting, Shows, connect};
use crate::secret::Secret;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use zeroize::Zeroizing;

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
    operator: Operator,
    /// The folder in which devices are kept.
    data: PathBuf,
    /// Held while a device's file is looked at: it is made once.
    device: Mutex<()>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Why,
    /// How long the gateway asked to wait.
    pub(super) asked: Option<Duration>,
    /// The request that waits for somebody's approval.
    pub(super) request: Option<String>,
}

impl From<Why> for Failed {
    fn from(why: Why) -> Self {
        Self { why, asked: None, request: None }
    }
}

impl Dial {
    /// How the config says that it is reached.
    #[must_use]
    pub fn of(gateway: &Gateway, data: &Path) -> Self {
        Self {
            id: gateway.id.clone(),
            tenant: gateway.tenant.clone(),
            url: gateway.url.clone(),
            secret: gateway.token.clone(),
            operator: gateway.operator.clone(),
            data: data.to_owned(),
            device: Mutex::new(()),
        }
    }

    /// A gateway at an address.
    #[cfg(test)]
    pub(super) fn at(id: GatewayId, tenant: TenantId, url: GatewayUrl, secret: Option<Secret>) -> Self {
        let operator = Operator { access: OperatorAccess::Secret, address: None, headers: Vec::new() };
        Self { id, tenant, url, secret, operator, data: PathBuf::new(), device: Mutex::new(()) }
    }

    /// Whether both lead to the same gateway in the same way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_secret = match (&self.secret, &other.secret) {
            (Some(one), Some(other)) => one.matches(other.expose()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let same_place = self.id == other.id && self.tenant == other.tenant && self.url == other.url;
        same_secret && same_place && self.operator.is_same(&other.operator) && self.data == other.data
    }

    /// Whether the edge itself connects to it at all.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.operator.access != OperatorAccess::Off
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
        self.introduce(&mut fields, &authority)?;
        let uri = format!("{scheme}://{authority}{base_path}/");
        let mut request = http::Request::builder().uri(uri).body(()).ok()?;
        *request.headers_mut() = fields;
        Some(request)
    }

    /// Says who the edge is, where the gateway goes by that. Without an address nothing is said of one: a
    /// gateway that does not trust the edge refuses whoever speaks of another.
    fn introduce(&self, fields: &mut HeaderMap, authority: &str) -> Option<()> {
        for (name, secret) in &self.operator.headers {
            let mut value = HeaderValue::from_bytes(secret.expose()).ok()?;
            value.set_sensitive(true);
            fields.insert(name.clone(), value);
        }
        if let Some(address) = self.operator.address {
            fields.insert("x-forwarded-for", HeaderValue::from_str(&address.to_string()).ok()?);
            fields.insert("x-forwarded-proto", HeaderValue::from_static("https"));
            fields.insert("x-forwarded-host", HeaderValue::from_str(authority).ok()?);
        }
        if let OperatorAccess::TrustedProxy { user_header, user } = &self.operator.access {
            fields.insert(user_header.clone(), user.clone());
        }
        Some(())
    }

    /// The connect, as the gateway knows the edge.
    fn connect(&self, scopes: Scopes, challenge: &Challenge) -> Result<Zeroizing<String>, Why> {
        // The config's check saw that it is text.
        let secret = self.secret.as_ref().and_then(|secret| std::str::from_utf8(secret.expose()).ok());
        match self.operator.access {
            OperatorAccess::Off | OperatorAccess::Secret => {
                Ok(connect(scopes, secret.map_or(Shows::Nothing, Shows::Secret), None, challenge))
            }
            // Such a gateway has no secret that is shared.
            OperatorAccess::TrustedProxy { .. } => Ok(connect(scopes, Shows::Nothing, None, challenge)),
            OperatorAccess::Device => self.with_device(|device| {
                let shows = device.shows(secret);
                let proof = device.proof(scopes, shows, challenge);
                Ok(connect(scopes, shows, Some(&proof), challenge))
            }),
        }
    }

    /// The edge's device at this gateway. The file is read each time: `gateways pair` writes it, too.
    fn with_device<T>(&self, work: impl FnOnce(&mut Device) -> Result<T, DeviceError>) -> Result<T, Why> {
        let _alone = self.device.lock();
        Device::open(&self.data, &self.id).and_then(|mut device| work(&mut device)).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(gateway = %self.id, %error, cause, "no device");
            Why::NoDevice
        })
    }

    /// Keeps what the gateway gave the device; it goes nowhere else.
    fn keep(&self, greeting: &mut Greeting) -> Result<(), Why> {
        match (&self.operator.access, greeting.device_token.take()) {
            (OperatorAccess::Device, Some(token)) => self.with_device(|device| device.keep(token)),
            (
                OperatorAccess::Device
                | OperatorAccess::Off
                | OperatorAccess::Secret
                | OperatorAccess::TrustedProxy { .. },
                _,
            ) => Ok(()),
        }
    }

    /// A device whose token no longer counts shows the gateway's secret instead, where the edge has that.
    fn disown(&self, failed: Failed) -> Failed {
        let may = self.operator.access == OperatorAccess::Device
            && failed.why == Why::Unauthorized
            && self.secret.is_some();
        let had_token = may && self.with_device(Device::disown).unwrap_or(false);
        if had_token { Why::Revoked.into() } else { failed }
    }

    async fn hello(&self, socket: &mut Socket, scopes: Scopes) -> Result<Greeting, Failed> {
        let challenge = loop {
            let text = next_text(socket).await?;
            if let Some(challenge) = challenge(&text) {
                break challenge;
            }
        };
        let frame = self.connect(scopes, &challenge)?;
        socket.send(Message::text(frame.as_str())).await.map_err(|_| Why::Broken)?;
        loop {
            let text = next_text(socket).await?;
            match incoming::read(&text) {
                Incoming::Answer { id: CONNECT_ID, payload } => {
                    let mut greeting = Greeting::read(payload).ok_or(Why::Protocol)?;
                    self.keep(&mut greeting)?;
                    return Ok(greeting);
                }
                Incoming::Refusal { id: CONNECT_ID, error } => {
                    return Err(self.disown(self.told(error)));
                }
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
        Failed {
            why: Why::of_fault(&fault),
            asked: fault.retry_after_ms.map(Duration::from_millis),
            request: fault.request_id,
        }
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
    Failed { why, asked: seconds.map(Duration::from_secs), request: None }
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
