//! Other meshes: who they are, what may cross the border to and from them, and what waits for them.

use super::check_identity::{Identity, public_key};
use super::check_signing;
use super::checked::{Grant, Mesh, Outbox, Peer, SigningKey, SigningSecret};
use super::checker::{Checker, shown};
use super::problems::did_you_mean;
use super::tree::Spot;
use super::urls::mesh_url;
use super::{Surroundings, raw, secrets};
use crate::ids::{CredentialId, MeshId, TenantId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const BRIEF: Duration = Duration::from_millis(10);
/// The scope that is made for crossing the border.
const FEDERATION: &str = "federation";

pub(super) fn check(
    raw: &raw::Config,
    top: Spot<'_>,
    identity: &Identity<'_>,
    keys: &[Arc<SigningKey>],
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Vec<Arc<Mesh>> {
    let mut meshes: Vec<Arc<Mesh>> = Vec::new();
    for (index, one) in raw.meshes.iter().enumerate() {
        let spot = top.key("meshes").item(index);
        let Some(mesh) = mesh(one, spot, identity, keys, around, checker) else { continue };
        if meshes.iter().any(|other| other.tenant == mesh.tenant && other.id == mesh.id) {
            let message = format!("the tenant `{}` has a mesh `{}` already", mesh.tenant, mesh.id);
            checker.problem(spot.at, message);
        }
        let taken = |id: &&CredentialId| meshes.iter().any(|other| other.credentials.contains(id));
        if let Some(id) = mesh.credentials.iter().find(taken) {
            let hint = "each mesh has a key of its own: it says who calls";
            checker.hinted(
                spot.key("credentials").at,
                format!("another mesh calls with `{id}` already"),
                hint,
            );
        }
        meshes.push(Arc::new(mesh));
    }
    meshes
}

fn mesh(
    raw: &raw::Mesh,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    keys: &[Arc<SigningKey>],
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Mesh> {
    let tenant = checker.tenant(spot.key("tenant"), &raw.tenant, &identity.known);
    let id = checker.id(spot.key("id"), "the id", &raw.id, MeshId::parse);
    let own_id = match &raw.own_id {
        Some(own) => Some(checker.id(spot.key("own_id"), "the id", own, MeshId::parse)?),
        None => None,
    };
    if own_id.is_some() && own_id == id {
        checker.problem(spot.key("own_id").at, "this side and the other have the same id");
    }
    let public = raw.public_keys.iter().enumerate();
    let public: Vec<_> =
        public.map(|(at, key)| public_key(key, spot.key("public_keys").item(at), checker)).collect();
    let accept = grants(raw.accept.as_deref(), spot.key("accept"), checker);
    let share = grants(raw.share.as_deref(), spot.key("share"), checker);
    let tenant = tenant?;
    let credentials = credentials(&raw.credentials, &tenant, spot.key("credentials"), identity, checker)?;
    let peer = if let Some(url) = &raw.url {
        Some(peer(raw, url, share?, &tenant, spot, keys, around, checker)?)
    } else {
        alone(raw, spot, checker);
        None
    };
    if peer.is_none() && credentials.is_empty() {
        let hint = "`credentials: [ID]` for what comes in, `url` for what goes out";
        checker.lacks(spot, "nothing comes in from this mesh and nothing goes out to it", hint);
    }
    Some(Mesh {
        tenant,
        id: id?,
        own_id,
        credentials,
        keys: public.into_iter().collect::<Option<_>>()?,
        accept: accept?,
        peer,
    })
}

/// Keys that do nothing without `url`.
fn alone(raw: &raw::Mesh, spot: Spot<'_>, checker: &mut Checker) {
    let set = [
        ("token", raw.token.is_some()),
        ("share", raw.share.is_some()),
        ("sign", raw.sign.is_some()),
        ("timeout", raw.timeout.is_some()),
    ];
    for (key, _) in set.iter().filter(|(_, set)| *set) {
        checker.hinted(spot.key_at(key), format!("`{key}` goes with `url`"), "add `url`");
    }
}

#[allow(clippy::too_many_arguments, reason = "what is read, where it stands, and who is told")]
fn peer(
    raw: &raw::Mesh,
    url: &str,
    share: Vec<Grant>,
    tenant: &TenantId,
    spot: Spot<'_>,
    keys: &[Arc<SigningKey>],
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Peer> {
    let timeout = checker.duration(spot.key("timeout"), raw.timeout.as_deref(), 30 * SECOND, (BRIEF, HOUR));
    match mesh_url(url) {
        Ok((true, _)) => {}
        Ok((false, host)) if is_near(&host) => {}
        Ok((false, _)) => {
            checker.warn(spot.key("url").at, "the token goes over this address in the clear: use https")
        }
        Err(error) => {
            let hint = "`https://host/federation/in`";
            checker.hinted(spot.key("url").at, error.to_string(), hint);
            return None;
        }
    }
    let token = match &raw.token {
        Some(source) => {
            let spot = spot.key("token");
            let token = secrets::resolve(source, spot, around, checker)?;
            if http::HeaderValue::from_bytes(token.expose()).is_err() {
                checker.problem(spot.at, "this token has characters that no header field takes");
                return None;
            }
            Some(token)
        }
        None => None,
    };
    let sign = match &raw.sign {
        Some(name) => {
            let at = spot.key("sign");
            let key = check_signing::of(tenant, name, keys, at, spot, checker)?;
            if matches!(key.key, SigningSecret::Hmac(_)) {
                checker.problem(at.at, "messages are signed with a `private_key`, and this is a secret");
            }
            Some(key)
        }
        None => None,
    };
    Some(Peer { url: url.to_owned(), token, share, sign, timeout: timeout? })
}

/// This machine, or one beside it on a private network.
fn is_near(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Err(_) => host == "localhost",
    }
}

fn credentials(
    raw: &[String],
    tenant: &TenantId,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
) -> Option<Vec<CredentialId>> {
    let mut found = Vec::new();
    for (at, name) in raw.iter().enumerate() {
        let spot = spot.item(at);
        let own = || identity.credentials.iter().filter(|one| one.tenant == *tenant);
        if let Some(credential) = own().find(|one| one.id.as_str() == name) {
            found.push(credential.id.clone());
        } else {
            let hint = did_you_mean(name, own().map(|one| one.id.as_str()));
            let message = format!("the tenant `{tenant}` has no credential");
            checker.told(spot.at, shown(spot, &message, name), hint);
        }
    }
    (found.len() == raw.len()).then_some(found)
}

fn grants(raw: Option<&[raw::Grant]>, spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<Grant>> {
    let Some(raw) = raw else { return Some(vec![Grant::Scope(FEDERATION.to_owned())]) };
    let mut grants = Vec::new();
    for (at, one) in raw.iter().enumerate() {
        let entry = match one {
            raw::Grant::Scope(scope) => {
                grants.push(Grant::Scope(scope.clone()));
                continue;
            }
            raw::Grant::Entry(entry) => entry,
        };
        match (&entry.scope, &entry.key, &entry.skill) {
            (Some(scope), Some(key), None) => {
                grants.push(Grant::Key { scope: scope.clone(), key: key.clone() })
            }
            (Some(scope), None, None) => grants.push(Grant::Scope(scope.clone())),
            (None, None, Some(skill)) if skill == "*" => grants.push(Grant::AnySkill),
            (None, None, Some(skill)) => grants.push(Grant::Skill(skill.clone())),
            _ => {
                let hint = "a scope, `{ scope: mesh, key: roadmap }` or `{ skill: deploy }`";
                checker.hinted(spot.item(at).at, "this says nothing that could cross the border", hint);
            }
        }
    }
    (grants.len() == raw.len()).then_some(grants)
}

pub(super) fn outbox(raw: &raw::Outbox, spot: Spot<'_>, checker: &mut Checker) -> Option<Outbox> {
    const MIB: usize = 1 << 20;
    let most = 64 * 1024 * MIB;
    let max_per_mesh =
        checker.size(spot.key("max_per_mesh"), raw.max_per_mesh.as_ref(), 64 * MIB, (1024, most));
    let max_per_tenant =
        checker.size(spot.key("max_per_tenant"), raw.max_per_tenant.as_ref(), 256 * MIB, (1024, most));
    let mut time = |key: &str, text: &Option<String>, default, bounds| {
        checker.duration(spot.key(key), text.as_deref(), default, bounds)
    };
    let retry_first = time("retry_first", &raw.retry_first, SECOND, (BRIEF, HOUR));
    let retry_most = time("retry_most", &raw.retry_most, 300 * SECOND, (BRIEF, 24 * HOUR));
    let give_up = time("give_up", &raw.give_up, 48 * HOUR, (SECOND, 31 * 24 * HOUR));
    let (retry_first, retry_most) = (retry_first?, retry_most?);
    if retry_first > retry_most {
        checker.problem(spot.key("retry_first").at, "the first pause is longer than the longest");
    }
    let (max_per_mesh, max_per_tenant) = (max_per_mesh?, max_per_tenant?);
    Some(Outbox { max_per_mesh, max_per_tenant, retry_first, retry_most, give_up: give_up? })
}

#[cfg(test)]
mod tests {
    use crate::config::{Effects, Loaded, Surroundings, parse_in};

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEICoqKioqKioqKioqKioqKioqKioqKioqKioqKioqKioq\\n-----END PRIVATE KEY-----\\n";

    const GOOD: &str = r#"listen: [{ address: "127.0.0.1:0" }]
allow_literal_secrets: true
tenants: { acme: {}, globex: {} }
credentials:
  - { id: lab, tenant: acme, secret: a-key-that-is-long-enough, scopes: [federation] }
  - { id: far, tenant: globex, secret: another-key-that-is-long, scopes: [other] }
signing_keys:
  - { tenant: acme, private_key: "PEM" }
  - { tenant: acme, name: shared, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw }
meshes:
  - { tenant: acme, id: lab, own_id: hq, credentials: [lab], url: "https://lab.example/in", token: their-token, sign: edge }
upstreams: { u: { servers: ["127.0.0.1:1"] } }
routes:
  - { name: in, path: /in, scopes: [federation], federation: in, upstream: u }
  - { name: share, path: /share, scopes: [federation], federation: share }
  - { name: mesh, path: /mesh, scopes: [federation], sign: { scheme: mesh }, upstream: u }
  - { name: hook, path: /hook, scopes: [federation], sign: { scheme: standard-webhooks, key: shared }, upstream: u }
  - { name: rfc, path: /rfc, scopes: [federation], sign: { scheme: http-signatures, key: shared, tag: t }, upstream: u }
"#;

    fn load(text: &str) -> Result<Loaded, String> {
        let around = Surroundings { env: &|_| None, effects: Effects::None };
        parse_in("edge.yaml", &text.replace("PEM", PEM), around).map_err(|problems| problems.to_string())
    }

    #[test]
    fn keys_and_meshes_are_found_for_the_tenants_that_can_call() {
        let loaded = load(GOOD).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let config = loaded.config;
        assert_eq!(config.meshes[0].accept, config.meshes[0].peer.as_ref().unwrap().share);
        let sign = config.routes[3].sign.as_ref().unwrap();
        assert_eq!(sign.keys.len(), 1);
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("their-token") && !shown.contains("MC4CAQ") && !shown.contains("MfKQ"),
            "{shown}"
        );
    }

    #[test]
    fn a_mistake_is_told_where_it_stands() {
        for (old, new, why) in [
            (
                "tenant: acme, private_key",
                "tenant: globex, private_key",
                "the tenant `acme` has no signing key `edge`",
            ),
            ("sign: edge }", "sign: egde }", "has no signing key `egde`"),
            ("sign: edge }", "sign: shared }", "messages are signed with a `private_key`"),
            ("scopes: [other]", "scopes: [federation]", "the tenant `globex` has no signing key"),
            ("\"PEM\"", "\"no-pem-but-a-secret\"", "no Ed25519 private key as PKCS#8 PEM"),
            ("name: shared, secret", "secret", "has a signing key `edge` already"),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "whsec_short-but-long-enough",
                "no secret of Standard Webhooks",
            ),
            ("secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret: short", "this secret is weak"),
            (
                "sign: { scheme: mesh }",
                "sign: { scheme: mesh, key: shared }",
                "messages want a `private_key`",
            ),
            (
                "sign: { scheme: mesh }",
                "sign: { scheme: mesh, tag: t }",
                "`tag` does not go with this scheme",
            ),
            (
                "key: shared, tag: t",
                "key: shared, components: [\"@scheme\"]",
                "by which scheme the receiver is reached",
            ),
            ("key: shared, tag: t", "key: shared, components: [Digest]", "cannot be covered"),
            ("credentials: [lab]", "credentials: [far]", "the tenant `acme` has no credential `far`"),
            ("id: lab, own_id: hq", "id: lab, own_id: lab", "the same id"),
            ("id: lab, own_id", "id: \"a:b\", own_id", "the id `a:b`"),
            ("https://lab.example/in", "ftp://lab.example/in", "does not begin with `http://` or `https://`"),
            ("url: \"https://lab.example/in\", token", "token", "`token` goes with `url`"),
            ("federation: share", "federation: share, upstream: u", "leads nowhere else"),
            (
                "federation: in,",
                "federation: in, verify: { scheme: mesh },",
                "does not go with `federation: in`",
            ),
            (
                "scopes: [federation], sign: { scheme: mesh }",
                "public: true, sign: { scheme: mesh }",
                "no tenant whose key could sign",
            ),
            ("sign: edge }", "sign: edge, share: [{ scope: mesh, skill: x }] }", "nothing that could cross"),
        ] {
            assert!(GOOD.contains(old), "{old}");
            let problems =
                load(&GOOD.replacen(old, new, 1)).err().unwrap_or_else(|| panic!("{new} is taken"));
            assert!(problems.contains(why), "{new}: {problems}");
            assert!(
                !problems.contains("no-pem-but-a-secret") && !problems.contains("their-token"),
                "{problems}"
            );
        }
        let far = load(&GOOD.replacen("https://", "http://", 1)).unwrap();
        assert!(far.warnings[0].message.contains("in the clear"), "{:?}", far.warnings);
    }
}
