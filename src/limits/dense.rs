//! Counts of known callers: one cell for each number, found without a hash and never pushed out.
//!
//! Tenants, credentials, nodes and routes have numbers that count up from 0 (see [`super::Limiter`]), so
//! a rule that counts by one of them keeps its cells in a row. Rows are made as numbers come up, each
//! twice as long as the one before; cells never move, so they can be locked without holding anything.

use super::sync::atomic::{AtomicUsize, Ordering};
use super::table::Cell;
use std::sync::OnceLock;

/// Cells in the first row.
const FIRST: u32 = 16;
const ROWS: usize = 28;

/// One rule's cells, by number.
pub(super) struct Dense {
    rows: [OnceLock<Box<[Cell]>>; ROWS],
    used: AtomicUsize,
}

impl Dense {
    pub(super) const fn new() -> Self {
        Self { rows: [const { OnceLock::new() }; ROWS], used: AtomicUsize::new(0) }
    }

    /// The cell of a number.
    #[inline]
    pub(super) fn cell(&self, number: u32) -> &Cell {
        let (row, within) = spot(number);
        let made = || (0..FIRST << row).map(|_| Cell::vacant()).collect();
        &self.rows[row].get_or_init(made)[within]
    }

    /// The cell of a number, if its row was ever asked for: else nothing was counted in it.
    pub(super) fn made(&self, number: u32) -> Option<&Cell> {
        let (row, within) = spot(number);
        self.rows[row].get().map(|cells| &cells[within])
    }

    /// Notes that a cell counts something for the first time.
    pub(super) fn note_use(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    /// Cells that have counted something.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// A number's row, and where it lies in it.
#[inline]
const fn spot(number: u32) -> (usize, usize) {
    // Numbers stay far below 2^31: they count what an operator has named.
    let shifted = number.saturating_add(FIRST);
    let row = shifted.ilog2() - FIRST.ilog2();
    (row as usize, (shifted - (FIRST << row)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_cell_of_its_own() {
        let dense = Dense::new();
        let mut seen = std::collections::HashSet::new();
        for number in (0..1000).chain([65_535, 65_536]) {
            assert!(seen.insert(std::ptr::from_ref(dense.cell(number))), "{number}");
        }
        assert!(dense.made(1007).is_some(), "of the row of 999");
        assert!(dense.made(1008).is_none(), "rows are made as they are asked for");
        for number in [0, 15, 16, 47, 48, 999] {
            assert!(dense.made(number).is_some_and(|cell| std::ptr::eq(cell, dense.cell(number))));
            assert!(std::ptr::eq(dense.cell(number), dense.cell(number)));
        }
    }
}
