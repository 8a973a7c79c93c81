//! Sources of public keys that are asked while the edge runs: key sets at URLs, and a store's registry.
//!
//! Whether anything answers there is not known here. What can change who may sign must not be changed on the way:
//! `http://` is for this machine, unless the operator says otherwise.

use super::checked::{HttpAddress, KeyFeedFrom, KeySetAt, RegistryAt};
use super::checker::Checker;
use super::tree::Spot;
use super::urls::http_address;
use super::{Surroundings, raw, secrets};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
const SHORTEST_REFRESH: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_hours(24);
const USUAL_MAX: usize = 1024 * 1024;
const MOST_MAX: usize = 16 * 1024 * 1024;

/// A key set at a URL.
pub(super) fn key_set(raw: &raw::Jwks, spot: Spot<'_>, checker: &mut Checker) -> Option<KeyFeedFrom> {
    let (None, Some(url)) = (&raw.file, &raw.url) else {
        checker.lacks(spot, "a key set has one of `file` and `url`", "`jwks: { url: \"https://…\" }`");
        return None;
    };
    let address = address(url, raw.allow_http, spot.key("url"), checker);
    let mut time = |key: &str, text: &Option<String>, default: Duration, bounds| {
        checker.duration(spot.key(key), text.as_deref(), default, bounds)
    };
    let refresh = time("refresh", &raw.refresh, 600 * SECOND, (SHORTEST_REFRESH, DAY));
    let timeout = time("timeout", &raw.timeout, 5 * SECOND, (SHORTEST_TIMEOUT, 60 * SECOND));
    let max = checker.size(spot.key("max"), raw.max.as_ref(), USUAL_MAX, (1024, MOST_MAX));
    let set = KeySetAt { address: address?, refresh: refresh?, timeout: timeout?, max: max? };
    Some(KeyFeedFrom::KeySet(set))
}

/// What only a URL can have.
pub(super) fn of_a_file(spot: Spot<'_>, checker: &mut Checker) {
    for key in ["refresh", "timeout", "max", "allow_http"] {
        if spot.keys().any(|known| known == key) {
            checker.problem(spot.key_at(key), format!("`{key}` is for a `url`; a file is watched"));
        }
    }
}

/// A store's registry: of the one inside, or of one elsewhere.
pub(super) fn registry(
    raw: &raw::Registry,
    is_embedded: bool,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<KeyFeedFrom> {
    let at = match (&raw.url, &raw.secret) {
        (None, None) if is_embedded => RegistryAt::Embedded,
        (None, None) => {
            let why = "there is no store inside this process whose registry could be meant";
            checker.hinted(spot.at, why, "`registry: { url: \"https://…\", secret: { env: NAME } }`");
            return None;
        }
        (None, Some(_)) => {
            checker.problem(spot.key_at("secret"), "the store inside this process needs no `secret`");
            return None;
        }
        (Some(_), None) => {
            let why = "a store at a `url` needs the `secret` that it shares with the edge";
            checker.lacks(spot, why, "`secret: { env: NAME }`");
            return None;
        }
        (Some(url), Some(secret)) => {
            let address = address(url, raw.allow_http, spot.key("url"), checker);
            let secret = secrets::resolve(secret, spot.key("secret"), around, checker)?;
            if http::HeaderValue::from_bytes(secret.expose()).is_err() {
                checker.problem(spot.key("secret").at, "this cannot be sent in a header");
                return None;
            }
            RegistryAt::Url { address: address?, secret }
        }
    };
    Some(KeyFeedFrom::Registry(at))
}

fn address(url: &str, allow_http: bool, spot: Spot<'_>, checker: &mut Checker) -> Option<HttpAddress> {
    let address = checker.take(spot.at, http_address(url))?;
    if !address.tls && !address.is_loopback() && !allow_http {
        let why =
            "keys would come over `http://` from another machine: whoever is on the way could change them";
        checker.hinted(spot.at, why, "write `https://`, or `allow_http: true` where the way is your own");
        return None;
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use crate::config::checked::{KeyFeed, KeyFeedFrom, RegistryAt};
    use crate::config::{Effects, Surroundings, parse_in};
    use std::time::Duration;

    fn load(upstream: &str, source: &str) -> Result<Vec<KeyFeed>, String> {
        let text = format!(
            "listen: [{{ address: \"127.0.0.1:0\" }}]\ntenants: {{ acme: {{}}, globex: {{}} }}\nupstreams: {{ u: {{ {upstream} }} }}\n\
             routes: [{{ name: r, path: /r, public: true, upstream: u }}]\nkey_sources:\n  - {{ {source} }}\n"
        );
        let env = |name: &str| (name == "SECRET").then(|| "shared-by-edge-and-store".to_owned());
        let around = Surroundings { env: &env, effects: Effects::None };
        parse_in("edge.yaml", &text, around)
            .map(|loaded| loaded.config.key_feeds)
            .map_err(|problems| problems.to_string())
    }

    const SERVERS: &str = "servers: [\"127.0.0.1:1\"]";
    const EMBEDDED: &str = "embedded: { database: mesh.db }";

    #[test]
    fn a_key_set_at_a_url_has_its_bounds() {
        let feeds =
            load(SERVERS, "tenant: acme, jwks: { url: \"https://id.example.com/keys\", refresh: 1m }")
                .unwrap();
        let [KeyFeed { from: KeyFeedFrom::KeySet(set), tenant, .. }] = feeds.as_slice() else {
            panic!("{feeds:?}")
        };
        assert_eq!(
            (tenant.as_str(), set.address.to_string().as_str()),
            ("acme", "https://id.example.com:443/keys")
        );
        assert_eq!(
            (set.refresh, set.timeout, set.max),
            (Duration::from_mins(1), Duration::from_secs(5), 1 << 20)
        );
        for good in ["http://127.0.0.1:8/k", "http://localhost/k", "http://[::1]:8/k"] {
            load(SERVERS, &format!("tenant: acme, jwks: {{ url: \"{good}\" }}")).unwrap();
        }
        load(SERVERS, "tenant: acme, jwks: { url: \"http://10.0.0.1/k\", allow_http: true }").unwrap();
        for (bad, why) in [
            ("tenant: acme, jwks: { url: \"http://10.0.0.1/k\" }", "from another machine"),
            ("tenant: acme, jwks: { url: \"ftp://a/k\" }", "does not begin with"),
            ("tenant: acme, jwks: { url: \"https://a/k?token=x\" }", "query or fragment"),
            ("tenant: acme, jwks: {}", "one of `file` and `url`"),
            ("tenant: acme, jwks: { file: a, url: \"https://a/k\" }", "one of `file` and `url`"),
            ("tenant: acme, jwks: { file: a, refresh: 1m }", "`refresh` is for a `url`"),
            ("tenant: acme, jwks: { url: \"https://a/k\", refresh: 1s }", "5s"),
            ("jwks: { url: \"https://a/k\" }", "needs `tenant`"),
            ("tenant: acme", "one of `directory`, `jwks` and `registry`"),
            ("tenant: acme, directory: k, registry: {}", "one of `directory`, `jwks` and `registry`"),
        ] {
            let told = load(SERVERS, bad).unwrap_err();
            assert!(told.contains(why), "{bad}: {told}");
        }
    }

    #[test]
    fn a_registry_is_the_embedded_stores_or_has_a_secret() {
        let feeds = load(EMBEDDED, "registry: {}").unwrap();
        let names: Vec<_> = feeds.iter().map(|feed| feed.tenant.as_str()).collect();
        assert_eq!(names, ["acme", "globex"], "without a tenant it is for all");
        let one = load(EMBEDDED, "tenant: acme, canonical: jcs, registry: {}").unwrap();
        assert!(matches!(one[0].from, KeyFeedFrom::Registry(RegistryAt::Embedded)) && one.len() == 1);
        let url = "url: \"http://127.0.0.1:4078\"";
        let one = load(SERVERS, &format!("tenant: acme, registry: {{ {url}, secret: {{ env: SECRET }} }}"))
            .unwrap();
        assert!(!format!("{one:?}").contains("shared-by"), "{one:?}");
        for (bad, why) in [
            ("registry: {}".to_owned(), "no store inside"),
            (format!("registry: {{ {url} }}"), "needs the `secret`"),
            ("registry: { secret: { env: SECRET } }".to_owned(), "needs no `secret`"),
            ("registry: { url: \"http://10.0.0.1\", secret: { env: SECRET } }".to_owned(), "another machine"),
        ] {
            let told = load(SERVERS, &bad).unwrap_err();
            assert!(told.contains(why), "{bad}: {told}");
        }
    }
}
