//! `outbox`: what waits for other meshes, and what was laid aside; asked of the running edge over its socket in
//! the data folder.

use super::{ConfigArg, Failure, output, quickstart};
use crate::config::Effects;
use crate::edge::outbox_socket::{Ask, Dropped};
use clap::Subcommand;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Look at what waits for other meshes.
#[derive(Debug, Subcommand)]
pub(super) enum Outbox {
    /// List what waits and what was laid aside, in order.
    List(List),
    /// Put what was laid aside back into its line, and try the mesh at once.
    Retry(Retry),
    /// Throw deliveries away: one, what was laid aside, or all.
    Drop(Drop),
}

/// List.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    config: ConfigArg,
    /// Of this tenant alone.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which line.
#[derive(Debug, clap::Args)]
struct Line {
    #[command(flatten)]
    config: ConfigArg,
    /// Whose.
    tenant: String,
    /// To which mesh.
    mesh: String,
}

/// Retry.
#[derive(Debug, clap::Args)]
pub(super) struct Retry {
    #[command(flatten)]
    line: Line,
    /// Only this delivery.
    id: Option<String>,
}

/// Drop.
#[derive(Debug, clap::Args)]
pub(super) struct Drop {
    #[command(flatten)]
    line: Line,
    /// This delivery.
    #[arg(required_unless_present_any = ["aside", "all"])]
    id: Option<String>,
    /// All that were laid aside.
    #[arg(long, conflicts_with_all = ["id", "all"])]
    aside: bool,
    /// All that wait, too.
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

impl Outbox {
    pub(super) fn execute(self) -> Result<(), Failure> {
        match self {
            Self::List(list) => {
                let answer = ask(&list.config, &Ask::List { tenant: list.tenant })?;
                let text = if list.json { format!("{:#}\n", answer["deliveries"]) } else { table(&answer) };
                output(text.as_bytes())
            }
            Self::Retry(Retry { line, id }) => {
                let answer = ask(&line.config, &Ask::Retry { tenant: line.tenant, mesh: line.mesh, id })?;
                output(format!("{} put back\n", answer["count"]).as_bytes())
            }
            Self::Drop(Drop { line, id, aside: _, all }) => {
                let what = match (id, all) {
                    (Some(id), _) => Dropped::One(id),
                    (None, true) => Dropped::All,
                    (None, false) => Dropped::Aside,
                };
                let answer = ask(&line.config, &Ask::Drop { tenant: line.tenant, mesh: line.mesh, what })?;
                output(format!("{} thrown away\n", answer["count"]).as_bytes())
            }
        }
    }
}

fn ask(config: &ConfigArg, ask: &Ask) -> Result<Value, Failure> {
    let source = quickstart::source(config.config.clone());
    let config = source.load(Effects::None).map_err(Failure::config)?.config;
    let path = config.data.join("run").join("outbox.sock");
    let refused = |error| Failure::caused(&format!("no edge answers on {}", path.display()), &error);
    let mut stream = UnixStream::connect(&path).map_err(refused)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(refused)?;
    let question = serde_json::to_string(ask).map_err(|error| Failure::caused("the question", &error))?;
    stream.write_all(format!("{question}\n").as_bytes()).map_err(refused)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(refused)?;
    let answer: Value = serde_json::from_str(&line).map_err(|error| Failure::caused("the answer", &error))?;
    match answer["error"].as_str() {
        Some(why) => Err(Failure::new(why)),
        None => Ok(answer),
    }
}

fn table(answer: &Value) -> String {
    let mut out = String::from("TENANT\tMESH\tID\tSINCE\tBYTES\tSTATE\n");
    for one in answer["deliveries"].as_array().into_iter().flatten() {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let since = one["since"].as_i64().and_then(|at| jiff::Timestamp::from_second(at).ok());
        let state = match one["aside"].as_u64() {
            None => "waits".to_owned(),
            Some(0) => "laid aside: no answer in time".to_owned(),
            Some(status) => format!("laid aside: {status}"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}\t{state}",
            text("tenant"),
            text("mesh"),
            text("id"),
            since.map(|since| since.to_string()).unwrap_or_default(),
            one["bytes"]
        );
    }
    out
}
