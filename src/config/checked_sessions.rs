//! Sessions of browsers, as they were found right.

use crate::secret::Secret;
use std::time::Duration;

/// Sessions of browsers.
#[derive(Debug)]
pub struct Sessions {
    /// Seals and opens.
    pub secret: Secret,
    /// Opens too.
    pub previous: Option<Secret>,
    /// Longest life.
    pub lifetime: Duration,
    /// Longest time without a request.
    pub idle: Duration,
    /// Whether a cookie may go over plain `http`.
    pub over_http: OverHttp,
}

/// Whether a cookie may go over plain `http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverHttp {
    /// No.
    Refused,
    /// Yes, under another name.
    Allowed,
}
