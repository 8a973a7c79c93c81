//! The clients: sockets that each send a message, wait for it to come back, and send the next; or that say nothing.

use crate::Fault;
use crate::parts::used_by;
use serde::{Deserialize, Serialize};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    #[arg(long)]
    target: SocketAddr,
    /// The process whose time is read.
    #[arg(long)]
    of: u32,
    #[arg(long)]
    sockets: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 200)]
    bytes: usize,
    #[arg(long, default_value_t = 400)]
    warm_ms: u64,
    #[arg(long, default_value_t = 2000)]
    measure_ms: u64,
    /// Open the sockets, say so, and hold them until standard input ends.
    #[arg(long)]
    idle: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Messages that came back.
    pub(crate) messages: u64,
    /// CPU time of the proxy, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Length of the measurement, in nanoseconds.
    pub(crate) wall_ns: u64,
}

impl Load {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let mut sockets = Vec::with_capacity(self.sockets);
        for _ in 0..self.sockets {
            sockets.push(open(self.target).await?);
        }
        if self.idle {
            println!("open");
            std::io::stdin().read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        let message: Arc<[u8]> = masked(self.bytes).into();
        let count = Arc::new(AtomicU64::new(0));
        for socket in sockets {
            tokio::spawn(talk(socket, message.clone(), self.bytes, count.clone()));
        }
        tokio::time::sleep(Duration::from_millis(self.warm_ms)).await;
        let (messages, cpu, began) = (count.load(Ordering::Relaxed), used_by(self.of)?, Instant::now());
        tokio::time::sleep(Duration::from_millis(self.measure_ms)).await;
        let found = Found {
            messages: count.load(Ordering::Relaxed) - messages,
            cpu_ns: used_by(self.of)? - cpu,
            wall_ns: u64::try_from(began.elapsed().as_nanos())?,
        };
        println!("{}", serde_json::to_string(&found)?);
        Ok(())
    }
}

/// A socket whose handshake is done. A tunnel of Pingora's may lose a handshake (cloudflare/pingora#946): then again.
async fn open(target: SocketAddr) -> Result<TcpStream, Fault> {
    let head = format!(
        "GET /gateways/ceo HTTP/1.1\r\nHost: {target}\r\nX-API-Key: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        crate::parts::KEY
    );
    for _ in 0..10 {
        let mut stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        stream.write_all(head.as_bytes()).await?;
        let answer = tokio::time::timeout(Duration::from_secs(5), answer(&mut stream)).await;
        match answer {
            Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 101") => return Ok(stream),
            Ok(Ok(answer)) => return Err(String::from_utf8_lossy(&answer).into_owned().into()),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Err("no handshake came to its end".into())
}

async fn answer(stream: &mut TcpStream) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err("closed".into());
        }
    }
    Ok(bytes)
}

/// A text of a client.
fn masked(length: usize) -> Vec<u8> {
    let mut out = header(length);
    out[1] |= 0x80;
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    out.extend(mask);
    out.extend((0..length).map(|at| b'x' ^ mask[at % 4]));
    out
}

/// The header of a text, without a mask.
fn header(length: usize) -> Vec<u8> {
    let mut out = vec![0x81];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend(medium.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out
}

/// One client; a socket that ends is missed in the count.
async fn talk(
    mut stream: TcpStream,
    message: Arc<[u8]>,
    length: usize,
    count: Arc<AtomicU64>,
) -> Result<(), Fault> {
    let mut back = vec![0; header(length).len() + length];
    loop {
        stream.write_all(&message).await?;
        stream.read_exact(&mut back).await?;
        if back[0] != 0x81 || back.last() != Some(&b'x') {
            return Err("another message came back".into());
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}
