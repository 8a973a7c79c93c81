//! A look at the shared server from outside: whether it can be reached, written to, and how it is set up. For the
//! doctor, which keeps no connection.

use super::link::Link;
use crate::config::checked::SharedServer;
use redis::{RedisError, RedisResult};
use std::time::{Duration, Instant};

/// How often it is asked for its time; the quickest answer counts.
const TIMES: usize = 5;
/// How long what is written to it stays, in milliseconds.
const STAYS: u64 = 1000;

/// A shared server that answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The quickest round trip.
    pub took: Duration,
    /// Why nothing can be written to it.
    pub unwritable: Option<String>,
    /// What it does when its memory is full, where it may be asked and has a bound.
    pub evicts: Option<String>,
    /// Whether a restart keeps what it holds, where it may be asked.
    pub keeps: Option<bool>,
}

/// Connects, logs in, and asks.
///
/// # Errors
/// When it cannot be reached or does not let the edge in; what it says holds no secret.
pub async fn examine(server: &SharedServer) -> RedisResult<Seen> {
    let link = Link::open(server).await?;
    let mut seen = Seen { took: Duration::MAX, ..Seen::default() };
    for _ in 0..TIMES {
        let began = Instant::now();
        link.ask::<String>(&redis::cmd("PING")).await?;
        seen.took = seen.took.min(began.elapsed());
    }
    let mut write = redis::cmd("SET");
    write.arg(format!("{}:doctor", server.prefix)).arg("1").arg("PX").arg(STAYS);
    seen.unwritable = link.ask::<()>(&write).await.err().map(|error: RedisError| error.to_string());
    // Of a cluster each node would have to be asked; and a user of the edge's own may not ask at all.
    if !server.cluster {
        let memory = link.ask::<String>(redis::cmd("INFO").arg("memory")).await.unwrap_or_default();
        seen.evicts = field(&memory, "maxmemory_policy")
            .filter(|policy| *policy != "noeviction" && field(&memory, "maxmemory") != Some("0"))
            .map(str::to_owned);
        let persistence = link.ask::<String>(redis::cmd("INFO").arg("persistence")).await.unwrap_or_default();
        seen.keeps = field(&persistence, "aof_enabled").map(|on| on == "1");
    }
    Ok(seen)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
