//! Whose address it is, in one word: IPv4 whole, IPv6 by its /64, since one subscriber has at least that much.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The front of an IPv4 address's word. As IPv6 this is multicast, from which nobody calls.
const IPV4: u64 = 0xffff << 48;
const LOW: u64 = 0xffff_ffff;

/// What is counted as one caller of whom only the address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(u64);

/// A text is no address and no /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no address and no IPv6 /64")]
pub struct PrefixError;

impl Prefix {
    /// The prefix of an address; IPv4 also when it comes mapped into IPv6.
    #[inline]
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(IPV4 | u64::from(ip.to_bits())),
            // The upper half of 128 bits fits 64.
            IpAddr::V6(ip) => Self(u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }

    /// As one word that is never 0 for an address from which somebody can call.
    #[inline]
    pub(super) const fn word(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & !LOW == IPV4 {
            // The lower half of a word fits 32 bits.
            return Ipv4Addr::from_bits(u32::try_from(self.0 & LOW).unwrap_or(0)).fmt(f);
        }
        write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.0) << 64))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// As it is written, or any address in it.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, is_64) = match text.strip_suffix("/64") {
            Some(address) => (address, true),
            None => (text, false),
        };
        match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(IpAddr::V4(_)) if is_64 => Err(PrefixError),
            Ok(ip) => Ok(Self::of(ip)),
            Err(_) => Err(PrefixError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_written_and_read_back() {
        for (address, written) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let prefix = Prefix::of(address.parse().expect("an address"));
            assert_eq!(prefix.to_string(), written);
            assert_eq!([written.parse(), address.parse()], [Ok(prefix), Ok(prefix)]);
        }
        for text in ["", "203.0.113.7/64", "203.0.113.0/24", "2001:db8::/48", "name"] {
            assert_eq!(text.parse::<Prefix>(), Err(PrefixError), "{text}");
        }
    }
}
