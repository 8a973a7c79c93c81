//! Locks and atomics of the room. In the model tests they are shuttle's, whose scheduler tries orders of threads
//! that a machine seldom shows; everywhere else they are the usual ones.

#[cfg(not(shuttle))]
pub(super) use parking_lot::{Mutex, MutexGuard};
#[cfg(shuttle)]
pub(super) use shuttle::sync::{MutexGuard, atomic};
#[cfg(not(shuttle))]
pub(super) use std::sync::atomic;

/// Shuttle's lock with the usual one's face: a panic fails the test, so no lock is ever poisoned.
#[cfg(shuttle)]
#[derive(Debug, Default)]
pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

#[cfg(shuttle)]
impl<T> Mutex<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a panic fails the test")
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}
