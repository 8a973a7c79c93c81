//! `mesh-store export` and `import`: a store as lines of JSON, streamed; and `tenants`.

use super::bar::bar;
use super::guarded::Guarded;
use super::place::{Missing, Place};
use super::table::{Align, table};
use super::{Failure, TENANT_HELP};
use crate::ids::TenantId;
use crate::store::{Access, Dossier, Log, Store, Sum};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;

/// Rows in one transaction.
const BATCH: u32 = 200;

/// One line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Line {
    /// A row and its past.
    Row { tenant: String, row: Dossier },
    /// A stretch of a tenant's log of changes; the last thing of a tenant.
    Log { tenant: String, log: Log },
    /// The last line: what there should have been.
    End { rows: u64, versions: u64, sha256: String },
}

/// Write a store as NDJSON: one line a row with its history, then the log of changes; the last line has the sum.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Store to read: a file, or env:NAME for the PostgreSQL URL in that variable.
    #[arg(long, value_name = "STORE")]
    from: Place,
    #[arg(long, value_name = "TENANT", help = TENANT_HELP, value_parser = TenantId::parse)]
    tenant: Vec<TenantId>,
    /// File to write; standard output without it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let store = self.from.open(Missing::Refused).await?;
        let out: Box<dyn Write> = match &self.output {
            Some(path) => Box::new(File::create(path).map_err(|error| broken(path, &error))?),
            None => Box::new(std::io::stdout().lock()),
        };
        let mut out = BufWriter::new(out);
        let mut sum = Sum::default();
        for tenant in super::tenants(&store, &self.tenant).await? {
            export(&store, &tenant, &mut out, &mut sum).await?;
        }
        let end = Line::End { rows: sum.rows, versions: sum.versions, sha256: sum.hex() };
        write_line(&mut out, &end)?;
        out.flush().map_err(|error| Failure::caused("the export", &error))?;
        eprintln!("{} rows, {} past versions, sha256 {}", sum.rows, sum.versions, sum.hex());
        Ok(())
    }
}

async fn export(
    store: &Store,
    tenant: &TenantId,
    out: &mut impl Write,
    sum: &mut Sum,
) -> Result<(), Failure> {
    let access = Access::upkeep(tenant.clone());
    let usage = store.usage(&access).await.map_err(Failure::new)?;
    let bar = bar(u64::try_from(usage.rows()).unwrap_or(0), "exporting");
    let mut at = None;
    loop {
        let dossiers = store.dossiers(&access, at, BATCH).await.map_err(Failure::new)?;
        let Some(last) = dossiers.last().and_then(Dossier::target) else { break };
        for row in dossiers {
            sum.add(&row);
            write_line(out, &Line::Row { tenant: tenant.to_string(), row })?;
            bar.inc(1);
        }
        at = Some(last);
    }
    bar.finish_and_clear();
    let mut after = 0;
    loop {
        let log = store.log(&access, after, 1000).await.map_err(Failure::new)?;
        let last = log.entries.last().map(|entry| entry.change);
        write_line(out, &Line::Log { tenant: tenant.to_string(), log })?;
        let Some(last) = last else { return Ok(()) };
        after = last;
    }
}

fn write_line(out: &mut impl Write, line: &Line) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, line).map_err(|error| Failure::caused("the export", &error))?;
    out.write_all(b"\n").map_err(|error| Failure::caused("the export", &error))
}

/// Read what `export` wrote into a store, and hold it against the sum in its last line.
///
/// Rows that are there already are replaced. The input is read line by line, however large it is.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Store to write; a file that is not there is made.
    #[arg(long, value_name = "STORE")]
    to: Place,
    #[command(flatten)]
    guarded: Guarded,
    /// File to read; standard input without it.
    #[arg(value_name = "FILE")]
    input: Option<PathBuf>,
}

impl Import {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let gate = self.guarded.read()?;
        let store = self.to.open(Missing::Made).await?;
        let input: Box<dyn BufRead> = match &self.input {
            Some(path) => Box::new(BufReader::new(File::open(path).map_err(|error| broken(path, &error))?)),
            None => Box::new(std::io::stdin().lock()),
        };
        let bar = bar(0, "importing");
        let (mut sum, mut end) = (Sum::default(), None);
        let mut waiting: Vec<Dossier> = Vec::new();
        let mut whose: Option<TenantId> = None;
        for (number, line) in (1_u64..).zip(input.lines()) {
            let line = line.map_err(|error| Failure::caused(&format!("line {number}"), &error))?;
            let wrong = |what: &dyn std::fmt::Display| Failure::new(format!("line {number}: {what}"));
            if end.is_some() {
                return Err(wrong(&"there is more after the line with the sum"));
            }
            match serde_json::from_str(&line).map_err(|error| wrong(&error))? {
                Line::Row { tenant, row } => {
                    let tenant = TenantId::parse(&tenant).map_err(|error| wrong(&error))?;
                    let alive = row.versions.iter().any(|version| version.live);
                    if row.target().is_none() || (alive && row.row().is_none()) {
                        return Err(wrong(&"this is no row"));
                    }
                    gate.pass(&tenant, &row).map_err(|failure| wrong(&failure.text))?;
                    if whose.as_ref() != Some(&tenant) || waiting.len() >= BATCH as usize {
                        put(&store, whose.as_ref(), &mut waiting).await?;
                        whose = Some(tenant);
                    }
                    sum.add(&row);
                    waiting.push(row);
                    bar.inc(1);
                }
                Line::Log { tenant, log } => {
                    put(&store, whose.as_ref(), &mut waiting).await?;
                    let tenant = TenantId::parse(&tenant).map_err(|error| wrong(&error))?;
                    store.put_log(&Access::upkeep(tenant), log).await.map_err(Failure::new)?;
                }
                Line::End { sha256, .. } => end = Some(sha256),
            }
        }
        put(&store, whose.as_ref(), &mut waiting).await?;
        bar.finish_and_clear();
        let Some(end) = end else {
            return Err(Failure::new("the input ends before the line with its sum: it was cut off"));
        };
        if end != sum.hex() {
            return Err(Failure::new("what was read is not what was exported: the sums differ"));
        }
        eprintln!("{} rows, {} past versions, sha256 {}", sum.rows, sum.versions, sum.hex());
        Ok(())
    }
}

async fn put(store: &Store, tenant: Option<&TenantId>, waiting: &mut Vec<Dossier>) -> Result<(), Failure> {
    let Some(tenant) = tenant.filter(|_| !waiting.is_empty()) else { return Ok(()) };
    let dossiers = std::mem::take(waiting);
    store.put_dossiers(&Access::upkeep(tenant.clone()), dossiers).await.map_err(Failure::new)
}

fn broken(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

/// List the tenants of a store and what each keeps.
#[derive(Debug, clap::Args)]
pub(super) struct Tenants {
    /// Store to read: a file, or env:NAME for the PostgreSQL URL in that variable.
    #[arg(long, value_name = "STORE")]
    from: Place,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

impl Tenants {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let store = self.from.open(Missing::Refused).await?;
        let mut rows = Vec::new();
        for tenant in super::tenants(&store, &[]).await? {
            let usage = store.usage(&Access::upkeep(tenant.clone())).await.map_err(Failure::new)?;
            if self.json {
                let line = serde_json::json!({
                    "tenant": tenant.as_str(), "memories": usage.memories, "skills": usage.skills, "keys": usage.keys,
                    "bytes": usage.bytes, "versions": usage.versions, "last_change": usage.last_change,
                });
                println!("{line}");
                continue;
            }
            let numbers =
                [usage.memories, usage.skills, usage.keys, usage.bytes, usage.versions, usage.last_change];
            rows.push(std::iter::once(tenant.to_string()).chain(numbers.map(|n| n.to_string())).collect());
        }
        if !self.json {
            let names = ["tenant", "memories", "skills", "keys", "bytes", "past versions", "last change"];
            let mut aligns = [Align::Right; 7];
            aligns[0] = Align::Left;
            print!("{}", table(&names, &aligns, &rows));
        }
        Ok(())
    }
}
