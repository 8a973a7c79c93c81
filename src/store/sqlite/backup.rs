//! Copies of a file while it is in use, each of one moment.

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pages copied between two looks at how far it is.
const PAGES: i32 = 2048;

const BUSY: Duration = Duration::from_secs(5);

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// `SQLite` said no.
    #[error("the file cannot be copied")]
    Sqlite(#[from] rusqlite::Error),
    /// The system said no.
    #[error("the copy cannot be written")]
    Io(#[from] io::Error),
}

/// Copies a file that may be in use into one that is not there yet; it has its name only when it is whole
/// and on the disk. Tells how many pages are done, and of how many.
///
/// # Errors
/// [`BackupError`]; nothing of that name is there then.
pub fn copy(from: &Path, to: &Path, mut told: impl FnMut(u64, u64)) -> Result<(), BackupError> {
    let source = Connection::open_with_flags(
        from,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    source.busy_timeout(BUSY)?;
    // What is read stays what it is now: writes that come meanwhile do not begin the copy anew.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")?;
    let half = partial(to);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half);
    drop(made?);
    let done = pages(&source, &half, &mut told).and_then(|()| {
        File::open(&half)?.sync_all()?;
        std::fs::rename(&half, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&half);
    }
    done
}

fn partial(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".partial-{:08x}", fastrand::u32(..)));
    PathBuf::from(name)
}

fn pages(source: &Connection, to: &Path, told: &mut impl FnMut(u64, u64)) -> Result<(), BackupError> {
    let mut target = Connection::open(to)?;
    {
        let backup = Backup::new(source, &mut target)?;
        loop {
            let step = backup.step(PAGES)?;
            let progress = backup.progress();
            let number = |pages: i32| u64::try_from(pages).unwrap_or(0);
            told(number(progress.pagecount - progress.remaining), number(progress.pagecount));
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // Another program holds the file for a moment.
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Folds the log of a file that nobody uses into it, so that the one file is all there is.
///
/// # Errors
/// [`BackupError`], also when somebody uses it.
pub fn close(path: &Path) -> Result<(), BackupError> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(Duration::ZERO)?;
    // Leaving the write-ahead log takes the file for oneself alone.
    let mode: String = conn.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode == "delete" { Ok(()) } else { Err(rusqlite::Error::InvalidQuery.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::integrity;
    use crate::store::testing::Folder;
    use std::os::unix::fs::PermissionsExt as _;

    fn database(folder: &Folder) -> (PathBuf, Connection) {
        let path = folder.path("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1);")
            .unwrap();
        (path, conn)
    }

    #[test]
    fn a_copy_is_of_one_moment_and_private_and_never_over_another_file() {
        let folder = Folder::new();
        let (path, conn) = database(&folder);
        let to = folder.path("b.db");
        copy(&path, &to, |_, _| {}).unwrap();
        conn.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        let count: i64 =
            Connection::open(&to).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
        assert_eq!(integrity::of_file(&to).unwrap(), [""; 0]);
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_in_use_is_not_closed_for_others() {
        let folder = Folder::new();
        let (path, conn) = database(&folder);
        conn.execute_batch("BEGIN; SELECT * FROM t;").unwrap();
        assert!(close(&path).is_err());
        drop(conn);
        close(&path).unwrap();
        assert!(!folder.path("a.db-wal").exists());
    }
}
