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
    bare: bare::Bare,
}

fn main() {
    // Cargo hands the same arguments to every bench of a command.
    if std::env::args().any(|argument| argument.starts_with("--listen")) {
        Args::parse().bare.run();
    } else {
        println!("stock: `through` starts it");
    }
}
