//! The door: what one address may hold of the edge before a head of its is whole. A connection takes its place as
//! it comes in and gives it back with its first whole head, however it ends.
//!
//! Who is let in without such bounds, the policy says; how heads are read is not known here.

use super::live::Site;
use crate::admission::Rejection;
use crate::config::checked::Denial;
use crate::identity::lists::Listed;
use crate::limits::{Budget, BudgetTerms, Prefix};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A connection that came in.
pub(super) struct Guest {
    /// Not there for those who are spared.
    counted: Option<Counted>,
}

/// What is counted of one connection.
struct Counted {
    site: Arc<Site>,
    prefix: Prefix,
    terms: BudgetTerms,
    half_open: usize,
    head_bytes: usize,
    /// What of the present head's time is counted already.
    waited: Duration,
}

impl Guest {
    /// Lets a connection in; none where it is to be closed at once, without an answer.
    pub(super) fn enter(site: &Arc<Site>, peer: Option<IpAddr>) -> Option<Self> {
        let live = site.live.load();
        let (Some(peer), Some(live)) = (peer, live.as_ref()) else { return Some(Self { counted: None }) };
        let policy = &live.policy;
        let listed = policy.lists.find(peer.to_canonical());
        // A proxy's own address is not its clients'.
        if listed.and_then(Listed::denial) == Some(Denial::Close) && !policy.trusts(peer) {
            let list = listed.and_then(|listed| policy.lists.name(listed));
            site.metrics.denied.with_label_values(&[list.map_or("", |name| name.as_str())]).inc();
            return None;
        }
        let Some(terms) = policy.budgets(peer) else { return Some(Self { counted: None }) };
        let prefix = Prefix::of(peer);
        let now = site.tick(Instant::now());
        if !site.limiter.budgets().take(prefix, Budget::HalfOpen, 1, &terms, now) {
            site.metrics.budgets.with_label_values(&[Budget::HalfOpen.word()]).inc();
            return None;
        }
        let counted = Counted {
            site: site.clone(),
            prefix,
            terms,
            half_open: 1,
            head_bytes: 0,
            waited: Duration::ZERO,
        };
        Some(Self { counted: Some(counted) })
    }

    /// A head is whole, after so long.
    #[inline]
    pub(super) fn through(&mut self, waited: Duration) {
        if let Some(counted) = self.counted.as_mut().filter(|counted| counted.holds_something()) {
            counted.wait(waited);
            counted.release();
        }
    }

    /// A head has this many bytes, and is not whole after so long; for how long it may still be waited for.
    ///
    /// # Errors
    /// [`Rejection`]: what is over.
    #[cold]
    pub(super) fn waits(
        &mut self,
        bytes: usize,
        waited: Duration,
        limit: Duration,
    ) -> Result<Duration, Rejection> {
        let left = limit.saturating_sub(waited);
        let Some(counted) = &mut self.counted else { return Ok(left) };
        counted.wait(waited);
        let (budgets, now) = (counted.site.limiter.budgets(), counted.site.tick(Instant::now()));
        let more = bytes.saturating_sub(counted.head_bytes);
        if !budgets.take(counted.prefix, Budget::HeadBytes, more, &counted.terms, now) {
            return Err(counted.over(Budget::HeadBytes));
        }
        counted.head_bytes += more;
        match budgets.patience(counted.prefix, &counted.terms, now) {
            Duration::ZERO => Err(counted.over(Budget::HeadTime)),
            patience => Ok(left.min(patience)),
        }
    }

    /// What a head is refused with that did not come in time: its own, or that of its address.
    #[cold]
    pub(super) fn out_of_time(&mut self, limit: Duration, waited: Duration) -> Rejection {
        let Some(counted) = &mut self.counted else { return Rejection::HeadTimeout };
        counted.wait(waited);
        if waited < limit { counted.over(Budget::HeadTime) } else { Rejection::HeadTimeout }
    }
}

impl Counted {
    fn holds_something(&self) -> bool {
        self.half_open + self.head_bytes > 0
    }

    /// Counts what was waited since it was last asked; `waited` is from the head's beginning.
    fn wait(&mut self, waited: Duration) {
        let more = waited.saturating_sub(self.waited);
        if more >= MILLISECOND {
            self.waited = waited;
            let now = self.site.tick(Instant::now());
            self.site.limiter.budgets().waited(self.prefix, more, &self.terms, now);
        }
    }

    fn over(&self, budget: Budget) -> Rejection {
        self.site.metrics.budgets.with_label_values(&[budget.word()]).inc();
        Rejection::OverBudget(budget)
    }
    fn release(&mut self) {
        let (budgets, now) = (self.site.limiter.budgets(), self.site.tick(Instant::now()));
        let half_open = std::mem::take(&mut self.half_open);
        let head_bytes = std::mem::take(&mut self.head_bytes);
        self.waited = Duration::ZERO;
        budgets.give_back(self.prefix, Budget::HalfOpen, half_open, now);
        if head_bytes > 0 {
            budgets.give_back(self.prefix, Budget::HeadBytes, head_bytes, now);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.holds_something() {
            self.release();
        }
    }
}

/// Bytes of a body that are held while nobody is known; given back when it is over.
pub(super) struct Unproved {
    site: Arc<Site>,
    prefix: Prefix,
    bytes: usize,
}

impl Unproved {
    /// Room for so many bytes; nothing is counted of those who are spared.
    ///
    /// # Errors
    /// [`Rejection::OverBudget`].
    pub(super) fn hold(site: &Arc<Site>, client: IpAddr, bytes: usize) -> Result<Option<Self>, Rejection> {
        let live = site.live.load();
        let Some(terms) = live.as_ref().as_ref().and_then(|live| live.policy.budgets(client)) else {
            return Ok(None);
        };
        let prefix = Prefix::of(client);
        let now = site.tick(Instant::now());
        if !site.limiter.budgets().take(prefix, Budget::BodyBytes, bytes, &terms, now) {
            site.metrics.budgets.with_label_values(&[Budget::BodyBytes.word()]).inc();
            return Err(Rejection::OverBudget(Budget::BodyBytes));
        }
        Ok(Some(Self { site: site.clone(), prefix, bytes }))
    }
}

impl Drop for Unproved {
    fn drop(&mut self) {
        let now = self.site.tick(Instant::now());
        self.site.limiter.budgets().give_back(self.prefix, Budget::BodyBytes, self.bytes, now);
    }
}
