//! What passed lately: how much each tenant has asked of each route, and what of it was refused and why, over the
//! last minute, hour and day. In memory, and bounded by what the operator wrote: tenants, routes, limits and codes,
//! never what a client sends.
//!
//! Everything is read for one tenant, whose name the reader must have. This room knows no request and no clock.

mod refusals;
mod ring;

pub use refusals::{Asked, Refusal, Refusals};
pub use ring::Point;

use crate::ids::{Name, TenantId};
use dashmap::DashMap;
use parking_lot::Mutex;
use ring::Ring;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Most series of routes, and most of refusals; more is counted in the metrics alone. One takes up to 6 KiB.
const MOST: usize = 4096;

/// Why something was refused, or what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A refusal, by its stable code.
    Refusal(&'static str),
    /// A limit that refused, by its name.
    Limit(Arc<str>),
    /// A message that did not pass, by the reason.
    Signature(&'static str),
}

/// What is remembered. See the file's head.
#[derive(Debug, Default)]
pub struct Traffic {
    /// By the limiter's numbers for tenant and route, which are never given anew.
    routes: DashMap<(u32, u32), Route>,
    causes: DashMap<(TenantId, Cause), Mutex<Series>>,
}

#[derive(Debug)]
struct Route {
    tenant: TenantId,
    name: Name,
    counted: Counted,
    series: Mutex<Series>,
}

/// What requests count, each for itself and without waiting for another; it is put into the series once a second.
#[derive(Debug, Default)]
struct Counted {
    count: AtomicU32,
    refused: AtomicU32,
    failed: AtomicU32,
    micros: AtomicU64,
}

impl Counted {
    fn add(&self, point: Point) {
        self.count.fetch_add(point.count, Ordering::Relaxed);
        if point.refused > 0 {
            self.refused.fetch_add(point.refused, Ordering::Relaxed);
        }
        if point.failed > 0 {
            self.failed.fetch_add(point.failed, Ordering::Relaxed);
        }
        self.micros.fetch_add(point.micros, Ordering::Relaxed);
    }

    fn take(&self) -> Point {
        Point {
            count: self.count.swap(0, Ordering::Relaxed),
            refused: self.refused.swap(0, Ordering::Relaxed),
            failed: self.failed.swap(0, Ordering::Relaxed),
            micros: self.micros.swap(0, Ordering::Relaxed),
        }
    }
}

impl Route {
    /// Puts what was counted since into the series.
    fn fold(&self, now: u64) {
        let mut series = self.series.lock();
        let point = self.counted.take();
        if point != Point::default() {
            series.add(now, point);
        }
    }
}

/// The last minute by seconds, the last hour by minutes, the last day by quarters of an hour.
#[derive(Debug, Clone)]
struct Series {
    minute: Ring,
    hour: Ring,
    day: Ring,
}

impl Default for Series {
    fn default() -> Self {
        Self { minute: Ring::new(1, 60), hour: Ring::new(60, 60), day: Ring::new(900, 96) }
    }
}

impl Series {
    fn add(&mut self, now: u64, point: Point) {
        for ring in [&mut self.minute, &mut self.hour, &mut self.day] {
            ring.add(now, point);
        }
    }

    fn told(&self, now: u64) -> Told {
        Told { minute: self.minute.read(now), hour: self.hour.read(now), day: self.day.read(now) }
    }
}

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// Whose it was, and the limiter's number for that.
    pub tenant: (&'a TenantId, u32),
    /// Which route took it, and the limiter's number for that.
    pub route: (&'a Name, u32),
    /// What was answered.
    pub status: u16,
    /// Whether it was refused by what the operator has said: it did not fail.
    pub is_refused: bool,
    /// How long it took; nothing for a WebSocket.
    pub took: Option<Duration>,
}

/// What a tenant is told, oldest first; the last of each is not over yet.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Seconds.
    pub minute: Vec<Point>,
    /// Minutes.
    pub hour: Vec<Point>,
    /// Quarters of an hour.
    pub day: Vec<Point>,
}

/// All of one tenant.
#[derive(Debug, Default, Serialize)]
pub struct Account {
    /// The second that this is as of (Unix).
    pub at: u64,
    /// By route.
    pub routes: HashMap<String, Told>,
    /// Refusals by code.
    pub refusals: HashMap<String, Told>,
    /// Refusals of limits, by the limit.
    pub limits: HashMap<String, Told>,
    /// What did not pass as signed, by the reason.
    pub signatures: HashMap<String, Told>,
}

/// The points of some series by their names.
type Points<'a> = BTreeMap<&'a str, Point>;

/// What one second brought.
#[derive(Debug, Serialize)]
pub struct Second<'a> {
    /// Which (Unix).
    pub at: u64,
    routes: Points<'a>,
    refusals: Points<'a>,
    limits: Points<'a>,
    signatures: Points<'a>,
}

impl Account {
    /// The second before, which is over; of each series that had something in it.
    #[must_use]
    pub fn second_before(&self) -> Second<'_> {
        Second {
            at: self.at.saturating_sub(1),
            routes: before(&self.routes),
            refusals: before(&self.refusals),
            limits: before(&self.limits),
            signatures: before(&self.signatures),
        }
    }

    /// As of the second before: what goes on with each second to come adds nothing twice.
    #[must_use]
    pub fn until_before(mut self) -> Self {
        for series in [&mut self.routes, &mut self.refusals, &mut self.limits, &mut self.signatures] {
            for told in series.values_mut() {
                let Some(unfinished) = told.minute.pop() else { continue };
                told.minute.insert(0, Point::default());
                for points in [&mut told.hour, &mut told.day] {
                    if let Some(last) = points.last_mut() {
                        last.take_back(unfinished);
                    }
                }
            }
        }
        self.at = self.at.saturating_sub(1);
        self
    }
}

fn before(all: &HashMap<String, Told>) -> Points<'_> {
    let last =
        |told: &Told| told.minute.iter().rev().nth(1).copied().filter(|point| *point != Point::default());
    all.iter().filter_map(|(name, told)| Some((name.as_str(), last(told)?))).collect()
}

impl Traffic {
    /// Counts a request that is over.
    pub fn finished(&self, done: &Finished<'_>) {
        let micros = done.took.map_or(0, |took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let point = Point {
            count: 1,
            refused: u32::from(done.is_refused),
            failed: u32::from(done.status >= 500 && !done.is_refused),
            micros,
        };
        let key = (done.tenant.1, done.route.1);
        if let Some(route) = self.routes.get(&key) {
            return route.counted.add(point);
        }
        if self.routes.len() < MOST {
            let fresh = || Route {
                tenant: done.tenant.0.clone(),
                name: done.route.0.clone(),
                counted: Counted::default(),
                series: Mutex::default(),
            };
            self.routes.entry(key).or_insert_with(fresh).counted.add(point);
        }
    }

    /// Counts `n` of a cause.
    pub fn caused(&self, now: u64, tenant: &TenantId, cause: Cause, n: u32) {
        let key = (tenant.clone(), cause);
        let point = Point { count: n, ..Point::default() };
        if self.causes.contains_key(&key) || self.causes.len() < MOST {
            self.causes.entry(key).or_default().lock().add(now, point);
        }
    }

    /// All of one tenant, as of a Unix second.
    #[must_use]
    pub fn of(&self, tenant: &TenantId, now: u64) -> Account {
        let mut account = Account { at: now, ..Account::default() };
        for route in self.routes.iter().filter(|route| route.tenant == *tenant) {
            route.fold(now);
            account.routes.insert(route.name.to_string(), route.series.lock().told(now));
        }
        for entry in self.causes.iter().filter(|entry| entry.key().0 == *tenant) {
            let told = entry.value().lock().told(now);
            match &entry.key().1 {
                Cause::Refusal(code) => account.refusals.insert((*code).to_owned(), told),
                Cause::Limit(name) => account.limits.insert(name.to_string(), told),
                Cause::Signature(reason) => account.signatures.insert((*reason).to_owned(), told),
            };
        }
        account
    }

    /// Puts what was counted into the second that is now. To be called every second.
    pub fn fold(&self, now: u64) {
        self.routes.iter().for_each(|route| route.fold(now));
    }

    /// Forgets what has been quiet for a day, such as routes that are gone.
    pub fn sweep(&self, now: u64) {
        self.fold(now);
        self.routes.retain(|_, route| !route.series.lock().day.is_quiet(now));
        self.causes.retain(|_, series| !series.lock().day.is_quiet(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn ask(traffic: &Traffic, now: u64, who: (&str, u32), status: u16) {
        let (tenant, route) = (tenant(who.0), Name::parse("api").unwrap());
        let done = Finished {
            tenant: (&tenant, who.1),
            route: (&route, 7),
            status,
            is_refused: status == 429,
            took: Some(Duration::from_micros(40)),
        };
        traffic.finished(&done);
        traffic.fold(now);
    }

    #[test]
    fn a_tenant_reads_its_own_and_nobody_elses() {
        let traffic = Traffic::default();
        ask(&traffic, 1000, ("acme", 0), 200);
        ask(&traffic, 1001, ("acme", 0), 429);
        ask(&traffic, 1001, ("globex", 1), 502);
        traffic.caused(1001, &tenant("acme"), Cause::Refusal("limit_exceeded"), 1);
        traffic.caused(1001, &tenant("acme"), Cause::Limit("per-ip".into()), 1);
        let acme = traffic.of(&tenant("acme"), 1001);
        let [.., before, last] = acme.routes["api"].minute[..] else { panic!("no minute") };
        assert_eq!((before.count, before.refused, before.micros), (1, 0, 40));
        assert_eq!((last.count, last.refused, last.failed), (1, 1, 0));
        assert_eq!(acme.routes["api"].day.last().unwrap().count, 2);
        assert_eq!(acme.limits["per-ip"].hour.last().unwrap().count, 1);
        let globex = traffic.of(&tenant("globex"), 1001);
        assert_eq!(globex.routes["api"].minute.last().unwrap().failed, 1);
        assert!(globex.refusals.is_empty() && globex.limits.is_empty());
        assert!(traffic.of(&tenant("other"), 1001).routes.is_empty());
    }

    #[test]
    fn what_was_quiet_for_a_day_is_forgotten() {
        let traffic = Traffic::default();
        ask(&traffic, 1000, ("acme", 0), 200);
        traffic.sweep(1000 + 80_000);
        assert_eq!(traffic.routes.len(), 1);
        traffic.sweep(1000 + 90_000);
        assert_eq!(traffic.routes.len(), 0);
    }
}
