//! What a relayed WebSocket costs: CPU time per message of the built edge beside a bare Pingora that tunnels, and
//! memory per idle socket.
//!
//! `cargo bench --bench tunnel` plays every part itself, each in a process of its own: a gateway that sends
//! everything back, a bare Pingora, the edge, and the clients. `benches/README.md` tells how to read what it prints.

#[path = "through/bare.rs"]
mod bare;
#[path = "tunnel/echo.rs"]
mod echo;
#[path = "tunnel/load.rs"]
mod load;
#[path = "tunnel/parts.rs"]
mod parts;
#[path = "tunnel/rounds.rs"]
mod rounds;

use clap::{Parser, Subcommand};
use std::error::Error;

/// The same for the bare Pingora as for the edge: neither gets its speed from the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a run ended early: a bench has nobody to tell but the person who started it.
type Fault = Box<dyn Error + Send + Sync>;

/// CPU per message and memory per socket: the edge beside a bare Pingora.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    plan: rounds::Plan,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The parts that the bench plays in processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Pingora without a single filter.
    Bare(bare::Bare),
    /// The gateway behind both.
    Echo(echo::Echo),
    /// The clients.
    Load(load::Load),
}

fn main() -> Result<(), Fault> {
    let args = Args::parse();
    match args.part {
        None => rounds::run(&args.plan),
        Some(Part::Bare(bare)) => {
            bare.run();
            Ok(())
        }
        Some(Part::Echo(echo)) => echo.run(),
        Some(Part::Load(load)) => load.run(),
    }
}
