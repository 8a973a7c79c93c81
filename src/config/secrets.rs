//! Secrets from where they are kept: the environment, files, files made on the first start.
//!
//! No secret's text reaches a problem, and neither does a text that may be one. What a secret is for,
//! and how long it must be, is for the caller to say.

use super::checker::{Checker, Literals, shown};
use super::interpolate::is_variable_name;
use super::raw::SecretSource;
use super::tree::Spot;
use super::{Effects, Surroundings};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest secret.
const MAX_SECRET_BYTES: usize = 64 * 1024;
/// How a made key begins, so that scanners find leaked ones.
const PREFIX: &str = "oce_";

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// Not there, or not ours to read.
    #[error("cannot be read: {}", describe(.0))]
    Read(#[source] io::Error),
    /// Larger than anything that is meant.
    #[error("is larger than {max} bytes")]
    TooLarge {
        /// Most bytes.
        max: usize,
    },
    /// A folder, a pipe, a device.
    #[error("is not a plain file")]
    Kind,
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        kind => kind.to_string(),
    }
}

/// Reads a plain file of bounded size.
pub(super) fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>, FileError> {
    read_file(path, max).map(|(bytes, _)| bytes)
}

fn read_file(path: &Path, max: usize) -> Result<(Vec<u8>, std::fs::Metadata), FileError> {
    // Looked at before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(FileError::Read)?.is_file() {
        return Err(FileError::Kind);
    }
    let file = File::open(path).map_err(FileError::Read)?;
    let about = file.metadata().map_err(FileError::Read)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(FileError::Read)?;
    if bytes.len() > max {
        return Err(FileError::TooLarge { max });
    }
    Ok((bytes, about))
}

/// Gets a secret from its source. `None` when it cannot be had; the checker was told why.
pub fn resolve(
    source: &SecretSource,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Secret> {
    let secret = match source {
        SecretSource::Env(source) => from_env(&source.env, spot.key("env"), around, checker)?,
        SecretSource::File(source) => from_file(Path::new(&source.file), spot.key("file"), checker)?,
        SecretSource::Generated(source) => {
            from_generated(Path::new(&source.generated), spot.key("generated"), around, checker)?
        }
        SecretSource::Literal(text) => literal(text, spot, checker)?,
    };
    if secret.expose().is_empty() {
        checker.problem(spot.at, "this secret is empty");
        return None;
    }
    Some(secret)
}

fn literal(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<Secret> {
    if checker.literals == Literals::Refused && !spot.is_interpolated() {
        let hint =
            "keep it elsewhere, `{ env: NAME }` or `{ file: path }`, or set `allow_literal_secrets: true`";
        checker.hinted(spot.at, "a secret stands in this file", hint);
        return None;
    }
    Some(Secret::new(text.into()))
}

fn from_env(name: &str, spot: Spot<'_>, around: Surroundings<'_>, checker: &mut Checker) -> Option<Secret> {
    if !is_variable_name(name) {
        // Not shown: it may be the secret itself, put in the wrong place.
        let hint = "letters, digits and `_`, such as `ACME_KEY`";
        checker.hinted(spot.at, "this is no name of an environment variable", hint);
        return None;
    }
    let Some(text) = (around.env)(name) else {
        let hint = format!("set it before the start: `{name}=…`");
        checker.hinted(spot.at, format!("the environment variable {name} is not set"), hint);
        return None;
    };
    Some(Secret::new(text.into_bytes()))
}

fn from_file(path: &Path, spot: Spot<'_>, checker: &mut Checker) -> Option<Secret> {
    let (bytes, about) = match read_file(path, MAX_SECRET_BYTES) {
        Ok(read) => read,
        Err(error) => {
            checker.problem(spot.at, format!("{} {error}", named(spot, "the file", path)));
            return None;
        }
    };
    let bytes = Zeroizing::new(bytes);
    if is_open_to_others(&about) {
        let message = format!("{} can be read by others than its owner", named(spot, "the file", path));
        checker.hinted(spot.at, message, "chmod 600, and the owner that the edge runs as");
        return None;
    }
    checker.read_file(path.to_owned());
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    Some(Secret::new(text.strip_suffix(b"\r").unwrap_or(text).to_vec()))
}

fn named(spot: Spot<'_>, what: &str, path: &Path) -> String {
    shown(spot, what, &path.display().to_string())
}

#[cfg(unix)]
fn is_open_to_others(about: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_about: &std::fs::Metadata) -> bool {
    // Other systems keep no such bits; their operators guard the folder.
    false
}

fn from_generated(
    path: &Path,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Secret> {
    let is_missing = matches!(std::fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    if !is_missing {
        return from_file(path, spot, checker);
    }
    let Ok(key) = fresh_key() else {
        checker.problem(spot.at, "this machine gives no random numbers");
        return None;
    };
    match around.effects {
        Effects::None => {
            checker.warn(spot.at, format!("{} is made at the start", named(spot, "the key file", path)));
            Some(key)
        }
        Effects::Create => match make_file(path, &key) {
            Ok(()) => {
                checker.read_file(path.to_owned());
                Some(key)
            }
            // Somebody else made it in between: theirs is the one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => from_file(path, spot, checker),
            Err(error) => {
                let file = named(spot, "the key file", path);
                let message = format!("{file} cannot be made: {}", error.kind());
                checker.problem(spot.at, message);
                None
            }
        },
    }
}

/// A fresh API key: 256 random bits behind a prefix that secret scanners can look for.
///
/// # Errors
/// When the operating system gives no random numbers.
pub fn fresh_key() -> Result<Secret, getrandom::Error> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes)?;
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    Ok(Secret::new([PREFIX.as_bytes(), encoded.as_bytes()].concat()))
}

/// Writes a key to a new file that only its owner can read.
fn make_file(path: &Path, key: &Secret) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        make_folders(folder)?;
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(&[key.expose(), b"\n"].concat()).and_then(|()| file.sync_all());
    // Half a key must not be taken for a whole one at the next start.
    written.inspect_err(|_| drop(std::fs::remove_file(path)))
}

fn make_folders(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Text of a public file, such as a key in PEM.
pub(super) fn public_text(path: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<String> {
    let path = PathBuf::from(path);
    match read_bounded(&path, MAX_SECRET_BYTES) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).ok();
            if text.is_none() {
                checker.problem(spot.at, format!("{} is not text", named(spot, "the file", &path)));
            }
            checker.read_file(path);
            text
        }
        Err(error) => {
            checker.problem(spot.at, format!("{} {error}", named(spot, "the file", &path)));
            None
        }
    }
}
