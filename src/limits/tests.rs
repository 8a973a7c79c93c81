//! The room as a whole: many callers, several rules, threads, floods and reloads.

use super::{Decision, Limiter, LimitsError, RuleSet, Subject, Tick};
use crate::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
use crate::ids::{CredentialId, Name, TenantId};
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const THREADS: u32 = 8;
const IP: &[Dimension] = &[Dimension::Ip];
const CREDENTIAL: &[Dimension] = &[Dimension::Credential];
const TENANT: &[Dimension] = &[Dimension::Tenant];

fn limit(name: &str, by: &[Dimension], limit: u32, secs: u64) -> Limit {
    Limit {
        name: Name::parse(name).expect("a name"),
        by: by.to_vec(),
        kind: LimitKind::Window,
        limit,
        per: Duration::from_secs(secs),
        cost: Cost::Requests(1),
        effect: Effect::Refuses,
        refund: Refund::Never,
        exempt: 0,
        header: None,
        shared: None,
    }
}

fn rules(limiter: &Limiter, limits: &[Limit]) -> RuleSet {
    limiter.compile(limits).expect("few limits")
}

fn address(n: u32) -> Subject {
    Subject { credential: Some(0), tenant: Some(0), ..Subject::stranger(IpAddr::from(n.to_be_bytes()), 0) }
}

fn at(secs: u64) -> Tick {
    Tick::after(Duration::from_secs(secs))
}

fn remaining(decision: &Decision) -> Vec<u32> {
    decision.standings().as_slice().iter().map(|standing| standing.remaining).collect()
}

/// Runs one closure on each of eight threads and adds up what they say.
fn on_threads(work: impl Fn(u32) -> u32 + Sync) -> u32 {
    let barrier = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        let run = |n| {
            barrier.wait();
            work(n)
        };
        let handles: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || run(n))).collect();
        handles.into_iter().map(|handle| handle.join().expect("no thread panics")).sum()
    })
}

#[test]
fn a_refused_request_spends_nothing_anywhere() {
    let limiter = Limiter::new(100);
    let all =
        [limit("ip", IP, 10, 60), limit("tenant", TENANT, 2, 60), limit("credential", CREDENTIAL, 10, 60)];
    let rules = rules(&limiter, &all);
    assert_eq!(remaining(&limiter.decide(&rules, &address(1), at(0))), [9, 1, 9]);
    assert_eq!(remaining(&limiter.decide(&rules, &address(1), at(1))), [8, 0, 8]);
    for _ in 0..50 {
        let decision = limiter.decide(&rules, &address(1), at(2));
        assert!(matches!(decision, Decision::Refused { rule: 1, .. }));
        assert_eq!(remaining(&decision), [8, 0, 8]);
        assert_eq!(decision.retry_after_secs(), Some(58));
    }
    assert_eq!(remaining(&limiter.decide(&rules, &address(1), at(60))), [8, 0, 8], "the first is over");
}

#[test]
fn the_longest_wait_is_the_one_that_is_told() {
    let limiter = Limiter::new(100);
    let rules = rules(&limiter, &[limit("short", IP, 1, 10), limit("long", TENANT, 1, 100)]);
    assert!(limiter.decide(&rules, &address(1), at(0)).is_admitted());
    let decision = limiter.decide(&rules, &address(1), at(1));
    assert!(matches!(decision, Decision::Refused { rule: 1, .. }));
    assert_eq!(decision.retry_after_secs(), Some(99));
    let names: Vec<_> = decision.violated_policies(&rules).map(Name::as_str).collect();
    assert_eq!(names, ["long", "short"]);
}

#[test]
fn a_rule_by_what_the_caller_lacks_does_not_apply() {
    let limiter = Limiter::new(100);
    let rules = rules(&limiter, &[limit("credential", CREDENTIAL, 0, 60), limit("ip", IP, 5, 60)]);
    let nobody = Subject { credential: None, tenant: None, ..address(1) };
    let decision = limiter.decide(&rules, &nobody, at(0));
    assert_eq!(remaining(&decision), [4]);
    assert_eq!(decision.standings().as_slice()[0].rule, 1);
    assert!(!limiter.decide(&rules, &address(1), at(0)).is_admitted());
}

#[test]
fn a_limit_named_twice_counts_once_and_nine_are_too_many() {
    let limiter = Limiter::new(100);
    let twice = [limit("ip", IP, 5, 60), limit("ip", IP, 5, 60)];
    assert_eq!(remaining(&limiter.decide(&rules(&limiter, &twice), &address(1), at(0))), [4]);
    let many: Vec<_> = (0..9).map(|n| limit(&format!("l{n}"), IP, 1, 60)).collect();
    assert_eq!(limiter.compile(&many).err(), Some(LimitsError::TooMany { found: 9 }));
    assert_eq!(remaining(&limiter.decide(&rules(&limiter, &many[..8]), &address(1), at(0))), [0; 8]);
}

#[test]
fn threads_together_get_exactly_the_limit() {
    for most in [30, 5000] {
        let limiter = Limiter::new(100);
        let rules = rules(&limiter, &[limit("ip", IP, most, 60), limit("tenant", TENANT, most + 7, 60)]);
        let admitted = on_threads(|_| {
            let one = |_| u32::from(limiter.decide(&rules, &address(1), at(5)).is_admitted());
            (0..3000).map(one).sum()
        });
        assert_eq!(admitted, most);
        assert_eq!(remaining(&limiter.decide(&rules, &address(1), at(5))), [0, 7]);
    }
}

#[test]
fn rules_in_opposite_orders_neither_deadlock_nor_miscount() {
    let limiter = Limiter::new(100);
    let mut all: Vec<_> = (0..4).map(|n| limit(&format!("ip{n}"), IP, 4000 + n, 60)).collect();
    all.extend((0..4).map(|n| limit(&format!("tenant{n}"), TENANT, 4100 + n, 60)));
    let forward = rules(&limiter, &all);
    all.reverse();
    let backward = rules(&limiter, &all);
    let admitted = on_threads(|n| {
        let rules = if n % 2 == 0 { &forward } else { &backward };
        (0..1000).map(|_| u32::from(limiter.decide(rules, &address(1), at(5)).is_admitted())).sum()
    });
    assert_eq!(admitted, 4000);
    let left = remaining(&limiter.decide(&forward, &address(1), at(5)));
    assert_eq!(left, [0, 1, 2, 3, 100, 101, 102, 103]);
}

#[test]
fn a_refusal_is_never_seen_as_a_count_by_others() {
    let limiter = Limiter::new(100);
    let tenant = limit("tenant", TENANT, 2000, 60);
    let open = rules(&limiter, std::slice::from_ref(&tenant));
    let closed = rules(&limiter, &[tenant, limit("closed", IP, 0, 60)]);
    let (done, working) = (AtomicBool::new(false), AtomicU32::new(THREADS / 2));
    let admitted = on_threads(|n| {
        if n % 2 == 0 {
            while !done.load(Ordering::Relaxed) {
                assert!(!limiter.decide(&closed, &address(n), at(5)).is_admitted());
            }
            return 0;
        }
        let one = |_| u32::from(limiter.decide(&open, &address(n), at(5)).is_admitted());
        let admitted = (0..500).map(one).sum();
        if working.fetch_sub(1, Ordering::Relaxed) == 1 {
            done.store(true, Ordering::Relaxed);
        }
        admitted
    });
    assert_eq!(admitted, 2000, "every one of the two thousand was there to be had");
}

#[test]
fn a_flood_of_a_million_addresses_stays_bounded_and_shuts_out_nobody() {
    let limiter = Limiter::new(50_000);
    let per_ip = limit("per-ip", IP, 60, 60);
    let rules = rules(&limiter, &[per_ip, limit("tenant", TENANT, u32::MAX, 60)]);
    assert!(limiter.decide(&rules, &address(7), at(0)).is_admitted());
    let admitted = on_threads(|thread| {
        let ours = (0..125_000).map(|n| 0x0a00_0000 + n * THREADS + thread);
        ours.map(|n| u32::from(limiter.decide(&rules, &address(n), at(1)).is_admitted())).sum()
    });
    let occupancy = limiter.occupancy();
    assert_eq!((occupancy.known, occupancy.strangers), (1, 50_000));
    assert_eq!(occupancy.sketch_shards, 13);
    // A place each, and beyond that a ceiling for each of 245 neighbourhoods.
    assert!((50_000..=50_000 + 245 * 60).contains(&admitted), "{admitted}");

    let newcomers =
        (0..1000).filter(|n| limiter.decide(&rules, &address(0xc000_0000 + (n << 12)), at(2)).is_admitted());
    assert!(newcomers.count() > 990);
    let flooder = (0..1000).filter(|_| limiter.decide(&rules, &address(0xdead_0000), at(2)).is_admitted());
    assert!(flooder.count() <= 60);
    let earlier = limiter.decide(&rules, &address(7), at(2));
    assert_eq!(earlier.standings().as_slice()[0].remaining, 58, "who came before keeps an exact count");

    // Once the flood is over, places are free again and newcomers are counted exactly.
    let decision = limiter.decide(&rules, &address(0xc100_0000), at(200));
    assert_eq!(decision.standings().as_slice()[0].remaining, 59);
}

#[test]
fn a_flood_pushes_out_no_known_caller() {
    let limiter = Limiter::new(100);
    let both = rules(&limiter, &[limit("credential", CREDENTIAL, 5, 3600), limit("ip", IP, 1, 60)]);
    let caller = |ip, credential| Subject { credential: Some(credential), ..address(ip) };
    assert!(limiter.decide(&both, &caller(1, 77), at(0)).is_admitted());
    (0..20_000).for_each(|n| {
        let _ = limiter.decide(&both, &caller(n, 5), at(1));
    });
    let decision = limiter.decide(&both, &caller(0xffff_0000, 77), at(100));
    assert_eq!(decision.standings().as_slice()[0].remaining, 3);
}

#[test]
fn a_whole_64_is_one_stranger() {
    let limiter = Limiter::new(1000);
    let rules = rules(&limiter, &[limit("ip", IP, 10, 60)]);
    let base = u128::from_be_bytes([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let within = |n: u128| Subject { ip: IpAddr::from((base + n).to_be_bytes()), ..address(0) };
    let admitted = (0..5000).filter(|&n| limiter.decide(&rules, &within(n), at(0)).is_admitted());
    assert_eq!(admitted.count(), 10);
    assert_eq!(limiter.occupancy().strangers, 1);
}

#[test]
fn a_reload_that_moves_a_number_keeps_the_count() {
    let limiter = Limiter::new(100);
    let before = rules(&limiter, &[limit("ip", IP, 3, 60)]);
    (0..3).for_each(|_| assert!(limiter.decide(&before, &address(1), at(0)).is_admitted()));
    assert!(!limiter.decide(&before, &address(1), at(1)).is_admitted());

    let raised = rules(&limiter, &[limit("ip", IP, 100, 60)]);
    drop(before);
    assert_eq!(remaining(&limiter.decide(&raised, &address(1), at(1))), [96]);
    let lowered = rules(&limiter, &[limit("ip", IP, 2, 60)]);
    drop(raised);
    assert!(!limiter.decide(&lowered, &address(1), at(2)).is_admitted());

    let same_again = rules(&limiter, &[limit("new", TENANT, 1, 60), limit("ip", IP, 5, 60)]);
    drop(lowered);
    assert_eq!(limiter.forget_removed(), 0);
    assert_eq!(remaining(&limiter.decide(&same_again, &address(1), at(2))), [0, 0]);
}

#[test]
fn another_window_name_or_kind_is_another_rule() {
    let limiter = Limiter::new(100);
    let first = rules(&limiter, &[limit("ip", IP, 1, 60)]);
    assert!(limiter.decide(&first, &address(1), at(0)).is_admitted());
    let quota = Limit { kind: LimitKind::Quota, ..limit("ip", IP, 1, 60) };
    for other in [limit("ip", IP, 1, 61), limit("other", IP, 1, 60), limit("ip", TENANT, 1, 60), quota] {
        assert!(limiter.decide(&rules(&limiter, &[other]), &address(1), at(0)).is_admitted());
    }
    assert!(!limiter.decide(&first, &address(1), at(0)).is_admitted());
}

#[test]
fn removed_rules_are_forgotten_and_come_back_empty() {
    let limiter = Limiter::new(100);
    let [ip, tenant] = [limit("ip", IP, 1, 60), limit("tenant", TENANT, 1, 60)];
    let both = rules(&limiter, &[ip.clone(), tenant.clone()]);
    assert!(limiter.decide(&both, &address(1), at(0)).is_admitted());
    let kept = rules(&limiter, std::slice::from_ref(&tenant));
    assert_eq!(limiter.forget_removed(), 0, "an exchange may still hold the old policy");
    drop(both);
    assert_eq!(limiter.forget_removed(), 1);
    assert!(!limiter.decide(&kept, &address(1), at(1)).is_admitted());
    let back = rules(&limiter, &[ip]);
    assert!(limiter.decide(&back, &address(1), at(1)).is_admitted());
}

#[test]
fn names_keep_their_numbers() {
    let limiter = Limiter::new(1);
    let credential = |text| limiter.intern_credential(&CredentialId::parse(text).expect("a name"));
    let [a, b] = [credential("a"), credential("b")];
    assert_ne!(a, b);
    assert_eq!([credential("a"), credential("b")], [a, b]);
    let tenant = limiter.intern_tenant(&TenantId::parse("a").expect("a name"));
    let route = limiter.intern_route(&Name::parse("a").expect("a name"));
    assert_eq!((tenant, route), (0, 0), "kinds are numbered apart");
}

/// Every admission by caller, and the check that no trailing window holds too many.
#[derive(Default)]
struct Oracle(HashMap<u32, Vec<u64>>);

impl Oracle {
    fn counted(&self, caller: u32, now: u64, per: u64) -> usize {
        self.0.get(&caller).map_or(0, |times| times.iter().filter(|&&t| now - t < per).count())
    }
}

proptest! {
    /// With places for three, callers keep moving between the exact table and the sketch.
    #[test]
    fn moving_between_table_and_sketch_never_admits_too_many(
        limits in (1_u32..40, 1_u32..200),
        steps in proptest::collection::vec((0_u32..8, 0_u64..2500, 1_usize..20), 1..150),
    ) {
        let limiter = Limiter::new(3);
        let rules = rules(&limiter, &[limit("ip", IP, limits.0, 10), limit("tenant", TENANT, limits.1, 7)]);
        let (mut by_ip, mut all, mut now) = (Oracle::default(), Oracle::default(), 0);
        for (caller, gap, burst) in steps {
            now += gap;
            for _ in 0..burst {
                let decision = limiter.decide(&rules, &address(caller), Tick::after(Duration::from_millis(now)));
                if decision.is_admitted() {
                    by_ip.0.entry(caller).or_default().push(now);
                    all.0.entry(0).or_default().push(now);
                }
                prop_assert_eq!(decision.is_admitted(), decision.retry_after_secs().is_none());
            }
            prop_assert!(by_ip.counted(caller, now, 10_000) <= limits.0 as usize);
            prop_assert!(all.counted(0, now, 7000) <= limits.1 as usize);
        }
    }
}

/// Eight threads, more callers than places, and time that moves between rounds: nobody passes a limit
/// while places change hands and counts move out of the sketch.
#[test]
fn threads_that_fight_for_places_never_admit_too_many() {
    const CALLERS: u32 = 12;
    const ROUNDS: usize = 60;
    let limiter = Limiter::new(4);
    let rules = rules(&limiter, &[limit("ip", IP, 25, 10), limit("also", IP, 35, 15)]);
    let mut oracle = Oracle::default();
    for round in 0..ROUNDS as u64 {
        let now = round * 2500 + (round % 7) * 300 + (round / 10) * 9000;
        let counts = [const { AtomicU32::new(0) }; CALLERS as usize];
        on_threads(|thread| {
            for n in 0..200 {
                let caller = (n * 5 + thread * 3) % CALLERS;
                let decision =
                    limiter.decide(&rules, &address(caller), Tick::after(Duration::from_millis(now)));
                if decision.is_admitted() {
                    counts[caller as usize].fetch_add(1, Ordering::Relaxed);
                }
            }
            0
        });
        for (caller, count) in (0..).zip(counts) {
            let times = oracle.0.entry(caller).or_default();
            times.extend(std::iter::repeat_n(now, count.into_inner() as usize));
            assert!(oracle.counted(caller, now, 10_000) <= 25, "caller {caller} in round {round}");
            assert!(oracle.counted(caller, now, 15_000) <= 35, "caller {caller} in round {round}");
        }
    }
    assert!(limiter.occupancy().strangers <= 4);
}
