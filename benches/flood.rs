//! What a flood of refused requests costs everybody else: the time of another tenant's requests at a fixed rate,
//! with the flood and without it, as a ratio.
//!
//! `cargo bench --bench flood` starts the built edge on one CPU and plays the other parts on another: the service
//! behind it and the other tenant in this process, the flood in one of its own with the lowest priority. Rounds
//! with and without the flood take turns, so that whatever else the machine does falls on both.

use clap::{Parser, Subcommand};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::net::{SocketAddr, TcpListener as Vacant};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fault = Box<dyn Error + Send + Sync>;

/// How long the edge may take until it listens.
const START: Duration = Duration::from_secs(20);
/// Connections of the other tenant.
const CALLERS: u64 = 8;
const KEYS: [&str; 2] = ["oce_flood_0123456789abcdefghij", "oce_other_0123456789abcdefghij"];

/// A flood of refused requests, and what others notice of it.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Requests of the other tenant, a second.
    #[arg(long, default_value_t = 400)]
    rate: u64,
    /// Seconds of a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Floods to be tried, refused requests a second; 0 is as many as the edge answers.
    #[arg(long, value_delimiter = ',', default_values_t = [2_000, 8_000, 0])]
    floods: Vec<u64>,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The flood.
    Flood(Flood),
}

/// Requests that are refused, over and over.
#[derive(Debug, clap::Args)]
struct Flood {
    #[arg(long)]
    target: SocketAddr,
    /// Requests a second; 0 for as many as are answered.
    #[arg(long)]
    rate: u64,
    #[arg(long)]
    connections: u64,
}

/// A process that ends with its guard.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes with its guard.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's own folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main() -> Result<(), Fault> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &args.part {
        Some(Part::Flood(flood)) => runtime.block_on(flood.run()),
        None => runtime.block_on(measure(&args)),
    }
}

async fn measure(args: &Args) -> Result<(), Fault> {
    let upstream = TcpListener::bind("127.0.0.1:0").await?;
    let folder = Folder(std::env::temp_dir().join(format!("openclaw-edge-flood-{}", std::process::id())));
    let (_edge, target) = edge(&folder.0, upstream.local_addr()?)?;
    tokio::spawn(serve(upstream));
    let request = request(KEYS[1]);
    // Warm, and a look that it is served.
    let warm = probe(target, &request, args.rate, Duration::from_secs(2)).await?;
    println!("warm-up: {} requests, p99 {} us", warm.len(), percentile(&warm, 99.0).as_micros());
    for &rate in &args.floods {
        let (mut quiet, mut flooded, mut refused) = (Vec::new(), Vec::new(), 0);
        for _ in 0..args.rounds {
            quiet.extend(probe(target, &request, args.rate, Duration::from_secs(args.seconds)).await?);
            let flood = start_flood(target, rate)?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            flooded.extend(probe(target, &request, args.rate, Duration::from_secs(args.seconds)).await?);
            refused += flood.end()? / args.rounds;
        }
        let p99 = [&quiet, &flooded].map(|all| percentile(all, 99.0).as_secs_f64() * 1e6);
        let p50 = [&quiet, &flooded].map(|all| percentile(all, 50.0).as_secs_f64() * 1e6);
        let ratio = p99[1] / p99[0];
        let named = if rate == 0 { "as many as it answers".to_owned() } else { format!("{rate} a second") };
        println!(
            "flood of {named} ({refused} refused a round): other tenant p50 {:.0} -> {:.0} us, \
             p99 {:.0} -> {:.0} us, ratio {ratio:.2} ({} requests each)",
            p50[0],
            p50[1],
            p99[0],
            p99[1],
            quiet.len()
        );
    }
    Ok(())
}

fn percentile(all: &[Duration], percent: f64) -> Duration {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The service behind the edge.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut bytes = Vec::with_capacity(4096);
            while stream.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {
                if bytes.ends_with(b"\r\n\r\n") {
                    bytes.clear();
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// The times of requests that were due at a fixed rate, each from when it was due, or sent where its connection
/// was free before: an answer that is late makes the requests behind it late too.
async fn probe(
    target: SocketAddr,
    request: &[u8],
    rate: u64,
    span: Duration,
) -> Result<Vec<Duration>, Fault> {
    let begin = Instant::now() + Duration::from_millis(20);
    let step = Duration::from_nanos(1_000_000_000 / rate.max(1));
    let count = span.as_secs() * rate;
    let mut callers = Vec::new();
    for first in 0..CALLERS {
        let mut stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let request = request.to_vec();
        callers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let mut bytes = Vec::with_capacity(4096);
            for n in (first..count).step_by(usize::try_from(CALLERS).unwrap_or(1)) {
                let due = begin + step * u32::try_from(n).unwrap_or(u32::MAX);
                let is_late = Instant::now() > due;
                tokio::time::sleep_until(due.into()).await;
                let from = if is_late { due } else { Instant::now() };
                let status = exchange(&mut stream, &request, &mut bytes).await?;
                if status != 200 {
                    return Err(Fault::from(format!("another tenant was answered {status}")));
                }
                times.push(from.elapsed());
            }
            Ok::<_, Fault>(times)
        }));
    }
    let mut all = Vec::new();
    for caller in callers {
        all.extend(caller.await??);
    }
    Ok(all)
}

impl Flood {
    async fn run(&self) -> Result<(), Fault> {
        let refused = Arc::new(AtomicU64::new(0));
        let begin = Instant::now();
        for first in 0..self.connections {
            let stream = TcpStream::connect(self.target).await?;
            stream.set_nodelay(true)?;
            let turn = Turn { begin, first, of: self.connections, rate: self.rate };
            tokio::spawn(knock(stream, turn, refused.clone()));
        }
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            println!("{}", refused.load(Ordering::Relaxed));
        }
    }
}

/// Which requests of a flood are whose.
#[derive(Clone, Copy)]
struct Turn {
    begin: Instant,
    first: u64,
    of: u64,
    /// 0 for as many as are answered.
    rate: u64,
}

/// Asks until the edge is gone.
async fn knock(mut stream: TcpStream, turn: Turn, refused: Arc<AtomicU64>) -> Result<(), Fault> {
    let request = request(KEYS[0]);
    let mut bytes = Vec::with_capacity(4096);
    let mut n = turn.first;
    loop {
        if let Some(step) = 1_000_000_000_u64.checked_div(turn.rate) {
            let due = turn.begin + Duration::from_nanos(n * step);
            tokio::time::sleep_until(due.into()).await;
        }
        n += turn.of;
        // The very first request is admitted; after it every one is refused.
        if exchange(&mut stream, &request, &mut bytes).await? == 429 {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A flood under way, whose refusals are counted.
struct Flooding {
    process: Running,
    counter: std::thread::JoinHandle<u64>,
}

impl Flooding {
    /// Ends it; how many were refused.
    fn end(self) -> Result<u64, Fault> {
        drop(self.process);
        self.counter.join().map_err(|_| Fault::from("the counter is gone"))
    }
}

fn start_flood(target: SocketAddr, rate: u64) -> Result<Flooding, Fault> {
    use std::io::BufRead as _;
    let mut command = pinned(1, &std::env::current_exe()?);
    command.arg("flood").arg(format!("--target={target}")).arg(format!("--rate={rate}"));
    command.arg("--connections=32").stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let out = child.stdout.take().ok_or("stdout is a pipe")?;
    let counter = std::thread::spawn(move || {
        let lines = std::io::BufReader::new(out).lines().map_while(Result::ok);
        lines.last().and_then(|line| line.parse().ok()).unwrap_or(0)
    });
    Ok(Flooding { process: Running(child), counter })
}

/// `taskset` chooses the CPU, since to ask the kernel for it from here would take unsafe code. The flood gives
/// way to the other tenant's client, which is on the same one.
fn pinned(cpu: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]);
    if cpu == 1 {
        command.args(["nice", "-n", "19"]);
    }
    command.arg(program);
    command
}

/// The edge, with a tenant that has used up what it is given.
fn edge(folder: &Path, upstream: SocketAddr) -> Result<(Running, SocketAddr), Fault> {
    std::fs::create_dir_all(folder)?;
    let vacant = || -> Result<SocketAddr, Fault> { Ok(Vacant::bind("127.0.0.1:0")?.local_addr()?) };
    let (listen, admin) = (vacant()?, vacant()?);
    let hash = |key: &str| hex::encode(Sha256::digest(key));
    let (flood, other) = (hash(KEYS[0]), hash(KEYS[1]));
    let text = format!(
        "listen: [{{ address: \"{listen}\" }}]\nadmin: \"{admin}\"\ndata: \"{folder}/data\"\n\
         server: {{ threads: 1 }}\nlog: {{ level: warn }}\naccess_log: {{ to: \"{folder}/access.log\" }}\n\
         tenants: {{ flood: {{}}, other: {{}} }}\n\
         credentials:\n  - {{ id: flood, tenant: flood, hash: \"sha256:{flood}\" }}\n  - {{ id: other, tenant: other, hash: \"sha256:{other}\" }}\n\
         plans: {{ spent: {{ limits: {{ calls: 1 }} }} }}\n\
         limits: {{ calls: {{ by: tenant, window: {{ limit: 1000000000, per: 1h }} }}, per-ip: {{ by: ip, window: {{ limit: 1000000000, per: 1m }} }} }}\n\
         upstreams: {{ service: {{ servers: [\"{upstream}\"] }} }}\n\
         routes: [{{ name: all, path: /**, limits: [per-ip, calls], upstream: service }}]\n",
        folder = folder.display(),
    );
    let text = text.replace("flood: {}, ", "flood: { plan: spent }, ");
    let config = folder.join("edge.yaml");
    std::fs::write(&config, text)?;
    let mut command = pinned(0, Path::new(env!("CARGO_BIN_EXE_openclaw-edge")));
    command.arg("run").arg("--config").arg(config);
    let running = Running(command.spawn()?);
    let deadline = Instant::now() + START;
    while std::net::TcpStream::connect(listen).is_err() {
        if Instant::now() > deadline {
            return Err("the edge does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((running, listen))
}

fn request(key: &str) -> Vec<u8> {
    format!("GET /v1/items HTTP/1.1\r\nHost: edge\r\nX-API-Key: {key}\r\n\r\n").into_bytes()
}

/// Sends a request and reads its answer whole; the status.
async fn exchange(stream: &mut TcpStream, request: &[u8], bytes: &mut Vec<u8>) -> Result<u16, Fault> {
    stream.write_all(request).await?;
    bytes.clear();
    loop {
        if stream.read_buf(bytes).await? == 0 {
            return Err("the connection ended within an answer".into());
        }
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(head) = answer.parse(bytes)? else { continue };
        let status = answer.code.ok_or("an answer without a status")?;
        let mut lengths = answer.headers.iter().filter(|f| f.name.eq_ignore_ascii_case("content-length"));
        let length = lengths.next().ok_or("an answer without a length")?.value;
        if bytes.len() >= head + std::str::from_utf8(length)?.parse::<usize>()? {
            return Ok(status);
        }
    }
}
