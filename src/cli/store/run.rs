//! `mesh-store run`: config, open, serve.

use super::counted::Counted;
use super::metrics;
use crate::config::raw::Level;
use crate::metrics::StoreMetrics;
use crate::store::{
    Config, Flags, Listen, Listener, Observe, OpenError, Store, Unobserved, load, serve, socket,
};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

/// How long requests in flight get after a signal to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// Config file (YAML); without one the flags below say what there is to say.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["database", "postgres_env", "listen", "legacy_tenant", "shared_secret_env"])]
    config: Option<PathBuf>,
    /// Database file; made when it is not there.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["config", "postgres_env"])]
    database: Option<PathBuf>,
    /// Environment variable that holds a PostgreSQL URL, to keep everything there instead of in a file.
    #[arg(long, value_name = "NAME", conflicts_with = "database")]
    postgres_env: Option<String>,
    /// Where callers connect: ADDRESS:PORT, or unix:PATH (then the edge is believed without a secret).
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:4078")]
    listen: String,
    /// Tenant that rows of an existing, untenanted database get.
    #[arg(long, value_name = "NAME", default_value = "default")]
    legacy_tenant: String,
    /// Environment variable that holds the secret shared with the edge.
    #[arg(long, value_name = "NAME")]
    shared_secret_env: Option<String>,
}

impl Run {
    pub(super) fn execute(self) -> ExitCode {
        let file = self.config.clone();
        let config = match configure(self) {
            Ok(config) => config,
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(super::EXIT_CONFIG);
            }
        };
        start_log(config.level);
        match run_until_told(config, file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, cause = causes(&*error), "the store ended");
                ExitCode::FAILURE
            }
        }
    }
}

fn configure(run: Run) -> Result<Config, Box<dyn Error>> {
    match (run.config, run.database) {
        (Some(file), _) => {
            let (config, warnings) = load(&file)?;
            for warning in warnings {
                eprintln!("{warning}");
            }
            Ok(config)
        }
        (None, database) => {
            let flags = Flags {
                listen: run.listen,
                database: database.unwrap_or_default(),
                postgres_env: run.postgres_env,
                legacy_tenant: Some(run.legacy_tenant),
                shared_secret_env: run.shared_secret_env,
            };
            Ok(flags.check(|name| std::env::var(name).ok())?)
        }
    }
}

fn start_log(level: Level) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .init();
}

#[tokio::main]
async fn run_until_told(config: Config, file: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let metrics = Arc::new(StoreMetrics::new());
    let store = Arc::new(open_observed(&config, Arc::new(Counted(metrics.store.clone()))).await?);
    let listener = match &config.listen {
        Listen::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await?),
        Listen::Unix(path) => Listener::Unix(socket::bind(path)?),
    };
    let stop = told_to_stop(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if let Some(address) = config.metrics {
        let listener = TcpListener::bind(address).await?;
        tracing::info!(address = %listener.local_addr()?, "metrics are told");
        let told = metrics::Told { metrics, store: store.clone() };
        tokio::spawn(async move {
            if let Err(error) = metrics::serve(listener, told).await {
                tracing::error!(%error, "the listener for metrics has stopped");
            }
        });
    }
    tokio::spawn(follow_rules(signal(SignalKind::hangup())?, store.clone(), file));
    tracing::info!(address = %listener, "the store is open");
    serve(listener, store, config.trust, stop).await?;
    tracing::info!("the store is closed");
    Ok(())
}

/// Opens what the config names.
///
/// # Errors
/// [`OpenError`].
pub(super) async fn open(config: &Config) -> Result<Store, OpenError> {
    open_observed(config, Arc::new(Unobserved)).await
}

async fn open_observed(config: &Config, observe: Arc<dyn Observe>) -> Result<Store, OpenError> {
    match &config.server {
        Some(server) => Store::connect(&server.url, server.connections, &config.settings, observe).await,
        None => Store::open(&config.settings, observe),
    }
}

/// On SIGHUP reads the config anew and puts its rules in force; a file with a mistake changes nothing.
async fn follow_rules(mut hangup: Signal, store: Arc<Store>, file: Option<PathBuf>) {
    while hangup.recv().await.is_some() {
        let Some(file) = file.clone() else {
            tracing::warn!("SIGHUP: the store runs from flags, and there is no config to read");
            continue;
        };
        match tokio::task::spawn_blocking(move || load(&file)).await {
            Ok(Ok((config, _))) => {
                store.apply_rules(&config.settings.policy.rules);
                tracing::info!("config read: its rules are in force, all else with the next start");
            }
            Ok(Err(problems)) => tracing::error!(%problems, "the new config is refused; the old rules stay"),
            Err(error) => tracing::error!(%error, "the new config could not be read"),
        }
    }
}

async fn told_to_stop(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("told to stop; requests in flight are finished first");
    tokio::spawn(async {
        tokio::time::sleep(DRAIN).await;
        tracing::warn!("requests that did not end in time are cut off");
        // What was answered is on the disk, so there is nothing left to save.
        std::process::exit(1);
    });
}

fn causes(error: &dyn Error) -> String {
    let causes: Vec<_> =
        std::iter::successors(error.source(), |&error| error.source()).map(ToString::to_string).collect();
    causes.join(": ")
}
