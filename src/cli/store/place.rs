//! Where a store is that a command works on: a file, or a PostgreSQL database.

use super::Failure;
use crate::ids::TenantId;
use crate::secret::Secret;
use crate::store::{Settings, Store, Unobserved};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Connections of a command to a server.
const CONNECTIONS: usize = 4;

/// A file, or a database on a server.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// An `SQLite` file.
    File(PathBuf),
    /// A PostgreSQL URL, from an environment variable: an argument would show it to everyone on the machine.
    Server(String),
}

/// Whether a file that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It must be there.
    Refused,
    /// It is made.
    Made,
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err("write `env:NAME`, and put the URL into that environment variable".to_owned());
        }
        match text.strip_prefix("env:") {
            Some(name) => Ok(Self::Server(name.to_owned())),
            None if text.is_empty() => Err("it is empty".to_owned()),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl Place {
    /// Opens it; a database of an older version is brought up to date.
    pub(super) async fn open(&self, missing: Missing) -> Result<Store, Failure> {
        let observe = Arc::new(Unobserved);
        let legacy = TenantId::parse("default").map_err(Failure::new)?;
        match self {
            Self::File(path) => {
                if missing == Missing::Refused {
                    there(path)?;
                }
                let settings = Settings::new(path.clone(), legacy);
                Store::open(&settings, observe)
                    .map_err(|error| Failure::caused(&path.display().to_string(), &error))
            }
            Self::Server(name) => {
                let url = std::env::var(name)
                    .map_err(|_| Failure::new(format!("the environment variable {name} is not set")))?;
                let settings = Settings::new(PathBuf::new(), legacy);
                Store::connect(&Secret::new(url.into_bytes()), CONNECTIONS, &settings, observe)
                    .await
                    .map_err(|error| Failure::caused(&format!("the database in {name}"), &error))
            }
        }
    }

    /// The file; commands on files alone say what to use instead.
    pub(super) fn file(&self, instead: &str) -> Result<&Path, Failure> {
        match self {
            Self::File(path) => Ok(path),
            Self::Server(_) => {
                Err(Failure::new(format!("this works on files; for PostgreSQL use {instead}")))
            }
        }
    }
}

/// Refuses a file that is not there.
pub(super) fn there(path: &Path) -> Result<(), Failure> {
    if path.is_file() { Ok(()) } else { Err(Failure::new(format!("{} is not there", path.display()))) }
}
