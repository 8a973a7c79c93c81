//! What an operator writes about routes.

use super::raw::{Border, Sign, Size, Verify};
use schemars::JsonSchema;
use serde::Deserialize;

/// What is served, and on which terms. One of `upstream`, `gateway`, `static`, `mission_control`, `sessions`, `console` and `federation: share`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a word that operators write")]
pub struct Route {
    /// Its name in logs, metrics and answers.
    pub name: String,
    /// `/exact`, `/prefix/**`, `/with/{param}`.
    pub path: String,
    /// Only for this host, or `*.example.com`.
    pub host: Option<String>,
    /// Only for these methods; all by default.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Anyone may call it, without a credential.
    #[serde(default)]
    pub public: bool,
    /// The tenant of callers who are known by their signature alone.
    pub tenant: Option<String>,
    /// Scopes that the caller needs, all of them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Limits that apply, all or nothing.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What `%2F` in the path means: `refuse` (default) or `keep`.
    #[serde(default)]
    pub encoded_slashes: EncodedSlashes,
    /// Bounds on the request's body.
    #[serde(default)]
    pub body: Body,
    /// What must be signed.
    pub verify: Option<Verify>,
    /// What goes on to the upstream is signed.
    pub sign: Option<Sign>,
    /// The route is a side of the border to other meshes.
    pub federation: Option<Border>,
    /// Hand the caller's credential on to the upstream. Off by default.
    #[serde(default)]
    pub forward_credential: bool,
    /// Name of the upstream.
    pub upstream: Option<String>,
    /// Take this much off the front of the path before the upstream sees it.
    pub strip_prefix: Option<String>,
    /// Put this in front of the path (after `strip_prefix`) before the upstream sees it.
    pub add_prefix: Option<String>,
    /// A gateway's id, or the `{param}` that holds it.
    pub gateway: Option<String>,
    /// Limits that apply to each call inside a WebSocket to a gateway, or to many, all or nothing.
    #[serde(default)]
    pub call_limits: Vec<String>,
    /// Answer with the files of a folder. The route's `path` ends in `/**`; what is behind it is the file's path.
    #[serde(rename = "static")]
    pub folder: Option<Static>,
    /// Answer with the edge's own read-only API, and under `/ws` with one WebSocket for all gateways.
    #[serde(default)]
    pub mission_control: bool,
    /// Answer with `session` behind the route's `path`, which ends in `/**`: browsers begin and end their sessions there. Goes with `sessions` at the top.
    #[serde(default)]
    pub sessions: bool,
    /// Answer with the console, the page for operators that is part of the program. The route's `path` ends in `/**`. The page itself holds nothing of anyone and may be `public`; who looks signs in on it.
    #[serde(default)]
    pub console: bool,
}

/// A folder whose files a route serves, to GET and HEAD.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Static {
    /// Where it is. Nothing outside of it is served, whatever links lie in it, and nothing whose name begins with a dot but `.well-known`.
    pub folder: String,
    /// The file of a path that ends in a slash. Default `index.html`.
    pub index: Option<String>,
    /// The file for paths that have none and whose last part has no dot in it, such as `index.html` of an application with routes of its own. None by default: 404.
    pub fallback: Option<String>,
    /// How long browsers may use a file without asking again, up to `365d`. By default they ask each time, and get 304 for what they have.
    pub cache: Option<String>,
}

/// What `%2F` in a path means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodedSlashes {
    /// 400.
    #[default]
    Refuse,
    /// It is part of a segment, and the upstream gets it as it came.
    Keep,
}

/// Bounds on the request's body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Body {
    /// Most bytes; beyond them 413. Default `1MiB` where `verify`, `sign` or `federation` holds the body, else `64MiB`.
    pub max: Option<Size>,
    /// Time for the whole body where it is held. Default `30s`.
    pub timeout: Option<String>,
}

/// Whether unsigned messages pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each message must carry a good signature.
    #[default]
    Required,
    /// A message without one passes; one with a bad one does not.
    Optional,
}

/// What a bad message in a batch does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The whole request is refused.
    #[default]
    Reject,
    /// It is taken out; the rest goes on. Not inside envelopes.
    Drop,
}

/// Where messages sit in a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// The body is the message or an array of them.
    #[default]
    None,
    /// A Telegram update.
    Telegram,
    /// A Discord message.
    Discord,
    /// `body`, `message` or `data`.
    Generic,
    /// As the query says: `?unwrap=telegram|discord|generic`, none without it.
    Query,
}

/// What happens to requests that no route takes: 404, and these limits (by `ip` alone) apply.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unmatched {
    /// Names of limits.
    pub limits: Vec<String>,
}
