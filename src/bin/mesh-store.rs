//! The mesh store on its own.

use clap::Parser as _;
use openclaw_edge::cli::store;
use std::process::ExitCode;

fn main() -> ExitCode {
    store::main(store::Args::parse())
}
