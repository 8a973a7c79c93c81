//! What a person types for the mesh store alone: one subcommand a file, each a few calls into the room.

mod backfill;
mod bar;
mod client;
mod copy;
mod counted;
mod files;
mod guarded;
mod keys;
mod metrics;
mod ndjson;
mod place;
mod run;
mod table;
mod watch;

pub(super) use counted::Counted;

use super::{EXIT_CONFIG, Failure};
use crate::ids::TenantId;
use crate::store::Store;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What every `--tenant` means.
const TENANT_HELP: &str = "This tenant alone; may be given more than once";

/// Keeps what the nodes of a mesh remember and can do, apart by tenant.
#[derive(Debug, Parser)]
#[command(name = "mesh-store", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open the database and serve it until SIGTERM or SIGINT.
    Run(run::Run),
    Copy(copy::Copy),
    Backup(files::Backup),
    Restore(files::Restore),
    Check(files::Check),
    Export(ndjson::Export),
    Import(ndjson::Import),
    Tenants(ndjson::Tenants),
    Backfill(backfill::Backfill),
    Get(client::Get),
    Put(client::Put),
    List(client::List),
    Search(client::Search),
    Watch(watch::Watch),
    Keys(keys::Keys),
}

/// Does what was asked.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let result = match args.command {
        Command::Run(run) => return run.execute(),
        Command::Copy(copy) => within(copy.execute()),
        Command::Backup(backup) => backup.execute(),
        Command::Restore(restore) => restore.execute(),
        Command::Check(check) => within(check.execute()),
        Command::Export(export) => within(export.execute()),
        Command::Import(import) => within(import.execute()),
        Command::Tenants(tenants) => within(tenants.execute()),
        Command::Backfill(backfill) => within(backfill.execute()),
        Command::Get(get) => get.execute(),
        Command::Put(put) => put.execute(),
        Command::List(list) => list.execute(),
        Command::Search(search) => search.execute(),
        Command::Watch(watch) => watch.execute(),
        Command::Keys(keys) => keys.execute(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.text.trim_end());
            ExitCode::from(failure.code)
        }
    }
}

fn within(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::caused("no threads", &error))?.block_on(work)
}

/// The tenants that are meant: those that were named, or all.
async fn tenants(store: &Store, named: &[TenantId]) -> Result<Vec<TenantId>, Failure> {
    let all = store.tenants().await.map_err(Failure::new)?;
    if let Some(none) = named.iter().find(|name| !all.contains(name)) {
        return Err(Failure::new(format!("there is no tenant {none}")));
    }
    Ok(if named.is_empty() { all } else { named.to_vec() })
}
