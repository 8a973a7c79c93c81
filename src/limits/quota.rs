//! A count that lasts: what is spent was reserved on disk before, in small blocks.
//!
//! The file never says less than was spent: a block is written down before the first of it is spent.
//! What of a block is not spent when its sub-window is over is given back in the same breath as the next
//! one is reserved, so a process that dies loses one block of each caller at most.

use super::journal::{Journal, Past, push_line};
use super::tick::Tick;
use super::window::{Ceiling, Window};
use std::io;

/// Blocks in a quota, so that a lost one is small; and the most in one, so that it stays so.
const BLOCKS: u32 = 64;
const LARGEST: u32 = 256;

/// One caller's count, and what is reserved beyond it.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    window: Window,
    /// Reserved and not yet spent.
    ahead: u32,
    /// When that was reserved.
    at: Tick,
    /// The front of this caller's lines.
    owner: Box<str>,
}

impl Quota {
    /// Goes on from what was reserved before; what was not spent of it is lost.
    pub(super) fn resume(owner: String, past: &Past, ceiling: &Ceiling) -> Self {
        let mut window = Window::empty();
        for (&at, &n) in past {
            let (at, n) = (Tick::from_nanos(at), u32::try_from(n).unwrap_or(u32::MAX));
            window.room(ceiling, at);
            window.take_granted(n, at);
        }
        Self { window, ahead: 0, at: Tick::ZERO, owner: owner.into_boxed_str() }
    }

    pub(super) const fn window(&self) -> &Window {
        &self.window
    }

    pub(super) const fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    /// Makes sure that `n`, for which there is room, stand on disk.
    #[inline]
    pub(super) fn reserve(
        &mut self,
        n: u32,
        ceiling: &Ceiling,
        now: Tick,
        journal: &Journal,
    ) -> io::Result<()> {
        if self.ahead >= n && ceiling.same_part(self.at, now) {
            return Ok(());
        }
        self.reserve_block(n, ceiling, now, journal)
    }

    #[cold]
    fn reserve_block(&mut self, n: u32, ceiling: &Ceiling, now: Tick, journal: &Journal) -> io::Result<()> {
        // A clock that steps back reserves where it last did.
        let now = now.max(self.at);
        let mut lines = String::new();
        let kept = if ceiling.same_part(self.at, now) { self.ahead } else { 0 };
        if kept < self.ahead {
            push_line(&mut lines, &self.owner, self.at.nanos(), -i64::from(self.ahead));
        }
        let room = self.window.room(ceiling, now);
        let block = (ceiling.limit() / BLOCKS).clamp(1, LARGEST);
        let block = block.max(n.saturating_sub(kept)).min(room.saturating_sub(kept));
        push_line(&mut lines, &self.owner, now.nanos(), i64::from(block));
        journal.append(&lines)?;
        (self.ahead, self.at) = (kept + block, now);
        Ok(())
    }

    /// Spends what was reserved.
    pub(super) fn take(&mut self, n: u32, now: Tick) {
        self.ahead = self.ahead.saturating_sub(n);
        self.window.take_granted(n, now);
    }

    /// Takes back what was spent. On disk it stays reserved unless its sub-window still runs.
    pub(super) fn give_back(&mut self, n: u32, ceiling: &Ceiling, then: Tick) {
        self.window.give_back(n, ceiling, then);
        if ceiling.same_part(self.at, then) && !ceiling.is_exact() {
            self.ahead = self.ahead.saturating_add(n);
        }
    }
}
