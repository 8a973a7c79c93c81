//! What the store does on this disk and with this many rows, each beside a yardstick of the same run.
//!
//! `cargo bench --bench store` builds `mesh-store`, starts it over a file, and asks it over HTTP. It prints
//! ratios: durable PUTs beside one wait for the disk a PUT, and reads with many rows beside reads with few.
//! `benches/README.md` tells how to read what it prints.

#[path = "store/client.rs"]
mod client;
#[path = "store/house.rs"]
mod house;
#[path = "store/reads.rs"]
mod reads;
#[path = "store/vectors.rs"]
mod vectors;
#[path = "store/writes.rs"]
mod writes;

use clap::Parser;
use std::error::Error;
use std::path::PathBuf;

/// Why a run ended early: a bench has nobody to tell but the person who started it.
type Fault = Box<dyn Error + Send + Sync>;

/// The store, beside yardsticks.
#[derive(Debug, Parser)]
struct Args {
    /// Rows of the small store.
    #[arg(long, default_value_t = 10_000)]
    few: usize,
    /// Rows of the large one.
    #[arg(long, default_value_t = 1_000_000)]
    many: usize,
    /// Requests of each kind.
    #[arg(long, default_value_t = 4000)]
    requests: usize,
    /// Seconds of each measurement of writes; they take turns.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Sizes of the stores with vectors.
    #[arg(long, value_delimiter = ',', default_value = "20000,100000")]
    vectors: Vec<usize>,
    /// Some of writes, reads, vectors; all of them without.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the databases are made; their disk is what is measured.
    #[arg(long, default_value = "target/bench-store")]
    folder: PathBuf,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Fault> {
    let args = Args::parse();
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    if is_wanted("writes") {
        writes::run(&args)?;
    }
    if is_wanted("reads") {
        reads::run(&args)?;
    }
    if is_wanted("vectors") {
        vectors::run(&args)?;
    }
    Ok(())
}
