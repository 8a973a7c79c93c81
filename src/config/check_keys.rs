//! The public keys of mesh nodes: written in the config, one PEM a file in a folder, or a key set's file.
//!
//! All are read with the config, and their files and folders are watched with it: a key that is added, changed
//! or taken away is a reload. No key is ever shown. Sources that are asked while the edge runs are
//! [`check_key_feeds`]'s.

use super::check_identity::{expiry, public_key};
use super::checked::{Canonical, KeyFeed, NodeKey};
use super::checker::{Checker, Known, shown};
use super::tree::Spot;
use super::{Surroundings, check_key_feeds, key_set, raw, secrets};
use crate::ids::{NodeId, TenantId};
use std::path::Path;

/// Longest name of a key.
const LONGEST_ID: usize = 128;
/// Most keys of one source.
const MOST_KEYS: usize = 10_000;

pub(super) fn check(
    raw: &raw::Config,
    top: Spot<'_>,
    known: &Known<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> (Vec<NodeKey>, Vec<KeyFeed>) {
    let (mut keys, mut feeds) = (Vec::new(), Vec::new());
    for (index, one) in raw.nodes.iter().enumerate() {
        let spot = top.key("nodes").item(index);
        if let Some(key) = written(one, spot, known, checker) {
            add(key, spot, &mut keys, checker);
        }
    }
    for (index, source) in raw.key_sources.iter().enumerate() {
        let spot = top.key("key_sources").item(index);
        let tenant = match source.tenant.as_deref() {
            Some(tenant) => match checker.tenant(spot.key("tenant"), tenant, known) {
                Some(tenant) => Some(tenant),
                None => continue,
            },
            None => None,
        };
        let whose = |checker: &mut Checker| {
            if tenant.is_none() {
                checker.lacks(spot, "this source of keys needs `tenant`", "`tenant: acme`");
            }
            tenant.clone()
        };
        match (&source.directory, &source.jwks, &source.registry) {
            (Some(folder), None, None) => {
                let Some(tenant) = whose(checker) else { continue };
                let of = (&tenant, source.canonical);
                directory(of, folder, spot.key("directory"), &mut keys, checker);
            }
            (None, Some(raw::Jwks { file: Some(file), url: None, .. }), None) => {
                let Some(tenant) = whose(checker) else { continue };
                check_key_feeds::of_a_file(spot.key("jwks"), checker);
                let of = (&tenant, source.canonical);
                key_set_in_file(of, file, spot.key("jwks").key("file"), &mut keys, checker);
            }
            (None, Some(set), None) => {
                let Some(tenant) = whose(checker) else { continue };
                let from = check_key_feeds::key_set(set, spot.key("jwks"), checker);
                let canonical = source.canonical;
                feeds.extend(from.map(|from| KeyFeed { tenant, place: index, from, canonical }));
            }
            (None, None, Some(registry)) => {
                let is_embedded = raw.upstreams.values().any(|upstream| upstream.embedded.is_some());
                let spot = spot.key("registry");
                let from = check_key_feeds::registry(registry, is_embedded, spot, checker, around);
                let (Some(from), canonical) = (from, source.canonical) else { continue };
                let all = || raw.tenants.keys().filter_map(|name| TenantId::parse(name).ok()).collect();
                let tenants: Vec<TenantId> = tenant.map_or_else(all, |one| vec![one]);
                feeds.extend(tenants.into_iter().map(|tenant| {
                    let from = from.clone();
                    KeyFeed { tenant, place: index, from, canonical }
                }));
            }
            (_, _, _) => {
                let why = "a source of keys has one of `directory`, `jwks` and `registry`";
                checker.lacks(spot, why, "`directory: keys`");
            }
        }
    }
    (keys, feeds)
}

/// Takes a key, unless its node has it or its name already.
fn add(key: NodeKey, spot: Spot<'_>, keys: &mut Vec<NodeKey>, checker: &mut Checker) {
    let own = keys.iter().filter(|other| other.tenant == key.tenant && other.node == key.node);
    for other in own {
        if other.key == key.key {
            checker.problem(spot.at, format!("the node `{}` has this key already", key.node));
            return;
        }
        if other.id == key.id {
            let hint = "give each key of a node an `id` of its own";
            checker.hinted(spot.at, format!("the node `{}` has a key with this id already", key.node), hint);
            return;
        }
    }
    keys.push(key);
}

fn written(raw: &raw::Node, spot: Spot<'_>, known: &Known<'_>, checker: &mut Checker) -> Option<NodeKey> {
    let tenant = checker.tenant(spot.key("tenant"), &raw.tenant, known);
    let node = checker.id(spot.key("node"), "the node", &raw.node, NodeId::parse);
    let key = public_key(&raw.public_key, spot.key("public_key"), checker);
    let not_before = raw.not_before.as_deref().map(|text| begin(text, spot.key("not_before"), checker));
    let not_after = raw.not_after.as_deref().map(|text| expiry(text, spot.key("not_after"), "key", checker));
    let id = raw.id.as_deref().map(|id| named(id, spot.key("id"), checker));
    let mut key = NodeKey { canonical: raw.canonical, ..NodeKey::of(tenant?, node?, key?) };
    if let Some(id) = id {
        key.id = id?.into();
    }
    // A date that could not be read was told; the key must not count for good instead.
    key.not_before = not_before.map(|begin| begin.ok_or(())).transpose().ok()?;
    key.not_after = not_after.map(|end| end.ok_or(())).transpose().ok()?;
    if key.not_before.zip(key.not_after).is_some_and(|(begin, end)| begin >= end) {
        checker.problem(spot.key("not_after").at, "this key ends before it begins");
    }
    Some(key)
}

/// A day counts from its beginning.
pub(super) fn begin(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<u64> {
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10);
    let moment = match day {
        Some(day) => jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok(),
        None => text.parse::<jiff::Timestamp>().ok(),
    };
    let second = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
    if second.is_none() {
        let hint = "a day, `2027-06-30`, or a moment, `2027-06-30T12:00:00Z`";
        checker.hinted(spot.at, shown(spot, "this is no date", text), hint);
    }
    second
}

fn named(id: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<String> {
    let is_good = is_id(id);
    if !is_good {
        checker.problem(spot.at, shown(spot, "this is no key's id:", id));
    }
    is_good.then(|| id.to_owned())
}

/// Whether a text can be a key's id: what a header field can carry.
#[must_use]
pub fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// `<node>.pem` and `<node>@<id>.pem`; other files are left alone.
fn directory(
    (tenant, canonical): (&TenantId, Option<Canonical>),
    folder: &str,
    spot: Spot<'_>,
    keys: &mut Vec<NodeKey>,
    checker: &mut Checker,
) {
    let path = Path::new(folder);
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            checker.problem(spot.at, format!("{}: {}", shown(spot, "the folder", folder), error.kind()));
            return;
        }
    };
    // The folder itself too: so that a new file is seen.
    checker.read_file(path.to_owned());
    let mut names: Vec<String> =
        entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.strip_suffix(".pem").is_some_and(|stem| !stem.starts_with('.')));
    names.sort_unstable();
    if names.len() > MOST_KEYS {
        checker.problem(spot.at, format!("more than {MOST_KEYS} keys are in this folder"));
        return;
    }
    for name in names {
        let stem = name.trim_end_matches(".pem");
        let (node, id) = stem.rsplit_once('@').map_or((stem, None), |(node, id)| (node, Some(id)));
        let file = path.join(&name).display().to_string();
        let Some(text) = secrets::public_text(&file, spot, checker) else { continue };
        match (NodeId::parse(node), super::public_key::read(text.trim()), id.is_none_or(is_id)) {
            (Ok(node), Ok(key), true) => {
                let mut key = NodeKey { canonical, ..NodeKey::of(tenant.clone(), node, key) };
                if let Some(id) = id {
                    key.id = id.into();
                }
                add(key, spot, keys, checker);
            }
            (Err(_), _, _) | (_, _, false) => {
                checker.problem(
                    spot.at,
                    format!("{} is no `<node>.pem` or `<node>@<id>.pem`", shown(spot, "the file", &file)),
                );
            }
            (Ok(_), Err(error), true) => {
                checker.problem(spot.at, format!("{}: {error}", shown(spot, "the file", &file)));
            }
        }
    }
}

/// A key set in a file.
fn key_set_in_file(
    (tenant, canonical): (&TenantId, Option<Canonical>),
    file: &str,
    spot: Spot<'_>,
    keys: &mut Vec<NodeKey>,
    checker: &mut Checker,
) {
    let Some(text) = secrets::public_text(file, spot, checker) else { return };
    match key_set::read(tenant, &text, canonical) {
        Ok(set) => {
            for at in set.others {
                checker.warn(spot.at, format!("key {at} of the set is not Ed25519 and is left out"));
            }
            for key in set.keys {
                add(key, spot, keys, checker);
            }
        }
        Err(error) => {
            let hint = "`{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":…,\"kid\":…}]}`";
            checker.hinted(spot.at, error.to_string(), hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Effects, Surroundings, parse_in};
    use std::path::PathBuf;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("edge-keys-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn load(keys: &str) -> Result<Vec<NodeKey>, String> {
        let text = format!(
            "listen: [{{ address: \"127.0.0.1:0\" }}]\ntenants: {{ acme: {{}} }}\nupstreams: {{ u: {{ servers: [\"127.0.0.1:1\"] }} }}\n\
             routes: [{{ name: r, path: /r, public: true, upstream: u }}]\n{keys}\n"
        );
        let around = Surroundings { env: &|_| None, effects: Effects::None };
        parse_in("edge.yaml", &text, around)
            .map(|loaded| loaded.config.nodes)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_folder_of_pem_files_names_nodes_and_keys() {
        let folder = folder("pem");
        std::fs::write(folder.join("ceo.pem"), PEM).unwrap();
        std::fs::write(folder.join("sec@2027.pem"), PEM).unwrap();
        std::fs::write(folder.join("README"), "no key").unwrap();
        let source = format!("key_sources: [{{ tenant: acme, directory: {} }}]", folder.display());
        let keys = load(&source).unwrap();
        let names: Vec<_> = keys.iter().map(|key| (key.node.as_str(), &*key.id)).collect();
        assert_eq!(names, [("ceo", "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"), ("sec", "2027")]);
        std::fs::write(folder.join("bad.pem"), "-----BEGIN PRIVATE KEY-----").unwrap();
        assert!(load(&source).unwrap_err().contains("a private key stands here"));
    }

    #[test]
    fn a_key_set_names_nodes_keys_and_their_time() {
        let file = folder("jwks").join("keys.json");
        let source = format!("key_sources: [{{ tenant: acme, jwks: {{ file: {} }} }}]", file.display());
        let write = |keys: &str| std::fs::write(&file, format!("{{\"keys\":[{keys}]}}")).unwrap();
        write(&format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"ceo@7","nbf":5,"exp":9}},{{"kty":"RSA","n":"AQ"}}"#
        ));
        let keys = load(&source).unwrap();
        assert_eq!((keys[0].node.as_str(), &*keys[0].id), ("ceo", "ceo@7"));
        assert_eq!((keys[0].not_before, keys[0].not_after, keys.len()), (Some(5), Some(9), 1));
        for (bad, why) in [
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AQ","kid":"a"}"#.to_owned(), "32 bytes"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#), "names no node"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}","kid":"a"}}"#, "A".repeat(43)), "weak"),
            ("7".to_owned(), "no key set"),
        ] {
            write(&bad);
            assert!(load(&source).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn a_node_may_have_several_keys_each_with_a_name_and_a_time() {
        let second = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let first = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";
        let nodes = |a: &str, b: &str| {
            load(&format!(
                "nodes:\n  - {{ tenant: acme, node: ceo, public_key: \"{first}\", {a} }}\n  - {{ tenant: acme, node: ceo, public_key: \"{second}\", {b} }}"
            ))
        };
        let keys = nodes("id: old, not_after: 2027-06-30", "id: new, not_before: 2027-06-01").unwrap();
        assert_eq!((keys[0].not_after, keys[1].not_before), (Some(1_814_400_000), Some(1_811_808_000)));
        assert!(nodes("id: one", "id: one").unwrap_err().contains("with this id already"));
        assert!(
            nodes("id: a", "id: b, not_before: 2027-06-30, not_after: 2027-06-01")
                .unwrap_err()
                .contains("before it begins")
        );
        assert!(nodes("id: a", "id: b, not_before: soon").unwrap_err().contains("no date"));
        let twice = load(&format!(
            "nodes:\n  - {{ tenant: acme, node: ceo, public_key: \"{first}\" }}\n  - {{ tenant: acme, node: ceo, id: x, public_key: \"{first}\" }}"
        ));
        assert!(twice.unwrap_err().contains("has this key already"));
    }
}
