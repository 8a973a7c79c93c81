//! Where requests go on to: one pool a service, its addresses taken in turn.
//!
//! Names are looked up again in the background, so a service may move; a request never waits for DNS.

use crate::admission::policy::member;
use crate::config::checked::{self, UpstreamTarget};
use crate::metrics::Metrics;
use crate::secret::Secret;
use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use prometheus::Histogram;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest wait for a name look-up.
const LOOKUP: Duration = Duration::from_secs(3);

/// One service behind the edge.
#[derive(Debug)]
pub(super) struct Pool {
    /// Its name in answers, logs and metrics.
    pub name: String,
    /// Its name as log lines tell it, ready made.
    pub(super) told: Box<str>,
    /// `host:port` texts; empty for services inside this process.
    servers: Vec<String>,
    names: bool,
    tls: Option<String>,
    timeouts: Timeouts,
    peers: ArcSwap<Vec<HttpPeer>>,
    next: AtomicUsize,
    /// Time to the head of its answers.
    pub(super) seconds: Histogram,
    fields: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Clone, Copy)]
struct Timeouts {
    connect: Duration,
    read: Duration,
    write: Duration,
    idle: Duration,
}

const USUAL: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    read: Duration::from_mins(1),
    write: Duration::from_secs(30),
    idle: Duration::from_secs(4),
};

impl Pool {
    /// A service from the config.
    pub(super) async fn upstream(upstream: &checked::Upstream, store: &Path, metrics: &Metrics) -> Self {
        let timeouts = Timeouts {
            connect: upstream.connect_timeout,
            read: upstream.read_timeout,
            write: upstream.write_timeout,
            idle: upstream.idle_timeout,
        };
        let name = upstream.name.as_str();
        match &upstream.target {
            UpstreamTarget::Embedded(_) => Self::inside(name, store, metrics),
            UpstreamTarget::Servers(servers) => {
                let mut pool = Self::new(name, servers.clone(), None, timeouts, metrics);
                pool.fields = upstream.headers.iter().filter_map(secret_field).collect();
                pool.refresh().await;
                pool
            }
        }
    }

    /// A gateway's HTTP side. Answers of models come in pieces with long silences between them.
    pub(super) async fn gateway(gateway: &checked::Gateway, metrics: &Metrics) -> Self {
        let url = &gateway.url;
        let timeouts = Timeouts { read: Duration::from_mins(10), ..USUAL };
        let tls = url.tls.then(|| url.host.clone());
        let pool =
            Self::new(gateway.id.as_str(), vec![authority(&url.host, url.port)], tls, timeouts, metrics);
        pool.refresh().await;
        pool
    }

    /// A service inside this process, on a Unix socket.
    pub(super) fn inside(name: &str, socket: &Path, metrics: &Metrics) -> Self {
        let pool = Self::new(name, Vec::new(), None, USUAL, metrics);
        match socket.to_str().map(|path| HttpPeer::new_uds(path, false, String::new())) {
            Some(Ok(peer)) => pool.peers.store(vec![pool.equip(peer)].into()),
            Some(Err(error)) => {
                tracing::error!(%error, socket = %socket.display(), "the socket's path cannot be used")
            }
            None => tracing::error!(socket = %socket.display(), "the socket's path is not UTF-8"),
        }
        pool
    }

    fn new(
        name: &str,
        servers: Vec<String>,
        tls: Option<String>,
        timeouts: Timeouts,
        metrics: &Metrics,
    ) -> Self {
        Self {
            names: servers.iter().any(|server| server.parse::<SocketAddr>().is_err()),
            name: name.to_owned(),
            told: member("upstream", name),
            servers,
            tls,
            timeouts,
            peers: ArcSwap::default(),
            next: AtomicUsize::new(0),
            seconds: metrics.upstream(name),
            fields: Vec::new(),
        }
    }

    /// Sets the fields that the operator wants on every request to it.
    pub(super) fn mark(&self, fields: &mut HeaderMap) {
        for (name, value) in &self.fields {
            fields.insert(name.clone(), value.clone());
        }
    }

    pub(super) fn has_names(&self) -> bool {
        self.names
    }

    /// How many addresses are known.
    pub(super) fn len(&self) -> usize {
        self.peers.load().len()
    }

    /// Looks all names up; a name that fails leaves the addresses that were known.
    pub(super) async fn refresh(&self) {
        let mut peers = Vec::with_capacity(self.servers.len());
        for server in &self.servers {
            let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host(server.as_str())).await;
            match found {
                Ok(Ok(addresses)) => peers.extend(addresses.map(|address| self.peer(address))),
                Ok(Err(error)) => {
                    tracing::warn!(upstream = %self.name, %server, %error, "name look-up failed")
                }
                Err(_) => tracing::warn!(upstream = %self.name, %server, "name look-up took too long"),
            }
        }
        if !peers.is_empty() {
            self.peers.store(peers.into());
        }
    }

    fn peer(&self, address: SocketAddr) -> HttpPeer {
        let tls = self.tls.is_some();
        self.equip(HttpPeer::new(address, tls, self.tls.clone().unwrap_or_default()))
    }

    fn equip(&self, mut peer: HttpPeer) -> HttpPeer {
        let options = &mut peer.options;
        options.connection_timeout = Some(self.timeouts.connect);
        options.total_connection_timeout = Some(self.timeouts.connect * 2);
        options.read_timeout = Some(self.timeouts.read);
        options.write_timeout = Some(self.timeouts.write);
        options.idle_timeout = Some(self.timeouts.idle);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_mins(1),
            interval: Duration::from_secs(15),
            count: 4,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        // WebSockets are relayed by the tunnel; nothing else is upgraded.
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        peer
    }

    /// The next address in turn, for connections that are not Pingora's.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.pick().and_then(|peer| peer._address.as_inet().copied())
    }

    /// The socket of a service inside this process.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        self.pick().and_then(|peer| peer._address.as_unix()?.as_pathname().map(Path::to_owned))
    }

    /// The next address in turn.
    pub(super) fn pick(&self) -> Option<Box<HttpPeer>> {
        let peers = self.peers.load();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        peers.get(turn % peers.len().max(1)).cloned().map(Box::new)
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A secret as a field that does not print itself; the config's check saw that it is printable.
fn secret_field((name, secret): &(HeaderName, Secret)) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_bytes(secret.expose()).ok()?;
    value.set_sensitive(true);
    Some((name.clone(), value))
}
