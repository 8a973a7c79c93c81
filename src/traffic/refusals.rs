//! The last requests that were refused, of each tenant: what an operator needs to say why. In memory, and bounded.

use crate::ids::TenantId;
use dashmap::DashMap;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;

/// Kept of one tenant.
const MOST: usize = 200;
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

/// See the file's head.
#[derive(Debug, Default)]
pub struct Refusals(DashMap<TenantId, Mutex<VecDeque<Refusal>>>);

impl Refusals {
    /// Keeps one, in the place of the tenant's oldest where there are enough.
    pub fn keep(&self, tenant: &TenantId, mut refusal: Refusal) {
        if !self.0.contains_key(tenant) && self.0.len() >= MOST_TENANTS {
            return;
        }
        let end = (0..=LONGEST.min(refusal.path.len())).rev().find(|&end| refusal.path.is_char_boundary(end));
        refusal.path.truncate(end.unwrap_or(0));
        let kept = self.0.entry(tenant.clone()).or_default();
        let mut kept = kept.lock();
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back(refusal);
    }

    /// A tenant's own, the newest first.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Vec<Refusal> {
        self.0.get(tenant).map(|kept| kept.lock().iter().rev().cloned().collect()).unwrap_or_default()
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
            refusals.keep(&acme, refusal(at, "/a"));
        }
        refusals.keep(&globex, refusal(9, "/b"));
        let told = refusals.of(&acme);
        assert_eq!((told.len(), told[0].at, told[MOST - 1].at), (MOST, MOST as u64 + 4, 5));
        assert_eq!(refusals.of(&globex).len(), 1);
        assert!(refusals.of(&TenantId::parse("other").unwrap()).is_empty());
    }

    #[test]
    fn a_long_path_is_cut_between_letters() {
        let tenant = TenantId::parse("acme").unwrap();
        let refusals = Refusals::default();
        refusals.keep(&tenant, refusal(1, &format!("/{}", "é".repeat(500))));
        let path = &refusals.of(&tenant)[0].path;
        assert!(path.len() <= LONGEST && path.ends_with('é'), "{path}");
    }
}
