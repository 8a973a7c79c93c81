//! What an operator writes about sessions of browsers.

use super::raw::SecretSource;
use schemars::JsonSchema;
use serde::Deserialize;

/// Sessions of browsers: a key or a token is swapped for a cookie. A route with `sessions: true` is where that is done.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// What cookies are sealed with, at least 32 characters. The same on all edges of a site.
    pub secret: SecretSource,
    /// The secret before: what it sealed still counts, while it is changed.
    pub previous_secret: Option<SecretSource>,
    /// Longest time that a session lasts, `1m` to `30d`. Default `12h`. It ends sooner with what it began with.
    pub lifetime: Option<String>,
    /// How long it lasts without a request, `1m` to `30d`. Default `1h`.
    pub idle: Option<String>,
    /// Give a cookie, `openclaw-session`, over plain `http` too. Whoever is on the way can read it, so this is for a site
    /// on one machine. Off by default.
    #[serde(default)]
    pub allow_http: bool,
}
