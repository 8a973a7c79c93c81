//! Whose address a request counts for: decided once, used by limits, headers and logs alike.

use http::HeaderValue;
use ipnet::IpNet;
use std::io::Write as _;
use std::net::IpAddr;

/// Longest chain of proxies that is followed.
const MAX_HOPS: usize = 32;

/// The client's address: the peer's own, or, when the peer is a trusted proxy, the right-most address of
/// `X-Forwarded-For` that is not one. A hop that cannot be read ends the walk at the proxy that reported it.
pub fn client<'a, I>(peer: IpAddr, forwarded: I, trusted: &[IpNet]) -> IpAddr
where
    I: DoubleEndedIterator<Item = &'a HeaderValue>,
{
    let mut known = peer.to_canonical();
    let hops = forwarded.rev().flat_map(|value| value.as_bytes().rsplit(|&b| b == b','));
    for hop in hops.take(MAX_HOPS) {
        if !trusted.iter().any(|net| net.contains(&known)) {
            break;
        }
        match parse(hop) {
            Some(address) => known = address,
            None => break,
        }
    }
    known
}

/// An address written out, without a heap: every request's goes to the upstream and into the log.
pub struct AddressText {
    bytes: [u8; Self::LONGEST],
    len: usize,
}

impl AddressText {
    /// An IPv6 address with an IPv4 one inside.
    const LONGEST: usize = 45;

    /// Writes an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        let mut text = Self { bytes: [0; Self::LONGEST], len: 0 };
        match ip {
            IpAddr::V4(ip) => text.octets(ip.octets()),
            IpAddr::V6(ip) => {
                let mut rest = &mut text.bytes[..];
                // The longest address fits, so this does not fail.
                let _ = write!(rest, "{ip}");
                text.len = Self::LONGEST - rest.len();
            }
        }
        text
    }

    fn octets(&mut self, octets: [u8; 4]) {
        let mut digits = itoa::Buffer::new();
        for (place, octet) in octets.into_iter().enumerate() {
            if place > 0 {
                self.put(b".");
            }
            self.put(digits.format(octet).as_bytes());
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.parse::<IpAddr>().ok();
    let address = bare.or_else(|| {
        let with_port = text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
        with_port.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
    })?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, fields: &[&str], trusted: &[&str]) -> String {
        let fields: Vec<HeaderValue> = fields.iter().map(|f| HeaderValue::from_str(f).unwrap()).collect();
        let trusted: Vec<IpNet> = trusted.iter().map(|t| t.parse().unwrap()).collect();
        client(peer.parse().unwrap(), fields.iter(), &trusted).to_string()
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        assert_eq!(check("203.0.113.9", &["10.0.0.1"], &["10.0.0.0/8"]), "203.0.113.9");
        assert_eq!(check("10.0.0.1", &["1.2.3.4"], &[]), "10.0.0.1");
    }

    #[test]
    fn the_walk_goes_from_right_to_left_and_stops_at_the_first_stranger() {
        let trusted = &["10.0.0.0/8", "fd00::/8"];
        assert_eq!(check("10.0.0.1", &["6.6.6.6, 1.2.3.4"], trusted), "1.2.3.4");
        assert_eq!(check("10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.9.9.9"], trusted), "1.2.3.4");
        assert_eq!(check("10.0.0.1", &["10.1.1.1"], trusted), "10.1.1.1");
        assert_eq!(check("10.0.0.1", &[], trusted), "10.0.0.1");
        assert_eq!(check("fd00::1", &["[2001:db8::1]:443"], trusted), "2001:db8::1");
        assert_eq!(check("::ffff:10.0.0.1", &["::ffff:1.2.3.4"], trusted), "1.2.3.4");
        assert_eq!(check("10.0.0.1", &["1.2.3.4:5678"], trusted), "1.2.3.4");
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for text in ["0.0.0.0", "10.2.33.255", "255.255.255.255", "::", "2001:db8::1", "::ffff:1.2.3.4"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(AddressText::of(ip).as_bytes(), ip.to_string().as_bytes());
        }
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap();
        assert_eq!(AddressText::of(longest).as_bytes().len(), 39);
    }

    #[test]
    fn a_hop_that_cannot_be_read_is_not_passed_over() {
        assert_eq!(check("10.0.0.1", &["6.6.6.6, unknown"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(check("10.0.0.1", &["6.6.6.6, "], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(check("10.0.0.1", &["6.6.6.6, x, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.2");
    }
}
