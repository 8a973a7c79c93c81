//! Keeps pauses over restarts: `data/cooldowns.jsonl`, a line a pause, written anew within a second after one began
//! or was lifted.
//!
//! A sudden death loses what began in its last second, which costs whoever it was that much. Lines that cannot be
//! read are left out: a file of pauses must not keep the edge from starting.

use super::live::Site;
use crate::limits::{Pause, Tick};
use serde::{Deserialize, Serialize};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const FILE: &str = "cooldowns.jsonl";

/// Between two looks whether there is something to write.
const LOOK: Duration = Duration::from_secs(1);

/// A pause as a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prefix: String,
    /// Unix milliseconds.
    until_ms: u64,
    span_ms: u64,
    times: u32,
    strikes: [u32; 3],
}

impl Line {
    fn of(pause: &Pause) -> Self {
        let Pause { prefix, until, span, times, strikes } = *pause;
        let until_ms = until.nanos() / 1_000_000;
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self { prefix: prefix.to_string(), until_ms, span_ms, times, strikes }
    }

    fn read(text: &str) -> Option<Pause> {
        let Self { prefix, until_ms, span_ms, times, strikes } = serde_json::from_str(text).ok()?;
        Some(Pause {
            prefix: prefix.parse().ok()?,
            until: Tick::after(Duration::from_millis(until_ms)),
            span: Duration::from_millis(span_ms),
            times,
            strikes,
        })
    }
}

/// Goes on with the pauses that are in the file.
///
/// # Errors
/// When there is one that cannot be read at all.
pub fn resume(site: &Site, data: &Path) -> io::Result<()> {
    let text = match std::fs::read_to_string(data.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let now = site.tick(Instant::now());
    let pauses: Vec<Option<Pause>> = text.lines().map(Line::read).collect();
    let unreadable = pauses.iter().filter(|pause| pause.is_none()).count();
    if unreadable > 0 {
        tracing::warn!(unreadable, "lines of the cool-downs' file cannot be read");
    }
    let strikes = site.limiter.strikes();
    let resumed = pauses.iter().flatten().filter(|pause| strikes.resume(pause, now)).count();
    if resumed > 0 {
        tracing::info!(resumed, "cool-downs of before go on");
    }
    Ok(())
}

/// Writes the file when something has changed, until the edge goes down and once more then.
pub async fn keep(site: Arc<Site>, data: PathBuf) {
    let mut look = tokio::time::interval(LOOK);
    let mut written = 0;
    loop {
        let is_last = tokio::select! {
            _ = look.tick() => false,
            () = site.until_draining() => true,
        };
        let turns = site.limiter.strikes().turns();
        if turns != written {
            let pauses = site.limiter.strikes().pauses(site.tick(Instant::now()));
            let folder = data.clone();
            match tokio::task::spawn_blocking(move || write(&folder, &pauses)).await {
                Ok(Ok(())) => written = turns,
                Ok(Err(error)) => tracing::error!(%error, "cool-downs cannot be kept over a restart"),
                Err(error) => tracing::error!(%error, "cool-downs are not looked after"),
            }
        }
        if is_last {
            return;
        }
    }
}

/// Writes them beside the old file and puts them in its place.
fn write(data: &Path, pauses: &[Pause]) -> io::Result<()> {
    let fresh = data.join(format!("{FILE}.new"));
    let file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    let mut out = BufWriter::new(file);
    for pause in pauses {
        serde_json::to_writer(&mut out, &Line::of(pause))?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    std::fs::rename(fresh, data.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_anything_else_is_none() {
        for prefix in ["203.0.113.7", "2001:db8::/64"] {
            let pause = Pause {
                prefix: prefix.parse().unwrap(),
                until: Tick::after(Duration::from_millis(1_700_000_000_123)),
                span: Duration::from_mins(2),
                times: 3,
                strikes: [1, 2, 3],
            };
            let text = serde_json::to_string(&Line::of(&pause)).unwrap();
            assert_eq!(Line::read(&text), Some(pause));
            assert!((0..text.len()).all(|end| Line::read(&text[..end]).is_none()));
        }
        assert_eq!(
            Line::read(r#"{"prefix":"nobody","until_ms":1,"span_ms":1,"times":1,"strikes":[0,0,0]}"#),
            None
        );
    }
}
