//! The multiplexer: how long one event takes to 5,000 clients, and how many calls a second 1,000 clients get
//! through it to 2 gateways.
//!
//! `cargo bench --bench mux` starts the built edge and, in this process, two gateways that speak the protocol
//! and do nothing else (real ones would be what is measured), and the clients. `benches/README.md` tells how to read
//! what it prints.

#[path = "mux/clients.rs"]
mod clients;
#[path = "mux/edge.rs"]
mod edge;
#[path = "mux/gateway.rs"]
mod gateway;

use clap::Parser;
use clients::Client;
use edge::Edge;
use gateway::Gateway;
use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Why a run ended early.
type Fault = Box<dyn Error + Send + Sync>;

/// Each client needs one file here and three in the edge.
const FILES: &str = "20000";
/// Says that this process may open them.
const RAISED: &str = "OPENCLAW_EDGE_BENCH_FILES";
/// How many sockets are opened at once.
const DOORS: usize = 64;

/// Events to many clients, calls of many clients.
#[derive(Debug, Parser)]
struct Plan {
    /// Clients that get each event.
    #[arg(long, default_value_t = 5000)]
    listeners: usize,
    /// Events.
    #[arg(long, default_value_t = 100)]
    events: usize,
    /// Time between them.
    #[arg(long, default_value_t = 1000)]
    every_ms: u64,
    /// Clients that call, each the next time when it was answered.
    #[arg(long, default_value_t = 1000)]
    callers: usize,
    /// For how long.
    #[arg(long, default_value_t = 10_000)]
    call_ms: u64,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Fault> {
    let plan = Plan::parse();
    if std::env::var_os(RAISED).is_none() {
        return raised();
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&plan))
}

/// Starts itself anew with room for the files.
fn raised() -> Result<(), Fault> {
    let script = format!("ulimit -n {FILES} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    let status = command.env(RAISED, FILES).status()?;
    if status.success() { Ok(()) } else { Err("the run ended early".into()) }
}

async fn run(plan: &Plan) -> Result<(), Fault> {
    let gateways = [Gateway::start().await?, Gateway::start().await?];
    let edge = Edge::start(&gateways.each_ref().map(|gateway| gateway.address))?;
    println!("resident before clients: {} MiB", edge.resident()? >> 20);
    events(plan, &edge, &gateways[0]).await?;
    calls(plan, &edge).await
}

/// One event to all: from just before the gateway writes it to each client's reading.
async fn events(plan: &Plan, edge: &Edge, gateway: &Gateway) -> Result<(), Fault> {
    let (told, mut tells) = mpsc::unbounded_channel();
    let zero = Instant::now();
    let clients = clients::open(edge, plan.listeners, DOORS).await?;
    println!("{} clients open, resident: {} MiB", clients.len(), edge.resident()? >> 20);
    let readers: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(clients::listen(client, zero, told.clone()))).collect();
    let mut all = Vec::with_capacity(plan.listeners * plan.events);
    let mut slowest = Vec::with_capacity(plan.events);
    for _ in 0..plan.events {
        gateway.tell(zero);
        let mut took = Vec::with_capacity(plan.listeners);
        while took.len() < plan.listeners {
            took.push(tells.recv().await.ok_or("all clients are gone")?);
        }
        took.sort_unstable();
        slowest.push(at(&took, 0.99));
        all.extend(took);
        tokio::time::sleep(Duration::from_millis(plan.every_ms)).await;
    }
    all.sort_unstable();
    slowest.sort_unstable();
    let [p50, p99, last] = [0.5, 0.99, 1.0].map(|part| at(&all, part));
    println!(
        "one event to {} clients, {} events: p50 {p50:?}  p99 {p99:?}  last {last:?}; p99 of the median event {:?}",
        plan.listeners,
        plan.events,
        at(&slowest, 0.5)
    );
    for reader in readers {
        reader.abort();
    }
    Ok(())
}

async fn calls(plan: &Plan, edge: &Edge) -> Result<(), Fault> {
    let clients: Vec<Client> = clients::open(edge, plan.callers, DOORS).await?;
    let until = Instant::now() + Duration::from_millis(plan.call_ms);
    let began = (Instant::now(), edge.used()?);
    let callers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(clients::call(client, number, until)))
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await??);
    }
    let (seconds, used) = (began.0.elapsed().as_secs_f64(), edge.used()?.saturating_sub(began.1));
    took.sort_unstable();
    #[allow(clippy::cast_precision_loss, reason = "counts of a bench are small")]
    let count = took.len() as f64;
    println!(
        "{} clients on 2 gateways: {:.0} calls a second, p50 {:?}  p99 {:?}; CPU of the edge {:.1} us a call",
        plan.callers,
        count / seconds,
        at(&took, 0.5),
        at(&took, 0.99),
        used.as_secs_f64() * 1e6 / count,
    );
    Ok(())
}

/// What stands at a part of what is sorted.
fn at(sorted: &[Duration], part: f64) -> Duration {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or_default()
}
