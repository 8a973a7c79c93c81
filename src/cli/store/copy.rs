//! `mesh-store copy`: everything from one store to another, whatever their engines; checked at the end.

use super::bar::bar;
use super::guarded::{Gate, Guarded};
use super::place::{Missing, Place};
use super::{Failure, TENANT_HELP};
use crate::ids::TenantId;
use crate::store::{Access, Store, Sum, Target};

/// Rows copied in one transaction.
const BATCH: u32 = 200;

/// Entries of the log copied in one transaction.
const LOG_BATCH: u32 = 1000;

/// Copy everything from one store to another: rows, their history, the log of changes.
///
/// Works while the source is in use: what is written meanwhile is copied in further rounds, until nothing is
/// left. Can be broken off and started again; it goes on after what is there already. At the end both stores
/// are read again and compared, by number and by SHA-256.
#[derive(Debug, clap::Args)]
pub(super) struct Copy {
    /// Store to read: a file, or env:NAME for the PostgreSQL URL in that variable.
    #[arg(long, value_name = "STORE")]
    from: Place,
    /// Store to write; a file that is not there is made.
    #[arg(long, value_name = "STORE")]
    to: Place,
    #[arg(long, value_name = "TENANT", help = TENANT_HELP, value_parser = TenantId::parse)]
    tenant: Vec<TenantId>,
    #[command(flatten)]
    guarded: Guarded,
}

impl Copy {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let gate = self.guarded.read()?;
        let from = self.from.open(Missing::Refused).await?;
        let to = self.to.open(Missing::Made).await?;
        for tenant in super::tenants(&from, &self.tenant).await? {
            let access = Access::upkeep(tenant.clone());
            let last = copy_rows(&from, &to, &access, &gate).await?;
            follow(&from, &to, &access, (last, &gate)).await?;
            compare(&from, &to, &access).await?;
        }
        Ok(())
    }
}

/// Copies every row with its past; gives the source's last change before it began.
async fn copy_rows(from: &Store, to: &Store, access: &Access, gate: &Gate) -> Result<i64, Failure> {
    let usage = from.usage(access).await.map_err(Failure::new)?;
    let there = to.usage(access).await.map_err(Failure::new)?;
    let rows = u64::try_from(usage.rows()).unwrap_or(0);
    let bar = bar(rows, "copying");
    // What a copy that was broken off has written is looked at again and not written again.
    let resumed = there.last_change > 0;
    let mut at: Option<Target> = None;
    loop {
        let dossiers = from.dossiers(access, at.clone(), BATCH).await.map_err(Failure::new)?;
        let Some(last) = dossiers.last().and_then(crate::store::Dossier::target) else { break };
        let number = u64::try_from(dossiers.len()).unwrap_or(0);
        dossiers.iter().try_for_each(|dossier| gate.pass(access.tenant(), dossier))?;
        let same = resumed
            && to.dossiers(access, at.clone(), BATCH).await.map_err(Failure::new)?.starts_with(&dossiers);
        if !same {
            to.put_dossiers(access, dossiers).await.map_err(Failure::new)?;
        }
        at = Some(last);
        bar.inc(number);
    }
    bar.finish_and_clear();
    Ok(usage.last_change)
}

/// Copies the log, and again every row that was written since the walk began, until there is nothing more.
async fn follow(
    from: &Store,
    to: &Store,
    access: &Access,
    (began, gate): (i64, &Gate),
) -> Result<(), Failure> {
    let mut at = 0;
    loop {
        let log = from.log(access, at, LOG_BATCH).await.map_err(Failure::new)?;
        let Some(last) = log.entries.last().map(|entry| entry.change) else {
            // Counters and what was swept, also of a tenant whose log is empty.
            to.put_log(access, log).await.map_err(Failure::new)?;
            return Ok(());
        };
        for entry in log.entries.iter().filter(|entry| entry.change > began) {
            if entry.action == "erase" {
                to.erase(access).await.map_err(Failure::new)?;
                continue;
            }
            let target = crate::store::Kind::parse(&entry.kind).map(|kind| Target {
                kind,
                scope: entry.scope.clone(),
                name: entry.name.clone(),
            });
            if let Some(target) = target {
                let dossier = from.dossier(access, target).await.map_err(Failure::new)?;
                gate.pass(access.tenant(), &dossier)?;
                to.put_dossiers(access, vec![dossier]).await.map_err(Failure::new)?;
            }
        }
        to.put_log(access, log).await.map_err(Failure::new)?;
        at = last;
    }
}

/// Reads both and compares.
async fn compare(from: &Store, to: &Store, access: &Access) -> Result<(), Failure> {
    let (one, other) = (sum(from, access).await?, sum(to, access).await?);
    let (tenant, rows, versions) = (access.tenant(), one.rows, one.versions);
    if one.hex() == other.hex() {
        println!("{tenant}: {rows} rows, {versions} past versions, sha256 {}", one.hex());
        return Ok(());
    }
    Err(Failure::new(format!(
        "{tenant}: {rows} rows and {versions} past versions there, {} and {} here, and their sums differ: the \
         source was written to while they were compared, or the destination has rows of its own. Run it again \
         when nothing writes to either",
        other.rows, other.versions
    )))
}

/// The sum over everything that a tenant keeps.
pub(super) async fn sum(store: &Store, access: &Access) -> Result<Sum, Failure> {
    let usage = store.usage(access).await.map_err(Failure::new)?;
    let bar = bar(u64::try_from(usage.rows()).unwrap_or(0), "comparing");
    let (mut sum, mut at) = (Sum::default(), None);
    loop {
        let dossiers = store.dossiers(access, at, BATCH).await.map_err(Failure::new)?;
        let Some(last) = dossiers.last().and_then(crate::store::Dossier::target) else { break };
        for dossier in &dossiers {
            sum.add(dossier);
        }
        bar.inc(u64::try_from(dossiers.len()).unwrap_or(0));
        at = Some(last);
    }
    bar.finish_and_clear();
    Ok(sum)
}
