//! Which list of addresses a client is on: the longest prefix over all lists decides.
//!
//! Asked before anything else is known of a request, with the one address that limits and logs use too.
//! Where the lists come from, and what an answer looks like, is not known here.

use crate::config::checked::{AddressList, Denial, Verdict};
use crate::ids::Name;
use ipnet::IpNet;
use prefix_trie::joint::map::JointPrefixMap;
use std::net::IpAddr;

/// All lists, ready to be asked.
#[derive(Default)]
pub struct AddressLists {
    lists: Vec<(Name, Verdict)>,
    by_prefix: JointPrefixMap<IpNet, u8>,
}

/// The list that a client is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its place in the config.
    pub list: u8,
    /// What it does with those on it.
    pub verdict: Verdict,
}

impl Listed {
    /// What the client gets, where it is kept out.
    #[must_use]
    pub const fn denial(self) -> Option<Denial> {
        match self.verdict {
            Verdict::Deny(denial) => Some(denial),
            Verdict::Allow => None,
        }
    }

    /// The list's bit in what frees from limits.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1_u32.wrapping_shl(self.list as u32)
    }
}

impl AddressLists {
    /// Takes the lists of a config; it has at most 32.
    #[must_use]
    pub fn new(lists: &[AddressList]) -> Self {
        let mut all = Self::default();
        for (number, list) in (0_u8..).zip(lists) {
            all.lists.push((list.name.clone(), list.verdict));
            for network in &list.networks {
                all.add(*network, number);
            }
        }
        all
    }

    /// Of equal prefixes the one that keeps out stays; else the one that came first.
    fn add(&mut self, network: IpNet, number: u8) {
        let verdict = |list: u8| self.lists[usize::from(list)].1;
        let stays = match self.by_prefix.get(&network) {
            None => false,
            Some(&other) => match (verdict(other), verdict(number)) {
                (Verdict::Allow, Verdict::Deny(_)) => false,
                (Verdict::Deny(_), _) | (Verdict::Allow, Verdict::Allow) => true,
            },
        };
        if !stays {
            self.by_prefix.insert(network, number);
        }
    }

    /// The list that an address is on. IPv4 comes as such, not mapped into IPv6.
    #[inline]
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<Listed> {
        if self.lists.is_empty() {
            return None;
        }
        let (_, &list) = self.by_prefix.get_lpm(&IpNet::from(ip))?;
        let (_, verdict) = self.lists.get(usize::from(list))?;
        Some(Listed { list, verdict: *verdict })
    }

    /// The name of a list.
    #[must_use]
    pub fn name(&self, listed: Listed) -> Option<&Name> {
        self.lists.get(usize::from(listed.list)).map(|(name, _)| name)
    }
}

impl std::fmt::Debug for AddressLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddressLists").field("lists", &self.lists).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};

    fn list(name: &str, verdict: Verdict, networks: &[&str]) -> AddressList {
        let networks = networks.iter().map(|text| text.parse().expect("a network")).collect();
        AddressList { name: Name::parse(name).expect("a name"), verdict, networks }
    }

    fn verdict(lists: &AddressLists, ip: &str) -> Option<Verdict> {
        lists.find(ip.parse().expect("an address")).map(|listed| listed.verdict)
    }

    const DENY: Verdict = Verdict::Deny(Denial::Refuse);

    #[test]
    fn the_longest_prefix_decides_and_of_equal_ones_the_denial() {
        let lists = AddressLists::new(&[
            list("all", DENY, &["0.0.0.0/0", "::/0"]),
            list("office", Verdict::Allow, &["203.0.113.0/24", "2001:db8::/32", "198.51.100.1/32"]),
            list("guest", Verdict::Deny(Denial::Close), &["203.0.113.128/25", "198.51.100.1/32"]),
            list("again", Verdict::Allow, &["203.0.113.128/25"]),
        ]);
        for (ip, wanted) in [
            ("192.0.2.1", DENY),
            ("2001:db9::1", DENY),
            ("203.0.113.1", Verdict::Allow),
            ("2001:db8:ffff::1", Verdict::Allow),
            ("203.0.113.200", Verdict::Deny(Denial::Close)),
            ("198.51.100.1", Verdict::Deny(Denial::Close)),
        ] {
            assert_eq!(verdict(&lists, ip), Some(wanted), "{ip}");
        }
        let listed = lists.find("203.0.113.1".parse().expect("an address")).expect("it is on a list");
        assert_eq!((lists.name(listed).map(Name::as_str), listed.bit()), (Some("office"), 2));
        assert_eq!(verdict(&AddressLists::new(&[]), "192.0.2.1"), None);
    }

    /// Few bits, so that prefixes nest and meet.
    fn network() -> impl Strategy<Value = IpNet> {
        (0_u32..256, 24_u8..33, prop_oneof![Just(true), Just(false)]).prop_map(|(low, prefix, four)| {
            let net = if four {
                IpNet::new(IpAddr::from((0xcb00_7100_u32 | low).to_be_bytes()), prefix)
            } else {
                IpNet::new(
                    IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(low)).to_be_bytes()),
                    prefix + 96,
                )
            };
            net.expect("prefixes fit").trunc()
        })
    }

    proptest! {
        #[test]
        fn a_look_at_every_network_finds_the_same(
            nets in proptest::collection::vec((network(), 0_usize..3), 0..40),
            low in 0_u32..256,
            four in prop_oneof![Just(true), Just(false)],
        ) {
            let verdicts = [Verdict::Allow, DENY, Verdict::Deny(Denial::Close)];
            let names = ["a", "b", "c"];
            let of = |number: usize| nets.iter().filter(move |(_, n)| *n == number).map(|(net, _)| *net);
            let lists: Vec<AddressList> = (0..3)
                .map(|n| AddressList { networks: of(n).collect(), ..list(names[n], verdicts[n], &[]) })
                .collect();
            let ip = if four {
                IpAddr::from((0xcb00_7100_u32 | low).to_be_bytes())
            } else {
                IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(low)).to_be_bytes())
            };
            // Longest, then denied, then first.
            let rank = |(net, n): &&(IpNet, usize)| (net.prefix_len(), *n > 0, std::cmp::Reverse(*n));
            let wanted = nets.iter().filter(|(net, _)| net.contains(&ip)).max_by_key(rank).map(|(_, n)| *n);
            let found = AddressLists::new(&lists).find(ip).map(|listed| usize::from(listed.list));
            prop_assert_eq!(found, wanted);
        }
    }
}
