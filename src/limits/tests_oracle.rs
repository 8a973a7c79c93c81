//! Every kind at once against oracles that keep everything: a request is admitted when all of them have room,
//! and then all of them count it; else none does.

use super::{Limiter, RuleSet, Subject, Tick};
use crate::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
use crate::ids::Name;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const WINDOW: u64 = 10_000;
const STEP: u64 = 700;
const BURST: u64 = 6;

fn limit(name: &str, by: &[Dimension], kind: LimitKind, most: u32, per_ms: u64) -> Limit {
    Limit {
        name: Name::parse(name).expect("a name"),
        by: by.to_vec(),
        kind,
        limit: most,
        per: Duration::from_millis(per_ms),
        cost: Cost::Requests(1),
        effect: Effect::Refuses,
        refund: Refund::Never,
        exempt: 0,
        header: None,
        shared: None,
    }
}

fn at(ms: u64) -> Tick {
    Tick::after(Duration::from_millis(ms))
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
struct Asks {
    ip: u8,
    tenant: u32,
    value: u64,
    freed: bool,
}

impl Asks {
    fn subject(self) -> Subject {
        Subject {
            tenant: Some(self.tenant),
            value: self.value,
            freed_by: u32::from(self.freed),
            ..Subject::stranger(IpAddr::from([192, 0, 2, self.ip]), 0)
        }
    }
}

/// All that was ever admitted.
#[derive(Default)]
struct Oracle {
    by_ip: HashMap<u8, Vec<u64>>,
    by_value: HashMap<(u32, u64), Vec<u64>>,
    /// The theoretical arrival time of the textbook's GCRA.
    rate: HashMap<u32, u64>,
    flying: HashMap<u32, usize>,
}

/// The numbers of the moment.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    ip: u32,
    value: u32,
    flying: u32,
}

fn counted(times: Option<&Vec<u64>>, now: u64) -> usize {
    times.map_or(0, |times| times.iter().filter(|&&then| now - then < WINDOW).count())
}

impl Oracle {
    fn has_room(&self, who: Asks, numbers: Numbers, now: u64) -> bool {
        let paced = self.rate.get(&who.tenant).copied().unwrap_or(0).max(now);
        (who.freed || counted(self.by_ip.get(&who.ip), now) < numbers.ip as usize)
            && counted(self.by_value.get(&(who.tenant, who.value)), now) < numbers.value as usize
            && paced - now <= (BURST - 1) * STEP
            && self.flying.get(&who.tenant).copied().unwrap_or(0) < numbers.flying as usize
    }

    fn take(&mut self, who: Asks, now: u64) {
        if !who.freed {
            self.by_ip.entry(who.ip).or_default().push(now);
        }
        self.by_value.entry((who.tenant, who.value)).or_default().push(now);
        let paced = self.rate.entry(who.tenant).or_default();
        *paced = (*paced).max(now) + STEP;
        *self.flying.entry(who.tenant).or_default() += 1;
    }
}

/// All kinds, with these numbers: small windows are exact. Every policy has the same counts.
fn rules(limiter: &Limiter, numbers: Numbers) -> RuleSet {
    let rate = LimitKind::Rate { every: Duration::from_millis(STEP) };
    let ip = limit("ip", &[Dimension::Ip], LimitKind::Window, numbers.ip, WINDOW);
    let by_value = [Dimension::Tenant, Dimension::Header];
    let all = [
        Limit { exempt: 1, ..ip },
        limit("value", &by_value, LimitKind::Window, numbers.value, WINDOW),
        limit("rate", &[Dimension::Tenant], rate, 6, STEP * BURST),
        limit("flying", &[Dimension::Tenant], LimitKind::Concurrency, numbers.flying, 0),
    ];
    limiter.compile(&all).expect("four limits")
}

/// Bursts, and one millisecond before and after everything that ends.
fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => Just(0),
        4 => 0..STEP,
        2 => prop_oneof![Just(STEP - 1), Just(STEP), Just(STEP + 1)],
        2 => prop_oneof![Just(WINDOW - 1), Just(WINDOW), Just(WINDOW + 1)],
        1 => 0..2 * WINDOW,
    ]
}

fn asks() -> impl Strategy<Value = Asks> {
    (0_u8..3, 0_u32..2, 0_u64..3, proptest::bool::weighted(0.2)).prop_map(|(ip, tenant, value, freed)| Asks {
        ip,
        tenant,
        value,
        freed,
    })
}

fn numbers() -> impl Strategy<Value = Numbers> {
    (1_u32..12, 1_u32..8, 1_u32..5).prop_map(|(ip, value, flying)| Numbers { ip, value, flying })
}

proptest! {
    #[test]
    fn all_kinds_admit_what_exact_counts_would_and_nothing_else(
        start in 0_u64..1_000_000,
        tariffs in (numbers(), numbers()),
        steps in proptest::collection::vec((gap(), asks(), any::<bool>(), 0_usize..6), 1..250),
    ) {
        let limiter = Arc::new(Limiter::new(1000));
        // Two callers may have other numbers over the same counts, as plans give them.
        let compiled = [rules(&limiter, tariffs.0), rules(&limiter, tariffs.1)];
        let (mut oracle, mut now, mut receipts) = (Oracle::default(), start, Vec::new());
        for (gap, who, other, ends) in steps {
            now += gap;
            let numbers = if other { tariffs.1 } else { tariffs.0 };
            let truth = oracle.has_room(who, numbers, now);
            let set = &compiled[usize::from(other)];
            let looked = limiter.look(set, &who.subject(), at(now)).is_admitted();
            let (decision, receipt) = limiter.admit(set, &who.subject(), at(now));
            prop_assert_eq!((decision.is_admitted(), looked), (truth, truth), "{:?} at {}", who, now);
            if truth {
                oracle.take(who, now);
                receipts.push((who.tenant, receipt));
            }
            if ends < receipts.len() {
                let (tenant, receipt) = receipts.swap_remove(ends);
                drop(receipt);
                *oracle.flying.get_mut(&tenant).expect("it flies") -= 1;
            }
        }
    }
}

#[test]
fn a_flood_of_values_stays_bounded_and_pushes_out_no_address() {
    let limiter = Limiter::new(1000).with_values(500);
    let by_value = limit("value", &[Dimension::Header], LimitKind::Window, 3, WINDOW);
    let (values, addresses) = (
        limiter.compile([&by_value]).expect("one"),
        limiter.compile([&limit("ip", &[Dimension::Ip], LimitKind::Window, 2, WINDOW)]).expect("one"),
    );
    let stranger =
        |ip: u8, value: u64| Subject { value, ..Subject::stranger(IpAddr::from([192, 0, 2, ip]), 0) };
    for ip in 0..200 {
        assert!(limiter.decide(&addresses, &stranger(ip, 0), at(0)).is_admitted());
    }
    let value = |n: u32| limiter.value_of([n.to_be_bytes().as_slice()].into_iter());
    let admitted = (0..300_000)
        .filter(|&n| limiter.decide(&values, &stranger(0, value(n)), at(0)).is_admitted())
        .count();
    // Those with a place once each, and beyond them a ceiling for each of sixteen groups.
    assert!((500..=500 + 16 * 3).contains(&admitted), "{admitted}");
    let occupancy = limiter.occupancy();
    assert_eq!((occupancy.values, occupancy.strangers), (500, 200));
    for ip in 0..200 {
        assert!(limiter.decide(&addresses, &stranger(ip, 0), at(1)).is_admitted());
        assert!(!limiter.decide(&addresses, &stranger(ip, 0), at(2)).is_admitted(), "counts are exact");
    }
    assert_eq!(value(7), value(7));
    assert_eq!(limiter.value_of(std::iter::empty()), 0, "those without a value are one");
}
