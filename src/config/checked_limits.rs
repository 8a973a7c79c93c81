//! Limits, plans, lists of addresses and the server that edges share, as they were found right.

use super::checked::{Denial, Dimension, Refund, WhenUnreachable};
use crate::ids::{CredentialId, Name, TenantId};
use crate::secret::Secret;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A limit.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Its name in answers, logs and metrics.
    pub name: Name,
    /// What is counted apart; sorted, not empty, none twice.
    pub by: Vec<Dimension>,
    /// Which promise it makes.
    pub kind: LimitKind,
    /// Most in a window, at once, or at the same time.
    pub limit: u32,
    /// In any trailing span of this length; nothing for a number in flight.
    pub per: Duration,
    /// What a request counts for.
    pub cost: Cost,
    /// Whether it refuses.
    pub effect: Effect,
    /// When a request is given back.
    pub refund: Refund,
    /// The field whose values are counted apart; there with [`Dimension::Header`] alone.
    pub header: Option<http::HeaderName>,
    /// Which address lists free from it: a bit for each place in [`Config::address_lists`](super::checked::Config::address_lists).
    pub exempt: u32,
    /// Whether several edges count it together.
    pub shared: Option<SharedLimit>,
}

/// What addresses get that misbehave, and what each may hold before anyone is known.
#[derive(Debug, Clone)]
pub struct Abuse {
    /// To whom none of this applies.
    pub spare: Vec<ipnet::IpNet>,
    /// When an address cools down; never without them.
    pub strikes: Option<Strikes>,
    /// Most connections without a whole head.
    pub half_open: usize,
    /// Most bytes of unfinished heads.
    pub head_bytes: usize,
    /// Most time spent waiting for them in any minute.
    pub head_time: Duration,
    /// Most bytes of unverified bodies.
    pub body_bytes: usize,
}

/// When an address cools down, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Strikes {
    /// Most at once, and in the long run in `per`.
    pub limit: u32,
    /// See `limit`.
    pub per: Duration,
    /// The first pause.
    pub pause: Duration,
    /// The longest.
    pub longest: Duration,
}

/// Other numbers of limits, and who has them.
#[derive(Debug, Default)]
pub struct Tariffs {
    /// Tenants and credentials refer by index.
    pub all: Vec<Tariff>,
    /// Of tenants on a plan.
    pub tenants: HashMap<TenantId, usize>,
    /// Of credentials with numbers of their own, their tenant's plan included.
    pub credentials: HashMap<CredentialId, usize>,
}

/// Limits with other numbers, by their places in [`Config::limits`](super::checked::Config::limits).
#[derive(Debug, Clone, Default)]
pub struct Tariff(pub BTreeMap<usize, Limit>);

/// A list of client addresses.
#[derive(Debug, Clone)]
pub struct AddressList {
    /// Its name in logs and metrics.
    pub name: Name,
    /// What it does with those on it.
    pub verdict: Verdict,
    /// Who is on it.
    pub networks: Vec<ipnet::IpNet>,
}

/// What a list of addresses does with those on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lets them in.
    Allow,
    /// Keeps them out.
    Deny(Denial),
}

impl Limit {
    /// The same limit as this edge keeps it alone.
    #[must_use]
    pub fn alone(&self, share: LocalShare) -> Self {
        let limit = share.part(self.limit);
        let kind = match self.kind {
            LimitKind::Rate { every } => {
                // As much slower as the burst is meant to be smaller.
                LimitKind::Rate { every: every.saturating_mul(share.of) / share.n.max(1) }
            }
            LimitKind::Window | LimitKind::Quota | LimitKind::Concurrency => self.kind,
        };
        Self { limit, kind, shared: None, ..self.clone() }
    }
}

/// How several edges count a limit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedLimit {
    /// What becomes of requests while the server does not answer.
    pub when: WhenUnreachable,
    /// What this edge lets through alone.
    pub alone: LocalShare,
    /// What is taken ahead; 0: nothing is.
    pub block: u32,
}

/// `n` parts of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalShare {
    /// So many parts.
    pub n: u32,
    /// Of so many; not 0.
    pub of: u32,
}

impl LocalShare {
    /// This share of a number, at least 1.
    #[must_use]
    pub fn part(self, whole: u32) -> u32 {
        let part = u64::from(whole) * u64::from(self.n) / u64::from(self.of);
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    }
}

/// The Redis or Valkey in which several edges count together.
#[derive(Debug, Clone)]
pub struct SharedServer {
    /// Host and port; of a cluster several may be known.
    pub nodes: Vec<(String, u16)>,
    /// With TLS.
    pub tls: bool,
    /// Number of the database.
    pub database: i64,
    /// It is a cluster.
    pub cluster: bool,
    /// Who logs in.
    pub username: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    /// PEM of its authority; without it the machine's authorities count.
    pub ca: Option<String>,
    /// Front of all keys.
    pub prefix: String,
    /// How long a request waits.
    pub deadline: Duration,
}

impl SharedServer {
    /// Whether both mean the same server, asked in the same way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let secret = |one: &Self| one.password.as_ref().map(|secret| secret.expose().to_vec());
        let rest = |one: &Self| {
            let place = (one.nodes.clone(), one.tls, one.database, one.cluster);
            (place, one.username.clone(), one.ca.clone(), one.prefix.clone(), one.deadline)
        };
        rest(self) == rest(other) && secret(self) == secret(other)
    }
}

/// What a request counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// So many.
    Requests(u32),
    /// So many by its method.
    Methods {
        /// Of these methods.
        weights: Vec<(http::Method, u32)>,
        /// Of these methods of a gateway.
        calls: Vec<(crate::openclaw::methods::Method, u32)>,
        /// Of all others.
        other: u32,
    },
    /// The bytes of its body.
    BodyBytes,
}

/// Whether a limit refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Refuses,
    /// It only tells what it would have refused.
    Shadow,
}

/// Which promise a limit makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// A ceiling over seconds to days, kept in memory.
    Window,
    /// The same ceiling over hours or days.
    Quota,
    /// One more after every step, and a burst of `limit` after a rest.
    Rate {
        /// The step.
        every: Duration,
    },
    /// At most `limit` at the same time.
    Concurrency,
}
