//! `keys new` and `keys hash`.

use super::{Failure, input, output};
use crate::config::secrets;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Keys {
    /// Make a fresh API key; prints the key, and the hash for the config.
    New,
    /// Print the hash of a key that is read from a file or standard input (one line end is not part of it).
    Hash {
        /// The file with the key; standard input without one.
        file: Option<PathBuf>,
    },
}

impl Keys {
    pub(super) fn execute(self) -> Result<(), Failure> {
        match self {
            Self::New => {
                let key =
                    secrets::fresh_key().map_err(|error| Failure::caused("no key could be made", &error))?;
                let hash = hash(key.expose());
                output(&[b"key:  ", key.expose(), b"\nhash: \"", hash.as_bytes(), b"\"\n"].concat())
            }
            Self::Hash { file } => {
                let key = zeroize::Zeroizing::new(input(file.as_ref())?);
                let key = key.strip_suffix(b"\n").unwrap_or(&key);
                let key = key.strip_suffix(b"\r").unwrap_or(key);
                if key.is_empty() {
                    return Err(Failure::new("there is no key to hash"));
                }
                output(format!("{}\n", hash(key)).as_bytes())
            }
        }
    }
}

/// A key's hash as the config holds it.
fn hash(key: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(key) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
