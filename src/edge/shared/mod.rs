//! What several edges count and remember together, in a Redis or Valkey: the connection, who asks it, and what
//! this edge does alone while nobody answers.
//!
//! Requests ask over one multiplexed connection, within a deadline. A failure cuts the connection at once, so
//! that only requests that were on their way have waited; [`keeper`] makes the next one, pays what was spent
//! meanwhile, and hands it out. Nothing here holds a lock across an await.

mod ahead;
mod claims;
mod entry;
mod examine;
mod gate;
mod give_back;
mod keeper;
mod link;
mod look;
mod owed;
mod take;

pub use examine::{Seen, examine};

pub(super) use claims::{Claimed, SharedClaim};
pub(super) use gate::pass;
pub(super) use look::{explained, quotas};
pub(super) use take::Spent;

use crate::config::checked::SharedServer;
use crate::limits::Limiter;
use crate::metrics::Metrics;
use arc_swap::ArcSwapOption;
use give_back::{Held, Return};
use link::Link;
use owed::Owed;
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{Notify, mpsc};

/// What is shared, and what this edge keeps of it.
pub struct Shared {
    server: SharedServer,
    limiter: Arc<Limiter>,
    metrics: Arc<Metrics>,
    /// None while nobody answers: requests do not wait for that.
    link: ArcSwapOption<Link>,
    broken: Notify,
    /// Names this edge's places in flight and its claims.
    edge: String,
    next: AtomicU64,
    held: Held,
    owed: Owed,
    claims: claims::Claims,
    marks: claims::Unsent,
    ahead: ahead::Ahead,
    /// What is given back, on its way to the server.
    returns: mpsc::UnboundedSender<Return>,
    /// Until the task that gives back takes it.
    returned: Mutex<Option<mpsc::UnboundedReceiver<Return>>>,
}

impl Shared {
    /// Everything but the connection: see [`Self::connect`] and [`Self::keep`].
    ///
    /// # Errors
    /// When what was spent alone before cannot be read from `folder`.
    pub fn new(
        server: SharedServer,
        folder: &Path,
        limiter: Arc<Limiter>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        let (returns, returned) = mpsc::unbounded_channel();
        metrics.shared_unreachable.set(1);
        Ok(Arc::new(Self {
            server,
            limiter,
            link: ArcSwapOption::empty(),
            broken: Notify::new(),
            edge: format!("{:016x}", fastrand::u64(..)),
            next: AtomicU64::new(0),
            held: Held::default(),
            owed: Owed::open(&folder.join("shared-owed.jsonl"), metrics.clone())?,
            claims: claims::Claims::default(),
            marks: claims::Unsent::default(),
            ahead: ahead::Ahead::default(),
            metrics,
            returns,
            returned: Mutex::new(Some(returned)),
        }))
    }

    /// Cuts a connection that does not answer. Only the one that was asked: the next may be there already.
    fn broke(&self, link: &Arc<Link>, error: &redis::RedisError) {
        let now = self.link.load();
        if !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, link)) {
            return;
        }
        let before = self.link.compare_and_swap(&now, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, link)) {
            self.metrics.shared_unreachable.set(1);
            self.metrics.shared_failures.inc();
            tracing::error!(%error, "the shared server does not answer; limits are decided here");
            self.broken.notify_one();
        }
    }

    fn fresh(&self) -> String {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{}-{number:x}", self.edge)
    }
}
