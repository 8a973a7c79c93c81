//! Under which key a shared rule counts a request: the same on every edge, whatever the order of its config.
//!
//! Names go into a digest, so that no address and no credential's name stands in the server; the tenant does
//! stand there, in the braces by which a cluster keeps a tenant's keys together.

use super::super::cost::MethodCode;
use super::super::key::network_words;
use crate::config::checked::{Dimension, Limit};
use crate::ids::{CredentialId, Name, NodeId, TenantId};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::net::IpAddr;

/// Whose request it is, in names.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// The method.
    pub method: MethodCode,
    /// The tenant, once the caller is known.
    pub tenant: Option<&'a TenantId>,
    /// The credential, once the caller is known.
    pub credential: Option<&'a CredentialId>,
    /// The mesh node, where the credential is one's.
    pub node: Option<&'a NodeId>,
    /// The route; none where no route took the request.
    pub route: Option<&'a Name>,
}

/// What a rule's keys have in common.
#[derive(Clone)]
pub(super) struct Seed {
    name: Name,
    by: Box<[Dimension]>,
    state: Sha256,
}

impl Seed {
    pub(super) fn new(limit: &Limit, kind: &str) -> Self {
        let mut state = Sha256::new();
        let per = limit.per.as_nanos().to_string();
        // A rate has no span of its own: its numbers may change and its count goes on.
        let per = if kind == "w" { per.as_str() } else { "" };
        for word in [limit.name.as_str(), kind, per] {
            word_into(&mut state, word.as_bytes());
        }
        Self { name: limit.name.clone(), by: limit.by.clone().into(), state }
    }

    /// The key of a request's count; none where the request lacks what the rule counts by.
    pub(super) fn key(&self, prefix: &str, who: &Who<'_>) -> Option<String> {
        let mut state = self.state.clone();
        let mut owner = None;
        for dimension in &self.by {
            let known = match dimension {
                Dimension::Tenant => Some(who.tenant?.as_str()),
                Dimension::Credential => Some(who.credential?.as_str()),
                Dimension::Node => Some(who.node?.as_str()),
                Dimension::Route => Some(who.route.map_or("", Name::as_str)),
                // The config's check lets no field be counted together.
                Dimension::Header => return None,
                Dimension::Ip | Dimension::Network | Dimension::Method => None,
            };
            match dimension {
                Dimension::Tenant | Dimension::Credential | Dimension::Node => owner = who.tenant,
                Dimension::Ip | Dimension::Network => {
                    let (family, address) = network_words(who.ip, *dimension == Dimension::Network);
                    word_into(&mut state, &[family.to_be_bytes(), address.to_be_bytes()].concat());
                }
                Dimension::Method => word_into(&mut state, &who.method.number().to_le_bytes()),
                Dimension::Route | Dimension::Header => {}
            }
            if let Some(known) = known {
                word_into(&mut state, known.as_bytes());
            }
        }
        if let Some(owner) = owner {
            word_into(&mut state, owner.as_str().as_bytes());
        }
        let digest: [u8; 32] = state.finalize().into();
        let mut text = String::with_capacity(prefix.len() + self.name.as_str().len() + 112);
        // Without a tenant each count is on its own in the cluster. Writing to a String cannot fail.
        let _ = match owner {
            Some(owner) => write!(text, "{prefix}:{{{owner}}}:{}:", self.name),
            None => write!(text, "{prefix}:{{{}}}:{}:", hex::encode(&digest[..16]), self.name),
        };
        text.push_str(&hex::encode(&digest[..16]));
        Some(text)
    }
}

fn word_into(state: &mut Sha256, word: &[u8]) {
    state.update((word.len() as u64).to_be_bytes());
    state.update(word);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::{Cost, Effect, LimitKind, Refund};
    use std::time::Duration;

    fn limit(name: &str, by: &[Dimension], secs: u64) -> Limit {
        Limit {
            name: Name::parse(name).expect("a name"),
            by: by.to_vec(),
            kind: LimitKind::Window,
            limit: 10,
            per: Duration::from_secs(secs),
            cost: Cost::Requests(1),
            effect: Effect::Refuses,
            refund: Refund::Never,
            exempt: 0,
            header: None,
            shared: None,
        }
    }

    fn key(limit: &Limit, ip: &str, tenant: Option<&str>, credential: Option<&str>) -> Option<String> {
        let tenant = tenant.map(|id| TenantId::parse(id).expect("a tenant"));
        let credential = credential.map(|id| CredentialId::parse(id).expect("a credential"));
        let who = Who {
            ip: ip.parse().expect("an address"),
            method: MethodCode::default(),
            tenant: tenant.as_ref(),
            credential: credential.as_ref(),
            node: None,
            route: None,
        };
        Seed::new(limit, "w").key("edge", &who)
    }

    #[test]
    fn a_key_names_the_tenant_and_nobody_else() {
        let rule = limit("api", &[Dimension::Credential], 60);
        let one = key(&rule, "192.0.2.1", Some("acme"), Some("acme-ceo")).expect("it applies");
        assert!(one.starts_with("edge:{acme}:api:") && !one.contains("ceo"), "{one}");
        assert_eq!(Some(&one), key(&rule, "192.0.2.2", Some("acme"), Some("acme-ceo")).as_ref());
        assert_ne!(Some(&one), key(&rule, "192.0.2.1", Some("acme"), Some("acme-cto")).as_ref());
        assert_ne!(Some(&one), key(&rule, "192.0.2.1", Some("globex"), Some("acme-ceo")).as_ref());
        assert_eq!(key(&rule, "192.0.2.1", Some("acme"), None), None);
    }

    #[test]
    fn addresses_count_as_they_do_here_and_do_not_stand_in_the_key() {
        let rule = limit("ip", &[Dimension::Ip], 60);
        let of = |ip| key(&rule, ip, Some("acme"), None).expect("it applies");
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"), "a /64 is one caller");
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert!(!of("192.0.2.1").contains("acme") && !of("192.0.2.1").contains("192"));
    }

    #[test]
    fn rules_of_other_names_and_spans_count_apart() {
        let of = |name, secs| key(&limit(name, &[Dimension::Tenant], secs), "192.0.2.1", Some("acme"), None);
        assert_ne!(of("a", 60), of("b", 60));
        assert_ne!(of("a", 60), of("a", 61));
    }
}
