//! The access log's way out: requests append lines to a buffer in memory, one thread writes it.
//!
//! A request never waits for the disk. When the writer cannot keep up, lines beyond the bound are lost,
//! and counted. Lines are on their way out within [`PAUSE`].

use super::line::{Line, thousandths};
use crate::config::checked::AccessLogTarget;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest time that a line waits for company.
const PAUSE: Duration = Duration::from_millis(50);
/// From here on the writer is woken early.
const PLENTY: usize = 64 * 1024;
/// From here on lines are lost.
const MOST: usize = 16 * 1024 * 1024;

/// Where finished requests are told.
#[derive(Debug)]
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
    dropped: IntCounter,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    clock: Clock,
    writing: bool,
    reopen: bool,
}

/// The front of a line up to its second, made once for the second.
#[derive(Debug, Default)]
struct Clock {
    second: Option<u64>,
    front: Vec<u8>,
}

enum Sink {
    Stdout,
    Stderr,
    File(PathBuf, File),
}

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub fn open(target: &AccessLogTarget, dropped: IntCounter) -> io::Result<Self> {
        let sink = match target {
            AccessLogTarget::Off => return Ok(Self { shared: None, dropped }),
            AccessLogTarget::Stdout => Sink::Stdout,
            AccessLogTarget::Stderr => Sink::Stderr,
            AccessLogTarget::File(path) => Sink::File(path.clone(), append(path)?),
        };
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { state, wake: Condvar::new(), written: Condvar::new() });
        let writer = shared.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run(sink))?;
        Ok(Self { shared: Some(shared), dropped })
    }

    /// Whether anyone listens: without, no line need be made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Takes a line; `moment` is Unix time.
    pub(super) fn line(&self, moment: Duration, line: &Line) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.state.lock();
        let before = state.lines.len();
        if before + line.as_bytes().len() > MOST {
            drop(state);
            self.dropped.inc();
            return;
        }
        let State { lines, clock, .. } = &mut *state;
        lines.extend_from_slice(clock.front(moment.as_secs()));
        lines.extend_from_slice(&thousandths(moment.subsec_millis()));
        lines.extend_from_slice(b"Z\"");
        lines.extend_from_slice(line.as_bytes());
        lines.extend_from_slice(b"}\n");
        if before < PLENTY && state.lines.len() >= PLENTY {
            shared.wake.notify_one();
        }
    }

    /// Has the file opened anew, for those who rotate it by renaming.
    pub fn reopen(&self) {
        if let Some(shared) = &self.shared {
            shared.state.lock().reopen = true;
        }
    }

    /// Waits until every line taken so far is written, at most a second.
    pub fn flush(&self) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.state.lock();
        while state.writing || !state.lines.is_empty() {
            shared.wake.notify_one();
            if shared.written.wait_for(&mut state, Duration::from_secs(1)).timed_out() {
                return;
            }
        }
    }
}

impl Clock {
    /// `{"time":"` and the second, up to the point before its thousandths.
    fn front(&mut self, second: u64) -> &[u8] {
        if self.second != Some(second) {
            self.second = Some(second);
            let time =
                i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            let time = time.unwrap_or_default().to_string();
            self.front = format!("{{\"time\":\"{}.", time.trim_end_matches('Z')).into_bytes();
        }
        &self.front
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Shared {
    fn run(&self, mut sink: Sink) {
        let mut out = Vec::new();
        loop {
            let reopen = self.take(&mut out);
            if reopen && let Sink::File(path, file) = &mut sink {
                match append(path) {
                    Ok(fresh) => *file = fresh,
                    Err(error) => {
                        tracing::error!(%error, path = %path.display(), "the access log could not be opened anew")
                    }
                }
            }
            if let Err(error) = sink.write(&out) {
                tracing::error!(%error, "the access log could not be written");
            }
            out.clear();
            self.state.lock().writing = false;
            self.written.notify_all();
        }
    }

    /// Swaps the lines into `out`, waiting for some.
    fn take(&self, out: &mut Vec<u8>) -> bool {
        let mut state = self.state.lock();
        if state.lines.len() < PLENTY {
            self.wake.wait_for(&mut state, PAUSE);
        }
        std::mem::swap(&mut state.lines, out);
        state.writing = true;
        std::mem::take(&mut state.reopen)
    }
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
            Self::File(_, file) => file.write_all(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1_700_000_000_023);

    fn written(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_reach_the_file_and_a_renamed_file_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("edge-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("access.log");
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let log = AccessLog::open(&AccessLogTarget::File(path.clone()), dropped).unwrap();
        log.line(MOMENT, &Line::begin("one"));
        log.flush();
        let one = "{\"time\":\"2023-11-14T22:13:20.023Z\",\"request_id\":\"one\"}\n";
        assert_eq!(written(&path), one);
        std::fs::rename(&path, folder.join("old.log")).unwrap();
        log.reopen();
        log.line(MOMENT + Duration::from_secs(1), &Line::begin("two"));
        log.flush();
        assert_eq!(written(&path), "{\"time\":\"2023-11-14T22:13:21.023Z\",\"request_id\":\"two\"}\n");
        assert_eq!(written(&folder.join("old.log")), one);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
