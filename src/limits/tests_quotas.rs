//! Quotas that last: whatever dies and starts again, nothing is spent twice and little is lost.

use super::{Limiter, RuleSet, Subject, Tick};
use crate::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
use crate::ids::{Name, TenantId};
use proptest::prelude::{ProptestConfig, prop_assert, prop_oneof, proptest};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;

fn quota(most: u32) -> Limit {
    Limit {
        name: Name::parse("writes").expect("a name"),
        by: vec![Dimension::Tenant],
        kind: LimitKind::Quota,
        limit: most,
        per: Duration::from_hours(1),
        cost: Cost::BodyBytes,
        effect: Effect::Refuses,
        refund: Refund::Never,
        exempt: 0,
        header: None,
        shared: None,
    }
}

fn file() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("edge-quotas-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    // Another in every call.
    folder.join(format!("{:x}.jsonl", RandomState::new().hash_one(0)))
}

fn at(ms: u64) -> Tick {
    Tick::after(Duration::from_millis(ms))
}

/// A process: what it keeps in memory dies with it.
struct Process {
    limiter: Limiter,
    rules: RuleSet,
    tenants: [u32; 2],
}

impl Process {
    fn start(path: &Path, most: u32, now: Tick, names: [&str; 2]) -> Self {
        let mut limiter = Limiter::new(10);
        assert_eq!(limiter.keep_quotas(path, now).expect("a file"), 0);
        let rules = limiter.compile(&[quota(most)]).expect("one limit");
        // Numbers are given anew in every process.
        let tenants = names.map(|name| limiter.intern_tenant(&TenantId::parse(name).expect("a name")));
        Self { limiter, rules, tenants }
    }

    fn spend(&self, tenant: usize, cost: u32, now: Tick) -> bool {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let subject = Subject { tenant: Some(self.tenants[tenant]), body: cost, ..Subject::stranger(ip, 0) };
        self.limiter.decide(&self.rules, &subject, now).is_admitted()
    }
}

#[test]
fn a_spent_quota_stays_spent_for_its_window_and_no_longer() {
    for most in [20, 5000] {
        let path = file();
        let first = Process::start(&path, most, at(1000), ["a", "b"]);
        assert_eq!((0..most + 9).filter(|_| first.spend(0, 1, at(1000))).count(), most as usize);
        drop(first);
        let second = Process::start(&path, most, at(9000), ["b", "a"]);
        assert!(!second.spend(1, 1, at(9000)));
        assert!(second.spend(0, 1, at(9000)), "another tenant's is its own");
        drop(second);
        let third = Process::start(&path, most, at(2 * HOUR_MS), ["a", "b"]);
        assert!(third.spend(0, most, at(2 * HOUR_MS)));
    }
}

#[test]
fn a_killed_process_loses_a_block_at_most() {
    let path = file();
    // 6400 are 64 blocks of 100.
    let first = Process::start(&path, 6400, at(1000), ["a", "b"]);
    assert!((0..150).all(|_| first.spend(0, 1, at(1000))));
    drop(first);
    let second = Process::start(&path, 6400, at(2000), ["a", "b"]);
    let [standing] = &second.limiter.quotas(None, at(2000))[..] else { panic!("one has spent something") };
    assert_eq!((standing.of.as_str(), standing.by, standing.remaining), ("a", "tenant", 6200));
    // The sub-window moves on: what is left of a block is given back when the next is reserved.
    assert!(second.spend(0, 1, at(2000)) && second.spend(0, 1, at(200_000)));
    drop(second);
    let third = Process::start(&path, 6400, at(200_000), ["a", "b"]);
    assert_eq!(third.limiter.quotas(None, at(200_000))[0].remaining, 6400 - 200 - 1 - 100);
}

#[test]
fn a_quota_that_was_gone_for_a_while_has_forgotten_nothing() {
    let path = file();
    let process = Process::start(&path, 100, at(1000), ["a", "b"]);
    assert!(process.spend(0, 90, at(1000)));
    let Process { limiter, rules, tenants } = process;
    drop(rules);
    limiter.forget_removed();
    let process = Process { rules: limiter.compile(&[quota(100)]).expect("one limit"), limiter, tenants };
    assert!(!process.spend(0, 11, at(2000)));
    assert!(process.spend(0, 10, at(2000)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Spending, time and sudden deaths in any order: no trailing hour holds more than the quota, and
    /// what is refused at first sight was lost to deaths, a block each.
    #[test]
    fn no_death_gives_a_free_write(
        most in prop_oneof![5_u32..30, 100_u32..3000],
        steps in proptest::collection::vec((0_u64..900_000, 1_u32..40, proptest::bool::weighted(0.2)), 1..80),
    ) {
        let path = file();
        let (mut now, mut deaths) = (1000, 0);
        let mut process = Process::start(&path, most, at(now), ["a", "b"]);
        let mut spent = Vec::<(u64, u32)>::new();
        for (gap, cost, dies) in steps {
            now += gap;
            if dies {
                deaths += 1;
                drop(process);
                process = Process::start(&path, most, at(now), ["a", "b"]);
            }
            if process.spend(0, cost, at(now)) {
                spent.push((now, cost));
            } else {
                let coarse = HOUR_MS + HOUR_MS / 30;
                let held: u32 = spent.iter().filter(|(t, _)| now - t < coarse).map(|(_, n)| n).sum();
                let block = (most / 64).clamp(1, 256).max(40);
                prop_assert!(held + cost + deaths * block > most, "{held} of {most}, {deaths} deaths");
            }
            let held: u32 = spent.iter().filter(|(t, _)| now - t < HOUR_MS).map(|(_, n)| n).sum();
            prop_assert!(held <= most);
        }
    }
}
