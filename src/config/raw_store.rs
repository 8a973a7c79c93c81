//! The `rules` of a mesh store as an operator writes them; the same inside the edge and alone.

use super::raw::Size;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What tenants may keep in the store, and for how long.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreRules {
    /// Versions of the past kept of each row, 0 to 10000. Default 50.
    pub history: Option<usize>,
    /// How long a version of the past is kept after it was written over or taken away, `1s` to `36500d`. Default: no bound.
    pub history_for: Option<String>,
    /// How long it is remembered that a row was deleted or has expired; then its count of versions begins anew. Default: no bound.
    pub tombstones_for: Option<String>,
    /// Of how many rows of a tenant that is remembered; beyond it those that went first are forgotten. Default: no bound.
    pub tombstones: Option<usize>,
    /// How far back the feed of changes goes, `1s` to `36500d`. Default `30d`.
    pub feed_for: Option<String>,
    /// Most entries of a tenant's feed. Default: no bound.
    pub feed_entries: Option<usize>,
    /// How often what has expired and what is too old is taken away, `1s` to `1d`. Default `1m`.
    pub sweep_every: Option<String>,
    /// Longest scope, key and name. Default `4KiB`.
    pub max_key: Option<Size>,
    /// Longest value of a memory, longest content of a skill. Default and most `8MiB`.
    pub max_value: Option<Size>,
    /// Most rows of a tenant, all kinds together. Default: no bound.
    pub max_rows: Option<usize>,
    /// Most bytes of a tenant's rows. Default: no bound.
    pub max_bytes: Option<Size>,
    /// Whether every PUT, DELETE and restore must say what it has read (`If-Match`, or `If-None-Match: *`). Off by default.
    pub require_match: Option<bool>,
    /// Whether writes that look like a secret are refused. Default `off`.
    pub secret_guard: Option<SecretGuard>,
    /// Time to live of memories whose writer says none, by scope: `{ "session:*": 1d, mesh: never }`.
    pub ttl: BTreeMap<String, String>,
    /// What is different for single tenants.
    pub tenants: BTreeMap<String, TenantRules>,
}

/// What is different for one tenant; what is left out is as for all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantRules {
    /// Longest scope, key and name.
    pub max_key: Option<Size>,
    /// Longest value of a memory, longest content of a skill.
    pub max_value: Option<Size>,
    /// Most rows, all kinds together.
    pub max_rows: Option<usize>,
    /// Most bytes of rows.
    pub max_bytes: Option<Size>,
    /// Whether every PUT, DELETE and restore must say what it has read.
    pub require_match: Option<bool>,
    /// Whether writes that look like a secret are refused.
    pub secret_guard: Option<SecretGuard>,
    /// Time to live by scope, looked at before that for all.
    pub ttl: BTreeMap<String, String>,
}

/// Which texts are taken for secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretGuard {
    /// None.
    #[default]
    Off,
    /// Private keys, and tokens of well-known services.
    On,
    /// Those, and JSON Web Tokens.
    WithJwt,
}
