//! Addresses of gateways and servers, taken apart by hand: no part is guessed, and none is shown.
//!
//! Pure functions; whether anything answers there is not known here.

use super::checked::{GatewayUrl, HttpAddress};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a text is no address of a gateway or a Control UI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("this address does not begin with {wanted}")]
    Scheme {
        /// What would be right.
        wanted: &'static str,
    },
    /// `user@`.
    #[error("this address has a user or password in it; use `token`")]
    User,
    /// `user:password@` where both have keys of their own.
    #[error("this address has a user or password in it; use `username` and `password`")]
    Login,
    /// `?` or `#`.
    #[error("this address has a query or fragment")]
    Query,
    /// No host, or no port where one must be.
    #[error("this address has no proper host and port")]
    Host,
    /// Characters that no path has as they stand.
    #[error("this address has a path that cannot be sent")]
    Path,
}

pub(super) fn gateway_url(text: &str) -> Result<GatewayUrl, UrlError> {
    let (tls, rest) = strip_scheme(text, ["ws://", "wss://"], "`ws://` or `wss://`")?;
    let (host, port, path) = split_url(rest)?;
    let default = if tls { 443 } else { 80 };
    let base_path = path.trim_end_matches('/').to_owned();
    Ok(GatewayUrl { tls, host, port: port.unwrap_or(default), base_path })
}

pub(super) fn check_control_ui(text: &str) -> Result<(), UrlError> {
    let (_, rest) = strip_scheme(text, ["http://", "https://"], "`http://` or `https://`")?;
    split_url(rest).map(|_| ())
}

/// Whether a mesh's address is called over TLS, and its host.
pub(super) fn mesh_url(text: &str) -> Result<(bool, String), UrlError> {
    let (tls, rest) = strip_scheme(text, ["http://", "https://"], "`http://` or `https://`")?;
    split_url(rest).map(|(host, _, _)| (tls, host))
}

/// A server that edges share, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SharedUrl {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: i64,
}

pub(super) fn shared_url(text: &str) -> Result<SharedUrl, UrlError> {
    let wanted = "`redis://` or `rediss://`";
    let of_redis = strip_scheme(text, ["redis://", "rediss://"], wanted);
    let (tls, rest) = of_redis.or_else(|_| strip_scheme(text, ["valkey://", "valkeys://"], wanted))?;
    let (host, port, path) = split_url(rest).map_err(|error| match error {
        UrlError::User => UrlError::Login,
        other => other,
    })?;
    let database = match path.trim_matches('/') {
        "" => 0,
        number => number.parse::<u16>().map_err(|_| UrlError::Path)?,
    };
    Ok(SharedUrl { tls, host, port: port.unwrap_or(6379), database: database.into() })
}

/// `host:port` of a cluster's node.
pub(super) fn shared_node(text: &str) -> Result<(String, u16), UrlError> {
    match split_url(text)? {
        (host, Some(port), "" | "/") => Ok((host, port)),
        (_, Some(_) | None, _) => Err(UrlError::Host),
    }
}

pub(super) fn http_address(text: &str) -> Result<HttpAddress, UrlError> {
    let (tls, rest) = strip_scheme(text, ["http://", "https://"], "`http://` or `https://`")?;
    let (host, port, path) = split_url(rest)?;
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    let target = if path.is_empty() { "/" } else { path }.to_owned();
    Ok(HttpAddress { tls, host, port, target })
}

fn strip_scheme<'t>(
    text: &'t str,
    schemes: [&str; 2],
    wanted: &'static str,
) -> Result<(bool, &'t str), UrlError> {
    let [plain, tls] = schemes;
    match (text.strip_prefix(plain), text.strip_prefix(tls)) {
        (Some(rest), _) => Ok((false, rest)),
        (None, Some(rest)) => Ok((true, rest)),
        (None, None) => Err(UrlError::Scheme { wanted }),
    }
}

/// Host, port and path of what follows a scheme.
fn split_url(rest: &str) -> Result<(String, Option<u16>, &str), UrlError> {
    if rest.contains(['?', '#']) {
        return Err(UrlError::Query);
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(UrlError::User);
    }
    let (host, port) = split_authority(authority).ok_or(UrlError::Host)?;
    let sendable =
        |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    if !path.chars().all(sendable) {
        return Err(UrlError::Path);
    }
    Ok((host.to_owned(), port, path))
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; the host without brackets.
pub(super) fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_good = host.parse::<IpAddr>().is_ok() || is_host_name(host);
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    is_good.then_some((host, port))
}

/// A DNS name; one that ends in digits alone would be read as an address by some.
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let ends_in_digits = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && (!ends_in_digits || text.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_gateway_address_is_taken_apart() {
        let url = |tls, host: &str, port, base_path: &str| GatewayUrl {
            tls,
            host: host.into(),
            port,
            base_path: base_path.into(),
        };
        assert_eq!(gateway_url("ws://127.0.0.1:18789"), Ok(url(false, "127.0.0.1", 18789, "")));
        assert_eq!(gateway_url("wss://gw.example.com"), Ok(url(true, "gw.example.com", 443, "")));
        assert_eq!(gateway_url("ws://[::1]:1/a/b/"), Ok(url(false, "::1", 1, "/a/b")));
        for bad in [
            "http://a",
            "ws://",
            "ws://a:b",
            "ws://u:p@h",
            "ws://h/?token=x",
            "ws://h:0",
            "ws://h:70000",
            "ws://a b",
            "ws://h/a b",
            "ws://1.2.3",
            "ws://[::1",
            "ws://::1",
        ] {
            assert!(gateway_url(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_the_reader_panic(text in any::<String>()) {
            let _ = gateway_url(&format!("ws://{text}"));
            let _ = split_authority(&text);
        }
    }
}
