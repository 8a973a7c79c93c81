//! What happens at a tenant's gateways, told to whoever of that tenant listens.
//!
//! There is one channel a tenant: a tenant whose gateways are loud makes nobody else's listeners late, and a
//! listener can be had for one's own tenant only. The last of what was told is kept for listeners who come back.

use super::away::Why;
use super::link::Hello;
use super::picture::{Change, List};
use crate::ids::{GatewayId, TenantId};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many a listener may be behind, and how many are kept for those who come back.
const BEHIND: usize = 1024;
/// Bytes of what is kept, of one tenant.
const KEPT: usize = 1 << 20;

/// Something that happened, ready to be sent.
#[derive(Debug, Clone)]
pub struct Told {
    /// At which gateway.
    pub gateway: GatewayId,
    /// What: `gateway`, `task`, `job`, `run`, `health`, `presence`, `listed`.
    pub event: &'static str,
    /// The JSON of it.
    pub data: Arc<str>,
    /// Its place among all that the tenant was told.
    pub place: Place,
}

/// Where a listener is: it comes back there, if what was told since is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Names this life of the tenant's feed: what was told before it, nobody knows.
    life: u64,
    /// How many were told until here.
    count: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.life, self.count)
    }
}

impl Place {
    /// Reads what was written by `Display`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (life, count) = text.split_once('-')?;
        Some(Self { life: u64::from_str_radix(life, 16).ok()?, count: count.parse().ok()? })
    }
}

impl Told {
    fn new(gateway: &GatewayId, event: &'static str, mut data: Value) -> Self {
        if let Some(members) = data.as_object_mut() {
            members.insert("gatewayId".into(), gateway.as_str().into());
        }
        let place = Place { life: 0, count: 0 };
        Self { gateway: gateway.clone(), event, data: data.to_string().into(), place }
    }

    /// The gateway can be asked.
    pub(super) fn here(gateway: &GatewayId, hello: &Hello) -> Self {
        let data = json!({"connected": true, "since": hello.since_ms, "version": hello.version});
        Self::new(gateway, "gateway", data)
    }

    /// It cannot.
    pub(super) fn away(gateway: &GatewayId, why: &Why) -> Self {
        Self::new(
            gateway,
            "gateway",
            json!({"connected": false, "code": why.code(), "error": why.to_string()}),
        )
    }

    /// A list was taken anew: what was known of it before counts no more.
    pub(super) fn listed(gateway: &GatewayId, list: List) -> Self {
        Self::new(gateway, "listed", json!({"method": list.method()}))
    }

    /// What an event changed.
    pub(super) fn change(gateway: &GatewayId, change: &Change) -> Self {
        match change {
            Change::Task(task) => Self::new(gateway, "task", value(&**task)),
            Change::TaskGone(id) => Self::new(gateway, "task", json!({"id": id, "deleted": true})),
            Change::Job(job) => Self::new(gateway, "job", value(&**job)),
            Change::JobGone(id) => Self::new(gateway, "job", json!({"id": id, "deleted": true})),
            Change::Run(run) => Self::new(gateway, "run", value(&**run)),
            Change::Health(health) => Self::new(gateway, "health", value(health)),
            Change::Presence(present) => Self::new(gateway, "presence", json!({"connected": present})),
        }
    }
}

/// Rows are plain data, which can be written.
fn value(row: &impl Serialize) -> Value {
    serde_json::to_value(row).unwrap_or_default()
}

/// Where one tenant's gateways tell.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Channel>);

#[derive(Debug)]
struct Channel {
    sender: broadcast::Sender<Told>,
    kept: Mutex<Kept>,
}

/// What was told last.
#[derive(Debug)]
struct Kept {
    now: Place,
    told: VecDeque<Told>,
    bytes: usize,
}

/// A listener.
#[derive(Debug)]
pub(super) struct Listening {
    /// What is told from now on.
    pub(super) told: broadcast::Receiver<Told>,
    /// How many listen to the tenant's gateways, with this one.
    pub(super) count: usize,
    /// Where it begins.
    pub(super) now: Place,
    /// What it missed since it was last here; none when that is not known.
    pub(super) missed: Option<Vec<Told>>,
}

impl Feed {
    fn new() -> Self {
        let kept = Kept { now: Place { life: fastrand::u64(..), count: 0 }, told: VecDeque::new(), bytes: 0 };
        Self(Arc::new(Channel { sender: broadcast::Sender::new(BEHIND), kept: Mutex::new(kept) }))
    }

    /// Nobody may be listening.
    pub(super) fn tell(&self, mut told: Told) {
        // Sent under the lock, so that places are in order for everyone.
        let mut kept = self.0.kept.lock();
        kept.now.count += 1;
        told.place = kept.now;
        kept.keep(told.clone());
        let _ = self.0.sender.send(told);
    }

    fn listen(&self, after: Option<Place>) -> Listening {
        let kept = self.0.kept.lock();
        let told = self.0.sender.subscribe();
        let count = self.0.sender.receiver_count();
        Listening { told, count, now: kept.now, missed: after.and_then(|after| kept.since(after)) }
    }
}

impl Kept {
    fn keep(&mut self, told: Told) {
        self.bytes += told.data.len();
        self.told.push_back(told);
        while self.told.len() > BEHIND || self.bytes > KEPT {
            let Some(oldest) = self.told.pop_front() else { break };
            self.bytes -= oldest.data.len();
        }
    }

    /// What was told after a place; none when some of it is no longer kept, or the place is none of this life's.
    fn since(&self, after: Place) -> Option<Vec<Told>> {
        let behind = self.now.count.checked_sub(after.count).filter(|_| after.life == self.now.life)?;
        let behind = usize::try_from(behind).ok().filter(|behind| *behind <= self.told.len())?;
        Some(self.told.range(self.told.len() - behind..).cloned().collect())
    }
}

/// The channels of all tenants.
#[derive(Debug, Default)]
pub(super) struct Feeds(Mutex<HashMap<TenantId, Feed>>);

impl Feeds {
    /// Where a tenant's gateways tell.
    pub(super) fn of(&self, tenant: &TenantId) -> Feed {
        let mut feeds = self.0.lock();
        feeds.entry(tenant.clone()).or_insert_with(Feed::new).clone()
    }

    /// A listener, who may say where it was before.
    pub(super) fn listen(&self, tenant: &TenantId, after: Option<Place>) -> Listening {
        self.of(tenant).listen(after)
    }

    /// Leaves those of tenants that are no longer there; their listeners hear the end.
    pub(super) fn keep(&self, tenants: &[TenantId]) {
        self.0.lock().retain(|tenant, _| tenants.contains(tenant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn told(text: &str) -> Told {
        Told::new(&GatewayId::parse("ceo").unwrap(), "task", json!({ "text": text }))
    }

    fn texts(missed: Option<Vec<Told>>) -> Option<Vec<String>> {
        let text = |told: Told| {
            let data: Value = serde_json::from_str(&told.data).unwrap();
            data["text"].as_str().unwrap().to_owned()
        };
        missed.map(|missed| missed.into_iter().map(text).collect())
    }

    #[tokio::test]
    async fn who_comes_back_hears_what_it_missed() {
        let feeds = Feeds::default();
        let feed = feeds.of(&acme());
        let mut first = feeds.listen(&acme(), None);
        assert!(first.missed.is_none());
        for text in ["a", "b", "c"] {
            feed.tell(told(text));
        }
        let at = first.told.recv().await.unwrap().place;
        assert_eq!(Place::parse(&at.to_string()), Some(at));
        assert_eq!(texts(feeds.listen(&acme(), Some(at)).missed), Some(vec!["b".into(), "c".into()]));
        let again = feeds.listen(&acme(), Some(first.now));
        assert_eq!(texts(again.missed).map(|all| all.len()), Some(3));
        assert_eq!(texts(feeds.listen(&acme(), Some(again.now)).missed), Some(vec![]));
    }

    #[test]
    fn what_is_not_kept_is_not_made_up() {
        let feeds = Feeds::default();
        let feed = feeds.of(&acme());
        let start = feeds.listen(&acme(), None).now;
        for at in 0..=BEHIND {
            feed.tell(told(&at.to_string()));
        }
        assert_eq!(texts(feeds.listen(&acme(), Some(start)).missed), None);
        let one = Place { count: 1, ..start };
        assert_eq!(texts(feeds.listen(&acme(), Some(one)).missed).map(|all| all.len()), Some(BEHIND));
        for strange in [Place { count: u64::MAX, ..start }, Place { life: start.life ^ 1, count: 5 }] {
            assert_eq!(texts(feeds.listen(&acme(), Some(strange)).missed), None);
        }
        for text in ["", "-", "1", "x-1", "1-x", "0-99999999999999999999"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let feeds = Feeds::default();
        let feed = feeds.of(&acme());
        for _ in 0..40 {
            feed.tell(told(&"x".repeat(64 << 10)));
        }
        let kept = feed.0.kept.lock();
        assert!(kept.bytes <= KEPT && kept.told.len() == 15, "{} in {}", kept.bytes, kept.told.len());
        assert_eq!(kept.bytes, kept.told.iter().map(|told| told.data.len()).sum::<usize>());
    }
}
