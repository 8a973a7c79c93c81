//! Binds the listeners, runs Pingora, and ends the process once it has drained.

use super::entrance::Entrance;
use super::front::Front;
use super::live::Site;
use super::manager;
use super::proxy::Proxy;
use crate::config::checked::Config;
use async_trait::async_trait;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Idle connections kept to upstreams, for each thread.
const UPSTREAM_POOL: usize = 512;
/// How often the drain looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// Why the edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Sees whether every address can be bound: Pingora panics on one that is taken, this says it in words.
///
/// # Errors
/// [`StartError`].
pub fn probe(config: &Config) -> Result<(), StartError> {
    for address in config.listen.iter().map(|one| one.address) {
        std::net::TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })?;
    }
    Ok(())
}

/// Runs the edge until a signal ends it. The config must be in force already.
pub fn serve(config: &Config, site: &Arc<Site>) {
    let mut server = Server::new_with_opt_and_conf(None, conf(config));
    server.bootstrap();
    let proxy = Arc::new(http_proxy(&server.configuration, Proxy { site: site.clone() }));
    let front = Arc::new(Front { proxy, site: site.clone() });
    let mut entrance = Service::new("edge".into(), Entrance { front, site: site.clone() });
    for listen in &config.listen {
        entrance.add_tcp(&listen.address.to_string());
    }
    server
        .add_service(background_service("drain", Drain { site: site.clone(), longest: config.server.drain }));
    server.add_service(entrance);
    server.run(RunArgs::default());
    site.access_log.flush();
}

fn conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.server.threads,
        // Requests stay on the thread that took them: measured faster than stealing (docs/performance.md).
        work_stealing: false,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        max_retries: 4,
        grace_period_seconds: Some(config.server.drain.as_secs().max(1)),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// Ends the process when everything in flight has ended, or when its time is over.
struct Drain {
    site: Arc<Site>,
    longest: Duration,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|&stop| stop).await.is_err() {
            return;
        }
        manager::stopping();
        self.site.drain();
        tracing::info!(in_flight = self.site.in_flight(), "draining");
        let began = Instant::now();
        while self.site.in_flight() > 0 && began.elapsed() < self.longest {
            tokio::time::sleep(LOOK).await;
        }
        let left = self.site.in_flight();
        if left > 0 {
            tracing::warn!(left, "the time to drain is over; these are cut off");
        }
        self.site.ledger.flush(&self.site).await;
        tracing::info!(after_ms = began.elapsed().as_millis(), "stopped");
        self.site.access_log.flush();
        std::process::exit(0);
    }
}
