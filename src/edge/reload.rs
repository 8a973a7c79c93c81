//! Loads the config anew on SIGHUP and when a file that it was read from changes.
//!
//! A reload is all or nothing: a file with a mistake leaves the old config in force, says why in the log,
//! and shows in the metrics. Requests in flight keep the config that they began with.

use super::live::{Inner, Live, LiveError, Site, unix_now};
use super::manager;
use crate::config::checked::{Config, EmbeddedStore, Fingerprint};
use crate::config::{self, Effects, Problems};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often files are looked at. Looking is a `stat` a file and works on every file system.
const LOOK: Duration = Duration::from_secs(1);
/// How often names of upstreams are looked up again.
const NAMES: Duration = Duration::from_secs(15);

/// Where a config comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The quickstart that is part of the program: name and text.
    Builtin(&'static str, &'static str),
}

impl Source {
    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Builtin(name, _) => (*name).to_owned(),
        }
    }

    /// Reads and checks it.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(&self, effects: Effects) -> Result<config::Loaded, Problems> {
        match self {
            Self::File(path) => config::load(path, effects),
            Self::Builtin(name, text) => config::parse(name, text, effects),
        }
    }

    /// [`load`](Self::load) beside certificates that serve already.
    fn load_beside(&self, serving: &[Fingerprint]) -> Result<config::Loaded, Problems> {
        match self {
            Self::File(path) => config::load_beside(path, Effects::Create, serving),
            Self::Builtin(..) => self.load(Effects::Create),
        }
    }
}

/// Called with each config that comes into force.
pub type Listener = Box<dyn Fn(&Config) + Send + Sync>;

/// Keeps the config in force up to date.
pub struct Reloader {
    /// Where from.
    pub source: Source,
    /// Whose config.
    pub site: Arc<Site>,
    /// Where the services inside listen.
    pub inner: Inner,
    /// Who else wants to know.
    pub listeners: Vec<Listener>,
}

impl Reloader {
    /// Puts a config in force.
    ///
    /// # Errors
    /// When it cannot be compiled; the old one stays in force.
    pub async fn apply(&self, config: &Config) -> Result<(), LiveError> {
        let live = Live::new(config, &self.site, &self.inner).await?;
        self.site.put_in_force(live);
        for listener in &self.listeners {
            listener(config);
        }
        let metrics = &self.site.metrics;
        metrics.config_loaded.set(i64::try_from(unix_now().as_secs()).unwrap_or(i64::MAX));
        metrics.config_stale.set(0);
        metrics.certificates(config.certificates().map(|one| (one.file.as_str(), one.not_after)));
        Ok(())
    }

    /// Watches until the edge goes down. `config` is the one in force.
    pub async fn run(self, config: Arc<Config>) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(signal) => Some(signal),
            Err(error) => {
                tracing::error!(%error, "SIGHUP cannot be listened for; file changes still reload the config");
                None
            }
        };
        let mut in_force = InForce { contents: contents(&config.files), config };
        let mut seen = stamps(&in_force.config.files);
        let mut look = tokio::time::interval(LOOK);
        let mut names = tokio::time::interval(NAMES);
        loop {
            tokio::select! {
                () = hung_up(&mut hangup) => {
                    self.site.access_log.reopen();
                    seen = stamps(&in_force.config.files);
                    self.reload(&mut in_force).await;
                }
                _ = look.tick() => {
                    self.site.look_at_clock();
                    let now = stamps(&in_force.config.files);
                    if now != seen {
                        seen = now;
                        self.reload(&mut in_force).await;
                    }
                }
                _ = names.tick() => self.refresh_names().await,
                () = self.site.until_draining() => return,
            }
        }
    }

    async fn reload(&self, in_force: &mut InForce) {
        let reloads = &self.site.metrics.reloads;
        manager::reloading();
        let status = match self.swap(in_force).await {
            Ok(Change::Applied) => {
                reloads.with_label_values(&["applied"]).inc();
                tracing::info!(fingerprint = %in_force.config.fingerprint, "config reloaded");
                "the newest config is in force"
            }
            Ok(Change::Unchanged) => {
                reloads.with_label_values(&["unchanged"]).inc();
                tracing::info!(fingerprint = %in_force.config.fingerprint, "config unchanged");
                "the config is unchanged"
            }
            Err(why) => {
                reloads.with_label_values(&["refused"]).inc();
                self.site.metrics.config_stale.set(1);
                tracing::error!(%why, "the new config is refused; the old one stays in force");
                "the newest config is refused (the log says why); the one before stays in force"
            }
        };
        manager::ready(status);
    }

    async fn swap(&self, in_force: &mut InForce) -> Result<Change, String> {
        let (source, files) = (self.source.clone(), in_force.config.files.clone());
        let serving: Vec<_> = in_force.config.certificates().map(|one| one.fingerprint).collect();
        let read = move || (contents(&files), source.load_beside(&serving));
        let (before, loaded) = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
        let new = loaded.map_err(|problems| problems.to_string())?.config;
        if before == in_force.contents && new.fingerprint == in_force.config.fingerprint {
            // Perhaps a mistake was taken back.
            self.site.metrics.config_stale.set(0);
            return Ok(Change::Unchanged);
        }
        self.apply(&new).await.map_err(|error| error.to_string())?;
        self.site.ledger.reloaded(&in_force.config, &new).await;
        needs_restart(&in_force.config, &new);
        *in_force = InForce { contents: contents(&new.files), config: Arc::new(new) };
        Ok(Change::Applied)
    }

    async fn refresh_names(&self) {
        let live = self.site.live.load_full();
        for pool in live.iter().flat_map(Live::named_pools) {
            pool.refresh().await;
        }
    }
}

/// The config in force, and what stood in the files that it was read from.
struct InForce {
    config: Arc<Config>,
    contents: Vec<[u8; 32]>,
}

enum Change {
    Applied,
    Unchanged,
}

/// Hashes of what stands in the files: they hold secrets, which are not kept a second time. Of a folder, the
/// names in it.
fn contents(files: &[PathBuf]) -> Vec<[u8; 32]> {
    let content = |file: &PathBuf| match std::fs::read_dir(file) {
        Ok(entries) => {
            let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
            names.sort_unstable();
            names.iter().flat_map(|name| [name.as_encoded_bytes(), b"\0"].concat()).collect()
        }
        Err(_) => std::fs::read(file).unwrap_or_default(),
    };
    files.iter().map(|file| Sha256::digest(content(file)).into()).collect()
}

async fn hung_up(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// What tells two states of a file apart without reading it.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len(), about.ino()))
}

/// Whether both listen on the same addresses; what is spoken there changes at once.
fn same_sockets(old: &Config, new: &Config) -> bool {
    old.listen.iter().map(|one| one.address).eq(new.listen.iter().map(|one| one.address))
}

fn same_server(old: &Config, new: &Config) -> bool {
    match (&old.shared, &new.shared) {
        (Some(old), Some(new)) => old.is_same(new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Rules of a store follow the config while it runs.
fn same_store(old: &Config, new: &Config) -> bool {
    match (old.embedded(), new.embedded()) {
        (Some(old), Some(new)) => *old == EmbeddedStore { rules: old.rules.clone(), ..new.clone() },
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Says which changes wait for a restart: what is bound or opened once.
fn needs_restart(old: &Config, new: &Config) {
    let changed = [
        ("listen", !same_sockets(old, new)),
        ("admin", old.admin != new.admin),
        ("data", old.data != new.data),
        ("server.threads", old.server.threads != new.server.threads),
        ("server.drain", old.server.drain != new.server.drain),
        ("access_log", old.access_log != new.access_log),
        ("limiter.max_addresses", old.max_addresses != new.max_addresses),
        ("limiter.max_header_values", old.max_header_values != new.max_header_values),
        ("replay_cache", old.replay_cache != new.replay_cache),
        ("shared", !same_server(old, new)),
        ("upstreams.*.embedded", !same_store(old, new)),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "this change comes into force with the next start");
    }
}
