//! Durable PUTs a second at 64 clients, beside what one wait for the same disk a PUT would allow.

use crate::house::{House, Vectors, key, value};
use crate::{Args, Fault};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that each wait for their own answer.
const CLIENTS: usize = 64;
/// What a PUT adds to SQLite's log at the least: a page and its header.
const RECORD: usize = 4096 + 24;
/// Turns; the median counts.
const ROUNDS: usize = 5;
/// So many times the yardstick at the least.
const AT_LEAST: f64 = 10.0;

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let house = House::start(&args.folder, Vectors::None)?;
    let time = Duration::from_secs(args.seconds);
    let (mut yardsticks, mut puts, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let yardstick = one_wait_a_put(&args.folder, time)?;
        let put = together(&house, time)?;
        yardsticks.push(yardstick);
        puts.push(put);
        ratios.push(put / yardstick);
    }
    println!("\n## Durable PUTs, {CLIENTS} clients, {ROUNDS} rounds of {} s\n", args.seconds);
    println!("| | a second: median (least to most) |\n|---|---|");
    println!(
        "| one write of {RECORD} bytes and one fdatasync, one after another | {} |",
        spread(&mut yardsticks, 0)
    );
    println!("| PUT /mesh/memory | {} |", spread(&mut puts, 0));
    println!("| times the yardstick of the same round | {} |\n", spread(&mut ratios, 1));
    verdict("Durable PUTs are", ratios[ROUNDS / 2], AT_LEAST, "times one wait a PUT, at least");
    Ok(())
}

pub(crate) fn spread(values: &mut [f64], digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    format!("{:.digits$} ({least:.digits$} to {most:.digits$})", values[values.len() / 2])
}

fn verdict(what: &str, found: f64, goal: f64, unit: &str) {
    let kept = if found >= goal { "kept" } else { "MISSED" };
    println!("{what} {found:.1} {unit} {goal}: {kept}");
}

fn one_wait_a_put(folder: &Path, time: Duration) -> Result<f64, Fault> {
    let path = folder.join(format!("yardstick-{:016x}", fastrand::u64(..)));
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        file.write_all(&[7; RECORD])?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}

fn together(house: &House, time: Duration) -> Result<f64, Fault> {
    let (over, next, done) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let base = fastrand::usize(..1_000_000) * 1000;
    std::thread::scope(|scope| {
        let (over, next, done) = (&over, &next, &done);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || -> Result<(), Fault> {
                    let mut client = house.client("acme")?;
                    while !over.load(Ordering::Relaxed) {
                        let at = base + next.fetch_add(1, Ordering::Relaxed);
                        let body = format!(r#"{{"scope":"mesh","key":"{}","value":{}}}"#, key(at), value(at));
                        client.put("/mesh/memory", &body)?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        // The first half second warms up.
        std::thread::sleep(Duration::from_millis(500));
        let (began, before) = (Instant::now(), done.load(Ordering::Relaxed));
        std::thread::sleep(time);
        let (after, took) = (done.load(Ordering::Relaxed), began.elapsed());
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        #[allow(clippy::cast_precision_loss, reason = "a count of requests")]
        let count = (after - before) as f64;
        Ok(count / took.as_secs_f64())
    })
}
