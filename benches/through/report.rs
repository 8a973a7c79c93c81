//! Prints what was found: medians over rounds, and whether the two promises are kept.

use crate::load::Found;
use crate::rounds::{BARE_POST, CHAIN, SIGNED, STOCK, Series};

/// The whole policy chain costs at most so many times what the bare Pingora costs.
const CHAIN_AT_MOST: f64 = 1.15;
/// A signed POST costs at most the bare one and so many verifications.
const VERIFICATIONS_AT_MOST: f64 = 1.3;

/// Prints the table and the verdicts.
pub(crate) fn print(table: &[Series], verifications: &[f64]) {
    println!(
        "| | CPU, us a request: median (least to most) | times the bare one of the same round | requests a second |"
    );
    println!("|---|---|---|---|");
    for series in table {
        let own: Vec<f64> = series.found.iter().map(micros).collect();
        let rate: Vec<f64> = series.found.iter().map(rate).collect();
        let ratios = ratios(table, series);
        println!(
            "| {} | {} | {} | {:.0} |",
            series.line.name,
            spread(&own, 2),
            spread(&ratios, 3),
            median(&rate)
        );
    }
    let verification: Vec<f64> = verifications.iter().map(|nanos| nanos / 1000.0).collect();
    println!("| one Ed25519 verification | {} | | |\n", spread(&verification, 2));
    if let (Some(chain), Some(stock)) = (named(table, CHAIN), named(table, STOCK)) {
        let beside: Vec<f64> =
            chain.found.iter().zip(&stock.found).map(|(own, stock)| micros(own) / micros(stock)).collect();
        let what = "The policy chain costs";
        verdict(what, median(&beside), "times Pingora as it comes", CHAIN_AT_MOST);
        verdict(what, median(&ratios(table, chain)), "times Pingora tuned as the edge is", CHAIN_AT_MOST);
    }
    if let (Some(signed), Some(post)) = (named(table, SIGNED), named(table, BARE_POST)) {
        let more = signed.found.iter().zip(&post.found).zip(&verification);
        let more: Vec<f64> =
            more.map(|((signed, post), one)| (micros(signed) - micros(post)) / one).collect();
        verdict(
            "A signed POST costs the bare one and",
            median(&more),
            "verifications",
            VERIFICATIONS_AT_MOST,
        );
    }
}

fn verdict(what: &str, got: f64, unit: &str, most: f64) {
    let kept = if got <= most { "kept" } else { "not kept" };
    println!("{what} {got:.3} {unit} (promised: at most {most}; {kept}).");
}

fn named<'t>(table: &'t [Series], name: &str) -> Option<&'t Series> {
    table.iter().find(|series| series.line.name == name)
}

fn ratios(table: &[Series], series: &Series) -> Vec<f64> {
    let base = named(table, series.line.base).map(|base| base.found.as_slice()).unwrap_or_default();
    series.found.iter().zip(base).map(|(own, base)| micros(own) / micros(base)).collect()
}

// Counts of a few seconds are far below 2^52.
#[expect(clippy::cast_precision_loss)]
fn micros(found: &Found) -> f64 {
    found.cpu_ns as f64 / 1000.0 / (found.good + found.bad) as f64
}

#[expect(clippy::cast_precision_loss)]
fn rate(found: &Found) -> f64 {
    (found.good + found.bad) as f64 * 1e9 / found.wall_ns as f64
}

fn spread(values: &[f64], places: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.places$} ({least:.places$} to {most:.places$})", median(values))
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
