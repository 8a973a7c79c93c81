//! The same said on the command line, for a store that needs no file.

use super::{CONNECTIONS, Config, LEGACY_TENANT, LISTEN_HINT, Listen, SHORTEST_SECRET, Server};
use crate::config::raw::Level;
use crate::ids::{IdError, TenantId};
use crate::secret::Secret;
use crate::store::Settings;
use crate::store::access::Trust;
use std::path::PathBuf;

/// A config given on the command line, for a store that needs no file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Where clients connect.
    pub listen: String,
    /// The `SQLite` file.
    pub database: PathBuf,
    /// Environment variable that holds a PostgreSQL URL, to use instead of a file.
    pub postgres_env: Option<String>,
    /// Tenant of rows that had none.
    pub legacy_tenant: Option<String>,
    /// Environment variable that holds the secret shared with the edge.
    pub shared_secret_env: Option<String>,
}

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// `--listen` is no address.
    #[error("--listen is no address; write {LISTEN_HINT}")]
    Listen,
    /// `--legacy-tenant` is no tenant.
    #[error("--legacy-tenant {0}")]
    Tenant(#[source] IdError),
    /// The variable is not set.
    #[error("the environment variable that --shared-secret-env names is not set")]
    Unset,
    /// The variable is not set.
    #[error("the environment variable that --postgres-env names is not set")]
    NoUrl,
    /// The secret is too short, or cannot travel in a header.
    #[error(
        "the shared secret needs {SHORTEST_SECRET} characters or more, all printable ASCII without spaces"
    )]
    Weak,
    /// Anyone could name any tenant.
    #[error(
        "a network listener needs --shared-secret-env, or a --config with `trust`: \
         without it anyone could name any tenant"
    )]
    NoTrust,
}

impl Flags {
    /// What the flags mean; `env` looks an environment variable up.
    ///
    /// # Errors
    /// [`FlagsError`], which never shows a secret.
    pub fn check(&self, env: impl Fn(&str) -> Option<String>) -> Result<Config, FlagsError> {
        let listen = Listen::parse(&self.listen).ok_or(FlagsError::Listen)?;
        let legacy = self.legacy_tenant.as_deref().unwrap_or(LEGACY_TENANT);
        let legacy = TenantId::parse(legacy).map_err(FlagsError::Tenant)?;
        let server = match &self.postgres_env {
            Some(name) => {
                let url = Secret::new(env(name).ok_or(FlagsError::NoUrl)?.into_bytes());
                Some(Server { url, connections: CONNECTIONS })
            }
            None => None,
        };
        let trust = match (&self.shared_secret_env, &listen) {
            (Some(name), _) => {
                let secret = Secret::new(env(name).ok_or(FlagsError::Unset)?.into_bytes());
                if secret.expose().len() < SHORTEST_SECRET
                    || !secret.expose().iter().all(u8::is_ascii_graphic)
                {
                    return Err(FlagsError::Weak);
                }
                Trust::SharedSecret(secret)
            }
            (None, Listen::Unix(_)) => Trust::Edge,
            (None, Listen::Tcp(_)) => return Err(FlagsError::NoTrust),
        };
        Ok(Config {
            listen,
            settings: Settings::new(self.database.clone(), legacy),
            server,
            trust,
            metrics: None,
            level: Level::Info,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "STORE_SECRET").then(|| "sixteen-bytes-and-more".to_owned())
    }

    #[test]
    fn flags_do_without_a_file_under_the_same_rules() {
        let flags =
            |listen: &str| Flags { listen: listen.into(), database: "m.db".into(), ..Flags::default() };
        assert!(matches!(flags("unix:s.sock").check(env).unwrap().trust, Trust::Edge));
        assert!(matches!(flags("127.0.0.1:0").check(env), Err(FlagsError::NoTrust)));
        assert!(matches!(flags("nowhere").check(env), Err(FlagsError::Listen)));
        assert!(matches!(flags("unix:").check(env), Err(FlagsError::Listen)));
        let shared = |name: &str| Flags { shared_secret_env: Some(name.into()), ..flags("127.0.0.1:0") };
        assert!(matches!(shared("STORE_SECRET").check(env).unwrap().trust, Trust::SharedSecret(_)));
        assert!(matches!(shared("OTHER").check(env), Err(FlagsError::Unset)));
        let odd = Flags { legacy_tenant: Some("A".into()), ..flags("unix:s") };
        assert!(matches!(odd.check(env), Err(FlagsError::Tenant(_))));
    }
}
