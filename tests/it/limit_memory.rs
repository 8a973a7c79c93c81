//! A flood of addresses: the limiter's memory stays within what docs/limits.md states, newcomers from
//! elsewhere are served, and the flood is not.

use openclaw_edge::config::checked::{Cost, Dimension, Effect, Limit, LimitKind, Refund};
use openclaw_edge::ids::Name;
use openclaw_edge::limits::{Limiter, RuleSet, Subject, Tick};
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

const PLACES: usize = 200_000;
const ADDRESSES: u32 = 10_000_000;

/// Documented: places with their index, the shards of one limit, and room for the allocator's rounding.
const BOUND: usize = PLACES * (320 + 32) + 64 * (256 << 10) + (8 << 20);

/// Bytes of this process that lie in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("it is there");
    let kib: usize = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    kib << 10
}

fn per_ip(limiter: &Limiter) -> RuleSet {
    let limit = Limit {
        name: Name::parse("per-ip").expect("a name"),
        by: vec![Dimension::Ip],
        kind: LimitKind::Window,
        limit: 60,
        per: Duration::from_mins(1),
        cost: Cost::Requests(1),
        effect: Effect::Refuses,
        refund: Refund::Never,
        exempt: 0,
        header: None,
        shared: None,
    };
    limiter.compile([&limit]).expect("one limit")
}

/// Runs in a process of its own: other tests' memory is none of its business.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn ten_million_addresses() {
    let limiter = Limiter::new(PLACES);
    let rules = per_ip(&limiter);
    let before = resident();
    let now = Tick::after(Duration::from_secs(1000));
    let ask = |n: u32| limiter.decide(&rules, &Subject::stranger(IpAddr::from(n.to_be_bytes()), 0), now);
    let admitted = (0..ADDRESSES).filter(|n| ask(0x0a00_0000 + n).is_admitted()).count();
    let grown = resident().saturating_sub(before);
    assert!(grown <= BOUND, "{grown} bytes, and {BOUND} are stated");
    let neighbourhoods = ADDRESSES as usize / 4096 + 1;
    assert!(admitted <= PLACES + neighbourhoods * 60, "{admitted} of {ADDRESSES} passed");
    let newcomers = (0..1000).filter(|n| ask(0xc000_0000 + (n << 12)).is_admitted()).count();
    assert!(newcomers >= 990, "{newcomers} of 1000 newcomers were served");
    println!("grown by {grown} bytes of {BOUND}; {admitted} of {ADDRESSES} passed");
}

#[test]
fn a_flood_of_ten_million_addresses_stays_within_the_stated_memory() {
    let out = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "limit_memory::ten_million_addresses", "--ignored", "--nocapture"])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}
