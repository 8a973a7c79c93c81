//! Reads with many rows beside the same reads with few: what a request costs must not grow with the store.

use crate::client::Client;
use crate::house::{House, Vectors, key};
use crate::{Args, Fault};
use std::time::Instant;

/// With many rows a read takes at most so many times what it takes with few, at the 99th of a hundred.
const AT_MOST: f64 = 1.5;
/// Both stores take turns, so that whatever else the machine does meets both.
const ROUNDS: usize = 5;

/// A kind of request, and the rows that it is about.
struct Line {
    name: &'static str,
    path: fn(usize) -> String,
}

/// A fiftieth of ten thousand rows is two hundred: as many as a search ranks, so both stores rank as many.
const LINES: &[Line] = &[
    Line { name: "GET by key", path: |at| format!("/mesh/memory/mesh/{}", key(at)) },
    Line { name: "GET of what is not there", path: |at| format!("/mesh/memory/mesh/{}x", key(at)) },
    Line { name: "page of 100, newest", path: |_| "/mesh/memory?limit=100".into() },
    Line { name: "page of 100 of a scope, newest", path: |_| "/mesh/memory?scope=mesh&limit=100".into() },
    Line {
        name: "page of 100 of a node, newest",
        path: |at| format!("/mesh/memory?node_id=n{}&limit=100", at % 20),
    },
    Line {
        name: "page of 100 of a prefix, by key",
        path: |at| format!("/mesh/memory?scope=mesh&prefix=notes/{:02}/&order=key&limit=100", at % 32),
    },
    Line { name: "search, one row has the word", path: |at| format!("/mesh/memory?q=n{at}") },
    Line { name: "search, a fiftieth has the word", path: |at| format!("/mesh/memory?q=g{}", at % 50) },
    Line { name: "search, all have the words", path: |_| "/mesh/memory?q=common+bridge".into() },
    Line { name: "search, two words, a fiftieth", path: |at| format!("/mesh/memory?q=bridge+g{}", at % 50) },
    Line {
        name: "100 changes from the middle of the feed",
        path: |at| format!("/mesh/changes?since={}&limit=100", at.saturating_sub(100)),
    },
];

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let small = House::start(&args.folder, Vectors::None)?;
    small.fill("acme", 0, args.few)?;
    small.rest(args.few)?;
    let few_memory = small.memory()?;
    let large = House::start(&args.folder, Vectors::None)?;
    let began = Instant::now();
    large.fill("acme", 0, args.many)?;
    let took = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
    let rate = args.many as f64 / took;
    let many_memory = large.memory()?;
    let began = Instant::now();
    large.rest(args.many)?;
    let rested = began.elapsed().as_secs_f64();
    println!("\n## Reads with {} rows beside {} rows\n", args.many, args.few);
    println!(
        "{} rows were put by batches of 1,000 in {took:.0} s, {rate:.0} a second; the search index was one piece {rested:.0} s later.\n",
        args.many
    );
    println!("| | p50, us: few, many | p99, us: few, many | p99, times: median (least to most) | |");
    println!("|---|---|---|---|---|");
    let (mut one, mut other) = (small.client("acme")?, large.client("acme")?);
    for line in LINES {
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            let count = args.requests / ROUNDS;
            found.push((
                measure(&mut one, line, args.few, count)?,
                measure(&mut other, line, args.many, count)?,
            ));
        }
        print(line.name, &found);
    }
    println!(
        "\nMemory of the process (without what the system keeps of its file): {few_memory:.0} MiB after {} rows and {:.0} MiB after \
         the reads; {many_memory:.0} MiB after {} rows and {:.0} MiB after the reads.",
        args.few,
        small.memory()?,
        args.many,
        large.memory()?
    );
    Ok(())
}

/// The median and the 99th of a hundred, in microseconds.
fn measure(client: &mut Client, line: &Line, rows: usize, count: usize) -> Result<(f64, f64), Fault> {
    let mut took = Vec::with_capacity(count);
    for index in 0..count + count / 10 {
        let path = (line.path)(fastrand::usize(..rows));
        let began = Instant::now();
        match client.get(&path) {
            Ok(_) => {}
            Err(fault) if fault.to_string().starts_with("HTTP/1.1 404 ") => {}
            Err(fault) => return Err(fault),
        }
        // The first tenth warms up.
        if index >= count / 10 {
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    took.sort_by(f64::total_cmp);
    Ok((took[took.len() / 2], took[took.len() * 99 / 100]))
}

type Pair = ((f64, f64), (f64, f64));

fn print(name: &str, found: &[Pair]) {
    let median = |of: fn(&Pair) -> f64| {
        let mut values: Vec<f64> = found.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut ratios: Vec<f64> = found.iter().map(|(few, many)| many.1 / few.1).collect();
    let shown = crate::writes::spread(&mut ratios, 2);
    let kept = if ratios[ratios.len() / 2] <= AT_MOST { "kept" } else { "MISSED" };
    println!(
        "| {name} | {:.0}, {:.0} | {:.0}, {:.0} | {shown} | {kept} |",
        median(|pair| pair.0.0),
        median(|pair| pair.1.0),
        median(|pair| pair.0.1),
        median(|pair| pair.1.1)
    );
}
