//! What the cache promises, without a socket.

use super::*;
use std::path::PathBuf;

const HOUR: Duration = Duration::from_hours(1);
const NOW: u64 = 1_700_000_000;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("replay-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let _ = std::fs::remove_file(folder.join("replay.log"));
    folder
}

fn open(folder: &Path, max_per_tenant: usize, sync: ReplaySync) -> Arc<Replay> {
    Replay::open(folder, ReplayCache { max_per_tenant, sync }, Arc::new(Metrics::new()), NOW).unwrap()
}

fn id(n: u64) -> Identity {
    Identity::of([n.to_le_bytes().as_slice()])
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn claim(cache: &Arc<Replay>, name: &str, n: u64, now: u64) -> Result<Claim, &'static str> {
    match cache.claim(&tenant(name), "r", &[id(n)], HOUR, now) {
        Standing::Fresh(claim) => Ok(claim),
        Standing::Taken => Err("taken"),
        Standing::OnItsWay => Err("on its way"),
    }
}

fn take(cache: &Arc<Replay>, name: &str, n: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(claim(cache, name, n, NOW).unwrap().taken(NOW));
}

#[test]
fn a_delivery_is_taken_once_and_a_refused_one_may_come_again() {
    let cache = open(&folder("once"), 10, ReplaySync::System);
    let first = claim(&cache, "acme", 1, NOW).unwrap();
    assert_eq!(claim(&cache, "acme", 1, NOW).unwrap_err(), "on its way");
    drop(first);
    take(&cache, "acme", 1);
    assert_eq!(claim(&cache, "acme", 1, NOW).unwrap_err(), "taken");
    assert!(claim(&cache, "globex", 1, NOW).is_ok());
    assert!(matches!(cache.claim(&tenant("acme"), "other", &[id(1)], HOUR, NOW), Standing::Fresh(_)));
}

#[test]
fn marks_end_with_their_time() {
    let cache = open(&folder("time"), 10, ReplaySync::System);
    take(&cache, "acme", 1);
    assert_eq!(claim(&cache, "acme", 1, NOW + 3599).unwrap_err(), "taken");
    assert!(claim(&cache, "acme", 1, NOW + 3600).is_ok());
}

#[test]
fn several_are_claimed_all_or_none() {
    let cache = open(&folder("all"), 10, ReplaySync::System);
    take(&cache, "acme", 2);
    let standing = cache.claim(&tenant("acme"), "r", &[id(1), id(2)], HOUR, NOW);
    assert!(matches!(standing, Standing::Taken));
    assert!(claim(&cache, "acme", 1, NOW).is_ok());
}

#[test]
fn a_tenant_at_its_bound_forgets_its_own_oldest() {
    let cache = open(&folder("bound"), 3, ReplaySync::System);
    take(&cache, "globex", 0);
    (0..5).for_each(|n| take(&cache, "acme", n));
    let known: Vec<bool> = (0..5).map(|n| claim(&cache, "acme", n, NOW).is_err()).collect();
    assert_eq!(known, [false, false, true, true, true]);
    assert!(claim(&cache, "globex", 0, NOW).is_err());
    assert_eq!((cache.metrics.replay_marks.get(), cache.metrics.replay_evicted.get()), (4, 2));
}

#[test]
fn a_second_start_knows_what_the_first_took() {
    let folder = folder("start");
    for sync in [ReplaySync::System, ReplaySync::Disk] {
        let cache = open(&folder, 100, sync);
        let base = if sync == ReplaySync::Disk { 100 } else { 0 };
        (base..base + 20).for_each(|n| take(&cache, "acme", n));
    }
    let again = open(&folder, 100, ReplaySync::System);
    assert!((0..20).chain(100..120).all(|n| claim(&again, "acme", n, NOW).is_err()));
    assert!(claim(&again, "acme", 20, NOW).is_ok());
}
