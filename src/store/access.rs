//! Who is asking, and so for which tenant. The only place where a request becomes an [`Access`], and
//! the only way for a handler to have a tenant.
//!
//! Knows headers; does not know what is asked.

use crate::ids::{CredentialId, NodeId, TenantId};
use crate::secret::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;

/// Names the tenant; believed from the edge alone.
const TENANT_HEADER: &str = "x-tenant-id";
/// Names the node that calls; believed from the edge alone.
const NODE_HEADER: &str = "x-node-id";
/// Says what the caller's key may do, as words; believed from the edge alone.
const SCOPES_HEADER: &str = "x-credential-scopes";
/// The scope that lets its holder change the tenant as a whole.
const ADMIN_SCOPE: &str = "mesh:admin";
/// Carries the secret that the edge and the store share.
const EDGE_HEADER: &str = "x-edge-auth";
/// Carries an API key, where `Authorization: Bearer` does not.
const KEY_HEADER: &str = "x-api-key";

/// Whom the store believes.
pub enum Trust {
    /// Whoever can reach the socket, which is the store's own user: the edge. It names the tenant.
    Edge,
    /// Whoever has this secret: the edge. It names the tenant.
    SharedSecret(Secret),
    /// Keys of the store's own; each belongs to one tenant.
    ApiKeys(ApiKeys),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edge => "Edge",
            Self::SharedSecret(_) => "SharedSecret",
            Self::ApiKeys(_) => "ApiKeys",
        })
    }
}

impl Trust {
    /// Keys of the store's own. Of two with one hash the later counts; a checked config has no two.
    #[must_use]
    pub fn api_keys(keys: Vec<ApiKey>) -> Self {
        Self::ApiKeys(ApiKeys(keys.into_iter().map(|key| (key.hash, key)).collect()))
    }

    /// Who is asking.
    ///
    /// # Errors
    /// [`Stranger`], which does not say what was wrong.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Access, Stranger> {
        match self {
            Self::Edge => named_by_edge(headers),
            Self::SharedSecret(secret) => {
                let shown = single(headers, EDGE_HEADER)?.ok_or(Stranger)?;
                if secret.matches(shown.as_bytes()) { named_by_edge(headers) } else { Err(Stranger) }
            }
            Self::ApiKeys(keys) => keys.admit(headers),
        }
    }
}

/// A key of the store's own.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// What logs call it.
    pub id: CredentialId,
    /// Whose it is.
    pub tenant: TenantId,
    /// SHA-256 of the key's text.
    pub hash: [u8; 32],
    /// What it may do.
    pub rights: Rights,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Read, write, and what changes the tenant as a whole: its keys, its erasure.
    Admin,
}

/// The store's own keys by their hash. Looking a hash up tells nothing by its time: whoever could
/// use the difference would have to choose hashes.
#[derive(Debug)]
pub struct ApiKeys(HashMap<[u8; 32], ApiKey>);

impl ApiKeys {
    fn admit(&self, headers: &HeaderMap) -> Result<Access, Stranger> {
        let bearer = match single(headers, AUTHORIZATION.as_str())? {
            Some(text) => Some(bearer(text).ok_or(Stranger)?),
            None => None,
        };
        let shown = match (bearer, single(headers, KEY_HEADER)?) {
            (Some(one), Some(other)) if one == other => one,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(_), Some(_)) | (None, None) => return Err(Stranger),
        };
        let hash: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        let key = self.0.get(&hash).ok_or(Stranger)?;
        // A client that names another tenant than its own is wrong about something that matters.
        match single(headers, TENANT_HEADER)? {
            Some(named) if named != key.tenant.as_str() => Err(Stranger),
            Some(_) | None => Ok(Access { tenant: key.tenant.clone(), node: None, rights: key.rights }),
        }
    }
}

/// Someone whom the store does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not authorised")]
pub struct Stranger;

/// The right to one tenant's rows, and to no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    tenant: TenantId,
    node: Option<NodeId>,
    rights: Rights,
}

impl Access {
    /// Whose rows.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The node that calls, when the edge said so. Rows carry the `node_id` that was put with them, since
    /// a bridge writes for many nodes.
    #[must_use]
    pub fn node(&self) -> Option<&NodeId> {
        self.node.as_ref()
    }

    /// Whether the caller may write to this scope: with a key that may write, and when the scope names a
    /// tenant (`tenant:<id>`, `user:<tenant>:<id>`) only to its own. Other scopes are each tenant's own space.
    #[must_use]
    pub fn may_write(&self, scope: &str) -> bool {
        self.may_write_skills() && named_tenant(scope).is_none_or(|named| named == self.tenant.as_str())
    }

    /// Whether the caller may write skills.
    #[must_use]
    pub fn may_write_skills(&self) -> bool {
        match self.rights {
            Rights::Read => false,
            Rights::Write | Rights::Admin => true,
        }
    }

    /// Whether the caller may change the tenant as a whole.
    #[must_use]
    pub fn may_administer(&self) -> bool {
        match self.rights {
            Rights::Read | Rights::Write => false,
            Rights::Admin => true,
        }
    }

    /// The store's own way to a tenant's rows, for upkeep and commands; no request comes by it.
    #[must_use]
    pub fn upkeep(tenant: TenantId) -> Self {
        Self { tenant, node: None, rights: Rights::Write }
    }

    #[cfg(test)]
    pub(crate) fn of(tenant: &str) -> Self {
        Self { tenant: TenantId::parse(tenant).unwrap(), node: None, rights: Rights::Write }
    }
}

/// The tenant that a scope names. `user:<id>` names none: the id is everything after the colon, unless
/// another colon makes it a tenant's.
fn named_tenant(scope: &str) -> Option<&str> {
    if let Some(tenant) = scope.strip_prefix("tenant:") {
        return Some(tenant);
    }
    scope.strip_prefix("user:")?.split_once(':').map(|(tenant, _)| tenant)
}

fn named_by_edge(headers: &HeaderMap) -> Result<Access, Stranger> {
    let tenant = single(headers, TENANT_HEADER)?.ok_or(Stranger)?;
    let tenant = TenantId::parse(tenant).map_err(|_| Stranger)?;
    let node = single(headers, NODE_HEADER)?.map(NodeId::parse).transpose().map_err(|_| Stranger)?;
    // What may be read and written is the edge's routes to say; what they cannot tell apart is asked here.
    let scopes = single(headers, SCOPES_HEADER)?.unwrap_or_default();
    let admin = scopes.split(' ').any(|scope| scope == ADMIN_SCOPE);
    let rights = if admin { Rights::Admin } else { Rights::Write };
    Ok(Access { tenant, node, rights })
}

/// The one value of a header. Two are refused: another program on the way may have read the other one.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Stranger> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Stranger);
    }
    first.to_str().map(Some).map_err(|_| Stranger)
}

fn bearer(text: &str) -> Option<&str> {
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn keys() -> Trust {
        let key = |id: &str, tenant: &str, text: &str, rights| ApiKey {
            id: CredentialId::parse(id).unwrap(),
            tenant: TenantId::parse(tenant).unwrap(),
            hash: Sha256::digest(text.as_bytes()).into(),
            rights,
        };
        Trust::api_keys(vec![
            key("a", "acme", "acme-key", Rights::Write),
            key("g", "globex", "globex-key", Rights::Read),
        ])
    }

    fn tenant_of(trust: &Trust, pairs: &[(&'static str, &'static str)]) -> Option<String> {
        trust.admit(&headers(pairs)).ok().map(|access| access.tenant().to_string())
    }

    #[test]
    fn on_its_own_socket_the_store_believes_the_edge() {
        let access = Trust::Edge.admit(&headers(&[("x-tenant-id", "acme"), ("x-node-id", "ceo")])).unwrap();
        assert_eq!((access.tenant().as_str(), access.node().map(NodeId::as_str)), ("acme", Some("ceo")));
        for bad in [
            &[][..],
            &[("x-tenant-id", "")],
            &[("x-tenant-id", "Acme Corp")],
            &[("x-tenant-id", "acme"), ("x-tenant-id", "globex")],
            &[("x-tenant-id", "acme"), ("x-tenant-id", "acme")],
            &[("x-tenant-id", "acme"), ("x-node-id", "a b")],
        ] {
            assert_eq!(Trust::Edge.admit(&headers(bad)), Err(Stranger), "{bad:?}");
        }
    }

    #[test]
    fn over_a_network_the_store_believes_whoever_has_the_secret() {
        let trust = Trust::SharedSecret(Secret::new(b"s3cret".to_vec()));
        assert_eq!(
            tenant_of(&trust, &[("x-tenant-id", "acme"), ("x-edge-auth", "s3cret")]).as_deref(),
            Some("acme")
        );
        for bad in [
            &[("x-tenant-id", "acme")][..],
            &[("x-tenant-id", "acme"), ("x-edge-auth", "")],
            &[("x-tenant-id", "acme"), ("x-edge-auth", "s3cre")],
            &[("x-tenant-id", "acme"), ("x-edge-auth", "s3cret"), ("x-edge-auth", "s3cret")],
            &[("x-edge-auth", "s3cret")],
        ] {
            assert_eq!(tenant_of(&trust, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_key_of_its_own_says_the_tenant_and_the_client_does_not() {
        let keys = keys();
        for good in [
            &[("authorization", "Bearer acme-key")][..],
            &[("authorization", "bearer  acme-key")],
            &[("x-api-key", "acme-key")],
            &[("x-api-key", "acme-key"), ("authorization", "Bearer acme-key")],
            &[("x-api-key", "acme-key"), ("x-tenant-id", "acme")],
        ] {
            assert_eq!(tenant_of(&keys, good).as_deref(), Some("acme"), "{good:?}");
        }
        for bad in [
            &[][..],
            &[("x-tenant-id", "acme")],
            &[("authorization", "acme-key")],
            &[("authorization", "Basic acme-key")],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic x"), ("x-api-key", "acme-key")],
            &[("x-api-key", "acme-key"), ("authorization", "Bearer globex-key")],
            &[("x-api-key", "acme-key"), ("x-api-key", "globex-key")],
            &[("x-api-key", "acme-key"), ("x-tenant-id", "globex")],
        ] {
            assert_eq!(tenant_of(&keys, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_key_that_reads_does_not_write() {
        let reader = keys().admit(&headers(&[("x-api-key", "globex-key")])).unwrap();
        assert!(!reader.may_write("mesh") && !reader.may_write_skills());
    }

    #[test]
    fn only_the_admin_scope_lets_a_caller_of_the_edge_administer() {
        let may = |scopes: &'static str| {
            let access = Trust::Edge
                .admit(&headers(&[("x-tenant-id", "acme"), ("x-credential-scopes", scopes)]))
                .unwrap();
            access.may_administer()
        };
        assert!(may("mesh:admin") && may("mesh:read mesh:admin"));
        assert!(!may("mesh:write") && !may("mesh:administer") && !may("") && !may("xmesh:admin"));
        let twice =
            [("x-tenant-id", "acme"), ("x-credential-scopes", "a"), ("x-credential-scopes", "mesh:admin")];
        assert_eq!(Trust::Edge.admit(&headers(&twice)), Err(Stranger));
    }

    #[test]
    fn a_scope_that_names_a_tenant_is_written_by_that_tenant_alone() {
        let acme = Access::of("acme");
        for own in [
            "node",
            "mesh",
            "federation",
            "user:bob",
            "tenant:acme",
            "user:acme:bob",
            "user:acme:",
            "anything",
            "Tenant:globex",
        ] {
            assert!(acme.may_write(own), "{own}");
        }
        for foreign in [
            "tenant:globex",
            "tenant:",
            "tenant:acme:x",
            "tenant:Acme",
            "user:globex:bob",
            "user::bob",
            "user:acme2:bob",
        ] {
            assert!(!acme.may_write(foreign), "{foreign}");
        }
    }

    #[test]
    fn trust_does_not_print_its_secrets() {
        assert_eq!(format!("{:?}", Trust::SharedSecret(Secret::new(b"s3cret".to_vec()))), "SharedSecret");
    }
}
