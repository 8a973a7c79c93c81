//! `doctor`: looks at a running site from outside, as an operator would, and says in plain words what to do.
//!
//! It changes nothing: it reads files, asks the admin listener, and knocks where the edge itself would.

mod backends;
mod finding;
mod machine;
mod running;
mod series;

use super::{ConfigArg, EXIT_CONFIG, Failure, output, quickstart};
use crate::config::Effects;
use crate::config::checked::Config;
use finding::{Findings, State};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Before this time its end is told.
const SOON: Duration = Duration::from_hours(14 * 24);
/// From here on it cannot wait.
const NOW: Duration = Duration::from_hours(2 * 24);

/// Look at a running site.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    config: ConfigArg,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// How long each service gets to answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

impl Doctor {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let mut findings = Findings::default();
        let source = quickstart::source(self.config.config.clone());
        let name = source.name();
        let code = match source.load(Effects::None) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    findings.look(
                        "config",
                        &name,
                        warning.to_string(),
                        "the check tells the same at each start",
                    );
                }
                let config = loaded.config;
                findings.good(
                    "config",
                    &name,
                    format!("{} tenants, {} routes", config.tenants.len(), config.routes.len()),
                );
                examine(&config, Duration::from_secs(self.timeout), &mut findings)?;
                1
            }
            Err(problems) => {
                let advice = "mend each at its place; the edge would not start with it, and a reload keeps the one before";
                findings.bad("config", &name, problems.to_string().trim_end(), advice);
                EXIT_CONFIG
            }
        };
        let text = if self.json { findings.json() } else { findings.text() };
        output(text.as_bytes())?;
        match findings.count(State::Bad) {
            0 => Ok(()),
            bad => {
                Err(Failure { text: format!("{bad} bad, {} to look at", findings.count(State::Look)), code })
            }
        }
    }
}

fn examine(config: &Config, patience: Duration, findings: &mut Findings) -> Result<(), Failure> {
    machine::look(config, findings);
    certificates(config, findings);
    running::look(config, patience, findings);
    backends::look(config, patience, findings)
}

/// What stands in the certificates' files.
fn certificates(config: &Config, findings: &mut Findings) {
    for one in config.certificates() {
        let left = u64::try_from(one.not_after).unwrap_or_default().saturating_sub(unix_now().as_secs());
        let days = left / 86_400;
        let text = format!("ends in {days} days ({})", date(one.not_after));
        let advice =
            "renew it and put the new files in the old ones' place; the edge takes them within a second";
        match Duration::from_secs(left) {
            left if left < NOW => findings.bad("certificate", &one.file, text, advice),
            left if left < SOON => findings.look("certificate", &one.file, text, advice),
            _ => findings.good("certificate", &one.file, text),
        }
    }
}

fn date(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
