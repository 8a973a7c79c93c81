//! `audit`: reads the tenants' audit logs and says whether they are whole.

use super::{ConfigArg, Failure, output, quickstart};
use crate::audit::{Verified, verify};
use crate::config::Effects;
use clap::Subcommand;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The audit logs.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Read audit logs from their beginning: every line must name the one before it. Exits with 1 when one does not.
    Verify(Verify),
}

/// Verify.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    config: ConfigArg,
    /// The files; without any, all of the config's `data` folder.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The SHA-256 of a line that must be in the file, such as the last one of an earlier look: what stood before it
    /// is then all there.
    #[arg(long, value_name = "SHA256")]
    expect: Option<String>,
}

impl Audit {
    pub(super) fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Verify(verify) => verify.execute(),
        }
    }
}

impl Verify {
    fn execute(self) -> Result<(), Failure> {
        let files = if self.files.is_empty() { self.of_config()? } else { self.files };
        if self.expect.is_some() && files.len() != 1 {
            return Err(Failure::new("--expect is about one file: name it"));
        }
        let mut broken = 0_usize;
        for file in &files {
            match look(file, self.expect.as_deref()) {
                Ok(text) => output(text.as_bytes())?,
                Err(text) => {
                    broken += 1;
                    output(text.as_bytes())?;
                }
            }
        }
        match broken {
            0 => Ok(()),
            _ => Err(Failure::new(format!("{broken} of {} do not hold", files.len()))),
        }
    }

    fn of_config(&self) -> Result<Vec<PathBuf>, Failure> {
        let source = quickstart::source(self.config.config.clone());
        let folder = source.load(Effects::None).map_err(Failure::config)?.config.data.join("audit");
        let failed = |error| Failure::caused(&folder.display().to_string(), &error);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "ndjson") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// A line about a file; as an error where it does not hold.
fn look(path: &Path, expect: Option<&str>) -> Result<String, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("{name}: {error}\n"))?;
    let Verified { lines, cut, last, holds } =
        verify(BufReader::new(file), expect).map_err(|error| format!("{name}: broken: {error}\n"))?;
    if holds == Some(false) {
        return Err(format!("{name}: broken: the line that was asked for is not in it\n"));
    }
    let cut: Vec<String> = cut.iter().map(u64::to_string).collect();
    let cut =
        if cut.is_empty() { String::new() } else { format!(", cut short by a crash: {}", cut.join(", ")) };
    Ok(format!("{name}: whole: {lines} lines{cut}, last {last}\n"))
}
