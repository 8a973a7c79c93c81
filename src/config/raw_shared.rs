//! What an operator writes about the server in which several edges count together.

use super::raw::{FileSource, SecretSource};
use schemars::JsonSchema;
use serde::Deserialize;

/// Where several edges count together: an address alone, or with what goes with it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Shared {
    /// `redis://host:port`.
    Url(String),
    /// With more.
    Server(Box<SharedServer>),
}

/// The Redis or Valkey in which several edges count together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedServer {
    /// `redis://host:port/database`, `rediss://` with TLS; `valkey://` and `valkeys://` mean the same.
    pub url: String,
    /// The server is a cluster. Default false.
    #[serde(default)]
    pub cluster: bool,
    /// More of the cluster's nodes, for when the first is down: `host:port`.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// The user (ACL) to log in as.
    pub username: Option<String>,
    /// The password to log in with.
    pub password: Option<SecretSource>,
    /// PEM of the authority that signed the server's certificate. Default: the machine's authorities.
    pub ca: Option<FileSource>,
    /// How many edges count together: what each lets through alone is its part of a limit.
    pub edges: Option<u32>,
    /// Front of all keys. Default `openclaw-edge`.
    pub prefix: Option<String>,
    /// How long a request waits for the server before the limit's `when_unreachable` decides. Default `20ms`.
    pub deadline: Option<String>,
}

/// What becomes of requests while the server that counts them does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnreachable {
    /// This edge lets its own share through.
    #[default]
    Local,
    /// All pass, uncounted.
    Open,
    /// None passes (503).
    Closed,
}
