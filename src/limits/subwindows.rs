//! The count for larger ceilings: sixty sub-windows and the one that is running, each counted whole.
//!
//! A sub-window is let go only when even its last nanosecond is a whole window ago, so the sum is never
//! below the truth: the ceiling holds in any trailing window, and the price is that a request may count
//! for one sixtieth of the window too long.

/// Sub-windows in a window.
pub(super) const PARTS: u64 = 60;

/// Sub-windows that count: [`PARTS`] and the running one.
const RING: u64 = PARTS + 1;
const RING_LEN: usize = 61;

/// Counters by sub-window, in a ring. The running one is kept apart, beside the sum, so that deciding
/// again in the same sub-window touches the front alone: 16 bytes.
#[derive(Debug, Clone)]
#[repr(C)]
pub(super) struct SubWindows {
    /// Number of the running sub-window, and in the lowest byte how many before it the oldest lies that
    /// counts anything: at most [`PARTS`].
    span: u64,
    /// All that counts.
    sum: u32,
    /// What of it is in the running sub-window; the ring has 0 there.
    running: u32,
    counts: [u32; RING_LEN],
}

impl SubWindows {
    pub(super) const fn empty(running: u64) -> Self {
        Self { span: running << 8, sum: 0, running: 0, counts: [0; RING_LEN] }
    }

    /// Moves on to `now`, in sub-windows of `part`; stays where that lies in the past.
    #[inline]
    pub(super) fn advance(&mut self, now: u64, part: u64) {
        // Multiplying is quicker than dividing, and almost always shows that there is nothing to do.
        if now >= (self.newest() + 1).saturating_mul(part) {
            self.move_on(now / part);
        }
    }

    #[inline]
    pub(super) const fn sum(&self) -> u32 {
        self.sum
    }

    #[inline]
    pub(super) const fn newest(&self) -> u64 {
        self.span >> 8
    }

    /// No sub-window before this one counts anything.
    #[inline]
    const fn oldest(&self) -> u64 {
        self.newest() - (self.span & 0xff)
    }

    /// Counts `n` more in the running sub-window.
    #[inline]
    pub(super) fn add(&mut self, n: u32) {
        // The sum never passes a ceiling, which is a `u32`; saturating keeps a mistake on the safe side.
        let n = n.min(u32::MAX - self.sum);
        if self.sum == 0 {
            self.span = self.newest() << 8;
        }
        self.running += n;
        self.sum += n;
    }

    /// Takes `n` out of sub-window `number`, if it still counts.
    pub(super) fn subtract(&mut self, n: u32, number: u64) {
        let newest = self.newest();
        let counted = if number == newest {
            &mut self.running
        } else if (self.oldest()..newest).contains(&number) {
            &mut self.counts[slot(number)]
        } else {
            return;
        };
        let n = n.min(*counted);
        *counted -= n;
        self.sum -= n;
        self.drop_empty_front(newest);
    }

    /// Moves the oldest on to one that counts something.
    fn drop_empty_front(&mut self, newest: u64) {
        let mut oldest = self.oldest();
        while oldest < newest && self.counts[slot(oldest)] == 0 {
            oldest += 1;
        }
        self.span = newest << 8 | (newest - oldest);
    }

    /// The sub-window whose end first lets fewer than `limit` (and fewer than now) count.
    #[inline]
    pub(super) fn next_to_leave(&self, limit: u32) -> Option<u64> {
        if self.sum > 0 && self.sum <= limit {
            // Something counts in the oldest, so its end is enough.
            return Some(self.oldest());
        }
        self.search_next_to_leave(limit)
    }

    #[cold]
    fn search_next_to_leave(&self, limit: u32) -> Option<u64> {
        let enough = limit.checked_sub(1)?;
        let mut left = self.sum;
        let ended = (self.oldest()..self.newest()).find(|&number| {
            left -= self.counts[slot(number)];
            left <= enough
        });
        (self.sum > 0).then(|| ended.unwrap_or(self.newest()))
    }

    /// The first sub-window in which nothing of sub-window `number` counts.
    pub(super) const fn released(number: u64) -> u64 {
        number.saturating_add(RING)
    }

    #[cold]
    fn move_on(&mut self, number: u64) {
        let (newest, oldest) = (self.newest(), self.oldest());
        if self.sum == 0 {
            // The ring holds zeros alone.
            self.span = number << 8;
            return;
        }
        if number - newest >= RING {
            *self = Self::empty(number);
            return;
        }
        self.counts[slot(newest)] = std::mem::take(&mut self.running);
        for entered in newest + 1..=number {
            self.sum -= std::mem::take(&mut self.counts[slot(entered)]);
        }
        let oldest = oldest.max(number.saturating_sub(PARTS));
        self.span = number << 8 | (number - oldest);
        self.drop_empty_front(number);
    }
}

fn slot(number: u64) -> usize {
    // Below 61, so it fits any `usize`.
    usize::try_from(number % RING).unwrap_or(0)
}
