//! A stand-in for a gateway that tells more than a real one would in an hour: it speaks the protocol, and a
//! call whose parameters say `{"events": n, "bytes": b}` gets so many events of that size told before its answer.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::sync::{broadcast, oneshot};
use tokio_tungstenite::tungstenite::Message;

/// A running stand-in.
#[derive(Debug)]
pub(crate) struct LoudGateway {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl LoudGateway {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || run(listener, stopped));
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LoudGateway {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(listener: std::net::TcpListener, stopped: oneshot::Receiver<()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async move {
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime takes the socket");
        let events = broadcast::Sender::new(4096);
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, events.clone()));
            }
        };
        tokio::select! { () = accept => {} _ = stopped => {} }
    });
}

async fn serve(stream: tokio::net::TcpStream, events: broadcast::Sender<String>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let mut told = events.subscribe();
    let challenge =
        json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}});
    if socket.send(Message::text(challenge.to_string())).await.is_err() {
        return;
    }
    loop {
        let text = tokio::select! {
            biased;
            event = told.recv() => event.expect("few enough wait"),
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => answer(&text, &events),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
        };
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
}

fn answer(text: &str, events: &broadcast::Sender<String>) -> String {
    let frame: Value = serde_json::from_str(text).expect("a frame");
    let params = &frame["params"];
    let bytes = usize::try_from(params["bytes"].as_u64().unwrap_or(0)).expect("a size");
    for _ in 0..params["events"].as_u64().unwrap_or(0) {
        let event = json!({"type": "event", "event": "loud", "payload": {"text": "x".repeat(bytes)}});
        events.send(event.to_string()).expect("someone listens");
    }
    let payload = match frame["method"].as_str() {
        Some("connect") => json!({"type": "hello-ok", "protocol": 4,
            "server": {"version": "2026.9.6", "bootId": "b"}, "features": {"methods": ["health"]},
            "snapshot": {}, "auth": {"role": "operator", "scopes": params["scopes"]}, "policy": {}}),
        Some(_) | None => json!({"ok": true}),
    };
    json!({"type": "res", "id": frame["id"], "ok": true, "payload": payload}).to_string()
}
