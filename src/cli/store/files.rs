//! `mesh-store backup`, `restore` and `check`: what is done with a store's file.

use super::Failure;
use super::bar::bar;
use super::copy::sum;
use super::place::{Missing, Place, there};
use crate::store::{Access, backup, integrity};
use std::path::{Path, PathBuf};

const DUMP: &str = "pg_dump and pg_restore";

/// Copy a store's file while the store is in use: the copy is of one moment.
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The store's file.
    #[arg(long, value_name = "FILE")]
    from: Place,
    /// Where the copy goes; must not be there yet.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Backup {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let from = self.from.file(DUMP)?;
        there(from)?;
        copy_file(from, &self.to)?;
        println!("{}", self.to.display());
        Ok(())
    }
}

/// Put a backup in a store's place. The store must be stopped; its file is kept beside it.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The store's file.
    #[arg(long, value_name = "FILE")]
    to: Place,
}

impl Restore {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let to = self.to.file(DUMP)?;
        there(&self.from)?;
        tell_problems(&self.from)?;
        if to.exists() {
            backup::close(to).map_err(|error| {
                Failure::caused(&format!("{} is in use; stop the store first", to.display()), &error)
            })?;
            let aside = beside(to, ".before-restore");
            std::fs::rename(to, &aside)
                .map_err(|error| Failure::caused(&to.display().to_string(), &error))?;
            println!("the file that was there is now {}", aside.display());
        }
        copy_file(&self.from, to)?;
        println!("{}", to.display());
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        return Err(Failure::new(format!("{} is there already", to.display())));
    }
    let bar = bar(0, "pages");
    let told = backup::copy(from, to, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    told.map_err(|error| Failure::caused(&from.display().to_string(), &error))
}

fn tell_problems(path: &Path) -> Result<(), Failure> {
    let problems =
        integrity::of_file(path).map_err(|error| Failure::caused(&path.display().to_string(), &error))?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{}:\n{}", path.display(), problems.join("\n"))))
}

/// Check a store: its file's integrity, the search index, and that what is counted is what is there.
///
/// Prints a line a tenant with the sum over everything it keeps. Exits with 1 when something is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Store to read: a file, or env:NAME for the PostgreSQL URL in that variable.
    #[arg(long, value_name = "STORE")]
    from: Place,
}

impl Check {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        if let Place::File(path) = &self.from {
            there(path)?;
            tell_problems(path)?;
        }
        let store = self.from.open(Missing::Refused).await?;
        let mut wrong = Vec::new();
        for tenant in super::tenants(&store, &[]).await? {
            let access = Access::upkeep(tenant.clone());
            let usage = store.usage(&access).await.map_err(Failure::new)?;
            let sum = sum(&store, &access).await?;
            let counted = u64::try_from(usage.rows()).unwrap_or(0);
            if counted != sum.rows {
                wrong.push(format!("{tenant}: {counted} rows are counted and {} are there", sum.rows));
            }
            if sum.last_change > usage.last_change {
                wrong.push(format!("{tenant}: a row is newer than the tenant's counter"));
            }
            println!("{tenant}: {} rows, {} past versions, sha256 {}", sum.rows, sum.versions, sum.hex());
        }
        if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
    }
}
