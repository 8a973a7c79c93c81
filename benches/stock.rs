//! Pingora as it comes, for `--bench through` to start: the system's allocator and Pingora's own default runtime.
//!
//! A program of its own, since a program has one allocator. Run by itself it measures nothing.

#[path = "through/bare.rs"]
mod bare;

use clap::Parser;

/// A Pingora without a single filter.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    bare: Option<bare::Bare>,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    match Args::parse().bare {
        Some(bare) => bare.run(),
        None => println!("stock: to be started by the bench `through`"),
    }
}
