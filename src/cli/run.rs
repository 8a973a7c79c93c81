//! `run`: config, log, the services inside, then the edge.

use super::store::Counted;
use super::{ConfigArg, Failure, logging, quickstart};
use crate::audit::Audit;
use crate::config::Effects;
use crate::config::checked::{Config, EmbeddedStore};
use crate::edge::live::Inner;
use crate::edge::reload::{Listener, Reloader};
use crate::edge::server;
use crate::edge::{
    Departures, Ledger, Outbox, Replay, Shared, Site, admin, cooldowns, insight, outbox_socket, quotas,
};
use crate::hub::{self, Fleet, Hub, Switchboard};
use crate::limits::{Limiter, Tick};
use crate::metrics::Metrics;
use crate::store::{self, Store, Trust};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;

/// Run the edge.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigArg,
}

impl Run {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let source = quickstart::source(self.config.config);
        let loaded = source.load(Effects::Create).map_err(Failure::config)?;
        let config = loaded.config;
        logging::start(config.log);
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "config");
        }
        private_folder(&config.data)?;
        let run = config.data.join("run");
        private_folder(&run)?;
        let inner = Inner { store: run.join("store.sock"), hub: run.join("hub.sock") };

        let metrics = Arc::new(Metrics::new());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let replay = Replay::open(&config.data, config.replay_cache, metrics.clone(), now.as_secs())
            .map_err(|error| Failure::caused("the replay log in the data folder cannot be opened", &error))?;
        let limiter = Arc::new(limiter(&config)?);
        let shared = shared(&config, &limiter, &metrics)?;
        let outbox = Outbox::open(&config.data, config.outbox, metrics.clone())
            .map_err(|error| Failure::caused("the outbox in the data folder cannot be opened", &error))?;
        let audit = Audit::new(config.data.join("audit"));
        let ledger = Ledger::new(audit.clone(), metrics.audit_unwritten.clone());
        let departures =
            Departures::open(&config.data.join("sessions.log"), now.as_secs()).map_err(|error| {
                Failure::caused("the list of ended sessions in the data folder cannot be read", &error)
            })?;
        let kept = (ledger, departures);
        let site =
            Site::new(limiter, metrics.clone(), replay, shared, outbox.clone(), kept, &config.access_log)
                .map_err(|error| Failure::caused("the access log cannot be opened", &error))?;
        let site = Arc::new(site);
        cooldowns::resume(&site, &config.data)
            .map_err(|error| Failure::caused("the cool-downs in the data folder cannot be read", &error))?;
        let fleet = Arc::new(Fleet::new(metrics.clone()));
        let board = Switchboard::new(fleet.clone(), metrics.clone(), audit);
        let store = config.embedded().map(|embedded| open(embedded, &metrics)).transpose()?;

        server::probe(&config).map_err(|error| Failure::caused("the edge cannot start", &error))?;
        let runtime = inside()?;
        let entered = runtime.enter();
        let hub = Hub { fleet: fleet.clone(), draining: site.draining() };
        spawn_hub(&inner.hub, hub, board)?;
        spawn_admin(&config, &site, store.clone())?;
        spawn_outbox(&run.join("outbox.sock"), outbox.clone())?;
        let mut listeners: Vec<Listener> =
            vec![Box::new(move |config| fleet.apply(config)), Box::new(move |config| outbox.apply(config))];
        if let Some(store) = store {
            spawn_store(&inner.store, store.clone())?;
            listeners.push(Box::new(move |config| {
                if let Some(embedded) = config.embedded() {
                    store.apply_rules(&embedded.rules);
                }
            }));
        }
        drop(entered);
        let reloader = Reloader { source, site: site.clone(), inner, listeners };
        runtime.block_on(reloader.apply(&config)).map_err(|error| Failure::caused("the config", &error))?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = ?addresses(&config), admin = %config.admin, fingerprint = %config.fingerprint, "starting");
        if let Some(hello) = quickstart::hello(&config) {
            super::output(hello.as_bytes())?;
        }
        let config = Arc::new(config);
        runtime.spawn(reloader.run(config.clone()));
        runtime.spawn(quotas::tend(site.clone()));
        let told = site.clone();
        runtime.spawn(async move { told.ledger.keep(&told).await });
        runtime.spawn(insight::tend(site.clone()));
        runtime.spawn(cooldowns::keep(site.clone(), config.data.clone()));
        if let Some(shared) = &site.shared {
            // Tried once before anyone asks; if nobody answers, the edge starts all the same.
            if let Err(error) = runtime.block_on(shared.connect()) {
                tracing::error!(%error, "the shared server does not answer; limits are decided here");
            }
            runtime.spawn(shared.clone().keep(site.clone()));
        }
        let (watched, addresses) = (site.clone(), addresses(&config));
        runtime.spawn(async move {
            if let Some(&address) = addresses.last() {
                watched.watch_listener(address).await;
            }
        });
        server::serve(&config, &site);
        drop(runtime);
        Ok(())
    }
}

/// Where clients connect.
fn addresses(config: &Config) -> Vec<SocketAddr> {
    config.listen.iter().map(|listen| listen.address).collect()
}

/// A limiter that goes on from the quotas that were spent before.
fn limiter(config: &Config) -> Result<Limiter, Failure> {
    let mut limiter = Limiter::new(config.max_addresses).with_values(config.max_header_values);
    let path = config.data.join("quotas.jsonl");
    let now = Tick::after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let unreadable = limiter.keep_quotas(&path, now).map_err(|error| {
        Failure::caused(&format!("the quotas in {} cannot be kept", path.display()), &error)
    })?;
    if unreadable > 0 {
        tracing::warn!(unreadable, path = %path.display(), "lines of the quotas' file cannot be read");
    }
    Ok(limiter)
}

/// What edges count together, where the config says so.
fn shared(
    config: &Config,
    limiter: &Arc<Limiter>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<Shared>>, Failure> {
    let Some(server) = config.shared.clone() else { return Ok(None) };
    let shared = Shared::new(server, &config.data, limiter.clone(), metrics.clone());
    shared.map(Some).map_err(|error| Failure::caused("what is owed to the shared server", &error))
}

/// A folder that nobody else may look into.
fn private_folder(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Failure::new(format!("the folder {} cannot be made: {error}", path.display())))
}

fn open(embedded: &EmbeddedStore, metrics: &Arc<Metrics>) -> Result<Arc<Store>, Failure> {
    if let Some(folder) = embedded.database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_folder(folder)?;
    }
    let mut settings = store::Settings::new(embedded.database.clone(), embedded.legacy_tenant.clone());
    settings.embedder = store::Embedder::configured(&embedded.embeddings);
    settings.policy = store::Policy::new(embedded.rules.clone());
    let observe = Arc::new(Counted(metrics.store.clone()));
    let store = Store::open(&settings, observe).map_err(|error| {
        Failure::caused(&format!("the store {} cannot be opened", embedded.database.display()), &error)
    })?;
    Ok(Arc::new(store))
}

/// Where the services inside run: apart from the proxy's threads, so that neither waits for the other.
fn inside() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("inside")
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("no threads for the services inside", &error))
}

/// Tells of a service that ended, which none of them should.
fn ended<E: std::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(%error, "the {what} has stopped");
    }
}

fn spawn_store(socket: &Path, store: Arc<Store>) -> Result<(), Failure> {
    let socket =
        store::socket::bind(socket).map_err(|error| Failure::caused("the store's socket", &error))?;
    tokio::spawn(async move {
        let listener = store::Listener::Unix(socket);
        ended("embedded store", store::serve(listener, store, Trust::Edge, std::future::pending()).await);
    });
    Ok(())
}

fn spawn_hub(socket: &Path, hub: Hub, board: Arc<Switchboard>) -> Result<(), Failure> {
    let socket = store::socket::bind(socket).map_err(|error| Failure::caused("the hub's socket", &error))?;
    let (listener, file) = socket.into_parts();
    tokio::spawn(async move {
        ended("hub", hub::serve(listener, hub, board).await);
        drop(file);
    });
    Ok(())
}

fn spawn_outbox(socket: &Path, outbox: Arc<Outbox>) -> Result<(), Failure> {
    let socket =
        store::socket::bind(socket).map_err(|error| Failure::caused("the outbox's socket", &error))?;
    let (listener, file) = socket.into_parts();
    tokio::spawn(async move {
        ended("outbox's socket", outbox_socket::serve(listener, outbox).await);
        drop(file);
    });
    Ok(())
}

fn spawn_admin(config: &Config, site: &Arc<Site>, store: Option<Arc<Store>>) -> Result<(), Failure> {
    let refused =
        |error| Failure::caused(&format!("the admin listener cannot bind {}", config.admin), &error);
    let listener = std::net::TcpListener::bind(config.admin).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(refused)?;
    let site = site.clone();
    tokio::spawn(
        async move { ended("admin listener", admin::serve(listener, site, store.map(ready)).await) },
    );
    Ok(())
}

fn ready(store: Arc<Store>) -> admin::Ready {
    Arc::new(move || {
        let store = store.clone();
        Box::pin(async move { store.is_available().await })
    })
}
