//! Where connections come in: which socket they came to says what is spoken there. Hands are shaken here, under the
//! door's bounds, before anyone looks for a head.

use super::door::Guest;
use super::front::Front;
use super::live::Site;
use super::streams::Streams;
use super::tls::{self, Secured, Tls, TlsError};
use crate::config::checked::{Config, Listen, Speaks};
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as Wire;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use pingora_timeout::timeout;
use rustls::server::ProducesTickets;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is spoken on one socket.
#[derive(Clone)]
pub(super) enum Entry {
    Plain,
    Redirect(u16),
    Tls(Arc<Tls>),
}

/// What is spoken on each socket.
pub(super) enum Entries {
    /// Plain HTTP on all: nobody has to look which one it was.
    Plain,
    Each(Vec<(SocketAddr, Entry)>),
}

impl Entries {
    pub(super) fn new(config: &Config, tickets: &Arc<dyn ProducesTickets>) -> Result<Self, TlsError> {
        if config.listen.iter().all(|listen| matches!(listen.speaks, Speaks::Plain)) {
            return Ok(Self::Plain);
        }
        let entry = |listen: &Listen| match &listen.speaks {
            Speaks::Plain => Ok(Entry::Plain),
            Speaks::Redirect(port) => Ok(Entry::Redirect(*port)),
            Speaks::Tls(tls) => Tls::new(tls, listen.address, tickets).map(|tls| Entry::Tls(Arc::new(tls))),
        };
        let all = config.listen.iter().map(|listen| Ok((listen.address, entry(listen)?)));
        all.collect::<Result<_, _>>().map(Self::Each)
    }

    /// TLS on the socket with this address in the config, if it still has some.
    pub(super) fn tls_at(&self, address: SocketAddr) -> Option<&Arc<Tls>> {
        let Self::Each(all) = self else { return None };
        match all.iter().find(|(own, _)| *own == address) {
            Some((_, Entry::Tls(tls))) => Some(tls),
            Some((_, Entry::Plain | Entry::Redirect(_))) | None => None,
        }
    }

    /// What is spoken where a connection came in; nothing on a socket that the config in force does not have.
    fn of(&self, stream: &Stream) -> Option<Entry> {
        let all = match self {
            Self::Plain => return Some(Entry::Plain),
            Self::Each(all) => all,
        };
        let digest = stream.get_socket_digest()?;
        let local = *digest.local_addr()?.as_inet()?;
        let exact = all.iter().find(|(address, _)| *address == local);
        let any = || {
            all.iter().find(|(address, _)| address.ip().is_unspecified() && address.port() == local.port())
        };
        exact.or_else(any).map(|(_, entry)| entry.clone())
    }
}

/// The application that the listeners run.
pub(super) struct Entrance {
    pub(super) front: Arc<Front>,
    pub(super) site: Arc<Site>,
}

#[async_trait]
impl ServerApp for Entrance {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        match self.entry(&stream)? {
            Entry::Plain => self.front.process_new(stream, shutdown).await,
            Entry::Redirect(port) => {
                self.front.redirect(stream, port).await;
                None
            }
            Entry::Tls(tls) => self.secure(stream, &tls, shutdown).await,
        }
    }

    async fn cleanup(&self) {
        self.front.cleanup().await;
    }
}

impl Entrance {
    fn entry(&self, stream: &Stream) -> Option<Entry> {
        let live = self.site.live.load();
        live.as_ref().as_ref()?.entries.of(stream)
    }

    async fn secure(&self, stream: Stream, tls: &Tls, shutdown: &ShutdownWatch) -> Option<Stream> {
        let peer = peer(&stream);
        let guest = Guest::enter(&self.site, peer)?;
        let wire = *stream.into_any().downcast::<Wire>().ok()?;
        let longest = self.site.live.load().as_ref().as_ref()?.head_timeout;
        let handshakes = &self.site.metrics.tls_handshakes;
        let stream: Stream = match timeout(longest, tls.shake_hands(wire)).await {
            Ok(Ok(stream)) => Box::new(stream),
            Ok(Err(error)) => {
                let why = tls::failure(&error);
                handshakes.with_label_values(&[why]).inc();
                tracing::debug!(?peer, why, %error, "no handshake");
                return None;
            }
            Err(_) => {
                handshakes.with_label_values(&["timed_out"]).inc();
                return None;
            }
        };
        handshakes.with_label_values(&["done"]).inc();
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            let secured = Secured::of(stream.get_ssl_digest().as_ref())?;
            let streams = Arc::new(Streams::new(self.front.clone(), guest)?);
            tokio::select! {
                _ = streams.process_new(stream, shutdown) => {}
                () = secured.closed() => tracing::debug!(?peer, "a connection of streams is closed"),
            }
            return None;
        }
        // Its head is counted anew.
        drop(guest);
        self.front.process_new(stream, shutdown).await
    }
}

pub(super) fn peer(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip)
}
