//! Puts the API on a listener, until told to stop.

use super::Store;
use super::access::Trust;
use super::http::router;
use super::indexer::keep_up;
use super::socket::Socket;
use super::sweeper::keep_swept;
use super::watch::keep_watch;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Where clients connect.
#[derive(Debug)]
pub enum Listener {
    /// Over a network.
    Tcp(TcpListener),
    /// On this machine, as the store's own user.
    Unix(Socket),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("an unknown address"),
            },
            Self::Unix(socket) => write!(f, "unix:{}", socket.path().display()),
        }
    }
}

/// Why serving ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anyone could name any tenant.
    #[error(
        "a network listener needs a shared secret or API keys: without them anyone could name any tenant"
    )]
    NoTrust,
    /// The listener failed.
    #[error("the listener failed")]
    Io(#[source] io::Error),
}

/// Serves until `shutdown`, then lets the requests in flight end.
///
/// # Errors
/// [`ServeError::NoTrust`] at once for a network listener that would believe everyone.
pub async fn serve(
    listener: Listener,
    store: Arc<Store>,
    trust: Trust,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    match (&listener, &trust) {
        (Listener::Tcp(_), Trust::Edge) => return Err(ServeError::NoTrust),
        (Listener::Tcp(_), Trust::SharedSecret(_) | Trust::ApiKeys(_)) | (Listener::Unix(_), _) => {}
    }
    // Ends with the serving; how far it came is in the database.
    let indexing = tokio::spawn(keep_up(Arc::clone(&store)));
    let watching = tokio::spawn(keep_watch(Arc::clone(&store)));
    let sweeping = tokio::spawn(keep_swept(Arc::clone(&store)));
    let (close, closing) = tokio::sync::watch::channel(false);
    let api = router(store, trust, closing);
    let shutdown = async move {
        shutdown.await;
        // Feeds have no end of their own, and would keep the listener from its.
        close.send_replace(true);
    };
    let served = match listener {
        Listener::Tcp(listener) => axum::serve(listener, api).with_graceful_shutdown(shutdown).await,
        Listener::Unix(socket) => {
            let (listener, _file) = socket.into_parts();
            axum::serve(listener, api).with_graceful_shutdown(shutdown).await
        }
    }
    .map_err(ServeError::Io);
    // Waited for, so that whoever has the last handle on the store is the caller again.
    for task in [indexing, watching, sweeping] {
        task.abort();
        let _ = task.await;
    }
    served
}
