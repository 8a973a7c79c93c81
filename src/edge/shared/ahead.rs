//! What was taken ahead of need: blocks of a limit that this edge counts by itself.
//!
//! An edge holds at most one block of a count, so that beyond what the server ever gave out in a window at most
//! one block an edge can be spent in it. A block ends with its window. Whose count it is, the key alone says.

use crate::limits::Tick;
use dashmap::DashMap;

/// Most counts with a block; beyond it the server is asked for every request.
const MOST: usize = 200_000;

/// All blocks.
#[derive(Default)]
pub(super) struct Ahead {
    blocks: DashMap<String, Block>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    left: u32,
    until: Tick,
    /// Someone is asking for the next one.
    asking: bool,
    /// What the server had left when it gave this one, and for how long no more.
    beyond: u32,
    secs: u32,
}

/// What became of a request for a piece of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// It was there; so much is left, here and elsewhere, and for so many seconds no more.
    Spent {
        /// How many more.
        remaining: u32,
        /// Seconds.
        secs: u32,
    },
    /// It was not; whoever asks the server may take so many ahead.
    Lacking {
        /// 0 where someone else does already.
        extra: u32,
    },
}

impl Ahead {
    /// Spends `cost` of a block, or says how much may be taken ahead.
    pub(super) fn spend(&self, key: &str, cost: u32, size: u32, now: Tick) -> Piece {
        let Some(mut block) = self.blocks.get_mut(key) else {
            if self.blocks.len() >= MOST {
                return Piece::Lacking { extra: 0 };
            }
            let mut block = self.blocks.entry(key.to_owned()).or_default();
            let extra = if block.asking { 0 } else { size };
            block.asking = true;
            return Piece::Lacking { extra };
        };
        if block.until <= now {
            block.left = 0;
        }
        if block.left >= cost {
            block.left -= cost;
            return Piece::Spent { remaining: block.beyond.saturating_add(block.left), secs: block.secs };
        }
        if block.asking {
            return Piece::Lacking { extra: 0 };
        }
        block.asking = true;
        Piece::Lacking { extra: size.saturating_sub(block.left) }
    }

    /// Gives back what was spent for a request that came to nothing.
    pub(super) fn unspend(&self, key: &str, cost: u32, size: u32) {
        if let Some(mut block) = self.blocks.get_mut(key) {
            block.left = block.left.saturating_add(cost).min(size);
        }
    }

    /// Whoever was to ask has done so: this came of it.
    pub(super) fn fill(&self, key: &str, granted: u32, until: Tick, (beyond, secs): (u32, u32)) {
        if let Some(mut block) = self.blocks.get_mut(key) {
            block.asking = false;
            block.left = block.left.saturating_add(granted);
            (block.beyond, block.secs) = (beyond, secs);
            if granted > 0 {
                block.until = until;
            }
        }
    }

    /// Whoever was to ask has got no answer.
    pub(super) fn forgo(&self, key: &str) {
        if let Some(mut block) = self.blocks.get_mut(key) {
            block.asking = false;
        }
    }

    /// Drops blocks whose time is over.
    pub(super) fn sweep(&self, now: Tick) {
        self.blocks.retain(|_, block| block.asking || block.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(secs: u64) -> Tick {
        Tick::after(Duration::from_secs(secs))
    }

    #[test]
    fn one_asks_for_a_block_and_others_only_for_themselves() {
        let ahead = Ahead::default();
        assert_eq!(ahead.spend("k", 1, 10, at(0)), Piece::Lacking { extra: 10 });
        assert_eq!(ahead.spend("k", 1, 10, at(0)), Piece::Lacking { extra: 0 });
        ahead.fill("k", 10, at(60), (70, 30));
        assert_eq!(ahead.spend("k", 4, 10, at(1)), Piece::Spent { remaining: 76, secs: 30 });
        assert_eq!(ahead.spend("k", 7, 10, at(1)), Piece::Lacking { extra: 4 }, "never more than one block");
        ahead.forgo("k");
        ahead.unspend("k", 4, 10);
        assert_eq!(ahead.spend("k", 10, 10, at(2)), Piece::Spent { remaining: 70, secs: 30 });
    }

    #[test]
    fn a_block_ends_with_its_window() {
        let ahead = Ahead::default();
        let _ = ahead.spend("k", 1, 10, at(0));
        ahead.fill("k", 10, at(60), (0, 60));
        assert_eq!(ahead.spend("k", 1, 10, at(60)), Piece::Lacking { extra: 10 });
        ahead.forgo("k");
        ahead.sweep(at(60));
        assert_eq!(ahead.blocks.len(), 0);
    }
}
