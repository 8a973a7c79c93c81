//! `mesh-store watch`: the feed of changes on a terminal, over reconnects and restarts of the store.

use super::Failure;
use super::client::{Door, moment, plain};
use serde_json::Value;
use std::io::Write as _;
use std::time::Duration;

/// How long the store may keep a question open, and how long it is waited for.
const WAIT_SECONDS: u64 = 25;
const TIMEOUT: Duration = Duration::from_secs(WAIT_SECONDS + 15);

/// After a failure, before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Print changes as they happen, until it is stopped or has seen enough.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    door: Door,
    /// Of this scope alone.
    #[arg(long)]
    scope: Option<String>,
    /// Of keys and names that start so.
    #[arg(long)]
    prefix: Option<String>,
    /// After this change; from now on without it. 0 is everything that the feed still has.
    #[arg(long, value_name = "NUMBER")]
    since: Option<i64>,
    /// End after so many changes.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

impl Watch {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        let (mut seen, mut told) = (self.since, 0_u64);
        let mut connected = false;
        loop {
            if self.count.is_some_and(|count| told >= count) {
                return Ok(());
            }
            let answer = match self.door.get_within(&self.path(seen, connected), TIMEOUT) {
                Ok(answer) => answer,
                // A store that was there once comes back.
                Err(failure) if connected => {
                    eprintln!("{}", failure.text);
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            connected = true;
            if answer["reset"] == Value::Bool(true) {
                eprintln!("changes were missed: the feed no longer has them");
            }
            for change in answer["changes"].as_array().into_iter().flatten() {
                if self.count.is_some_and(|count| told >= count) {
                    return Ok(());
                }
                self.tell(change)?;
                told += 1;
            }
            seen = answer["next"].as_i64().or(seen);
        }
    }

    fn path(&self, seen: Option<i64>, connected: bool) -> String {
        // The first question is answered at once, so that a wrong address or key is known at once.
        let wait = if connected { WAIT_SECONDS } else { 0 };
        let mut path = format!("/mesh/changes?wait={wait}");
        if let Some(seen) = seen {
            path = format!("{path}&since={seen}");
        }
        for (name, value) in [("scope", &self.scope), ("prefix", &self.prefix)] {
            if let Some(value) = value {
                path = format!("{path}&{name}={}", super::client::encoded(value));
            }
        }
        path
    }

    fn tell(&self, change: &Value) -> Result<(), Failure> {
        let line = if self.door.wants_json() {
            change.to_string()
        } else {
            let text = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
            let name = ["name", "node", "key"].into_iter().map(text).find(|name| !name.is_empty());
            let name = name.unwrap_or_default();
            let row = &change["row"];
            let value = match row.get("value").or(row.get("keys")).unwrap_or(&Value::Null) {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let line =
                format!("{}  {:8} {} {name}  {value}", moment(&change["at"]), text("action"), text("scope"));
            plain(line.trim_end())
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|error| Failure::caused("standard output", &error))
    }
}
