//! A gateway that sends each message back: one thread, no library, so that it takes little of the machine.

use crate::Fault;
use bytes::{Buf as _, BytesMut};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

#[derive(Debug, clap::Args)]
pub(crate) struct Echo {
    #[arg(long)]
    listen: SocketAddr,
}

impl Echo {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let listener = TcpListener::bind(self.listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    }
}

async fn serve(mut stream: TcpStream) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    // Small: ten thousand of these are open at once.
    let mut bytes = BytesMut::with_capacity(1024);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    bytes.advance(end);
    let key = head.lines().filter_map(|line| line.split_once(':'));
    let mut key =
        key.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, value)| value);
    let accept = derive_accept_key(key.next_back().unwrap_or_default().trim().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut out = Vec::new();
    loop {
        while send_back(&mut bytes, &mut out) {}
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        bytes.reserve(1024);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

/// Takes a whole frame off the front and puts it, unmasked, at the end of what is sent.
fn send_back(bytes: &mut BytesMut, out: &mut Vec<u8>) -> bool {
    let Some((length, at)) = length(bytes) else { return false };
    if bytes.len() < at + 4 + length {
        return false;
    }
    out.push(bytes[0]);
    out.extend_from_slice(&bytes[1..at]);
    let first = out.len() - (at - 1);
    out[first] &= 0x7f;
    let mask: [u8; 4] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    let payload = &bytes[at + 4..at + 4 + length];
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes.advance(at + 4 + length);
    true
}

/// The length of a frame's payload, and where its mask begins.
pub(crate) fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? & 0x7f {
        126 => Some((usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4)),
        127 => Some((usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10)),
        short => Some((usize::from(short), 2)),
    }
}
