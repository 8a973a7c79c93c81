//! Routes, as they were found right.

use super::checked::{Border, EncodedSlashes, Sign, Verify};
use crate::ids::{Name, Scope, TenantId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// What paths it takes.
    pub path: PathPattern,
    /// What hosts.
    pub host: Option<HostPattern>,
    /// What methods; empty for all.
    pub methods: Vec<http::Method>,
    /// How callers are known.
    pub access: Access,
    /// Limits (indexes into [`Config::limits`](super::checked::Config::limits)).
    pub limits: Vec<usize>,
    /// Limits (indexes) on calls inside its WebSockets.
    pub call_limits: Vec<usize>,
    /// `%2F`.
    pub encoded_slashes: EncodedSlashes,
    /// Most bytes of a body.
    pub body_max: usize,
    /// Time for a held body.
    pub body_timeout: Duration,
    /// What must be signed.
    pub verify: Option<Arc<Verify>>,
    /// What is signed of what goes on.
    pub sign: Option<Arc<Sign>>,
    /// Which side of the border to other meshes it is.
    pub federation: Option<Border>,
    /// Hand the caller's credential on.
    pub forward_credential: bool,
    /// Who answers.
    pub target: Target,
}

/// How callers of a route are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// By a credential with all these scopes.
    Credential(Vec<Scope>),
    /// By signature; whoever signs belongs to this tenant.
    Signature(TenantId),
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An upstream (index), with this much taken off the path's front and this put before it.
    Upstream {
        /// Index into [`Config::upstreams`](super::checked::Config::upstreams).
        index: usize,
        /// Taken off; empty for nothing.
        strip_prefix: String,
        /// Put before; empty for nothing.
        add_prefix: String,
    },
    /// One fixed gateway (index). The route's literal prefix is taken off the path.
    Gateway(usize),
    /// The gateway that the path's parameter (position among the pattern's parameters) names.
    GatewayParam(usize),
    /// The files of a folder.
    Folder(Arc<Folder>),
    /// The edge's own API.
    MissionControl,
    /// The edge itself: sessions of browsers.
    Sessions,
    /// The edge's own page.
    Console,
    /// The outbox: what is shared with other meshes.
    Outbox,
}

/// A folder whose files are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub root: PathBuf,
    /// The file of a path that ends in a slash.
    pub index: String,
    /// The file for paths that have none and look like no file's, below the root.
    pub fallback: Option<String>,
    /// What `Cache-Control` says of its files.
    pub cache_control: http::HeaderValue,
}

/// A path pattern, in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// Between slashes.
    pub segments: Vec<Segment>,
    /// Ends in `/**`: takes the path itself and everything below it.
    pub rest: bool,
    /// As written.
    pub text: String,
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Just this.
    Literal(String),
    /// Any one segment, under this name.
    Param(String),
}

/// Hosts, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Just this.
    Exact(String),
    /// Anything below this (`*.example.com` → `example.com`).
    Below(String),
}
