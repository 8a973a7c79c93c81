//! What comes into a store past its HTTP face, held to the rules of its config: no secret where those are refused.

use super::Failure;
use crate::ids::TenantId;
use crate::store::{Dossier, Policy};
use std::path::PathBuf;

/// The rules to hold to.
#[derive(Debug, clap::Args)]
pub(super) struct Guarded {
    /// The config file (YAML) of the store that is written: what its `secret_guard` refuses does not come in.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Rules, or none.
pub(super) struct Gate(Option<Policy>);

impl Guarded {
    /// Reads them.
    pub(super) fn read(&self) -> Result<Gate, Failure> {
        let read = |path: &PathBuf| crate::store::load(path).map_err(Failure::config);
        let config = self.config.as_ref().map(read).transpose()?;
        Ok(Gate(config.map(|(config, _)| config.settings.policy)))
    }
}

impl Gate {
    /// Refuses a row of which something, its past too, looks like a secret.
    pub(super) fn pass(&self, tenant: &TenantId, dossier: &Dossier) -> Result<(), Failure> {
        let Some(pattern) = self.0.as_ref().and_then(|policy| policy.secret_kept(tenant, dossier)) else {
            return Ok(());
        };
        let Dossier { kind, scope, name, .. } = dossier;
        let place = if scope.is_empty() { name.clone() } else { format!("{scope}/{name}") };
        Err(Failure::new(format!(
            "{tenant}: the {kind} {place} looks like a secret ({pattern}), which the rules of {tenant} refuse; purge \
             it where it comes from, or set `secret_guard: off` for this"
        )))
    }
}
