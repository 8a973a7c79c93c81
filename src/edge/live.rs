//! What the edge runs on: [`Live`] is one config, compiled, swapped whole on reload; [`Site`] is what
//! outlives reloads.

use super::access_log::AccessLog;
use super::entrance::Entries;
use super::key_feeds::{Keys, Remembered};
use super::ledger::Ledger;
use super::manager;
use super::outbox::Outbox;
use super::replay::Replay;
use super::sessions::Departures;
use super::shared::Shared;
use super::signers::Signers;
use super::tls::TlsError;
use super::token_feeds::{TokenFeeds, Told};
use super::upstream::Pool;
use crate::admission::Policy;
use crate::admission::policy::PolicyError;
use crate::config::checked::{self, Config};
use crate::identity::head::Bounds;
use crate::limits::{Limiter, Tick};
use crate::metrics::{Metrics, RouteSeries, UNMATCHED};
use crate::traffic::{Refusals, Traffic};
use arc_swap::ArcSwap;
use rustls::server::ProducesTickets;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Why a config cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// What decides cannot be compiled.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// One config, compiled. An exchange keeps the one that it began with.
pub struct Live {
    /// What decides.
    pub policy: Policy,
    /// Who may sign, as the sources of keys have it now.
    pub(super) keys: Arc<Keys>,
    /// Bounds on heads.
    pub head: Bounds,
    /// Time for a head.
    pub head_timeout: Duration,
    /// How long idle client connections are kept.
    pub keepalive: Duration,
    pub(super) series: Vec<RouteSeries>,
    pub(super) unmatched: RouteSeries,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) gateways: Vec<Arc<Pool>>,
    pub(super) hub: Arc<Pool>,
    /// What is spoken on each socket.
    pub(super) entries: Entries,
    /// Who follows the keys of those who issue tokens.
    _token_feeds: TokenFeeds,
    /// Most WebSockets at once.
    pub max_websockets: usize,
    /// Most bytes of held bodies.
    pub max_held_bodies: usize,
}

/// Where the services inside this process listen.
#[derive(Debug, Clone)]
pub struct Inner {
    /// The embedded store's socket.
    pub store: PathBuf,
    /// The hub's socket.
    pub hub: PathBuf,
}

impl Live {
    /// Compiles a config and looks up its upstreams' addresses.
    ///
    /// # Errors
    /// [`LiveError`].
    pub async fn new(config: &Config, site: &Site, inner: &Inner) -> Result<Self, LiveError> {
        let policy = Policy::beside(config, site.limiter.clone(), site.departures.signed_out())?;
        let keys = Keys::begin(config, policy.nodes.clone(), site, inner).await;
        let mut pools = Vec::with_capacity(config.upstreams.len());
        for upstream in &config.upstreams {
            pools.push(Arc::new(Pool::upstream(upstream, &inner.store, &site.metrics).await));
        }
        let mut gateways = Vec::with_capacity(config.gateways.len());
        for gateway in &config.gateways {
            gateways.push(Arc::new(Pool::gateway(gateway, &site.metrics).await));
        }
        Ok(Self {
            series: config.routes.iter().map(|route| site.metrics.route(route.name.as_str())).collect(),
            unmatched: site.metrics.route(UNMATCHED),
            head: Bounds { max_bytes: config.head.max_bytes, max_fields: config.head.max_fields },
            head_timeout: config.head.timeout,
            keepalive: config.server.keepalive,
            max_websockets: config.server.max_websockets,
            max_held_bodies: config.server.max_held_bodies,
            hub: Arc::new(Pool::inside("hub", &inner.hub, &site.metrics)),
            entries: Entries::new(config, &site.tickets)?,
            _token_feeds: TokenFeeds::begin(&policy, site).await,
            policy,
            keys,
            pools,
            gateways,
        })
    }

    pub(super) fn series(&self, route: Option<usize>) -> &RouteSeries {
        route.map_or(&self.unmatched, |index| &self.series[index])
    }

    /// Every pool whose addresses come from names.
    pub(super) fn named_pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter().chain(&self.gateways).filter(|pool| pool.has_names())
    }
}

/// What outlives reloads: limiter state, metrics, log, counts.
pub struct Site {
    /// All limiter state.
    pub limiter: Arc<Limiter>,
    /// All series.
    pub metrics: Arc<Metrics>,
    /// What passed lately, by tenant.
    pub(super) traffic: Traffic,
    /// The last refusals, by tenant.
    pub(super) refusals: Refusals,
    /// Which deliveries were taken.
    pub replay: Arc<Replay>,
    /// What is counted and remembered together with other edges.
    pub shared: Option<Arc<Shared>>,
    /// What waits for other meshes.
    pub outbox: Arc<Outbox>,
    /// What tenants' audit logs are told.
    pub ledger: Ledger,
    /// Which sessions were signed out.
    pub departures: Arc<Departures>,
    /// The access log.
    pub access_log: AccessLog,
    /// What is in force.
    pub live: ArcSwap<Option<Live>>,
    /// What sources of keys told.
    pub(super) remembered: Arc<Remembered>,
    started: Instant,
    /// Unix time at `started` by the clock as it was last looked at, in nanoseconds.
    epoch: AtomicU64,
    /// Unix time then: the limiter's clock goes on from it, so that what quotas wrote down keeps its time.
    started_unix: Duration,
    in_flight: AtomicUsize,
    held: AtomicUsize,
    websockets: AtomicUsize,
    /// What those told who issue tokens.
    pub(super) token_keys: Arc<Told>,
    /// What lets clients over TLS go on where they left off.
    pub(super) tickets: Arc<dyn ProducesTickets>,
    /// Whose sockets are dialled before their connect.
    pub(super) signers: Signers,
    draining: watch::Sender<bool>,
    reloads: watch::Sender<()>,
    listening: AtomicBool,
}

impl Site {
    /// A site without a config yet.
    pub fn new(
        limiter: Arc<Limiter>,
        metrics: Arc<Metrics>,
        replay: Arc<Replay>,
        shared: Option<Arc<Shared>>,
        outbox: Arc<Outbox>,
        (ledger, departures): (Ledger, Departures),
        log: &checked::AccessLogTarget,
    ) -> std::io::Result<Self> {
        Ok(Self {
            access_log: AccessLog::open(log, metrics.access_log_dropped.clone())?,
            limiter,
            metrics,
            traffic: Traffic::default(),
            refusals: Refusals::default(),
            replay,
            shared,
            outbox,
            ledger,
            departures: Arc::new(departures),
            live: ArcSwap::from_pointee(None),
            remembered: Arc::default(),
            started: Instant::now(),
            epoch: AtomicU64::new(nanos(unix_now())),
            started_unix: unix_now(),
            in_flight: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            websockets: AtomicUsize::new(0),
            token_keys: Arc::default(),
            tickets: tickets()?,
            signers: Signers::default(),
            draining: watch::Sender::new(false),
            reloads: watch::Sender::new(()),
            listening: AtomicBool::new(false),
        })
    }

    /// The limiter's clock at a moment.
    #[must_use]
    pub fn tick(&self, now: Instant) -> Tick {
        Tick::after(self.started_unix + now.saturating_duration_since(self.started))
    }

    /// Unix time at a moment, to what the clock has been set to within the last second: a request looks at
    /// one clock only.
    pub(super) fn unix(&self, now: Instant) -> Duration {
        let epoch = Duration::from_nanos(self.epoch.load(Ordering::Relaxed));
        epoch + now.saturating_duration_since(self.started)
    }

    /// Looks at the clock, which may have been set. To be called every second.
    pub(super) fn look_at_clock(&self) {
        let epoch = unix_now().saturating_sub(self.started.elapsed());
        self.epoch.store(nanos(epoch), Ordering::Relaxed);
    }

    /// Whether clients can connect.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Waits until a client could connect: Pingora binds its listeners in its own time.
    pub async fn watch_listener(&self, address: SocketAddr) {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        while !answers(ip, address.port()).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.listening.store(true, Ordering::Release);
        manager::ready("clients can connect");
    }

    /// Says that the edge is going down: sockets are closed, readiness is withdrawn.
    pub fn drain(&self) {
        self.draining.send_replace(true);
        self.outbox.end();
    }

    /// Becomes true when the edge goes down.
    #[must_use]
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Puts a config in force, and tells those who keep something from the one before.
    pub(super) fn put_in_force(&self, live: Live) {
        if let Some(before) = self.live.load().as_ref() {
            live.policy.go_on_from(&before.policy);
        }
        self.live.store(Arc::new(Some(live)));
        self.reloads.send_replace(());
    }

    /// Has every open socket asked again whether what it was opened with still counts.
    pub(super) fn look_again(&self) {
        self.reloads.send_replace(());
    }

    /// Changes with each config that is put in force, and when a session is signed out.
    pub(super) fn reloads(&self) -> watch::Receiver<()> {
        self.reloads.subscribe()
    }

    /// Waits until the edge goes down.
    pub async fn until_draining(&self) {
        // The sender lives as long as the site, so the wait ends only when it is true.
        drop(self.draining().wait_for(|&draining| draining).await);
    }

    /// Requests being worked on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Passage {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.metrics.in_flight.inc();
        Passage { site: self.clone(), what: Kind::Request }
    }

    /// Room for an open WebSocket, if there is some.
    pub(super) fn open_socket(self: &Arc<Self>, most: usize) -> Option<Passage> {
        claim(&self.websockets, 1, most)?;
        self.metrics.websockets_open.inc();
        Some(Passage { site: self.clone(), what: Kind::Socket })
    }

    /// Room for a held body of this many bytes, if there is some.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize, most: usize) -> Option<Passage> {
        claim(&self.held, bytes, most)?;
        self.metrics.held_bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        Some(Passage { site: self.clone(), what: Kind::Held(bytes) })
    }
}

/// Keys of tickets are made here, changed every six hours and never leave memory.
fn tickets() -> std::io::Result<Arc<dyn ProducesTickets>> {
    rustls::crypto::ring::Ticketer::new().map_err(std::io::Error::other)
}

/// Whether someone listens. A socket that was given the very port it asks for has only met itself.
async fn answers(ip: IpAddr, port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((ip, port)).await else { return false };
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(other)) if own != other)
}

fn claim(counter: &AtomicUsize, amount: usize, most: usize) -> Option<usize> {
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            now.checked_add(amount).filter(|&then| then <= most)
        })
        .ok()
}

/// Something that counts while it lasts; a panic on the way gives it back too.
pub(super) struct Passage {
    site: Arc<Site>,
    what: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Request,
    Socket,
    Held(usize),
}

impl Drop for Passage {
    fn drop(&mut self) {
        let site = &self.site;
        match self.what {
            Kind::Request => {
                site.in_flight.fetch_sub(1, Ordering::AcqRel);
                site.metrics.in_flight.dec();
            }
            Kind::Socket => {
                site.websockets.fetch_sub(1, Ordering::AcqRel);
                site.metrics.websockets_open.dec();
            }
            Kind::Held(bytes) => {
                site.held.fetch_sub(bytes, Ordering::AcqRel);
                site.metrics.held_bytes.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
    }
}

/// Up to the year 2554.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Unix time now.
pub(super) fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
