//! What the edge costs: CPU time per request of the built program beside a Pingora that only passes on.
//!
//! `cargo bench --bench through` plays every part itself, each in a process of its own: it starts the
//! upstream, a bare Pingora and the edge, drives them in turn, and reads what the kernel says they used.
//! `benches/README.md` tells how to read what it prints.

#[path = "through/bare.rs"]
mod bare;
#[path = "through/checks.rs"]
mod checks;
#[path = "through/clock.rs"]
mod clock;
#[path = "through/house.rs"]
mod house;
#[path = "through/load.rs"]
mod load;
#[path = "through/parts.rs"]
mod parts;
#[path = "through/report.rs"]
mod report;
#[path = "through/requests.rs"]
mod requests;
#[path = "through/rounds.rs"]
mod rounds;
#[path = "through/upstream.rs"]
mod upstream;

use clap::{Parser, Subcommand};
use std::error::Error;

/// The same for the bare Pingora as for the edge: neither gets its speed from the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a run ended early: a bench has nobody to tell but the person who started it.
type Fault = Box<dyn Error + Send + Sync>;

/// CPU per request: the edge beside a bare Pingora.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    rounds: rounds::Plan,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The parts that the bench plays in processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Pingora without a single filter.
    Bare(bare::Bare),
    /// The service behind both proxies.
    Upstream(upstream::Upstream),
    /// The clients.
    Load(load::Load),
    /// One Ed25519 verification, timed over and over.
    Verify(clock::Verify),
}

fn main() -> Result<(), Fault> {
    let args = Args::parse();
    match args.part {
        None => rounds::run(&args.rounds),
        Some(Part::Bare(bare)) => {
            bare.run();
            Ok(())
        }
        Some(Part::Upstream(upstream)) => upstream.run(),
        Some(Part::Load(load)) => load.run(),
        Some(Part::Verify(verify)) => verify.run(),
    }
}
