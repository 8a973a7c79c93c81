//! `check`, `schema` and `import`: what concerns the config without running it.

use super::{ConfigArg, Failure, input, output, quickstart};
use crate::config::{self, Effects};
use std::path::PathBuf;

/// Check a config.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigArg,
    /// The same, without the flag.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

impl Check {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let source = quickstart::source(self.file.or(self.config.config));
        let loaded = source.load(Effects::None).map_err(Failure::config)?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        let config = &loaded.config;
        output(
            format!(
                "{}: good: {} tenants, {} credentials, {} routes, {} upstreams, {} gateways\n",
                source.name(),
                config.tenants.len(),
                config.credentials.len(),
                config.routes.len(),
                config.upstreams.len(),
                config.gateways.len(),
            )
            .as_bytes(),
        )
    }
}

/// Print the schema.
#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// Print the reference for people (Markdown) instead.
    #[arg(long)]
    reference: bool,
}

impl Schema {
    pub(super) fn execute(self) -> Result<(), Failure> {
        if self.reference {
            return output(config::reference().as_bytes());
        }
        let mut text =
            serde_json::to_vec_pretty(&config::schema()).map_err(|e| Failure::caused("schema", &e))?;
        text.push(b'\n');
        output(&text)
    }
}

/// Where a Mission Control proxy has its gateways, unless they are in a file.
const VARIABLE: &str = "OPENCLAW_MC_GATEWAYS";

/// Turn a list of gateways into YAML.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The JSON file: Mission Control's gateways.json, or what `openclaw fleet list --json` prints. Standard input without one.
    file: Option<PathBuf>,
    /// Take the JSON from the environment variable `OPENCLAW_MC_GATEWAYS`.
    #[arg(long, conflicts_with = "file")]
    env: bool,
}

impl Import {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let text = if self.env {
            config::process_env(VARIABLE).ok_or_else(|| Failure::new(format!("{VARIABLE} is not set")))?
        } else {
            String::from_utf8(input(self.file.as_ref())?)
                .map_err(|_| Failure::new("the file is not UTF-8"))?
        };
        let yaml =
            config::import(&text).map_err(|error| Failure::caused("this cannot be imported", &error))?;
        output(yaml.as_bytes())
    }
}
