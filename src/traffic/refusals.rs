//! The last requests that were refused, of each tenant: what an operator needs to say why. In memory, and bounded.

use crate::ids::TenantId;
use dashmap::DashMap;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;

/// Kept of one tenant.
const MOST: usize = 200;
/// Kept of one tenant in a second: a flood of refusals would push its own out at once, and pays for no more.
const MOST_IN_A_SECOND: u32 = 50;
/// Most tenants of which some are kept.
const MOST_TENANTS: usize = 1024;
/// Longest text that is kept of a path, in bytes.
const LONGEST: usize = 200;

/// A request that was refused, and what was known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Refusal {
    /// When it came, Unix milliseconds.
    pub at: u64,
    /// What its answer and the log call it.
    pub request: String,
    /// Method.
    pub method: String,
    /// Path without query; its front where it is long.
    pub path: String,
    /// The client's address.
    pub client: Option<String>,
    /// The route that took it.
    pub route: Option<String>,
    /// The credential it came with.
    pub credential: Option<String>,
    /// What was answered.
    pub status: u16,
    /// The refusal's stable code.
    pub code: &'static str,
    /// What the refusal means, in a sentence.
    pub error: &'static str,
    /// What the log says besides.
    pub detail: Option<String>,
    /// The limits that were asked.
    pub limits: Vec<Asked>,
}

/// A limit that was asked.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// Its name.
    pub limit: String,
    /// What it would still have let through.
    pub remaining: u64,
    /// Whether it refused.
    pub refused: bool,
}

/// What is kept of one tenant.
#[derive(Debug, Default)]
struct Kept {
    last: VecDeque<Refusal>,
    /// The second that was kept in last, and how many in it.
    second: (u64, u32),
}

impl Kept {
    /// Whether one more of this second is kept; counts it.
    fn has_room(&mut self, second: u64) -> bool {
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 = self.second.1.saturating_add(1);
        self.second.1 <= MOST_IN_A_SECOND
    }

    fn push(&mut self, mut refusal: Refusal) {
        let end = (0..=LONGEST.min(refusal.path.len())).rev().find(|&end| refusal.path.is_char_boundary(end));
        refusal.path.truncate(end.unwrap_or(0));
        if self.last.len() >= MOST {
            self.last.pop_front();
        }
        self.last.push_back(refusal);
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Refusals(DashMap<TenantId, Mutex<Kept>>);

impl Refusals {
    /// Keeps one of this second (Unix), in the place of the tenant's oldest where there are enough. It is made only
    /// where it is kept.
    pub fn keep(&self, tenant: &TenantId, second: u64, refusal: impl FnOnce() -> Refusal) {
        if let Some(kept) = self.0.get(tenant) {
            let mut kept = kept.lock();
            if kept.has_room(second) {
                kept.push(refusal());
            }
            return;
        }
        if self.0.len() < MOST_TENANTS {
            let kept = self.0.entry(tenant.clone()).or_default();
            let mut kept = kept.lock();
            if kept.has_room(second) {
                kept.push(refusal());
            }
        }
    }

    /// A tenant's own, the newest first.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Vec<Refusal> {
        self.0.get(tenant).map(|kept| kept.lock().last.iter().rev().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at: u64, path: &str) -> Refusal {
        Refusal {
            at,
            request: format!("r{at}"),
            method: "GET".into(),
            path: path.into(),
            client: None,
            route: None,
            credential: None,
            status: 403,
            code: "forbidden",
            error: "Forbidden",
            detail: None,
            limits: Vec::new(),
        }
    }

    #[test]
    fn a_tenant_has_its_last_ones_and_nobody_elses() {
        let [acme, globex] = ["acme", "globex"].map(|name| TenantId::parse(name).unwrap());
        let refusals = Refusals::default();
        for at in 0..MOST as u64 + 5 {
            refusals.keep(&acme, at, || refusal(at, "/a"));
        }
        refusals.keep(&globex, 9, || refusal(9, "/b"));
        let told = refusals.of(&acme);
        assert_eq!((told.len(), told[0].at, told[MOST - 1].at), (MOST, MOST as u64 + 4, 5));
        assert_eq!(refusals.of(&globex).len(), 1);
        assert!(refusals.of(&TenantId::parse("other").unwrap()).is_empty());
    }

    #[test]
    fn a_long_path_is_cut_between_letters() {
        let tenant = TenantId::parse("acme").unwrap();
        let refusals = Refusals::default();
        refusals.keep(&tenant, 1, || refusal(1, &format!("/{}", "é".repeat(500))));
        let path = &refusals.of(&tenant)[0].path;
        assert!(path.len() <= LONGEST && path.ends_with('é'), "{path}");
    }

    #[test]
    fn a_flood_is_not_kept_and_hides_nobody_elses() {
        let [acme, globex] = ["acme", "globex"].map(|name| TenantId::parse(name).unwrap());
        let (refusals, mut made) = (Refusals::default(), 0);
        for _ in 0..3 * MOST_IN_A_SECOND {
            refusals.keep(&acme, 7, || {
                made += 1;
                refusal(7, "/a")
            });
        }
        refusals.keep(&globex, 7, || refusal(7, "/b"));
        assert_eq!((made, refusals.of(&globex).len()), (MOST_IN_A_SECOND, 1));
        refusals.keep(&acme, 8, || refusal(8, "/a"));
        assert_eq!(refusals.of(&acme)[0].at, 8);
    }
}
