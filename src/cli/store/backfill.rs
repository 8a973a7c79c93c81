//! `mesh-store backfill`: vectors for every memory, now and not behind the writes.

use super::Failure;
use super::bar::bar;
use crate::store::{Access, Config, Store};
use std::path::PathBuf;

/// Give every memory its vector now, with the source that the config names; a running store does it by itself.
///
/// Worth it after a change of model on a large store: what a running store would do behind its writes, with a
/// bar. Can be broken off and started again.
#[derive(Debug, clap::Args)]
pub(super) struct Backfill {
    /// The store's config file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Backfill {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let (config, _) = crate::store::load(&self.config).map_err(Failure::config)?;
        let store = open(&config).await?;
        let embedder = config
            .settings
            .embedder
            .ok_or_else(|| Failure::new("`embeddings: { source: none }`: there are no vectors"))?;
        for tenant in super::tenants(&store, &[]).await? {
            let access = Access::upkeep(tenant.clone());
            let usage = store.usage(&access).await.map_err(Failure::new)?;
            let bar = bar(u64::try_from(usage.memories).unwrap_or(0), "embedding");
            let mut rows = 0;
            loop {
                let stepped = store
                    .index_step(&access, &embedder)
                    .await
                    .map_err(|error| Failure::caused(&format!("{tenant}, after {rows} rows"), &error))?;
                rows += stepped.rows;
                bar.inc(stepped.rows);
                if stepped.behind <= 0 {
                    break;
                }
            }
            bar.finish_and_clear();
            println!("{tenant}: {rows} rows looked at, {}", embedder.model());
        }
        Ok(())
    }
}

async fn open(config: &Config) -> Result<Store, Failure> {
    super::run::open(config).await.map_err(|error| Failure::caused("the store", &error))
}
