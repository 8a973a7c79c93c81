//! `src/store/claims.rs`, under the fuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_edge::store::claims as claim;

fuzz_target!(|bytes: &[u8]| claim::hold(bytes));
