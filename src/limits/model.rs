//! The core under a scheduler that tries many orders of threads (shuttle), each step of a lock or an atomic at a
//! time: tests/run builds and runs these alone. What must hold whatever the order: no ceiling is passed, several
//! rules count a request together or not at all, what was in flight comes back, and nobody waits for ever.

use super::sync::atomic::{AtomicUsize, Ordering};
use super::{Limiter, RuleSet, Subject, Tick};
use crate::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
use crate::ids::Name;
use shuttle::Runner;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const ORDERS: usize = 300;
/// Of each thread: decisions work in arrays.
const STACK: usize = 1 << 20;

fn limit(name: &str, by: Dimension, kind: LimitKind, most: u32) -> Limit {
    let per = if kind == LimitKind::Concurrency { Duration::ZERO } else { Duration::from_secs(10) };
    Limit {
        shared: None,
        name: Name::parse(name).expect("a name"),
        by: vec![by],
        kind,
        limit: most,
        per,
        cost: Cost::Requests(1),
        effect: Effect::Refuses,
        refund: Refund::Never,
        exempt: 0,
        header: None,
    }
}

fn window(name: &str, by: Dimension, most: u32) -> Limit {
    limit(name, by, LimitKind::Window, most)
}

fn subject(ip: u8) -> Subject {
    // From elsewhere each: neighbours beyond the table are counted together.
    Subject { tenant: Some(0), ..Subject::stranger(IpAddr::from([192, ip, 0, 1]), 0) }
}

/// What is left of each rule, in the set's order.
fn left(limiter: &Limiter, rules: &RuleSet, subject: &Subject) -> Vec<u32> {
    let decision = limiter.look(rules, subject, Tick::ZERO);
    decision.standings().as_slice().iter().map(|one| one.remaining).collect()
}

/// Tries orders at random, and orders with few changes of thread at the worst places.
fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = STACK;
    Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new(3, ORDERS), config).run(test);
}

/// Runs these at once.
fn at_once(threads: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = threads.into_iter().map(shuttle::thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
}

#[test]
fn several_rules_count_together_or_not_at_all() {
    check(|| {
        let limiter = Arc::new(Limiter::new(4));
        let (ip, tenant) = (window("ip", Dimension::Ip, 2), window("tenant", Dimension::Tenant, 3));
        // Named in both orders: who locked in the named order would wait for ever.
        let one = Arc::new(limiter.compile([&ip, &tenant]).expect("two"));
        let other = Arc::new(limiter.compile([&tenant, &ip]).expect("two"));
        let admitted: Arc<[AtomicUsize; 2]> = Arc::default();
        let thread = |who: u8, rules: &Arc<RuleSet>| -> Box<dyn FnOnce() + Send> {
            let (limiter, rules, admitted) = (limiter.clone(), rules.clone(), admitted.clone());
            Box::new(move || {
                for _ in 0..2 {
                    let decision = limiter.decide(&rules, &subject(who), Tick::ZERO);
                    let n = usize::from(decision.is_admitted());
                    admitted[usize::from(who)].fetch_add(n, Ordering::SeqCst);
                }
            })
        };
        at_once(vec![thread(0, &one), thread(1, &other), thread(1, &one)]);
        let counts = [0, 1].map(|who: usize| admitted[who].load(Ordering::SeqCst));
        assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}: what there is room for is admitted");
        for who in [0, 1] {
            let left = left(&limiter, &one, &subject(who));
            let counted = u32::try_from(counts[usize::from(who)]).expect("few");
            assert_eq!(left, [2 - counted, 0], "{counts:?}: refused requests spend nothing");
        }
    });
}

#[test]
fn what_is_in_flight_never_passes_the_limit_and_comes_back() {
    // A table of one place: it goes from one address to the other and back, and who finds it taken is counted
    // with the neighbourhood. Then one in which all have places.
    [1, 4].into_iter().for_each(in_flight_with);
}

fn in_flight_with(places: usize) {
    check(move || {
        let limiter = Arc::new(Limiter::new(places));
        let rule = limit("flight", Dimension::Ip, LimitKind::Concurrency, 1);
        let rules = Arc::new(limiter.compile([&rule]).expect("one"));
        let flying: Arc<[AtomicUsize; 2]> = Arc::default();
        let thread = |who: u8| -> Box<dyn FnOnce() + Send> {
            let (limiter, rules, flying) = (limiter.clone(), rules.clone(), flying.clone());
            Box::new(move || {
                for _ in 0..2 {
                    let (decision, receipt) = limiter.admit(&rules, &subject(who), Tick::ZERO);
                    if decision.is_admitted() {
                        let before = flying[usize::from(who)].fetch_add(1, Ordering::SeqCst);
                        assert_eq!(before, 0, "one at a time");
                        flying[usize::from(who)].fetch_sub(1, Ordering::SeqCst);
                    }
                    drop(receipt);
                }
            })
        };
        at_once(vec![thread(0), thread(1), thread(0)]);
        for who in [0, 1] {
            let (decision, _receipt) = limiter.admit(&rules, &subject(who), Tick::ZERO);
            assert!(decision.is_admitted(), "all places came back");
        }
    });
}

#[test]
fn a_burst_beyond_the_table_is_not_had_again_within_it() {
    check(|| {
        let limiter = Arc::new(Limiter::new(1));
        let rate = LimitKind::Rate { every: Duration::from_secs(100) };
        let burst = limit("burst", Dimension::Ip, rate, 1);
        let rules = Arc::new(limiter.compile([&burst]).expect("one"));
        let flight = limit("flight", Dimension::Ip, LimitKind::Concurrency, 1);
        let flight = Arc::new(limiter.compile([&flight]).expect("one"));
        let admitted: Arc<AtomicUsize> = Arc::default();
        // The one place is taken and becomes free while these come.
        let other = {
            let limiter = limiter.clone();
            Box::new(move || drop(limiter.admit(&flight, &subject(1), Tick::ZERO)))
        };
        let thread = || -> Box<dyn FnOnce() + Send> {
            let (limiter, rules, admitted) = (limiter.clone(), rules.clone(), admitted.clone());
            Box::new(move || {
                let decision = limiter.decide(&rules, &subject(0), Tick::ZERO);
                admitted.fetch_add(usize::from(decision.is_admitted()), Ordering::SeqCst);
            })
        };
        at_once(vec![other, thread(), thread()]);
        assert_eq!(admitted.load(Ordering::SeqCst), 1, "the burst is one");
    });
}

#[test]
fn a_place_that_goes_to_another_key_takes_no_count_along() {
    check(|| {
        let limiter = Arc::new(Limiter::new(1));
        let rules = Arc::new(limiter.compile([&window("ip", Dimension::Ip, 1)]).expect("one"));
        // Counted at 0, over at 10 s: at 20 s others want its place, while it comes again itself.
        assert!(limiter.decide(&rules, &subject(0), Tick::ZERO).is_admitted());
        let later = Tick::after(Duration::from_secs(20));
        let admitted: Arc<[AtomicUsize; 2]> = Arc::default();
        let thread = |who: u8| -> Box<dyn FnOnce() + Send> {
            let (limiter, rules, admitted) = (limiter.clone(), rules.clone(), admitted.clone());
            Box::new(move || {
                let decision = limiter.decide(&rules, &subject(who), later);
                admitted[usize::from(who)].fetch_add(usize::from(decision.is_admitted()), Ordering::SeqCst);
            })
        };
        at_once(vec![thread(0), thread(1), thread(1), thread(0)]);
        let counts = [0, 1].map(|who: usize| admitted[who].load(Ordering::SeqCst));
        assert_eq!(counts, [1, 1], "each has one, whoever got the place");
    });
}
