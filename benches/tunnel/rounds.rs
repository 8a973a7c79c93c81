//! The order of measuring, and what is printed.
//!
//! Machines drift while they are measured: both proxies live through the whole run, and what counts is the median over
//! rounds of the ratio within a round.

use crate::Fault;
use crate::load::Found;
use crate::parts::{self, Folder, Running};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

/// A relayed message costs at most so many times what it costs in a bare tunnel.
const AT_MOST: f64 = 1.2;

#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// How often everything is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of one measurement.
    #[arg(long, default_value_t = 2000)]
    slice_ms: u64,
    /// Sockets that are open at once while messages are measured.
    #[arg(long, default_value_t = 64)]
    sockets: usize,
    /// Bytes of a message.
    #[arg(long, value_delimiter = ',', default_value = "200,4096,65536")]
    bytes: Vec<usize>,
    /// Sockets that are open at once while memory is measured; 0 for not at all.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// The proxies' CPU.
    #[arg(long, default_value_t = 0)]
    proxy_cpu: usize,
    /// The CPU of clients and gateway.
    #[arg(long, default_value_t = 1)]
    other_cpu: usize,
    /// Measure this build of the edge, not the one that Cargo has just made.
    #[arg(long, default_value = parts::EDGE)]
    edge: PathBuf,
}

struct Proxy {
    name: &'static str,
    part: Running,
    address: SocketAddr,
}

/// Measures everything and prints it.
pub(crate) fn run(plan: &Plan) -> Result<(), Fault> {
    let folder = Folder::new()?;
    let gateway = parts::vacant()?;
    let echo = parts::own(plan.other_cpu, &["echo".to_owned(), format!("--listen={gateway}")])?;
    let _echo = parts::start(echo, gateway)?;
    let proxies = || -> Result<[Proxy; 2], Fault> {
        let listen = parts::vacant()?;
        let words = ["bare".to_owned(), format!("--listen={listen}"), format!("--upstream={gateway}")];
        let bare = parts::start(parts::own(plan.proxy_cpu, &words)?, listen)?;
        let (edge, address) = parts::edge(plan.proxy_cpu, &plan.edge, &folder.0, gateway)?;
        Ok([
            Proxy { name: "bare Pingora", part: bare, address: listen },
            Proxy { name: "edge", part: edge, address },
        ])
    };
    messages(plan, &proxies()?)?;
    if plan.idle > 0 {
        // Anew: what a process has taken for messages it keeps.
        memory(plan, &proxies()?)?;
    }
    Ok(())
}

fn messages(plan: &Plan, proxies: &[Proxy; 2]) -> Result<(), Fault> {
    println!(
        "| bytes of a message | bare, us of CPU | edge, us of CPU | times | messages a second, bare and edge |"
    );
    println!("|---|---|---|---|---|");
    for &bytes in &plan.bytes {
        let mut found: Vec<[Found; 2]> = Vec::new();
        for round in 0..plan.rounds {
            eprintln!("{bytes} bytes: round {} of {}", round + 1, plan.rounds);
            let first = round % 2;
            let one = drive(plan, &proxies[first], bytes)?;
            let other = drive(plan, &proxies[1 - first], bytes)?;
            found.push(if first == 0 { [one, other] } else { [other, one] });
        }
        let of = |each: &dyn Fn(&[Found; 2]) -> f64| -> Vec<f64> { found.iter().map(each).collect() };
        let ratio = of(&|pair| micros(&pair[1]) / micros(&pair[0]));
        println!(
            "| {bytes} | {} | {} | {} | {:.0}, {:.0} |",
            spread(&of(&|pair| micros(&pair[0]))),
            spread(&of(&|pair| micros(&pair[1]))),
            spread(&ratio),
            median(&of(&|pair| rate(&pair[0]))),
            median(&of(&|pair| rate(&pair[1]))),
        );
        let kept = if median(&ratio) <= AT_MOST { "kept" } else { "not kept" };
        eprintln!("{bytes} bytes: {:.2} times the bare tunnel (goal: {AT_MOST}; {kept})", median(&ratio));
    }
    Ok(())
}

fn drive(plan: &Plan, proxy: &Proxy, bytes: usize) -> Result<Found, Fault> {
    let mut words = load(proxy, plan.sockets);
    words.extend([format!("--bytes={bytes}"), format!("--measure-ms={}", plan.slice_ms)]);
    let output = parts::own(plan.other_cpu, &words)?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the clients of {} have failed", proxy.name).into());
    }
    let found: Found = serde_json::from_slice(&output.stdout)?;
    if found.messages == 0 { Err(format!("{}: nothing came back", proxy.name).into()) } else { Ok(found) }
}

fn load(proxy: &Proxy, sockets: usize) -> Vec<String> {
    let of = proxy.part.0.id();
    [
        "load".to_owned(),
        format!("--target={}", proxy.address),
        format!("--of={of}"),
        format!("--sockets={sockets}"),
    ]
    .into()
}

fn memory(plan: &Plan, proxies: &[Proxy; 2]) -> Result<(), Fault> {
    println!(
        "\n| {} idle sockets | MiB before | MiB with them | KiB a socket |\n|---|---|---|---|",
        plan.idle
    );
    for proxy in proxies {
        let of = proxy.part.0.id();
        let before = parts::resident(of)?;
        let mut words = load(proxy, plan.idle);
        words.push("--idle".to_owned());
        let mut command = parts::own(plan.other_cpu, &words)?;
        let mut clients = Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut said = String::new();
        let out = clients.0.stdout.take().ok_or("standard output is a pipe")?;
        BufReader::new(out).read_line(&mut said)?;
        if said.trim() != "open" {
            return Err(format!("the sockets of {} did not open", proxy.name).into());
        }
        let after = parts::resident(of)?;
        let each = as_f64(after.saturating_sub(before)) / 1024.0 / as_f64(plan.idle as u64);
        println!(
            "| {} | {:.1} | {:.1} | {each:.1} |",
            proxy.name,
            as_f64(before) / 1_048_576.0,
            as_f64(after) / 1_048_576.0
        );
    }
    Ok(())
}

// Counts of a few seconds and bytes of a process are far below 2^52.
#[expect(clippy::cast_precision_loss)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn micros(found: &Found) -> f64 {
    as_f64(found.cpu_ns) / 1000.0 / as_f64(found.messages)
}

fn rate(found: &Found) -> f64 {
    as_f64(found.messages) * 1e9 / as_f64(found.wall_ns)
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2} to {most:.2})", median(values))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (len, middle) if len % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
