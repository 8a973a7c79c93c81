//! The edge's own connection to a gateway, as it was found right.

use crate::secret::Secret;
use std::net::IpAddr;

/// How the edge itself connects to a gateway.
#[derive(Debug, Clone)]
pub struct Operator {
    /// By what the gateway knows it.
    pub access: OperatorAccess,
    /// What the gateway is told as the client's address.
    pub address: Option<IpAddr>,
    /// Fields sent along.
    pub headers: Vec<(http::HeaderName, Secret)>,
}

/// By what a gateway knows the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorAccess {
    /// Not at all.
    Off,
    /// The gateway's own secret.
    Secret,
    /// A device of the edge's own.
    Device,
    /// A field of the request.
    TrustedProxy {
        /// Which.
        user_header: http::HeaderName,
        /// What stands in it.
        user: http::HeaderValue,
    },
}

impl Operator {
    /// Whether both connect in the same way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_headers =
            self.headers.len() == other.headers.len()
                && self.headers.iter().zip(&other.headers).all(|((name, one), (other_name, other))| {
                    name == other_name && one.matches(other.expose())
                });
        same_headers && self.access == other.access && self.address == other.address
    }
}
