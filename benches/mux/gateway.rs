//! A gateway that speaks the protocol: challenge, hello, an answer of some hundred bytes to every call, and
//! events when it is told to.

use crate::Fault;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;

/// What a gateway of today answers a short question with.
const PAYLOAD: usize = 400;

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    events: broadcast::Sender<String>,
}

impl Gateway {
    pub(crate) async fn start() -> Result<Self, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let events = broadcast::Sender::new(64);
        let source = events.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, source.subscribe()));
            }
        });
        Ok(Self { address, events })
    }

    /// Tells an event that says when it was told.
    pub(crate) fn tell(&self, zero: Instant) {
        let sent = u64::try_from(zero.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let payload = json!({"sent": sent, "text": "x".repeat(PAYLOAD)});
        // Nobody may listen yet; then nobody hears it.
        let _ = self.events.send(json!({"type": "event", "event": "bench", "payload": payload}).to_string());
    }
}

async fn serve(stream: TcpStream, mut events: broadcast::Receiver<String>) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    let challenge =
        json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}});
    socket.send(Message::text(challenge.to_string())).await?;
    loop {
        let text = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => answer(&text)?,
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Ok(()),
            },
            event = events.recv() => event?,
        };
        socket.send(Message::text(text)).await?;
    }
}

fn answer(text: &str) -> Result<String, Fault> {
    let frame: Value = serde_json::from_str(text)?;
    let payload = if frame["method"] == "connect" {
        json!({"type": "hello-ok", "protocol": 4, "server": {"version": "2026.9.6", "bootId": "b"},
            "features": {"methods": ["health"], "events": []}, "snapshot": {},
            "auth": {"role": "operator", "scopes": frame["params"]["scopes"]}, "policy": {"tickIntervalMs": 600_000}})
    } else {
        json!({"ok": true, "text": "x".repeat(PAYLOAD)})
    };
    Ok(json!({"type": "res", "id": frame["id"], "ok": true, "payload": payload}).to_string())
}
