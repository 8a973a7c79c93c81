//! The clients: connections that each send a request, wait for the whole answer, and send the next.
//!
//! After a warm-up it counts answers for a while and reads, at both ends of that while, what the kernel
//! says the proxy has used. It knows nothing of the edge; what it found goes out as one line of JSON.

use crate::Fault;
use crate::clock;
use crate::requests::{Expected, Kind};
use serde::{Deserialize, Serialize};
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
    #[arg(long)]
    kind: Kind,
    /// The process whose time is read.
    #[arg(long)]
    of: u32,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    warm_ms: u64,
    #[arg(long)]
    measure_ms: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Answers that were as they should be.
    pub(crate) good: u64,
    /// All others, and connections lost.
    pub(crate) bad: u64,
    /// CPU time of the proxy, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Length of the measurement, in nanoseconds.
    pub(crate) wall_ns: u64,
}

#[derive(Default)]
struct Counts {
    next: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
}

impl Load {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let requests: Arc<[Vec<u8>]> = self.kind.all()?.into();
        let counts = Arc::new(Counts::default());
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.target).await?;
            stream.set_nodelay(true)?;
            tokio::spawn(ask(stream, requests.clone(), self.kind.expected(), counts.clone()));
        }
        tokio::time::sleep(Duration::from_millis(self.warm_ms)).await;
        let before = self.reading(&counts)?;
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(self.measure_ms)).await;
        let after = self.reading(&counts)?;
        let found = Found {
            good: after.good - before.good,
            bad: after.bad - before.bad,
            cpu_ns: after.cpu_ns - before.cpu_ns,
            wall_ns: u64::try_from(began.elapsed().as_nanos())?,
        };
        println!("{}", serde_json::to_string(&found)?);
        Ok(())
    }

    fn reading(&self, counts: &Counts) -> Result<Found, Fault> {
        Ok(Found {
            good: counts.good.load(Ordering::Relaxed),
            bad: counts.bad.load(Ordering::Relaxed),
            cpu_ns: clock::used_by(self.of)?,
            wall_ns: 0,
        })
    }
}

/// One client. A connection that ends is one bad answer, and the end of the client.
async fn ask(mut stream: TcpStream, requests: Arc<[Vec<u8>]>, expected: Expected, counts: Arc<Counts>) {
    let mut bytes = Vec::with_capacity(8 * 1024);
    loop {
        let turn = counts.next.fetch_add(1, Ordering::Relaxed);
        let place = usize::try_from(turn).unwrap_or_default() % requests.len();
        match exchange(&mut stream, &requests[place], &mut bytes).await {
            Ok(status) if is(status, expected) => counts.good.fetch_add(1, Ordering::Relaxed),
            Ok(_) => counts.bad.fetch_add(1, Ordering::Relaxed),
            Err(_) => {
                counts.bad.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
    }
}

const fn is(status: u16, expected: Expected) -> bool {
    match expected {
        Expected::Ok => status == 200,
        Expected::TooMany => status == 429,
    }
}

/// Sends a request and reads its answer whole; `bytes` holds the answer afterwards.
pub(crate) async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    bytes: &mut Vec<u8>,
) -> Result<u16, Fault> {
    stream.write_all(request).await?;
    bytes.clear();
    loop {
        if stream.read_buf(bytes).await? == 0 {
            return Err("the connection ended within an answer".into());
        }
        if let Some((status, length)) = head(bytes)?
            && bytes.len() >= length
        {
            return Ok(status);
        }
    }
}

/// Status, and length with the body, once the head is whole.
fn head(bytes: &[u8]) -> Result<Option<(u16, usize)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(len) = answer.parse(bytes)? else { return Ok(None) };
    let status = answer.code.ok_or("an answer without a status")?;
    let length = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length.ok_or("an answer without a length")?.value)?.parse()?;
    Ok(Some((status, len + length)))
}
