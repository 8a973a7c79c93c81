//! Rates, numbers in flight, costs, refunds, shadows: what rules do beside counting to a ceiling.

use super::{Decision, Limiter, MethodCode, Receipt, RuleSet, Subject, Tick};
use crate::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
use crate::ids::Name;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const IP: &[Dimension] = &[Dimension::Ip];
const TENANT: &[Dimension] = &[Dimension::Tenant];

fn limit(name: &str, by: &[Dimension], kind: LimitKind, limit: u32) -> Limit {
    Limit {
        name: Name::parse(name).expect("a name"),
        by: by.to_vec(),
        kind,
        limit,
        per: Duration::from_mins(1),
        cost: Cost::Requests(1),
        effect: Effect::Refuses,
        refund: Refund::Never,
        exempt: 0,
        header: None,
        shared: None,
    }
}

fn window(name: &str, by: &[Dimension], most: u32) -> Limit {
    limit(name, by, LimitKind::Window, most)
}

fn in_flight(name: &str, by: &[Dimension], most: u32) -> Limit {
    limit(name, by, LimitKind::Concurrency, most)
}

fn rate(name: &str, by: &[Dimension], every_ms: u64, burst: u32) -> Limit {
    limit(name, by, LimitKind::Rate { every: Duration::from_millis(every_ms) }, burst)
}

fn limiter(addresses: usize) -> Arc<Limiter> {
    Arc::new(Limiter::new(addresses))
}

fn rules(limiter: &Limiter, limits: &[Limit]) -> RuleSet {
    limiter.compile(limits).expect("few limits")
}

fn caller(n: u32) -> Subject {
    Subject { tenant: Some(0), ..Subject::stranger(IpAddr::from(n.to_be_bytes()), 0) }
}

fn at_ms(ms: u64) -> Tick {
    Tick::after(Duration::from_millis(ms))
}

fn left(decision: &Decision) -> Vec<u32> {
    decision.standings().as_slice().iter().map(|standing| standing.remaining).collect()
}

/// Goes in, if it may.
fn enter(limiter: &Arc<Limiter>, rules: &RuleSet, n: u32) -> Option<Receipt> {
    let (decision, receipt) = limiter.admit(rules, &caller(n), at_ms(1));
    assert_eq!(decision.is_admitted(), receipt.is_some());
    receipt
}

#[test]
fn a_rate_lets_a_burst_through_and_then_one_at_a_time() {
    for by in [IP, TENANT] {
        let limiter = limiter(100);
        let rules = rules(&limiter, &[rate("smooth", by, 100, 5)]);
        let admitted = |ms| limiter.decide(&rules, &caller(1), at_ms(ms)).is_admitted();
        assert_eq!((0..9).filter(|_| admitted(1000)).count(), 5);
        assert!(!admitted(1099));
        assert!(admitted(1100));
        assert!(!admitted(1100));
        assert_eq!((0..9).filter(|_| admitted(60_000)).count(), 5);
    }
}

#[test]
fn those_in_flight_are_counted_until_they_are_over() {
    for (addresses, by) in [(100, IP), (100, TENANT), (0, IP)] {
        let limiter = limiter(addresses);
        let rules = rules(&limiter, &[in_flight("open", by, 2)]);
        let first = enter(&limiter, &rules, 1);
        let second = enter(&limiter, &rules, 1);
        assert!(second.is_some());
        assert!(enter(&limiter, &rules, 1).is_none());
        drop(first);
        let third = enter(&limiter, &rules, 1);
        assert!(third.is_some());
        assert!(enter(&limiter, &rules, 1).is_none());
        drop((second, third));
        assert!(enter(&limiter, &rules, 1).is_some(), "{addresses} {by:?}");
    }
}

#[test]
fn what_is_refused_elsewhere_holds_no_place() {
    let limiter = limiter(100);
    let rules = rules(&limiter, &[in_flight("open", IP, 5), window("none", TENANT, 0)]);
    for _ in 0..20 {
        let (decision, receipt) = limiter.admit(&rules, &caller(1), at_ms(1));
        assert_eq!((left(&decision), receipt.is_none()), (vec![5, 0], true));
    }
}

#[test]
fn a_place_in_flight_is_never_given_to_another_key() {
    let limiter = limiter(1);
    let rules = rules(&limiter, &[in_flight("open", IP, 1)]);
    let held = enter(&limiter, &rules, 1);
    // Days later the table still is full of what is in flight: the next address shares a cell.
    let later = Tick::after(Duration::from_hours(100));
    let (decision, other) = limiter.admit(&rules, &caller(2), later);
    assert!(decision.is_admitted());
    assert!(!limiter.admit(&rules, &caller(1), later).0.is_admitted());
    assert!(!limiter.admit(&rules, &caller(2), later).0.is_admitted());
    drop((held, other));
    assert!(limiter.admit(&rules, &caller(1), later).0.is_admitted());
    assert!(limiter.admit(&rules, &caller(2), later).0.is_admitted());
}

#[test]
fn threads_never_hold_more_than_may_be_in_flight() {
    const MOST: u32 = 7;
    for (addresses, by) in [(100, IP), (100, TENANT), (0, IP)] {
        let limiter = limiter(addresses);
        let rules = rules(&limiter, &[in_flight("open", by, MOST)]);
        let (now, worst, barrier) = (AtomicU32::new(0), AtomicU32::new(0), Barrier::new(8));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..5000 {
                        let mut held = Vec::new();
                        held.extend(enter(&limiter, &rules, 1));
                        held.extend(enter(&limiter, &rules, 1));
                        let inside = u32::try_from(held.len()).expect("at most two");
                        let seen = now.fetch_add(inside, Ordering::SeqCst) + inside;
                        worst.fetch_max(seen, Ordering::SeqCst);
                        now.fetch_sub(inside, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(worst.into_inner() <= MOST);
        let all: Vec<_> = (0..20).filter_map(|_| enter(&limiter, &rules, 1)).collect();
        assert_eq!(all.len(), MOST as usize, "everything was given back");
    }
}

#[test]
fn a_request_costs_what_its_rule_says() {
    let limiter = limiter(100);
    let weights = vec![(http::Method::GET, 0), (http::Method::POST, 4)];
    let methods =
        Limit { cost: Cost::Methods { weights, calls: vec![], other: 1 }, ..window("methods", TENANT, 10) };
    let bytes = Limit { cost: Cost::BodyBytes, ..window("bytes", TENANT, 1000) };
    let rules =
        rules(&limiter, &[methods, bytes, Limit { cost: Cost::Requests(3), ..window("three", IP, 20) }]);
    let ask = |method: &http::Method, body| {
        let subject = Subject { method: MethodCode::of(method), body, ..caller(1) };
        limiter.decide(&rules, &subject, at_ms(1))
    };
    assert_eq!(left(&ask(&http::Method::GET, 0)), [17], "what costs nothing is not counted");
    assert_eq!(left(&ask(&http::Method::POST, 600)), [6, 400, 14]);
    let refused = ask(&http::Method::POST, 401);
    assert_eq!((left(&refused), refused.is_admitted()), (vec![6, 400, 14], false));
    let names: Vec<_> = refused.violated_policies(&rules).map(Name::as_str).collect();
    assert_eq!(names, ["bytes"]);
    assert!(ask(&http::Method::POST, 400).is_admitted());
}

#[test]
fn what_an_upstream_failed_is_given_back_once() {
    let limiter = limiter(100);
    let refunded = [window("w", TENANT, 50), window("small", IP, 3), rate("r", IP, 1000, 9)]
        .map(|limit| Limit { refund: Refund::UpstreamFailed, ..limit });
    let mut all = refunded.to_vec();
    all.push(window("kept", TENANT, 40));
    let rules = rules(&limiter, &all);
    let (first, receipt) = limiter.admit(&rules, &caller(1), at_ms(10));
    assert_eq!(left(&first), [49, 2, 8, 39]);
    let mut receipt = receipt.expect("something may come back");
    let (second, _) = limiter.admit(&rules, &caller(1), at_ms(20));
    assert_eq!(left(&second), [48, 1, 7, 38]);
    receipt.refund();
    receipt.refund();
    drop(receipt);
    assert_eq!(left(&limiter.decide(&rules, &caller(1), at_ms(30))), [48, 1, 7, 37]);
}

#[test]
fn a_shadow_refuses_nobody_and_says_that_it_would_have() {
    let limiter = limiter(100);
    let shadow = Limit { effect: Effect::Shadow, ..window("strict", IP, 2) };
    let rules = rules(&limiter, &[shadow, window("live", IP, 5)]);
    let told = |decision: &Decision| decision.would_refuse(&rules).count();
    let decisions: Vec<_> = (0..6).map(|_| limiter.decide(&rules, &caller(1), at_ms(1))).collect();
    let admitted: Vec<_> = decisions.iter().map(Decision::is_admitted).collect();
    assert_eq!(admitted, [true, true, true, true, true, false]);
    assert_eq!(decisions.iter().map(told).collect::<Vec<_>>(), [0, 0, 1, 1, 1, 1]);
    let mut fields = [const { String::new() }; 2];
    super::headers::write_rate_limit_policy(&mut fields[0], &rules, &decisions[3]);
    super::headers::write_rate_limit(&mut fields[1], &rules, &decisions[3]);
    assert_eq!(fields, ["\"live\";q=5;w=60", "\"live\";r=1;t=60"], "clients are not told of shadows");
    assert_eq!(decisions[5].violated_policies(&rules).map(Name::as_str).collect::<Vec<_>>(), ["live"]);
}

#[test]
fn a_policy_says_what_is_counted() {
    let limiter = limiter(100);
    let bytes = Limit { cost: Cost::BodyBytes, ..window("bytes", IP, 1000) };
    let all = [bytes, in_flight("open", IP, 3), rate("smooth", IP, 500, 10)];
    let rules = rules(&limiter, &all);
    let subject = Subject { body: 1, ..caller(1) };
    let mut text = String::new();
    super::headers::write_rate_limit_policy(&mut text, &rules, &limiter.decide(&rules, &subject, at_ms(1)));
    assert_eq!(
        text,
        "\"bytes\";q=1000;qu=\"content-bytes\";w=60, \"open\";q=3;qu=\"concurrent-requests\", \"smooth\";q=10;w=5"
    );
}

proptest! {
    /// Costs, refunds and time in any order: the window never holds more than its ceiling of what was
    /// taken and not given back.
    #[test]
    fn costs_and_refunds_never_pass_the_ceiling(
        most in 1_u32..80,
        steps in proptest::collection::vec((0_u64..3000, 1_u32..9, 0_usize..4), 1..200),
    ) {
        let limiter = limiter(10);
        let base = Limit {
            cost: Cost::BodyBytes, refund: Refund::UpstreamFailed, per: Duration::from_secs(10),
            ..window("w", TENANT, most)
        };
        let rules = rules(&limiter, &[base]);
        let (mut taken, mut receipts, mut now) = (Vec::<(u64, u32)>::new(), Vec::new(), 0);
        for (gap, cost, back) in steps {
            now += gap;
            let (decision, receipt) = limiter.admit(&rules, &Subject { body: cost, ..caller(1) }, at_ms(now));
            if let Some(receipt) = receipt {
                taken.push((now, cost));
                receipts.push((now, cost, receipt));
            }
            let counted: u32 = taken.iter().filter(|(t, _)| now - t < 10_000).map(|(_, n)| n).sum();
            prop_assert!(counted <= most);
            if most <= 30 && !decision.is_admitted() {
                prop_assert!(counted + cost > most, "small windows are exact");
            }
            if back < receipts.len() {
                let (then, cost, mut receipt) = receipts.remove(back);
                receipt.refund();
                let place = taken.iter().position(|&entry| entry == (then, cost)).expect("it was taken");
                taken.remove(place);
            }
        }
    }

    /// No timing gets more than `burst + W / every` through in any span of W.
    #[test]
    fn a_rate_keeps_its_bound(
        every in 1_u64..500, burst in 1_u32..40, span in 1_u64..20_000,
        gaps in proptest::collection::vec(0_u64..700, 1..300),
    ) {
        let limiter = limiter(10);
        let rules = rules(&limiter, &[rate("r", IP, every, burst)]);
        let (mut admitted, mut now) = (Vec::new(), 0);
        for gap in gaps {
            now += gap;
            if limiter.decide(&rules, &caller(1), at_ms(now)).is_admitted() {
                admitted.push(now);
                let within = admitted.iter().filter(|&&t| now - t <= span).count() as u64;
                prop_assert!(within <= u64::from(burst) + span / every);
            } else {
                let since = admitted.last().map_or(now, |last| now - last);
                prop_assert_eq!(since / every, 0, "one more after every step");
            }
        }
    }
}
