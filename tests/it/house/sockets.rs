//! WebSockets, both ends: a stand-in for a gateway, and a client that shows how a handshake ended.

use super::client::Answer;
use super::inspect::inspect;
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error, Message, WebSocket};

/// Room for the largest message of a gateway (25 MiB) and some more.
const MAX_MESSAGE: usize = 32 << 20;

/// An upgrade as the gateway saw it.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade {
    /// Path and query.
    pub(crate) target: String,
    /// All fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
}

impl Upgrade {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A stand-in for a gateway: sends back what it gets. The text `close <code> <reason>` makes it close so.
#[derive(Debug)]
pub(crate) struct EchoGateway {
    address: SocketAddr,
    upgrades: Arc<Mutex<Vec<Upgrade>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl EchoGateway {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let upgrades = Arc::<Mutex<Vec<Upgrade>>>::default();
        let (stop, stopped) = oneshot::channel();
        let book = Arc::clone(&upgrades);
        let thread = std::thread::spawn(move || run(listener, &book, stopped));
        Self { address, upgrades, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All upgrades so far.
    pub(crate) fn upgrades(&self) -> Vec<Upgrade> {
        self.upgrades.lock().expect("no reader panics").clone()
    }
}

impl Drop for EchoGateway {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(listener: std::net::TcpListener, book: &Arc<Mutex<Vec<Upgrade>>>, stopped: oneshot::Receiver<()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async move {
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime takes the socket");
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(book)));
            }
        };
        tokio::select! { () = accept => {} _ = stopped => {} }
    });
}

async fn serve(stream: tokio::net::TcpStream, book: Arc<Mutex<Vec<Upgrade>>>) {
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let record = |request: &Request, mut response: Response| {
        let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let upgrade = Upgrade { target: request.uri().to_string(), fields };
        if let Some(offered) = request.headers().get("sec-websocket-protocol") {
            response.headers_mut().insert("sec-websocket-protocol", offered.clone());
        }
        book.lock().expect("no reader panics").push(upgrade);
        Ok(response)
    };
    let Ok(mut socket) =
        tokio_tungstenite::accept_hdr_async_with_config(stream, record, Some(config())).await
    else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        let sent = match message {
            Message::Text(text) if text.starts_with("close ") => {
                socket.close(Some(ordered_close(&text))).await
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                socket.flush().await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn ordered_close(text: &str) -> CloseFrame {
    let mut words = text.splitn(3, ' ').skip(1);
    let code: u16 = words.next().and_then(|code| code.parse().ok()).expect("the order names a code");
    CloseFrame { code: CloseCode::from(code), reason: words.next().unwrap_or_default().into() }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

/// A client's socket.
pub(crate) type Socket = WebSocket<TcpStream>;

/// Opens a socket to something that is no edge.
pub(crate) fn straight(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(30)).expect("someone listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
    let opened = tungstenite::client::client_with_config(format!("ws://{address}/"), stream, Some(config()));
    opened.expect("an open socket").0
}

/// Opens a socket, or says how it was refused.
pub(crate) fn open(address: SocketAddr, target: &str, fields: &[(&str, &str)]) -> Result<Socket, Answer> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(30)).expect("the edge listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
    stream.set_nodelay(true).expect("a socket takes an option");
    let mut request = format!("ws://{address}{target}").into_client_request().expect("the target is a path");
    for (name, value) in fields {
        let name: axum::http::HeaderName = name.parse().expect("a field has a name");
        request.headers_mut().insert(name, value.parse().expect("a field has a value"));
    }
    match tungstenite::client::client_with_config(request, stream, Some(config())) {
        Ok((socket, response)) => {
            inspect(&answer(response.status().as_u16(), response.headers(), Vec::new()));
            Ok(socket)
        }
        Err(HandshakeError::Failure(Error::Http(refusal))) => {
            let (head, body) = refusal.into_parts();
            let answer = answer(head.status.as_u16(), &head.headers, body.unwrap_or_default());
            inspect(&answer);
            Err(answer)
        }
        Err(error) => panic!("the handshake broke off: {error}"),
    }
}

fn answer(status: u16, fields: &axum::http::HeaderMap, body: Vec<u8>) -> Answer {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Answer { status, fields, body }
}

/// Sends a text and returns the next text that comes.
pub(crate) fn ask(socket: &mut Socket, text: &str) -> String {
    socket.send(Message::text(text)).expect("the socket is open");
    next_text(socket)
}

/// The next text that comes.
pub(crate) fn next_text(socket: &mut Socket) -> String {
    loop {
        match socket.read().expect("the socket is open") {
            Message::Text(text) => return text.as_str().to_owned(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("not a text: {other:?}"),
        }
    }
}

/// Reads until the close, and returns its code and reason.
pub(crate) fn closed(socket: &mut Socket) -> (u16, String) {
    loop {
        match socket.read() {
            Ok(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.as_str().to_owned()),
            Ok(Message::Close(None)) => return (1005, String::new()),
            Ok(_) => {}
            Err(error) => panic!("no close came: {error}"),
        }
    }
}
