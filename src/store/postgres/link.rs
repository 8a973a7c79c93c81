//! The way to the server: a pool of connections, and transactions that belong to one tenant.
//!
//! Nothing lives on a connection from one transaction to the next: no prepared statement, no setting, no
//! session lock. So it works behind a pooler that hands a server connection out for a transaction.

use super::text::literal;
use crate::ids::TenantId;
use crate::secret::Secret;
use crate::store::error::StoreError;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use std::time::Duration;
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
}

/// The way.
#[derive(Debug, Clone)]
pub(super) struct Link(Pool);

impl Link {
    /// Reads the URL; connects to nothing yet. `sslmode=require` in it asks for TLS, with the server's
    /// certificate checked against the machine's authorities.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(super) fn new(url: &Secret, connections: usize) -> Result<Self, LinkError> {
        let text = String::from_utf8_lossy(url.expose());
        let mut config: Config = text.parse().map_err(LinkError::Url)?;
        config.connect_timeout(CONNECT).application_name("mesh-store");
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match config.get_ssl_mode() {
            SslMode::Disable => Manager::from_config(config, NoTls, recycling),
            _ => Manager::from_config(config, tls(), recycling),
        };
        let timeouts = Timeouts { wait: Some(WAIT), create: Some(CONNECT * 2), recycle: Some(CONNECT) };
        let pool = Pool::builder(manager)
            .max_size(connections.max(1))
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| LinkError::Pool)?;
        Ok(Self(pool))
    }

    /// A connection.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn connection(&self) -> Result<Object, StoreError> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => StoreError::Busy,
            other => {
                tracing::error!(error = %other, cause = cause(&other), "there is no connection to PostgreSQL");
                StoreError::Failed
            }
        })
    }
}

fn tls() -> MakeRustlsConnect {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring's provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
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
