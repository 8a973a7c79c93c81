//! The exact count for small ceilings: the time of every request that still counts.
//!
//! Up to [`CAPACITY`] stamps take no more room than the counters that larger ceilings use, and at so
//! few requests a counter's coarseness would cost a caller more than one in twenty.

/// Most stamps held; ceilings up to this are counted exactly.
pub(super) const CAPACITY: usize = 30;

/// A ring of stamps in nanoseconds, oldest first.
#[derive(Debug, Clone)]
#[repr(C)]
pub(super) struct Log {
    head: u8,
    len: u8,
    stamps: [u64; CAPACITY],
}

impl Log {
    pub(super) const fn empty() -> Self {
        Self { head: 0, len: 0, stamps: [0; CAPACITY] }
    }

    /// Forgets what is `per` or longer ago.
    pub(super) fn expire(&mut self, per: u64, now: u64) {
        while self.len > 0 && self.stamp(0).saturating_add(per) <= now {
            self.head = if usize::from(self.head) + 1 == CAPACITY { 0 } else { self.head + 1 };
            self.len -= 1;
        }
    }

    pub(super) const fn len(&self) -> u8 {
        self.len
    }

    /// Adds a stamp, no earlier than the last one. A full log trades its oldest for it; that is never
    /// asked for while the ceiling fits, since a full log has no room to offer.
    pub(super) fn push(&mut self, now: u64) {
        let stamp = self.latest().map_or(now, |last| last.max(now));
        if usize::from(self.len) == CAPACITY {
            self.head = if usize::from(self.head) + 1 == CAPACITY { 0 } else { self.head + 1 };
            self.len -= 1;
        }
        self.stamps[self.position(self.len)] = stamp;
        self.len += 1;
    }

    /// Takes out one stamp of this moment, if it still counts.
    pub(super) fn remove(&mut self, then: u64) {
        let Some(nth) = (0..self.len).rev().find(|&nth| self.stamp(nth) <= then) else { return };
        if self.stamp(nth) == then {
            for nth in nth..self.len - 1 {
                self.stamps[self.position(nth)] = self.stamp(nth + 1);
            }
            self.len -= 1;
        }
    }

    pub(super) fn latest(&self) -> Option<u64> {
        self.len.checked_sub(1).map(|last| self.stamp(last))
    }

    /// The stamp whose end first lets fewer than `limit` (and fewer than now) count.
    pub(super) fn next_to_leave(&self, limit: u32) -> Option<u64> {
        let over = u32::from(self.len).saturating_sub(limit);
        // `over` is below 256, being a difference from a `u8`.
        let nth = u8::try_from(over).unwrap_or(u8::MAX);
        (nth < self.len).then(|| self.stamp(nth))
    }

    /// Every stamp, oldest first.
    pub(super) fn stamps(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len).map(|nth| self.stamp(nth))
    }

    fn stamp(&self, nth: u8) -> u64 {
        self.stamps[self.position(nth)]
    }

    fn position(&self, nth: u8) -> usize {
        let at = usize::from(self.head) + usize::from(nth);
        if at >= CAPACITY { at - CAPACITY } else { at }
    }
}
