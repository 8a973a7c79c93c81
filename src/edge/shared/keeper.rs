//! Keeps the connection: makes it, looks whether it lives, and when it is back pays what is owed and tells which
//! places are held, before any request asks.

use super::Shared;
use super::link::{Link, PATIENCE};
use crate::edge::live::{Site, unix_now};
use redis::{ErrorKind, RedisError, RedisResult};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at a connection that works.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two renewals of places; they are held for three times as long.
const RENEW: u32 = 10;
/// Between tries to connect: from the first, doubled, to the last.
const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

impl Shared {
    /// Makes the connection.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses the login, or does not take what is owed.
    pub async fn connect(&self) -> RedisResult<()> {
        let link = within(Link::open(&self.server)).await?;
        self.pay(&link).await?;
        within(link.tell("hold", &self.held.all())).await?;
        within(self.renew_claims(&link)).await?;
        self.send_marks(&link).await?;
        let link = Arc::new(link);
        self.link.store(Some(link.clone()));
        self.metrics.shared_unreachable.set(0);
        tracing::info!(owed = self.metrics.shared_owed.get(), "the shared server answers");
        // What was decided here between the lines above.
        self.pay(&link).await.inspect_err(|error| self.broke(&link, error))
    }

    /// Keeps the connection until the process ends.
    pub async fn keep(self: Arc<Self>, site: Arc<Site>) {
        tokio::spawn(self.clone().return_all());
        let (mut wait, mut looks) = (FIRST, 0_u32);
        loop {
            if self.link.load().is_none() {
                if let Err(error) = self.connect().await {
                    tracing::debug!(%error, "the shared server cannot be reached");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST);
                }
                continue;
            }
            wait = FIRST;
            tokio::select! {
                () = self.broken.notified() => {}
                () = tokio::time::sleep(LOOK) => {
                    looks = looks.wrapping_add(1);
                    self.look_after(looks.is_multiple_of(RENEW)).await;
                    self.ahead.sweep(site.tick(Instant::now()));
                }
            }
        }
    }

    /// Whether the server still answers; renews places while it does.
    async fn look_after(&self, renew: bool) {
        let Some(link) = self.link.load_full() else { return };
        let held = if renew { self.held.all() } else { Vec::new() };
        let asked = async {
            link.ask::<String>(&redis::cmd("PING")).await?;
            if renew {
                self.renew_claims(&link).await?;
            }
            link.tell("hold", &held).await
        };
        if let Err(error) = within(asked).await {
            self.broke(&link, &error);
        }
    }

    async fn pay(&self, link: &Link) -> RedisResult<()> {
        let due = self.owed.take(unix_now());
        if due.is_empty() {
            return Ok(());
        }
        match link.tell("owe", &due).await {
            Ok(()) => {
                self.owed.paid();
                Ok(())
            }
            Err(error) => {
                self.owed.still_owed(due, unix_now());
                Err(error)
            }
        }
    }
}

/// Not for longer than someone waits who has other things to do.
pub(super) async fn within<T>(asked: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |_| RedisError::from((ErrorKind::Io, "the shared server does not answer in time"));
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)?
}
