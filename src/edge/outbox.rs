//! The outbox: what tenants share with other meshes, kept until each mesh has taken it.
//!
//! Each mesh has a line and a worker of its own. The first of the line is sent until it is taken: with the same
//! `Idempotency-Key` each time, since an answer may get lost behind a mesh that took it. Pauses between tries
//! grow, with some chance in them, and are at least what the mesh asks for. What a mesh refuses for good, and
//! what it has not taken in time, is laid aside for an operator; nothing is thrown away.

use super::live::unix_now;
use super::outbox_journal::Id;
use super::outbox_post::{Call, Outcome, Post};
use super::outbox_queue::{Bounds, Head, Listed, PutError, Queue, Which};
use crate::config::checked::{self, Config};
use crate::ids::{MeshId, TenantId};
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) use super::outbox_journal::Parcel;

/// A line: whose, and to which mesh.
type LineId = (TenantId, MeshId);

/// All that waits.
pub struct Outbox {
    folder: PathBuf,
    queues: Mutex<HashMap<TenantId, Arc<Queue>>>,
    posts: ArcSwap<HashMap<LineId, Arc<Post>>>,
    /// Lines that have a worker.
    worked: Mutex<HashSet<LineId>>,
    rules: ArcSwap<checked::Outbox>,
    metrics: Arc<Metrics>,
    ending: AtomicBool,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Outbox {
    /// The outbox in a folder, with what waits there from before.
    ///
    /// # Errors
    /// When a file cannot be read or is none of ours.
    pub fn open(folder: &Path, rules: checked::Outbox, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let folder = folder.join("outbox");
        let mut queues = HashMap::new();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry.file_name().into_string().unwrap_or_default();
            let Some(tenant) = name.strip_suffix(".log").and_then(|name| TenantId::parse(name).ok()) else {
                continue;
            };
            queues.insert(tenant.clone(), Arc::new(Queue::open(&entry.path(), tenant)?));
        }
        Ok(Arc::new(Self {
            folder,
            queues: Mutex::new(queues),
            posts: ArcSwap::default(),
            worked: Mutex::default(),
            rules: ArcSwap::from_pointee(rules),
            metrics,
            ending: AtomicBool::new(false),
        }))
    }

    /// Puts a config's meshes in force. Must be called where tasks can be started.
    pub fn apply(self: &Arc<Self>, config: &Config) {
        let before = self.posts.load_full();
        let mut posts = HashMap::new();
        for mesh in &config.meshes {
            if mesh.peer.is_none() {
                continue;
            }
            let line = (mesh.tenant.clone(), mesh.id.clone());
            let post = Post::of(mesh, before.get(&line).map(AsRef::as_ref));
            posts.insert(line, Arc::new(post));
        }
        self.rules.store(Arc::new(config.outbox));
        self.posts.store(Arc::new(posts));
        let mut worked = self.worked.lock();
        for line in self.posts.load().keys() {
            match self.queue(&line.0) {
                Ok(queue) if worked.insert(line.clone()) => {
                    tokio::spawn(work(self.clone(), queue, line.clone()));
                }
                // Its address may be another now: no need to wait for the end of a pause.
                Ok(queue) => queue.wake(&line.1).notify_one(),
                Err(error) => tracing::error!(%error, tenant = %line.0, "the outbox cannot be opened"),
            }
        }
    }

    /// No new calls are made.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Takes deliveries of a tenant in; they are on the disk when this comes back.
    pub(super) async fn put(&self, tenant: &TenantId, parcels: Vec<Parcel>) -> Result<(), PutError> {
        let queue = self.queue(tenant)?;
        let rules = self.rules.load();
        let bounds = Bounds { per_mesh: rules.max_per_mesh, per_tenant: rules.max_per_tenant };
        let now = unix_now().as_secs();
        let put = tokio::task::spawn_blocking(move || queue.put(parcels, now, bounds)).await;
        put.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    fn queue(&self, tenant: &TenantId) -> io::Result<Arc<Queue>> {
        let mut queues = self.queues.lock();
        if let Some(queue) = queues.get(tenant) {
            return Ok(queue.clone());
        }
        std::fs::DirBuilder::new().recursive(true).create(&self.folder)?;
        let queue = Arc::new(Queue::open(&self.folder.join(format!("{tenant}.log")), tenant.clone())?);
        queues.insert(tenant.clone(), queue.clone());
        Ok(queue)
    }

    /// Everything of a tenant, or of all.
    pub(super) fn list(&self, tenant: Option<&TenantId>) -> Vec<(TenantId, Listed)> {
        let queues: Vec<Arc<Queue>> = self.queues.lock().values().cloned().collect();
        let meant = queues.iter().filter(|queue| tenant.is_none_or(|tenant| queue.tenant == *tenant));
        meant.flat_map(|queue| queue.list().into_iter().map(|one| (queue.tenant.clone(), one))).collect()
    }

    /// Puts what was laid aside back into its line, and sends at once; how many.
    pub(super) fn again(&self, tenant: &TenantId, mesh: &MeshId, which: Which) -> io::Result<usize> {
        let queue = self.queues.lock().get(tenant).cloned();
        queue.map_or(Ok(0), |queue| queue.again(mesh, which, unix_now().as_secs()))
    }

    /// Throws deliveries away; how many.
    pub(super) fn drop_out(&self, tenant: &TenantId, mesh: &MeshId, which: Which) -> io::Result<usize> {
        let queue = self.queues.lock().get(tenant).cloned();
        queue.map_or(Ok(0), |queue| queue.drop_out(mesh, which))
    }

    /// Tells the gauges how the lines stand.
    pub(super) fn measure(&self) {
        let now = unix_now().as_secs();
        let queues: Vec<Arc<Queue>> = self.queues.lock().values().cloned().collect();
        for queue in queues {
            for (mesh, depth) in queue.depths() {
                let labels = [queue.tenant.as_str(), mesh.as_str()];
                let set = |gauge: &prometheus::IntGaugeVec, value: u64| {
                    gauge.with_label_values(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
                };
                set(&self.metrics.outbox_waiting, depth.waiting as u64);
                set(&self.metrics.outbox_aside, depth.aside as u64);
                set(&self.metrics.outbox_bytes, depth.bytes as u64);
                set(&self.metrics.outbox_age, depth.oldest.map_or(0, |oldest| now.saturating_sub(oldest)));
            }
        }
    }

    /// The line's post; nothing when the mesh is no longer there: then its worker ends.
    fn post(&self, line: &LineId) -> Option<Arc<Post>> {
        let mut worked = self.worked.lock();
        let post = self.posts.load().get(line).cloned().filter(|_| !self.ending.load(Ordering::Acquire));
        if post.is_none() {
            worked.remove(line);
        }
        post
    }
}

/// What a worker knows of the first of its line.
#[derive(Default)]
struct Pace {
    id: Option<Id>,
    tries: u32,
    due: Option<Instant>,
}

impl Pace {
    /// Of this delivery: another than before has not been tried.
    fn of(&mut self, id: Id) {
        if self.id != Some(id) {
            *self = Self { id: Some(id), ..Self::default() };
        }
    }

    /// The pause before the next try.
    fn pause(&mut self, rules: &checked::Outbox, asked: Option<Duration>) -> Duration {
        let doubled = rules.retry_first.saturating_mul(1 << self.tries.min(20)).min(rules.retry_most);
        self.tries = self.tries.saturating_add(1);
        // Spread, so that many lines do not come back at the same moment.
        let pause = doubled.mul_f64(0.5 + fastrand::f64() / 2.0);
        pause.max(asked.unwrap_or_default().min(Duration::from_hours(1)))
    }
}

/// Works a line off, until its mesh is taken out of the config.
async fn work(outbox: Arc<Outbox>, queue: Arc<Queue>, line: LineId) {
    let wake = queue.wake(&line.1);
    let mut pace = Pace::default();
    while let Some(post) = outbox.post(&line) {
        let Some(head) = queue.head(&line.1) else {
            wake.notified().await;
            continue;
        };
        pace.of(head.id);
        if let Some(due) = pace.due.filter(|due| *due > Instant::now()) {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                // Someone asked for it, or the line is another.
                () = wake.notified() => {}
            }
            pace.due = None;
            continue;
        }
        attempt(&outbox, &queue, &line, &post, head, &mut pace).await;
    }
}

async fn attempt(
    outbox: &Arc<Outbox>,
    queue: &Arc<Queue>,
    line: &LineId,
    post: &Arc<Post>,
    head: Head,
    pace: &mut Pace,
) {
    let (tenant, mesh) = line;
    let rules = outbox.rules.load();
    let (asked, sent) = (queue.clone(), post.clone());
    let called = tokio::task::spawn_blocking(move || -> io::Result<Option<Call>> {
        Ok(asked.body(head.id)?.map(|body| sent.call(head.id, &body)))
    });
    let count = |result: &str| {
        outbox.metrics.outbox_attempts.with_label_values(&[tenant.as_str(), mesh.as_str(), result]).inc();
    };
    let call = match called.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(Some(call)) => call,
        // An operator took it out meanwhile.
        Ok(None) => return,
        Err(error) => {
            tracing::error!(%error, %tenant, %mesh, "the outbox cannot be read");
            pace.due = Some(Instant::now() + pace.pause(&rules, None));
            return;
        }
    };
    count(call.outcome.label());
    let noted = match call.outcome {
        Outcome::Taken | Outcome::Duplicate => {
            if pace.tries > 0 {
                tracing::info!(%tenant, %mesh, tries = pace.tries + 1, "the mesh takes deliveries again");
            }
            queue.gone(head.id)
        }
        Outcome::Refused => {
            tracing::warn!(%tenant, %mesh, id = head.id.text(), status = call.status, "the mesh refuses a delivery; it is laid aside");
            queue.lay_aside(head.id, call.status)
        }
        Outcome::Failed => {
            let is_late = unix_now().as_secs().saturating_sub(head.since) >= rules.give_up.as_secs();
            if is_late {
                count("given_up");
                tracing::warn!(%tenant, %mesh, id = head.id.text(), "the mesh has not taken a delivery in time; it is laid aside");
                queue.lay_aside(head.id, call.status)
            } else {
                if pace.tries == 0 {
                    tracing::warn!(%tenant, %mesh, status = call.status, "the mesh does not take deliveries; they wait");
                }
                pace.due = Some(Instant::now() + pace.pause(&rules, call.retry_after));
                Ok(())
            }
        }
    };
    if let Err(error) = noted {
        tracing::error!(%error, %tenant, %mesh, "the outbox cannot be written: after a restart a delivery that was taken may go again, under its old id");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    proptest! {
        #[test]
        fn pauses_grow_to_the_longest_and_never_fall_below_what_is_asked(first in 1_u64..5_000, most in 5_000_u64..600_000, asked in any::<Option<u16>>()) {
            let (retry_first, retry_most) = (Duration::from_millis(first), Duration::from_millis(most));
            let rules = checked::Outbox { max_per_mesh: 0, max_per_tenant: 0, retry_first, retry_most, give_up: Duration::MAX };
            let mut pace = Pace::default();
            let asked = asked.map(|seconds| Duration::from_secs(seconds.into()));
            for n in 0..40_u32 {
                let pause = pace.pause(&rules, asked);
                let whole = retry_first.saturating_mul(1 << n.min(20)).min(retry_most);
                prop_assert!(pause >= whole / 2 || pause >= Duration::from_hours(1));
                prop_assert!(pause <= whole.max(asked.unwrap_or_default()));
                prop_assert!(pause >= asked.unwrap_or_default().min(Duration::from_hours(1)));
            }
        }
    }
}
