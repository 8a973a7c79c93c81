//! What a person types: one subcommand a file, each a few calls into the rooms.

mod audit;
mod captured;
mod check;
mod doctor;
mod explain;
mod gateways;
mod keys;
pub mod logging;
mod mesh;
mod outbox;
mod quickstart;
mod run;
pub mod store;
mod verify;
mod webhooks;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code for a config that is refused and for flags that are wrong.
pub const EXIT_CONFIG: u8 = 2;

/// The front door for OpenClaw gateways, mesh webhooks and mesh stores.
///
/// Without a subcommand it runs. Without --config it uses conf/quickstart.yaml: two tenants on
/// 127.0.0.1:8080, with keys that it makes on the first start.
#[derive(Debug, Parser)]
#[command(name = "openclaw-edge", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the edge (what happens without a subcommand).
    Run(run::Run),
    /// Check a config: every mistake at once, with its place. Exits with 2 when there is one.
    Check(check::Check),
    /// Look at a running site: config, files, certificates, clocks, upstreams, gateways, the shared server; say what
    /// to do. Exits with 1 when something is bad, with 2 when the config is refused.
    Doctor(doctor::Doctor),
    /// Print the config's JSON Schema, for editors, or its reference.
    Schema(check::Schema),
    /// Make API keys, and the hashes of them that a config holds.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make an Ed25519 key pair for a mesh node.
    Keygen(mesh::Keygen),
    /// Sign mesh messages: one, or an array.
    Sign(mesh::Sign),
    /// Try and explain routes for webhooks.
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
    /// Look at what waits for other meshes, in the running edge.
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    /// Read the tenants' audit logs and say whether they are whole.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Pair the edge with gateways.
    #[command(subcommand)]
    Gateways(gateways::Gateways),
    /// Verify mesh messages, or a captured delivery of a sender of webhooks. Exits with 1 when something does not hold.
    Verify(verify::Verify),
    /// Say what would become of a request, and how each limit would stand.
    Explain(explain::Explain),
    /// Turn the gateways of a Mission Control, or the cells of `openclaw fleet`, into YAML for a config.
    Import(check::Import),
}

/// Where the config is.
#[derive(Debug, Clone, clap::Args)]
struct ConfigArg {
    /// The config file.
    #[arg(long, short, value_name = "FILE", env = "OPENCLAW_EDGE_CONFIG")]
    config: Option<PathBuf>,
}

/// A failure that ends a command: what went wrong, in a sentence, and the exit code.
#[derive(Debug)]
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl std::fmt::Display) -> Self {
        Self { text: text.to_string(), code: 1 }
    }

    fn config(text: impl std::fmt::Display) -> Self {
        Self { text: text.to_string(), code: EXIT_CONFIG }
    }

    /// What failed, and each cause below it.
    fn caused(what: &str, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::new(text)
    }
}

/// Does what was asked.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let result = match args.command {
        None => args.run.execute(),
        Some(Command::Run(run)) => run.execute(),
        Some(Command::Check(check)) => check.execute(),
        Some(Command::Doctor(doctor)) => doctor.execute(),
        Some(Command::Schema(schema)) => schema.execute(),
        Some(Command::Keys(keys)) => keys.execute(),
        Some(Command::Keygen(keygen)) => keygen.execute(),
        Some(Command::Sign(sign)) => sign.execute(),
        Some(Command::Webhooks(webhooks)) => webhooks.execute(),
        Some(Command::Outbox(outbox)) => outbox.execute(),
        Some(Command::Audit(audit)) => audit.execute(),
        Some(Command::Gateways(gateways)) => gateways.execute(),
        Some(Command::Verify(verify)) => verify.execute(),
        Some(Command::Explain(explain)) => explain.execute(),
        Some(Command::Import(import)) => import.execute(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.text.trim_end());
            ExitCode::from(failure.code)
        }
    }
}

/// Reads a file, or standard input for none and for `-`.
fn input(file: Option<&PathBuf>) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    if let Some(file) = file.filter(|file| file.as_os_str() != "-") {
        return std::fs::read(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| Failure::caused("standard input", &error))?;
    Ok(bytes)
}

/// Writes a result to standard output; a reader that has left is no mistake.
fn output(bytes: &[u8]) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::caused("standard output", &error)),
    }
}
