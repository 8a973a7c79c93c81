//! Clients of the multiplexer: they open, listen and call.

use crate::Fault;
use crate::edge::{Edge, KEY};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// An open socket.
pub(crate) type Client = WebSocketStream<TcpStream>;

/// Opens so many, so many at a time, and waits until each was told of both gateways.
pub(crate) async fn open(edge: &Edge, count: usize, doors: usize) -> Result<Vec<Client>, Fault> {
    let opening = (0..count).map(|_| one(edge.address));
    let mut opened = futures_util::stream::iter(opening).buffer_unordered(doors);
    let mut clients = Vec::with_capacity(count);
    while let Some(client) = opened.next().await {
        clients.push(client?);
    }
    Ok(clients)
}

async fn one(address: SocketAddr) -> Result<Client, Fault> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{address}/ws").into_client_request()?;
    request.headers_mut().insert("x-api-key", KEY.parse()?);
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let (mut client, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
    let mut connected = 0;
    while connected < 2 {
        connected += usize::from(text(&mut client).await?.contains("proxy.connected"));
    }
    Ok(client)
}

async fn text(client: &mut Client) -> Result<Utf8Bytes, Fault> {
    loop {
        match client.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Close(frame))) => return Err(format!("closed: {frame:?}").into()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err("the socket has ended".into()),
        }
    }
}

/// Says of each event how long it took to come.
pub(crate) async fn listen(mut client: Client, zero: Instant, told: mpsc::UnboundedSender<Duration>) {
    #[derive(Deserialize)]
    struct Frame {
        payload: Payload,
    }
    #[derive(Deserialize)]
    struct Payload {
        sent: u64,
    }
    while let Ok(text) = text(&mut client).await {
        let now = zero.elapsed();
        if let Ok(frame) = serde_json::from_str::<Frame>(&text)
            && told.send(now.saturating_sub(Duration::from_nanos(frame.payload.sent))).is_err()
        {
            return;
        }
    }
}

/// Calls until it is time, one after the other.
pub(crate) async fn call(mut client: Client, number: usize, until: Instant) -> Result<Vec<Duration>, Fault> {
    let gateway = if number.is_multiple_of(2) { "one" } else { "two" };
    let mut took = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        // The same ids for all.
        let id = took.len().to_string();
        let frame = format!(
            r#"{{"gatewayId":"{gateway}","type":"req","id":"{id}","method":"health","params":{{}}}}"#
        );
        client.send(Message::text(frame)).await?;
        let wanted = format!(r#""id":"{id}","ok":true"#);
        while !text(&mut client).await?.contains(&wanted) {}
        took.push(began.elapsed());
    }
    Ok(took)
}
