//! Search by nearness with the built-in vectors, of which every one is compared.

use crate::house::{House, Vectors};
use crate::{Args, Fault};
use std::time::{Duration, Instant};

const QUERIES: usize = 40;

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    println!("\n## Search by nearness, 384 dimensions, all vectors of the tenant compared\n");
    println!(
        "| vectors | indexed, a second | p50, ms | p99, ms | a million vectors a second |\n|---|---|---|---|---|"
    );
    for &count in &args.vectors {
        let house = House::start(&args.folder, Vectors::Builtin)?;
        // Another tenant's are beside them, and are not looked at.
        house.fill("globex", 0, count / 2)?;
        let began = Instant::now();
        house.fill("acme", 0, count)?;
        let mut client = house.client("acme")?;
        let last = format!("/mesh/memory?q=n{}+note&mode=semantic&limit=100", count - 1);
        let name = format!("/{:07}\"", count - 1);
        while !String::from_utf8_lossy(client.get(&last)?).contains(&name) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let indexed = began.elapsed().as_secs_f64();
        let mut took = Vec::new();
        for _ in 0..QUERIES {
            let path = format!(
                "/mesh/memory?q=note+n{}+plan+of+group+g{}&mode=semantic",
                fastrand::usize(..count),
                fastrand::usize(..50)
            );
            let began = Instant::now();
            client.get(&path)?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        took.sort_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss, reason = "a count of vectors")]
        let count = count as f64;
        let (median, worst) = (took[QUERIES / 2], took[QUERIES * 99 / 100]);
        println!(
            "| {count} | {:.0} | {median:.1} | {worst:.1} | {:.2} |",
            count / indexed,
            count / median / 1000.0
        );
    }
    Ok(())
}
