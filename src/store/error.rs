//! What can go wrong: while opening a database, and while using an open one.
//!
//! The causes stay here and in the log. What a client is told is decided in [`reply`](super::reply).

use super::model::Conflict;
use std::io;
use std::path::PathBuf;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file could not be made.
    #[error("cannot make {path}")]
    Create {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `SQLite` could not open, prepare or migrate the file.
    #[error("cannot open {path} as a mesh database")]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// The file system does not allow a write-ahead log.
    #[error("{path} cannot have a write-ahead log; put it on a local disk")]
    NoWal {
        /// The database file.
        path: PathBuf,
    },
    /// A later version of this program, or a stranger, wrote the file.
    #[error("{path} has schema version {found}; this program knows versions up to {known}")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version that is known here.
        known: i64,
    },
    /// The URL of a server is none.
    #[error("the PostgreSQL URL cannot be used")]
    Url(#[source] super::postgres::LinkError),
    /// The server did not let itself be used.
    #[error("the PostgreSQL database cannot be opened")]
    Postgres(#[source] super::postgres::SchemaError),
    /// A thread could not be started.
    #[error("cannot start a database thread")]
    Thread(#[source] io::Error),
}

/// Why an open store did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting already; trying again soon may work.
    #[error("too many operations are waiting")]
    Busy,
    /// The database did not do it; the cause was logged where it happened.
    #[error("the database failed")]
    Failed,
}

/// Why nothing of a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of the writes could not be done as things are, and so none was.
    #[error("write {index} was refused: {conflict:?}")]
    Refused {
        /// Which one, from 0.
        index: usize,
        /// Why.
        conflict: Conflict,
    },
}
