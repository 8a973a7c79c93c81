//! Counts of the last so many stretches of time, each as long as the others.

use serde::ser::SerializeTuple as _;
use serde::{Serialize, Serializer};
use std::collections::VecDeque;

/// What happened in one stretch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// How much in all.
    pub count: u32,
    /// How much of it the edge refused.
    pub refused: u32,
    /// How much of it failed: answered with 5xx, and not because the edge refused it.
    pub failed: u32,
    /// How long all of it took together, in microseconds.
    pub micros: u64,
}

impl Point {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.refused = self.refused.saturating_add(other.refused);
        self.failed = self.failed.saturating_add(other.failed);
        self.micros = self.micros.saturating_add(other.micros);
    }
}

impl Point {
    /// Takes back what is counted elsewhere.
    pub(super) fn take_back(&mut self, other: Self) {
        self.count = self.count.saturating_sub(other.count);
        self.refused = self.refused.saturating_sub(other.refused);
        self.failed = self.failed.saturating_sub(other.failed);
        self.micros = self.micros.saturating_sub(other.micros);
    }
}

/// As `[count, refused, failed, micros]`: there are hundreds in an answer.
impl Serialize for Point {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut tuple = to.serialize_tuple(4)?;
        tuple.serialize_element(&self.count)?;
        tuple.serialize_element(&self.refused)?;
        tuple.serialize_element(&self.failed)?;
        tuple.serialize_element(&self.micros)?;
        tuple.end()
    }
}

/// See the file's head. Empty stretches at its end take no room.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    /// Seconds of a stretch.
    stretch: u64,
    /// How many are kept.
    most: usize,
    /// The number of the last one that has something.
    last: u64,
    points: VecDeque<Point>,
}

impl Ring {
    pub(super) fn new(stretch: u64, most: usize) -> Self {
        Self { stretch, most, last: 0, points: VecDeque::new() }
    }

    /// Adds to the stretch that a Unix second is in. A clock that was set back adds to the last one.
    pub(super) fn add(&mut self, second: u64, point: Point) {
        let now = second / self.stretch;
        if self.points.is_empty() || now.saturating_sub(self.last) >= self.most as u64 {
            self.points.clear();
            self.points.push_back(Point::default());
            self.last = now;
        }
        while self.last < now {
            self.points.push_back(Point::default());
            self.last += 1;
        }
        while self.points.len() > self.most {
            self.points.pop_front();
        }
        if let Some(last) = self.points.back_mut() {
            last.add(point);
        }
    }

    /// All of them, the oldest first, up to the one that a Unix second is in.
    pub(super) fn read(&self, second: u64) -> Vec<Point> {
        let now = (second / self.stretch).max(self.last);
        let behind = usize::try_from(now - self.last).unwrap_or(usize::MAX).min(self.most);
        let mut points: Vec<Point> = Vec::with_capacity(self.most);
        let kept = self.points.len().min(self.most - behind);
        points.resize(self.most - behind - kept, Point::default());
        points.extend(self.points.iter().skip(self.points.len() - kept));
        points.resize(self.most, Point::default());
        points
    }

    /// Whether nothing that it has still counts.
    pub(super) fn is_quiet(&self, second: u64) -> bool {
        (second / self.stretch).saturating_sub(self.last) >= self.most as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ring: &Ring, second: u64) -> Vec<u32> {
        ring.read(second).iter().map(|point| point.count).collect()
    }

    fn one(n: u32) -> Point {
        Point { count: n, ..Point::default() }
    }

    #[test]
    fn stretches_move_on_with_the_time() {
        let mut ring = Ring::new(10, 4);
        assert_eq!(counts(&ring, 5), [0, 0, 0, 0]);
        ring.add(100, one(1));
        ring.add(109, one(2));
        ring.add(125, one(4));
        assert_eq!(counts(&ring, 125), [0, 3, 0, 4]);
        assert_eq!(counts(&ring, 139), [3, 0, 4, 0]);
        assert_eq!(counts(&ring, 169), [0, 0, 0, 0]);
        assert!(!ring.is_quiet(159) && ring.is_quiet(160));
        ring.add(500, one(8));
        assert_eq!(counts(&ring, 500), [0, 0, 0, 8]);
        // A clock that was set back loses nothing.
        ring.add(490, one(1));
        assert_eq!(counts(&ring, 490), [0, 0, 0, 9]);
    }

    #[test]
    fn it_holds_no_more_than_it_may() {
        let mut ring = Ring::new(1, 60);
        for second in 0..1000 {
            ring.add(second, one(1));
        }
        assert_eq!(ring.points.len(), 60);
        assert_eq!(counts(&ring, 999), [1; 60]);
    }
}
