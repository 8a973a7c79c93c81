//! A Unix socket that only its owner can reach, and that is never taken from a running process.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something else has the name.
    #[error("{path} is there and is no socket; it was left alone")]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// A process answers there.
    #[error("another process listens on {path}")]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Anyone on the machine could put another socket in its place.
    #[error("anyone may write in {folder}; put the socket elsewhere")]
    OpenFolder {
        /// The socket's folder.
        folder: PathBuf,
    },
    /// The system said no.
    #[error("cannot listen on {path}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A listening socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: File,
}

/// The socket's name in the file system.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The listener, and the file that must be kept as long as it listens.
    pub(crate) fn into_parts(self) -> (UnixListener, File) {
        (self.listener, self.file)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Only the file that was made here: a successor may have the name by now.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens on a path. A missing folder is made (0700); a socket that nobody answers on is replaced.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// [`SocketError`]; nothing was removed.
pub fn bind(path: &Path) -> Result<Socket, SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let private = prepare_folder(path)?;
    refuse_taken(path)?;
    // In a folder that only its owner may enter, nobody can reach the socket while it is being closed to
    // others. Elsewhere it is made under a name of its own and moved to where clients look once it is
    // closed; clients that compare the socket's own name with the path then see two.
    let fresh = if private { path.to_owned() } else { beside(path) };
    if private {
        remove_stale(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(&fresh).map_err(failed)?;
    let moved = std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))
        .and_then(|()| std::fs::symlink_metadata(&fresh))
        .and_then(|made| if private { Ok(()) } else { std::fs::rename(&fresh, path) }.map(|()| made.ino()));
    match moved {
        Ok(inode) => Ok(Socket { listener, file: File { path: path.to_owned(), inode } }),
        Err(source) => {
            let _ = std::fs::remove_file(&fresh);
            Err(failed(source))
        }
    }
}

/// Takes away a socket that nobody answers on.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    PathBuf::from(name)
}

/// Whether the folder is its owner's alone.
fn prepare_folder(path: &Path) -> Result<bool, SocketError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(false);
    };
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mode = std::fs::metadata(folder).map_err(failed)?.permissions().mode();
    // With the sticky bit only the owner of a file can replace it.
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(SocketError::OpenFolder { folder: folder.to_owned() });
    }
    let others = 0o077;
    Ok(mode & others == 0)
}

fn refuse_taken(path: &Path) -> Result<(), SocketError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SocketError::Io { path: path.to_owned(), source }),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(problem) if problem.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(SocketError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::Folder;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn a_socket_and_its_new_folder_are_for_the_owner_alone_and_go_with_it() {
        let folder = Folder::new();
        let path = folder.path("run/store.sock");
        let socket = bind(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_socket_is_not_taken_and_a_stale_one_is_replaced() {
        let folder = Folder::new();
        let path = folder.path("store.sock");
        let live = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(SocketError::InUse { .. })));
        assert!(path.exists());
        drop(live);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind, as by a process that was killed");
        let socket = bind(&path).unwrap();
        assert!(std::os::unix::net::UnixStream::connect(socket.path()).is_ok());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = Folder::new();
        let path = folder.path("store.sock");
        std::fs::write(&path, "notes").unwrap();
        assert!(matches!(bind(&path), Err(SocketError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
    }

    #[tokio::test]
    async fn a_folder_in_which_anyone_may_write_is_refused() {
        let folder = Folder::new();
        let open = folder.path("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(bind(&open.join("store.sock")), Err(SocketError::OpenFolder { .. })));
    }
}
