//! The edge's own operator at one gateway: it lists once, follows events from there, and lists again when
//! the gateway was away or left something out.
//!
//! It asks for `operator.read` and nothing more. What it knows is read by the API under a short lock; who
//! may read it is for [`Fleet`](super::Fleet) to decide.

use super::calls::CallError;
use super::dial::Dial;
use super::feed::{Feed, Told};
use super::link::{Hello, Link, LinkState, Signal};
use super::picture::{Brought, LISTS, List, Picture};
use crate::metrics::Metrics;
use crate::openclaw::Scopes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::{RwLock, RwLockReadGuard};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;

/// Time for one page of a list.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a list that has to be taken again waits for more reasons to.
const GATHER: Duration = Duration::from_millis(500);
/// How long one waits that went wrong.
const RETRY: Duration = Duration::from_secs(5);
/// Longest that a gateway may ask it to wait.
const LONGEST: Duration = Duration::from_mins(1);
/// Rows a page, and most pages: what a picture holds.
const TASK_PAGE: u64 = 500;
const CRON_PAGE: u64 = 200;
const SESSION_PAGE: u64 = 500;
const PAGES: usize = 10;

/// The operator at one gateway. It ends when it is dropped.
#[derive(Debug)]
pub struct Operator {
    link: Arc<Link>,
    known: Arc<Known>,
    task: AbortHandle,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known, and how to have some of it looked at again.
#[derive(Debug, Default)]
struct Known {
    picture: RwLock<Picture>,
    /// Lists that could not be taken, and the code of why.
    missing: RwLock<BTreeMap<&'static str, String>>,
    /// Somebody looks at the gateway's own status.
    looked: Notify,
}

impl Operator {
    /// Begins, on the runtime that this is called in.
    #[must_use]
    pub fn begin(gateway: Arc<Dial>, feed: Feed, metrics: Arc<Metrics>) -> Self {
        let link = Arc::new(Link::open(gateway, Scopes::of(["operator.read"]), metrics));
        let known = Arc::new(Known::default());
        let signals = link.subscribe();
        let work = Work { link: link.clone(), known: known.clone(), feed, lists: Lists::default() };
        let task = tokio::spawn(work.run(signals)).abort_handle();
        Self { link, known, task }
    }

    /// Where its connection stands.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.link.state().borrow().clone()
    }

    /// When the gateway was last heard of, Unix milliseconds; 0 if never.
    #[must_use]
    pub fn heard_ms(&self) -> u64 {
        self.link.heard_ms()
    }

    /// What is known. To be held for a moment only, and over no `await`.
    pub fn picture(&self) -> RwLockReadGuard<'_, Picture> {
        self.known.picture.read()
    }

    /// Lists that the gateway would not give, and its code for why.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<&'static str, String> {
        self.known.missing.read().clone()
    }

    /// Has the gateway's own status asked for again, soon. No event tells of it.
    pub fn look(&self) {
        self.known.looked.notify_one();
    }
}

/// A list that came, or did not.
struct Taken {
    list: List,
    result: Result<Vec<Value>, CallError>,
}

type Taking = Pin<Box<dyn Future<Output = Taken> + Send>>;

/// Lists on their way: each at most once at a time.
#[derive(Default)]
struct Lists {
    taking: FuturesUnordered<Taking>,
    on_the_way: Vec<List>,
    again: Vec<List>,
}

struct Work {
    link: Arc<Link>,
    known: Arc<Known>,
    feed: Feed,
    lists: Lists,
}

impl Work {
    async fn run(mut self, mut signals: broadcast::Receiver<Signal>) {
        loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Ok(Signal::Connected(hello)) => self.connected(&hello),
                    Ok(Signal::Event(event)) => {
                        let payload = event.payload.read().unwrap_or_default();
                        self.event(&event.name, &payload);
                    }
                    Ok(Signal::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => self.list_all(GATHER),
                    Ok(Signal::Disconnected(why)) => self.feed.tell(Told::away(&self.link.gateway().id, &why)),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(taken) = self.lists.taking.next(), if !self.lists.taking.is_empty() => self.taken(taken),
                () = self.known.looked.notified() => self.list(List::Status, Duration::ZERO),
            }
        }
    }

    fn connected(&mut self, hello: &Hello) {
        let snapshot = serde_json::from_str(hello.snapshot.get()).unwrap_or_default();
        self.known.picture.write().greet(&snapshot);
        self.known.missing.write().clear();
        self.feed.tell(Told::here(&self.link.gateway().id, hello));
        self.list_all(Duration::ZERO);
    }

    fn event(&mut self, name: &str, payload: &Value) {
        let Brought { changes, stale } = self.known.picture.write().take_event(name, payload);
        for change in changes {
            self.feed.tell(Told::change(&self.link.gateway().id, &change));
        }
        for list in stale {
            self.list(list, GATHER);
        }
    }

    fn list_all(&mut self, wait: Duration) {
        for list in LISTS {
            self.list(list, wait);
        }
    }

    /// Has a list taken after a while; one that is on its way already is taken once more.
    fn list(&mut self, list: List, wait: Duration) {
        if self.lists.on_the_way.contains(&list) {
            if !self.lists.again.contains(&list) {
                self.lists.again.push(list);
            }
            return;
        }
        self.lists.on_the_way.push(list);
        let link = self.link.clone();
        self.lists.taking.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            let result = pages(&link, list).await;
            Taken { list, result }
        }));
    }

    fn taken(&mut self, Taken { list, result }: Taken) {
        self.lists.on_the_way.retain(|other| *other != list);
        let retry = match result {
            Ok(pages) => {
                self.known.picture.write().take_list(list, &pages);
                self.known.missing.write().remove(list.method());
                self.feed.tell(Told::listed(&self.link.gateway().id, list));
                None
            }
            // Whoever comes back is listed anew.
            Err(CallError::Away(_)) => {
                self.lists.again.retain(|other| *other != list);
                return;
            }
            Err(CallError::TimedOut | CallError::Busy) => Some(RETRY),
            Err(CallError::Refused(refusal)) => {
                let (gateway, method) = (&self.link.gateway().id, list.method());
                let code = refusal.fault.code.clone();
                tracing::warn!(%gateway, method, %code, "a gateway gives a list not");
                self.known.missing.write().insert(method, code);
                refusal.fault.retry_after_ms.map(|wait| Duration::from_millis(wait).clamp(RETRY, LONGEST))
            }
        };
        if let Some(wait) = retry {
            self.list(list, wait);
        } else if self.lists.again.contains(&list) {
            self.lists.again.retain(|other| *other != list);
            self.list(list, GATHER);
        }
    }
}

/// All pages of a list, as far as they are kept.
async fn pages(link: &Link, list: List) -> Result<Vec<Value>, CallError> {
    let mut pages: Vec<Value> = Vec::new();
    loop {
        let next = pages.last().map_or(Some(Value::Null), |page| next_page(list, page));
        let Some(next) = next.filter(|_| pages.len() < most_pages(list)) else { return Ok(pages) };
        // What was just made of JSON can be written as such.
        let params = RawValue::from_string(params(list, &next).to_string()).unwrap_or_default();
        let page = link.call(list.method(), &params, PATIENCE).await?;
        pages.push(page.read().unwrap_or_default());
    }
}

fn params(list: List, next: &Value) -> Value {
    let mut params = match list {
        List::Tasks => json!({"limit": TASK_PAGE}),
        // Compact rows hold no prompts and no commands.
        List::Jobs => {
            json!({"includeDisabled": true, "compact": true, "includeDeliveryPreviews": false, "limit": CRON_PAGE})
        }
        List::Runs => json!({"scope": "all", "limit": CRON_PAGE}),
        List::Sessions => json!({"limit": SESSION_PAGE}),
        List::Agents | List::Channels | List::Status => json!({}),
    };
    match (list, next) {
        (_, Value::Null) => {}
        (List::Tasks, cursor) => params["cursor"] = cursor.clone(),
        (_, offset) => params["offset"] = offset.clone(),
    }
    params
}

const fn most_pages(list: List) -> usize {
    match list {
        List::Tasks => 4,
        List::Jobs => PAGES,
        List::Runs | List::Sessions | List::Agents | List::Channels | List::Status => 1,
    }
}

/// What asks for the page after this one, if there is one.
fn next_page(list: List, page: &Value) -> Option<Value> {
    match list {
        List::Tasks => page.get("nextCursor").filter(|cursor| cursor.is_string()).cloned(),
        List::Jobs => page.get("nextOffset").filter(|offset| offset.is_u64()).cloned(),
        List::Runs | List::Sessions | List::Agents | List::Channels | List::Status => None,
    }
}
