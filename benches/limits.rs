//! What a decision costs: three rules on one request, with one caller and with a million of them.
//!
//! A million live keys are met in two ways: three rules of which one counts by address (a request meets
//! one key among the million and two that are warm), and three rules that all count by address (a
//! request meets three cold keys). Addresses come in a scrambled order, so the next is never near.

use criterion::{Criterion, criterion_group, criterion_main};
use openclaw_edge::config::checked::{Cost, Dialect, Dimension, Effect, Limit, LimitKind, Refund};
use openclaw_edge::ids::Name;
use openclaw_edge::limits::{Limiter, RuleSet, Subject, Tick, headers};
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: u32 = 1_000_000;
/// Prime, and no divisor of a million: steps through all addresses, far from each other.
const STRIDE: u32 = 618_041;
/// So that steady decisions stay admitted.
const AMPLE: u32 = 4_000_000_000;

fn limit(name: &str, by: &[Dimension], limit: u32) -> Limit {
    Limit {
        name: Name::parse(name).expect("a name"),
        by: by.to_vec(),
        kind: LimitKind::Window,
        limit,
        per: Duration::from_hours(1),
        cost: Cost::Requests(1),
        effect: Effect::Refuses,
        refund: Refund::Never,
        exempt: 0,
        header: None,
        shared: None,
    }
}

fn usual(limiter: &Limiter, most: u32) -> RuleSet {
    let limits = [
        limit("per-ip", &[Dimension::Ip], most),
        limit("per-credential", &[Dimension::Credential], AMPLE),
        limit("per-tenant", &[Dimension::Tenant], AMPLE),
    ];
    limiter.compile(&limits).expect("three rules")
}

fn by_address(limiter: &Limiter) -> RuleSet {
    let limits = [
        limit("ip", &[Dimension::Ip], AMPLE),
        limit("ip-route", &[Dimension::Ip, Dimension::Route], AMPLE),
        limit("ip-tenant", &[Dimension::Ip, Dimension::Tenant], AMPLE),
    ];
    limiter.compile(&limits).expect("three rules")
}

fn subject(n: u32) -> Subject {
    let ip = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
    Subject { credential: Some(1), tenant: Some(1), ..Subject::stranger(ip, 1) }
}

/// Decides over and over, a microsecond apart, for `callers` addresses in scrambled order.
fn decide(c: &mut Criterion, name: &str, limiter: &Limiter, rules: &RuleSet, callers: u32) {
    let (mut n, mut nanos) = (0, 1_000_000_000);
    c.bench_function(name, |b| {
        b.iter(|| {
            n = (n + STRIDE) % callers;
            nanos += 1000;
            black_box(limiter.decide(rules, &subject(n), Tick::from_nanos(nanos)))
        });
    });
}

fn one_caller(c: &mut Criterion) {
    let limiter = Limiter::new(200_000);
    decide(c, "limits/three rules, one caller", &limiter, &usual(&limiter, AMPLE), 1);
    decide(c, "limits/three rules, refused", &limiter, &usual(&limiter, 0), 1);
}

fn a_million_keys(c: &mut Criterion) {
    let limiter = Limiter::new(MILLION as usize);
    let rules = usual(&limiter, AMPLE);
    (0..MILLION).for_each(|n| {
        let _ = limiter.decide(&rules, &subject(n), Tick::ZERO);
    });
    assert_eq!(limiter.occupancy().strangers, MILLION as usize);
    decide(c, "limits/three rules, one of a million addresses", &limiter, &rules, MILLION);
}

fn a_million_keys_by_three(c: &mut Criterion) {
    let limiter = Limiter::new(MILLION as usize);
    let rules = by_address(&limiter);
    let callers = MILLION / 3;
    (0..callers).for_each(|n| {
        let _ = limiter.decide(&rules, &subject(n), Tick::ZERO);
    });
    assert_eq!(limiter.occupancy().strangers, callers as usize * 3);
    decide(c, "limits/three cold keys of a million", &limiter, &rules, callers);
}

fn strangers(c: &mut Criterion) {
    let limiter = Limiter::new(1000);
    let rules = usual(&limiter, AMPLE);
    decide(c, "limits/a flood beyond the exact table", &limiter, &rules, MILLION);
}

fn header_texts(c: &mut Criterion) {
    let limiter = Limiter::new(10);
    let rules = usual(&limiter, 600);
    let decision = limiter.decide(&rules, &subject(1), Tick::ZERO);
    let mut out = String::with_capacity(512);
    c.bench_function("limits/header texts of three rules", |b| {
        b.iter(|| {
            out.clear();
            headers::write_rate_limit_policy(&mut out, &rules, &decision);
            black_box(headers::rate_limit(&rules, &decision, Dialect::Draft11).as_bytes().len() + out.len())
        });
    });
}

criterion_group!(benches, one_caller, a_million_keys, a_million_keys_by_three, strangers, header_texts);
criterion_main!(benches);
