//! The edge's own connection to a gateway.

use super::Surroundings;
use super::check_backends::headers;
use super::checked::{Operator, OperatorAccess};
use super::checker::{Checker, shown};
use super::raw;
use super::tree::Spot;
use std::net::IpAddr;

const USER_HEADER: &str = "x-forwarded-user";

pub(super) fn operator(
    raw: &raw::Operator,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Operator> {
    let headers = headers(&raw.headers, spot.key("headers"), checker, around);
    let address = address(raw, spot, checker);
    let access = match raw.access {
        raw::OperatorAccess::Off => OperatorAccess::Off,
        raw::OperatorAccess::Secret => OperatorAccess::Secret,
        raw::OperatorAccess::Device => OperatorAccess::Device,
        raw::OperatorAccess::TrustedProxy => trusted(raw, spot, checker)?,
    };
    if raw.access != raw::OperatorAccess::TrustedProxy {
        for (key, there) in [("user", raw.user.is_some()), ("user_header", raw.user_header.is_some())] {
            if there {
                checker.problem(spot.key_at(key), format!("`{key}` goes with `access: trusted_proxy`"));
            }
        }
    }
    Some(Operator { access, address: address.ok()?, headers })
}

fn trusted(raw: &raw::Operator, spot: Spot<'_>, checker: &mut Checker) -> Option<OperatorAccess> {
    if raw.address.is_none() {
        let hint = "any address of yours that is not on loopback and not in the gateway's `trustedProxies`";
        checker.lacks(spot, "a trusted proxy must name an `address`", hint);
    }
    let Some(user) = &raw.user else {
        checker.lacks(
            spot,
            "a trusted proxy needs a `user`",
            "a name in the gateway's `auth.identityScopes`",
        );
        return None;
    };
    let user = http::HeaderValue::from_str(user).map_err(|_| {
        checker.problem(spot.key("user").at, "this cannot be sent in a header");
    });
    let name = raw.user_header.as_deref().unwrap_or(USER_HEADER);
    let user_header = name.parse().map_err(|_| {
        checker.problem(spot.key("user_header").at, "this is no name of a header");
    });
    Some(OperatorAccess::TrustedProxy { user_header: user_header.ok()?, user: user.ok()? })
}

/// Nothing where there is none; the error has been told.
fn address(raw: &raw::Operator, spot: Spot<'_>, checker: &mut Checker) -> Result<Option<IpAddr>, ()> {
    let Some(text) = raw.address.as_deref() else { return Ok(None) };
    let spot = spot.key("address");
    match text.parse::<IpAddr>() {
        Ok(ip) if !ip.is_loopback() && !ip.is_unspecified() => Ok(Some(ip)),
        Ok(_) => {
            let hint = "gateways refuse a chain that names their own host";
            checker.hinted(spot.at, "this address is on loopback", hint);
            Err(())
        }
        Err(_) => {
            checker.hinted(spot.at, shown(spot, "this is no address", text), "such as `203.0.113.7`");
            Err(())
        }
    }
}
