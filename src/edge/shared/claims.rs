//! Deliveries that several edges must not take twice: claimed in the shared server before one goes on, marked
//! there when its upstream took it, given up otherwise. Claims are renewed while they last and end soon after
//! their edge does.
//!
//! While nobody answers each edge knows its own deliveries alone; what it marks then it tells the server later.

use super::Shared;
use super::give_back::Return;
use super::keeper::within;
use super::link::Link;
use crate::edge::live::unix_now;
use crate::ids::TenantId;
use dashmap::DashMap;
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, RedisResult};
use std::sync::Arc;
use std::time::Duration;

/// What the script does stands at its head.
pub(super) const CLAIM: &str = include_str!("claim.lua");

/// How long a claim lasts without renewal.
const LASTS: Duration = Duration::from_secs(30);
/// Most marks that wait for the server; more are known to this edge alone.
const MOST: usize = 100_000;

/// Claims of this edge, by name.
#[derive(Default)]
pub(super) struct Claims {
    names: DashMap<String, Vec<String>>,
}

/// Marks that the server has not been told of: keys, and until when (Unix seconds).
#[derive(Default)]
pub(super) struct Unsent {
    marks: Mutex<Vec<(Vec<String>, u64)>>,
}

/// What the other edges say to a claim.
pub(in crate::edge) enum Claimed {
    /// Nobody has it, or nobody answers.
    Fresh(SharedClaim),
    /// These of them an upstream took before.
    Taken(Vec<usize>),
    /// Another edge is about to send one of them on.
    OnItsWay,
}

/// Deliveries that are this edge's to send on. Given up when it is dropped.
pub(in crate::edge) struct SharedClaim {
    shared: Arc<Shared>,
    name: String,
    keys: Vec<String>,
}

impl std::fmt::Debug for SharedClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedClaim").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shared {
    /// Claims a tenant's deliveries, all or none.
    pub(in crate::edge) async fn claim(
        self: &Arc<Self>,
        tenant: &TenantId,
        deliveries: impl Iterator<Item = String>,
    ) -> Claimed {
        let prefix = &self.server.prefix;
        let keys: Vec<String> = deliveries.map(|one| format!("{prefix}:{{{tenant}}}:taken:{one}")).collect();
        let claim = SharedClaim { shared: self.clone(), name: self.fresh(), keys };
        let Some(link) = self.link.load_full() else { return Claimed::Fresh(claim) };
        let asked = claims(&link, "claim", &claim.keys, &claim.name, LASTS);
        let answer = match tokio::time::timeout(self.server.deadline, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(RedisError::from((ErrorKind::Io, "no answer within the deadline"))),
        };
        match answer {
            Ok(states) if states.contains(&1) => {
                let taken = states.iter().enumerate().filter(|(_, state)| **state == 1);
                Claimed::Taken(taken.map(|(place, _)| place).collect())
            }
            Ok(states) if states.iter().all(|&state| state == 0) => {
                self.claims.names.insert(claim.name.clone(), claim.keys.clone());
                Claimed::Fresh(claim)
            }
            Ok(_) => Claimed::OnItsWay,
            Err(error) => {
                self.broke(&link, &error);
                Claimed::Fresh(claim)
            }
        }
    }

    /// Renews this edge's claims.
    pub(super) async fn renew_claims(&self, link: &Link) -> RedisResult<()> {
        let all: Vec<(String, Vec<String>)> =
            self.claims.names.iter().map(|one| (one.key().clone(), one.value().clone())).collect();
        for (name, keys) in all {
            claims(link, "claim", &keys, &name, LASTS).await?;
        }
        Ok(())
    }

    /// Gives a claim up.
    pub(super) async fn leave(&self, link: &Link, name: &str, keys: &[String]) -> RedisResult<()> {
        claims(link, "leave", keys, name, LASTS).await.map(drop)
    }

    /// Tells the server of what was marked while it was away.
    pub(super) async fn send_marks(&self, link: &Link) -> RedisResult<()> {
        let unsent = std::mem::take(&mut *self.marks.marks.lock());
        for (place, (keys, until)) in unsent.iter().enumerate() {
            if let Err(error) = within(mark(link, keys, *until)).await {
                self.marks.marks.lock().extend_from_slice(&unsent[place..]);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl SharedClaim {
    /// An upstream took them: every edge knows, before the sender hears of it where the server answers.
    pub(in crate::edge) async fn taken(mut self, until: u64) {
        let keys = std::mem::take(&mut self.keys);
        self.shared.claims.names.remove(&self.name);
        if let Some(link) = self.shared.link.load_full() {
            match tokio::time::timeout(self.shared.server.deadline, mark(&link, &keys, until)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => self.shared.broke(&link, &error),
                Err(_) => {
                    let late = RedisError::from((ErrorKind::Io, "no answer within the deadline"));
                    self.shared.broke(&link, &late);
                }
            }
        }
        let mut marks = self.shared.marks.marks.lock();
        if marks.len() < MOST {
            marks.push((keys, until));
        } else {
            self.shared.metrics.shared_lost.inc();
        }
    }
}

impl Drop for SharedClaim {
    fn drop(&mut self) {
        self.shared.claims.names.remove(&self.name);
        if !self.keys.is_empty() {
            let keys = std::mem::take(&mut self.keys);
            self.shared.give_back(Return::Claim { name: self.name.clone(), keys });
        }
    }
}

async fn mark(link: &Link, keys: &[String], until: u64) -> RedisResult<()> {
    let lasts = Duration::from_secs(until.saturating_sub(unix_now().as_secs()).max(1));
    claims(link, "mark", keys, "", lasts).await.map(drop)
}

async fn claims(
    link: &Link,
    op: &str,
    keys: &[String],
    name: &str,
    lasts: Duration,
) -> RedisResult<Vec<i64>> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    link.run(&link.claim, &keys, |command| {
        command.arg(op).arg(name).arg(lasts);
    })
    .await
}
