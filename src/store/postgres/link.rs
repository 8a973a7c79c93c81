//! The way to the server: a pool of connections, and transactions that belong to one tenant.
//!
//! Nothing lives on a connection from one transaction to the next: no prepared statement, no setting, no
//! session lock. So it works behind a pooler that hands a server connection out for a transaction.

use super::ears;
use super::text::literal;
use crate::ids::TenantId;
use crate::secret::Secret;
use crate::store::error::StoreError;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, IsolationLevel, NoTls, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a request waits for a free connection before the store is busy.
const WAIT: Duration = Duration::from_secs(5);

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest that the server works on one statement, and that it waits for a lock.
const STATEMENT_MS: u32 = 30_000;
const LOCK_MS: u32 = 10_000;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Reading: everything it sees is of one moment.
    Reading,
    /// Writing: durable when it is committed.
    Writing,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The URL cannot be read.
    #[error("this is no PostgreSQL URL; write `postgres://user:password@host:5432/database`")]
    Url(#[source] Error),
    /// The pool could not be made.
    #[error("the pool of connections cannot be made")]
    Pool,
    /// The file of `sslrootcert` cannot be read, or has no certificate.
    #[error("no certificate can be read from {path}, which `sslrootcert` names")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
}

/// The way.
#[derive(Clone)]
pub(super) struct Link {
    pool: Pool,
    server: Arc<Server>,
}

/// How a connection is made.
struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Link {
    /// Reads the URL; connects to nothing yet. `sslmode=require` or `verify-full` in it asks for TLS, with the
    /// server's certificate checked against the machine's authorities, or against those in the file that
    /// `sslrootcert` names.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(super) fn new(url: &Secret, connections: usize) -> Result<Self, LinkError> {
        let (text, authorities) = authorities(&String::from_utf8_lossy(url.expose()));
        let mut config: Config = text.parse().map_err(LinkError::Url)?;
        config.connect_timeout(CONNECT).application_name("mesh-store");
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(authorities.as_deref())?),
        };
        let manager = match &tls {
            None => Manager::from_config(config.clone(), NoTls, recycling),
            Some(tls) => Manager::from_config(config.clone(), tls.clone(), recycling),
        };
        let timeouts = Timeouts { wait: Some(WAIT), create: Some(CONNECT * 2), recycle: Some(CONNECT) };
        let pool = Pool::builder(manager)
            .max_size(connections.max(1))
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| LinkError::Pool)?;
        Ok(Self { pool, server: Arc::new(Server { config, tls }) })
    }

    /// A connection.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => StoreError::Busy,
            other => {
                tracing::error!(error = %other, cause = cause(&other), "there is no connection to PostgreSQL");
                StoreError::Failed
            }
        })
    }

    /// A connection that is not of the pool, and what is told on it without being asked.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn apart(&self) -> Result<(Client, mpsc::Receiver<String>), Error> {
        let Server { config, tls } = &*self.server;
        Ok(match tls {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, ears::drive(connection))
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, ears::drive(connection))
            }
        })
    }
}

/// Takes what the library does not know out of a URL: libpq's `sslrootcert`, and its `verify-full`, which is
/// what `require` is here. Whoever names authorities wants TLS.
fn authorities(url: &str) -> (String, Option<PathBuf>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (mut kept, mut file) = (Vec::new(), None);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslrootcert", path)) => {
                file = Some(PathBuf::from(percent_decode_str(path).decode_utf8_lossy().as_ref()));
            }
            Some(("sslmode", "verify-full")) => kept.push("sslmode=require"),
            Some(_) | None => kept.push(pair),
        }
    }
    if file.is_some() && !kept.iter().any(|pair| pair.starts_with("sslmode=")) {
        kept.push("sslmode=require");
    }
    let mark = if kept.is_empty() { "" } else { "?" };
    // libpq's word for the machine's own.
    let file = file.filter(|path| path.as_os_str() != "system");
    (format!("{base}{mark}{}", kept.join("&")), file)
}

fn tls(authorities: Option<&Path>) -> Result<MakeRustlsConnect, LinkError> {
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        Some(path) => {
            let unreadable = |source| LinkError::Authority { path: path.to_owned(), source };
            let found: Vec<CertificateDer<'static>> =
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable)?;
            if found.is_empty() {
                return Err(unreadable(rustls::pki_types::pem::Error::NoItemsFound));
            }
            roots.add_parsable_certificates(found)
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring's provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Begins a transaction that sees and touches the rows of this tenant alone: the policies of all tables
/// ask for a setting that ends with the transaction.
///
/// # Errors
/// What the server says.
pub(super) async fn begin<'a>(
    connection: &'a mut Object,
    tenant: &TenantId,
    purpose: For,
) -> Result<Transaction<'a>, Error> {
    let settings = format!(
        "SET LOCAL statement_timeout = {STATEMENT_MS}; SET LOCAL lock_timeout = {LOCK_MS};
         SELECT set_config('mesh.tenant', {}, true)",
        literal(tenant.as_str())
    );
    let client: &mut Client = &mut *connection;
    let builder = client.build_transaction();
    match purpose {
        For::Reading => {
            let tx = builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
            tx.batch_execute(&settings).await?;
            Ok(tx)
        }
        For::Writing => {
            let tx = builder.isolation_level(IsolationLevel::ReadCommitted).start().await?;
            // Whatever the server's default is: an answer means that it is on the disk.
            tx.batch_execute(&format!("SET LOCAL synchronous_commit = on; {settings}")).await?;
            Ok(tx)
        }
    }
}

/// Logs what the server said, where it ends.
pub(super) fn failed(error: &Error) -> StoreError {
    tracing::error!(%error, cause = cause(error), "PostgreSQL did not do it");
    StoreError::Failed
}

fn cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::Folder;

    #[test]
    fn what_libpq_says_of_certificates_is_understood() {
        let read = |url: &str| {
            let (url, file) = authorities(url);
            (url, file.map(|file| file.display().to_string()))
        };
        let plain = "postgres://u:p@h/d";
        let file = Some("/a b/ca.pem".to_owned());
        assert_eq!(read(plain), (plain.to_owned(), None));
        let url = format!("{plain}?sslmode=verify-full&sslrootcert=/a%20b/ca.pem&application_name=x");
        assert_eq!(read(&url), (format!("{plain}?sslmode=require&application_name=x"), file.clone()));
        let url = format!("{plain}?sslrootcert=/a%20b/ca.pem");
        assert_eq!(read(&url), (format!("{plain}?sslmode=require"), file), "named authorities want TLS");
        let url = format!("{plain}?sslmode=require&sslrootcert=system");
        assert_eq!(read(&url), (format!("{plain}?sslmode=require"), None));
    }

    #[test]
    fn a_file_without_a_certificate_is_told_by_its_name() {
        let folder = Folder::new();
        std::fs::write(folder.path("empty.pem"), "nothing").unwrap();
        for file in ["empty.pem", "absent.pem"] {
            let path = folder.path(file);
            let url = format!("postgres://u:p@h/d?sslrootcert={}", path.display());
            let error = Link::new(&Secret::new(url.into_bytes()), 1).unwrap_err();
            assert!(matches!(&error, LinkError::Authority { path: told, .. } if *told == path), "{error}");
        }
    }
}
