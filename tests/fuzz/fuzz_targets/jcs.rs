//! `claims/jcs.rs`, under the fuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../claims/jcs.rs"]
mod claim;

fuzz_target!(|bytes: &[u8]| claim::hold(bytes));
