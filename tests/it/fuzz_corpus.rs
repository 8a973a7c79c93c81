//! What the fuzzer kept (`tests/fuzz/corpus`), held against the same claims with every commit.

use crate::house::parts::repository;

#[path = "../fuzz/claims/border.rs"]
mod border;
#[path = "../fuzz/claims/canonical.rs"]
mod canonical;
#[path = "../fuzz/claims/config.rs"]
mod config;
#[path = "../fuzz/claims/envelope.rs"]
mod envelope;
#[path = "../fuzz/claims/frame.rs"]
mod frame;
#[path = "../fuzz/claims/head.rs"]
mod head;
#[path = "../fuzz/claims/jcs.rs"]
mod jcs;
#[path = "../fuzz/claims/keys.rs"]
mod keys;
#[path = "../fuzz/claims/path.rs"]
mod path;
#[path = "../fuzz/claims/senders.rs"]
mod senders;

/// What holds for any bytes.
type Claim = fn(&[u8]);

/// Each target and its claim. The store's is held beside its readers, which are private.
const CLAIMS: [(&str, Claim); 10] = [
    ("border", border::hold),
    ("canonical", canonical::hold),
    ("config", config::hold),
    ("envelope", envelope::hold),
    ("frame", frame::hold),
    ("head", head::hold),
    ("jcs", jcs::hold),
    ("keys", keys::hold),
    ("path", path::hold),
    ("senders", senders::hold),
];

#[test]
fn the_claims_hold_for_what_the_fuzzer_kept() {
    for (target, hold) in CLAIMS {
        let folder = repository().join("tests/fuzz/corpus").join(target);
        let mut kept = 0;
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| hold(&bytes));
            assert!(held.is_ok(), "{target} does not hold for {}", path.display());
            kept += 1;
        }
        assert!(kept > 5, "only {kept} in {}", folder.display());
    }
}
