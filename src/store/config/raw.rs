//! The store's config as an operator writes it.

use crate::config::raw::{self, Level, SecretSource};
use crate::config::raw_store::StoreRules;
use schemars::JsonSchema;
use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    /// `127.0.0.1:4078`, or `unix:` and a path.
    pub(super) listen: String,
    /// The `SQLite` file; made when it is not there. Relative to where the store starts. Either this or `postgres`.
    pub(super) database: Option<String>,
    /// A PostgreSQL database.
    pub(super) postgres: Option<RawPostgres>,
    /// Tenant that rows of an existing, untenanted database get. Default `default`.
    pub(super) legacy_tenant: Option<String>,
    /// Where vectors for `mode=semantic` come from. Default: the vectorizer that is built in.
    #[serde(default)]
    pub(super) embeddings: raw::Embeddings,
    /// What tenants may keep, and for how long.
    #[serde(default)]
    pub(super) rules: StoreRules,
    /// How callers are told apart. Only a Unix socket may do without: there it is the edge that calls.
    pub(super) trust: Option<RawTrust>,
    /// Accept secrets written straight into this file. Off by default.
    #[serde(default)]
    pub(super) allow_literal_secrets: bool,
    /// Metrics and health, for operators and their machines. Without it there is no such listener.
    pub(super) metrics: Option<RawMetrics>,
    /// The operator's log (standard error, JSON).
    #[serde(default)]
    pub(super) log: RawLog,
}

/// A PostgreSQL database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPostgres {
    /// `postgres://user:password@host:5432/database`; `?sslmode=require` asks for TLS,
    /// `&sslrootcert=/path/ca.pem` for authorities of your own.
    pub(super) url: SecretSource,
    /// Most connections at the same time, 1 to 500. Default 16.
    pub(super) connections: Option<usize>,
}

/// Metrics and health.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMetrics {
    /// Where `/metrics`, `/healthz` and `/readyz` are answered, such as `127.0.0.1:9091`. It asks for no
    /// credential: keep it where only operators reach it.
    pub(super) listen: String,
}

/// How callers are told apart: one of `shared_secret` and `api_keys`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrust {
    /// The edge sends it as `X-Edge-Auth`; whoever does may name the tenant.
    pub(super) shared_secret: Option<SecretSource>,
    /// Keys of the store's own, for use without the edge.
    pub(super) api_keys: Option<Vec<RawKey>>,
}

/// One key of the store's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    /// What problems call it; never the key.
    pub(super) id: String,
    /// Whose it is.
    pub(super) tenant: String,
    /// `sha256:` and the hex of the whole key text. Either this or `secret`.
    pub(super) hash: Option<String>,
    /// The key itself, from elsewhere. Either this or `hash`.
    pub(super) secret: Option<SecretSource>,
    /// What it may do. Default `write`, which includes reading.
    #[serde(default)]
    pub(super) access: RawRights,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawRights {
    /// Read.
    Read,
    /// Read and write.
    #[default]
    Write,
    /// Read, write, and what changes the tenant as a whole: its keys, its erasure.
    Admin,
}

/// The operator's log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    /// Least level that is written. Default `info`.
    pub(super) level: Option<Level>,
}
