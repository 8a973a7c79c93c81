//! CPU time as the kernel counts it: of any process, in nanoseconds, and of one Ed25519 verification.
//!
//! Linux only. The scheduler's own count is read: clock ticks, the other count that there is, are a
//! hundredth of a second each. It lags by at most one timer interrupt while a thread runs.

use crate::Fault;
use crate::requests::{NODES, signed, signing_key};
use ed25519_dalek::{Signature, VerifyingKey};
use openclaw_edge::signatures::{sig_text, sign};
use serde_json::Value;
use std::hint::black_box;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// CPU time that the threads of a process have used so far.
pub(crate) fn used_by(process: u32) -> Result<u64, Fault> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = match std::fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(text) => text,
            // It ended between being listed and being read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let used = text.split_ascii_whitespace().next().ok_or("the kernel keeps no schedstat")?;
        nanos += used.parse::<u64>()?;
    }
    Ok(nanos)
}

/// Verifies the bench's messages one after the other and prints how many nanoseconds one takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[arg(long)]
    measure_ms: u64,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<(), Fault> {
        let cases = signed()?.iter().map(|body| case(body)).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<VerifyingKey> = (0..NODES).map(|n| signing_key(n).verifying_key()).collect();
        let own = std::process::id();
        let (began, before) = (Instant::now(), used_by(own)?);
        let mut verified = 0u32;
        while began.elapsed() < Duration::from_millis(self.measure_ms) {
            for (n, (text, sig)) in cases.iter().enumerate() {
                black_box(&keys[n % NODES]).verify_strict(black_box(text), black_box(sig))?;
                verified += 1;
            }
        }
        let used = Duration::from_nanos(used_by(own)? - before);
        println!("{}", used.as_secs_f64() * 1e9 / f64::from(verified));
        Ok(())
    }
}

/// What was signed, and the signature.
fn case(body: &[u8]) -> Result<(Vec<u8>, Signature), Fault> {
    let message: Value = serde_json::from_slice(body)?;
    let sig = message["sig"].as_str().and_then(sig_text::parse).ok_or("a message without its signature")?;
    Ok((sign::canonical_text(body)?, sig))
}
