//! The order of measuring: every line once a round, each beside the bare Pingora of the same round.
//!
//! Machines drift while they are measured. So all proxies live through the whole run, slices are short,
//! rounds go there and back, and what counts is the median over rounds of ratios within a round.

use crate::Fault;
use crate::checks;
use crate::house::Log;
use crate::load::Found;
use crate::parts::{self, Cpus, Folder, Proxy};
use crate::report;
use crate::requests::Kind;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// How often everything is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of one measurement.
    #[arg(long, default_value_t = 2000)]
    slice_ms: u64,
    /// Connections that are open at once.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The proxies' CPU.
    #[arg(long, default_value_t = 0)]
    proxy_cpu: usize,
    /// The CPU of clients and upstream.
    #[arg(long, default_value_t = 1)]
    other_cpu: usize,
    /// Measure only lines whose name has this word (and what they are compared with).
    #[arg(long)]
    only: Option<String>,
    /// The program made from `benches/stock.rs`; without it, the newest one beside this program.
    #[arg(long)]
    stock: Option<PathBuf>,
    /// Measure this build of the edge, not the one that Cargo has just made.
    #[arg(long, default_value = parts::EDGE)]
    edge: PathBuf,
}

/// Which process is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Bare,
    /// Bare, with the system's allocator and Pingora's default runtime.
    Stock,
    /// Bare, on Tokio's work-stealing runtime.
    Stealing,
    Edge,
    /// The edge without its access log.
    Quiet,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) who: Who,
    pub(crate) kind: Kind,
    /// The line that it is compared with.
    pub(crate) base: &'static str,
}

const fn line(name: &'static str, who: Who, kind: Kind, base: &'static str) -> Line {
    Line { name, who, kind, base }
}

pub(crate) const BARE_GET: &str = "bare get";
pub(crate) const BARE_POST: &str = "bare post";
pub(crate) const STOCK: &str = "bare get, as it comes";
pub(crate) const CHAIN: &str = "edge get";
pub(crate) const SIGNED: &str = "edge signed post";

const LINES: &[Line] = &[
    line(BARE_GET, Who::Bare, Kind::Get, BARE_GET),
    line(STOCK, Who::Stock, Kind::Get, BARE_GET),
    line(CHAIN, Who::Edge, Kind::Get, BARE_GET),
    line("bare get, work stealing", Who::Stealing, Kind::Get, BARE_GET),
    line("edge get, no access log", Who::Quiet, Kind::Get, BARE_GET),
    line("edge get, no limits", Who::Edge, Kind::Unlimited, BARE_GET),
    line("edge get, no key, no limits, no access log", Who::Quiet, Kind::Open, BARE_GET),
    line("edge get, refused (429)", Who::Edge, Kind::Spent, BARE_GET),
    line(BARE_POST, Who::Bare, Kind::Post, BARE_POST),
    line("edge post", Who::Edge, Kind::Post, BARE_POST),
    line(SIGNED, Who::Edge, Kind::Signed, BARE_POST),
];

/// What one line gave, a round at a time.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) line: Line,
    pub(crate) found: Vec<Found>,
}

struct Stage {
    bare: Proxy,
    stock: Proxy,
    stealing: Proxy,
    edge: Proxy,
    quiet: Proxy,
    access_log: PathBuf,
}

impl Stage {
    fn proxy(&self, who: Who) -> &Proxy {
        match who {
            Who::Bare => &self.bare,
            Who::Stock => &self.stock,
            Who::Stealing => &self.stealing,
            Who::Edge => &self.edge,
            Who::Quiet => &self.quiet,
        }
    }
}

/// Measures everything and prints it.
pub(crate) fn run(plan: &Plan) -> Result<(), Fault> {
    let cpus = Cpus { proxy: plan.proxy_cpu, others: plan.other_cpu };
    let folder = Folder::new()?;
    let (_service, upstream) = parts::upstream(cpus)?;
    let told = parts::house(&folder.0, upstream, Log::File)?;
    let untold = parts::house(&folder.0, upstream, Log::Off)?;
    let stage = Stage {
        bare: parts::bare(cpus, upstream, None)?,
        stock: parts::stock(cpus, upstream, plan.stock.as_deref())?,
        stealing: parts::bare(cpus, upstream, Some("--stealing"))?,
        edge: parts::edge(cpus, &plan.edge, &told)?,
        quiet: parts::edge(cpus, &plan.edge, &untold)?,
        access_log: told.access_log(),
    };
    checks::all(stage.bare.address, stage.edge.address, &told)?;
    let mut table = chosen(plan.only.as_deref());
    let mut verifications = Vec::new();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        verifications.push(parts::verification(cpus, plan.slice_ms / 2)?);
        for place in 0..table.len() {
            let place = if round % 2 == 0 { place } else { table.len() - 1 - place };
            let line = table[place].line;
            let found = stage.proxy(line.who).drive(cpus, line.kind, plan.connections, plan.slice_ms)?;
            trust(&line, &found)?;
            table[place].found.push(found);
            // The edge appends, so what it writes next begins the file anew.
            std::fs::File::options().write(true).open(&stage.access_log)?.set_len(0)?;
        }
    }
    report::print(&table, &verifications);
    Ok(())
}

fn chosen(only: Option<&str>) -> Vec<Series> {
    let wanted = |line: &Line| only.is_none_or(|word| line.name.contains(word));
    let needed = |name: &str| LINES.iter().any(|line| wanted(line) && line.base == name);
    let lines = LINES.iter().filter(|line| wanted(line) || needed(line.name));
    lines.map(|&line| Series { line, found: Vec::new() }).collect()
}

/// A figure counts when all but one in a thousand answers were as they should be.
fn trust(line: &Line, found: &Found) -> Result<(), Fault> {
    if found.good == 0 || found.bad * 1000 > found.good {
        return Err(format!("{}: {} answers were wrong, {} right", line.name, found.bad, found.good).into());
    }
    Ok(())
}
