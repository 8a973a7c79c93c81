//! Which count a request falls on: a rule and the values of what the rule counts apart.
//!
//! A key is three words, copied and compared as such: no text, no allocation. Names have become
//! numbers before (see [`super::Limiter`]); what the numbers stand for is not known here.

use super::cost::MethodCode;
use super::rule::Shape;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

/// What a request can be counted by. Numbers come from the limiter's `intern_*` functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The client's address.
    pub ip: IpAddr,
    /// The credential, once the caller is known.
    pub credential: Option<u32>,
    /// The mesh node, where the credential is one's.
    pub node: Option<u32>,
    /// The tenant, once the caller is known.
    pub tenant: Option<u32>,
    /// The route.
    pub route: u32,
    /// The method.
    pub method: MethodCode,
    /// Bytes of the body, as far as they are known; at most what 32 bits hold.
    pub body: u32,
    /// The value of the field that the rules count by, hashed; 0 without one.
    pub value: u64,
    /// Bits of the address lists that the client is on: limits with one of them do not count it.
    pub freed_by: u32,
}

impl Subject {
    /// Someone of whom only the address is known.
    #[must_use]
    pub fn stranger(ip: IpAddr, route: u32) -> Self {
        Self {
            ip,
            credential: None,
            node: None,
            tenant: None,
            route,
            method: MethodCode::default(),
            body: 0,
            value: 0,
            freed_by: 0,
        }
    }
}

/// One count: a rule and the values of its dimensions. 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u64; 3]);

/// Set in a key's first word where its address is IPv6, so that no prefix passes for an IPv4 address.
const IPV6: u64 = 1 << 63;
/// Set in a key's first word where a field's value is in its third.
const VALUED: u64 = 1 << 62;
/// Beyond the table values are counted in so many groups.
const GROUPS: u64 = 16;

impl Key {
    /// What a place without a count holds; no rule has this number.
    pub(super) const VACANT: Self = Self([u64::MAX; 3]);

    /// The count of `rule` that `subject` falls on; none where it lacks a value the rule counts by.
    #[inline]
    pub(super) fn of(rule: u32, shape: Shape, subject: &Subject) -> Option<Self> {
        let (family, address) = match (shape.ip(), shape.network()) {
            (false, false) => (0, 0),
            (true, _) => network(subject.ip, Prefix::Subscriber),
            (false, true) => network(subject.ip, Prefix::Network),
        };
        // A credential has one node and one tenant, and a node one tenant: the first word tells all.
        let tenant = if shape.tenant() { subject.tenant? } else { 0 };
        let node = if shape.node() { subject.node? } else { tenant };
        let caller = if shape.credential() { subject.credential? } else { node };
        let route = if shape.route() { subject.route } else { 0 };
        let method = if shape.method() { u32::from(subject.method.number()) } else { 0 };
        // Values are hashed under a secret, so nobody can choose one that makes up for another route.
        let (valued, value) = if shape.header() { (VALUED, subject.value) } else { (0, 0) };
        Some(Self([family | valued | pair(rule, caller), address, pair(method, route) ^ value]))
    }

    /// The same count for the whole neighbourhood: what addresses beyond the table fall on. IPv4 by /20,
    /// IPv6 by /40.
    pub(super) const fn neighbourhood(self) -> Self {
        let [first, address, third] = self.0;
        let host = if first & IPV6 == 0 { 0xfff } else { 0xff_ffff };
        let third = if first & VALUED == 0 { third } else { third % GROUPS };
        Self([first, address & !host, third])
    }

    /// The key as it is stored.
    pub(super) const fn words(self) -> [u64; 3] {
        self.0
    }

    /// See [`Self::words`].
    pub(super) const fn from_words(words: [u64; 3]) -> Self {
        Self(words)
    }

    /// The rule's number.
    pub(super) fn rule(self) -> u32 {
        // The upper half of a word fits 32 bits.
        u32::try_from((self.0[0] & !(IPV6 | VALUED)) >> 32).unwrap_or(u32::MAX)
    }
}

// By words: the derived form would hash 24 single bytes and a length.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_u64(word);
        }
    }
}

/// As [`network`]: the whole network, or what one subscriber has.
pub(super) fn network_words(ip: IpAddr, whole: bool) -> (u64, u64) {
    network(ip, if whole { Prefix::Network } else { Prefix::Subscriber })
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// How much of an address is counted as one caller.
#[derive(Clone, Copy)]
enum Prefix {
    /// IPv4 whole; IPv6 by its /64, since one subscriber has at least that much.
    Subscriber,
    /// IPv4 by its /24, IPv6 by its /48: what one site has.
    Network,
}

/// The address that is counted; IPv4 as such also when it came mapped into IPv6.
fn network(ip: IpAddr, prefix: Prefix) -> (u64, u64) {
    let bits = match ip {
        IpAddr::V4(v4) => return (0, four(v4, prefix)),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    if let IpAddr::V4(v4) = ip.to_canonical() {
        return (0, four(v4, prefix));
    }
    // The upper half of 128 bits fits 64.
    let upper = u64::try_from(bits >> 64).unwrap_or(u64::MAX);
    (
        IPV6,
        match prefix {
            Prefix::Subscriber => upper,
            Prefix::Network => upper & !0xffff,
        },
    )
}

fn four(v4: Ipv4Addr, prefix: Prefix) -> u64 {
    u64::from(match prefix {
        Prefix::Subscriber => v4.to_bits(),
        Prefix::Network => v4.to_bits() & !0xff,
    })
}

/// Hashes keys under a secret that is new in every process.
///
/// Folded multiplication: a few nanoseconds, and without the secret nobody can choose addresses that
/// fall together. It is no cryptographic hash and its values leave the process nowhere.
#[derive(Clone)]
pub(super) struct Seed {
    start: u64,
    factor: u64,
}

impl Seed {
    pub(super) fn random() -> Self {
        let source = RandomState::new();
        // Odd, so that multiplying loses no bit.
        Self { start: source.hash_one(1_u8), factor: source.hash_one(2_u8) | 1 }
    }

    /// Two multiplications for a whole key: the same idea as below, for the way that every request goes.
    #[inline]
    pub(super) fn hash(&self, key: &Key) -> u64 {
        let [first, second, third] = key.0;
        let folded = fold(first ^ self.start, second ^ self.factor);
        fold(folded ^ third, self.factor)
    }
}

impl BuildHasher for Seed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold { state: self.start, factor: self.factor }
    }
}

/// See [`Seed`].
pub(super) struct Fold {
    state: u64,
    factor: u64,
}

impl Hasher for Fold {
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        let [low, high] = halves(product);
        self.state = low ^ high.rotate_left(23);
    }

    // Keys are words; anything else still hashes, if slowly.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        let [low, high] = halves(u128::from(self.state) * u128::from(self.factor.rotate_left(32) | 1));
        low ^ high
    }
}

#[inline]
const fn fold(one: u64, other: u64) -> u64 {
    let [low, high] = halves(one as u128 * other as u128);
    low ^ high
}

/// The lower and the upper 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "cutting in half is what this is for")]
const fn halves(product: u128) -> [u64; 2] {
    [product as u64, (product >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::Dimension;
    use std::collections::HashSet;

    fn subject(ip: &str) -> Subject {
        Subject::stranger(ip.parse().expect("an address"), 7)
    }

    fn by(dimensions: &[Dimension]) -> Shape {
        Shape::of(dimensions)
    }

    #[test]
    fn a_mapped_address_is_the_same_caller_as_the_plain_one() {
        let shape = by(&[Dimension::Ip]);
        let plain = Key::of(1, shape, &subject("192.0.2.1"));
        assert_eq!(plain, Key::of(1, shape, &subject("::ffff:192.0.2.1")));
        assert_ne!(plain, Key::of(1, shape, &subject("192.0.2.2")));
    }

    #[test]
    fn an_ipv6_caller_is_its_64() {
        let shape = by(&[Dimension::Ip]);
        let one = Key::of(1, shape, &subject("2001:db8:1:2::1"));
        assert_eq!(one, Key::of(1, shape, &subject("2001:db8:1:2:ffff::9")));
        assert_ne!(one, Key::of(1, shape, &subject("2001:db8:1:3::1")));
    }

    #[test]
    fn a_network_is_a_48_or_a_24() {
        let shape = by(&[Dimension::Network]);
        let key = |ip| Key::of(1, shape, &subject(ip));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:2:2::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.200"));
        assert_ne!(key("192.0.2.1"), key("192.0.3.1"));
    }

    #[test]
    fn a_node_and_a_method_are_counted_apart() {
        let mut caller = subject("192.0.2.1");
        let shape = by(&[Dimension::Node, Dimension::Method]);
        assert_eq!(Key::of(1, shape, &caller), None);
        caller.node = Some(3);
        let get = Key::of(1, shape, &caller);
        caller.method = MethodCode::of(&http::Method::POST);
        assert!(get.is_some());
        assert_ne!(get, Key::of(1, shape, &caller));
    }

    #[test]
    fn no_prefix_passes_for_an_ipv4_address() {
        let shape = by(&[Dimension::Ip]);
        let four = Key::of(1, shape, &subject("192.0.2.1"));
        assert_ne!(four, Key::of(1, shape, &subject("0:0:c000:201::")));
    }

    #[test]
    fn a_missing_value_means_no_count() {
        let mut caller = subject("192.0.2.1");
        assert_eq!(Key::of(1, by(&[Dimension::Credential]), &caller), None);
        assert_eq!(Key::of(1, by(&[Dimension::Ip, Dimension::Tenant]), &caller), None);
        caller.credential = Some(3);
        assert!(Key::of(1, by(&[Dimension::Credential]), &caller).is_some());
    }

    #[test]
    fn only_what_is_counted_apart_tells_keys_apart() {
        let (mut a, mut b) = (subject("192.0.2.1"), subject("192.0.2.9"));
        (a.tenant, b.tenant) = (Some(1), Some(1));
        (a.credential, b.credential) = (Some(4), Some(5));
        let tenant = by(&[Dimension::Tenant]);
        assert_eq!(Key::of(1, tenant, &a), Key::of(1, tenant, &b));
        assert_ne!(Key::of(1, tenant, &a), Key::of(2, tenant, &b));
        let both = by(&[Dimension::Credential, Dimension::Tenant]);
        assert_ne!(Key::of(1, both, &a), Key::of(1, both, &b));
        b.route = 8;
        let route = by(&[Dimension::Tenant, Dimension::Route]);
        assert_ne!(Key::of(1, route, &a), Key::of(1, route, &b));
        assert_eq!(Key::of(9, route, &a).map(Key::rule), Some(9));
        assert_eq!(Key::of(9, by(&[Dimension::Ip]), &subject("2001:db8::1")).map(Key::rule), Some(9));
    }

    #[test]
    fn hashes_spread_in_every_part_that_a_table_uses() {
        let seed = Seed::random();
        let (mut low, mut high) = (HashSet::new(), HashSet::new());
        for n in 0..4096_u32 {
            let ip = IpAddr::from(n.to_be_bytes());
            let key = Key::of(1, by(&[Dimension::Ip]), &Subject { ip, ..subject("::") });
            let key = key.expect("an address is always there");
            for hash in [seed.hash_one(key), seed.hash(&key)] {
                low.insert((hash & 0xfff, hash == seed.hash(&key)));
                high.insert(((hash >> 32) & 0xfff, hash == seed.hash(&key)));
            }
        }
        // 4096 balls in 4096 bins leave about 2589 bins with a ball; here twice.
        assert!(low.len() > 4800 && high.len() > 4800, "{} {}", low.len(), high.len());
    }

    #[test]
    fn values_are_counted_apart_and_beyond_the_table_in_groups() {
        let both = by(&[Dimension::Header, Dimension::Ip]);
        let key = |ip: &str, value| Key::of(3, both, &Subject { value, ..subject(ip) }).expect("it applies");
        let of = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert_ne!(key("192.0.2.1", of(1)), key("192.0.2.1", of(2)));
        assert_ne!(key("192.0.2.1", of(1)), key("192.0.2.2", of(1)));
        assert_eq!((key("192.0.2.1", of(1)).rule(), key("2001:db8::1", of(1)).rule()), (3, 3));
        let near: HashSet<_> = (0..999).map(|n| key("192.0.2.1", of(n)).neighbourhood().words()).collect();
        assert_eq!(near.len(), 16);
        let unvalued = Key::of(3, by(&[Dimension::Ip]), &subject("192.0.2.1"));
        assert_ne!(Some(key("192.0.2.1", 0)), unvalued);
    }

    #[test]
    fn a_key_is_24_bytes() {
        assert_eq!(size_of::<Key>(), 24);
    }
}
