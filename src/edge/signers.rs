//! Who may have a gateway dialled before its first frame: callers whose devices sign.
//!
//! A device signs the gateway's own challenge, so the gateway must be dialled before its `connect` can be
//! made. Gateways take only a few sockets that have not connected, so nobody gets that who has not shown
//! once, with a `connect`, that a device of theirs signs; and then only so many at once.

use crate::ids::GatewayId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a caller is known to have devices.
const KEPT: Duration = Duration::from_hours(1);
/// Sockets of one caller that wait for their `connect`.
const PER_CALLER: usize = 4;
/// Of one gateway: half of what it takes from one address.
const PER_GATEWAY: usize = 16;
/// Entries at which those that are over are taken out.
const SWEEP: usize = 4096;

type Caller = (u32, GatewayId);

/// Callers whose devices sign, and how many of their sockets wait.
#[derive(Debug, Default)]
pub(super) struct Signers {
    callers: Mutex<HashMap<Caller, Entry>>,
}

#[derive(Debug)]
struct Entry {
    until: Instant,
    waiting: usize,
}

impl Signers {
    /// Notes that a caller's device signs. Whether that was known.
    pub(super) fn note(&self, credential: u32, gateway: &GatewayId, now: Instant) -> bool {
        let mut callers = self.callers.lock();
        if callers.len() >= SWEEP {
            callers.retain(|_, entry| entry.waiting > 0 || entry.until > now);
        }
        let entry = callers.entry((credential, gateway.clone())).or_insert(Entry { until: now, waiting: 0 });
        let was_known = entry.until > now;
        entry.until = now + KEPT;
        was_known
    }

    /// A place among the sockets that are dialled ahead, if the caller is known and there is one.
    pub(super) fn enter(&self, credential: u32, gateway: &GatewayId, now: Instant) -> Option<Slot<'_>> {
        let mut callers = self.callers.lock();
        let waiting: usize =
            callers.iter().filter(|((_, other), _)| other == gateway).map(|(_, entry)| entry.waiting).sum();
        let entry = callers.get_mut(&(credential, gateway.clone())).filter(|entry| entry.until > now)?;
        if entry.waiting >= PER_CALLER || waiting >= PER_GATEWAY {
            return None;
        }
        entry.waiting += 1;
        Some(Slot { signers: self, caller: (credential, gateway.clone()) })
    }
}

/// A place among the sockets that are dialled ahead; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot<'d> {
    signers: &'d Signers,
    caller: Caller,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.signers.callers.lock().get_mut(&self.caller) {
            entry.waiting = entry.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_sign_get_in_and_only_so_many() {
        let (signers, now) = (Signers::default(), Instant::now());
        let gateway = GatewayId::parse("ceo").unwrap();
        assert!(signers.enter(1, &gateway, now).is_none());
        assert!(!signers.note(1, &gateway, now) && signers.note(1, &gateway, now));
        let mut slots: Vec<_> = (0..PER_CALLER).map(|_| signers.enter(1, &gateway, now).unwrap()).collect();
        assert!(signers.enter(1, &gateway, now).is_none());
        slots.pop();
        assert!(signers.enter(1, &gateway, now).is_some());
        assert!(signers.enter(1, &gateway, now + KEPT).is_none());
    }

    #[test]
    fn one_gateway_never_gets_more_than_its_half() {
        let (signers, now) = (Signers::default(), Instant::now());
        let (one, other) = (GatewayId::parse("ceo").unwrap(), GatewayId::parse("sec").unwrap());
        let mut slots = Vec::new();
        for credential in 0..10 {
            signers.note(credential, &one, now);
            slots.extend((0..PER_CALLER).filter_map(|_| signers.enter(credential, &one, now)));
        }
        assert_eq!(slots.len(), PER_GATEWAY);
        signers.note(1, &other, now);
        assert!(signers.enter(1, &other, now).is_some());
    }
}
