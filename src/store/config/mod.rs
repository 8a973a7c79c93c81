//! The config of `mesh-store`: what an operator writes, and what it means.
//!
//! Reading, positions and hints are the config room's; which keys there are and what they mean for the
//! store is decided here. A network listener without a way to tell callers apart is a mistake.

mod flags;
mod raw;
mod trust;

pub use flags::{Flags, FlagsError};

use super::Settings;
use super::access::Trust;
use super::embed::Embedder;
use super::policy::Policy;
use crate::config::check_embeddings::embeddings;
use crate::config::check_store::store_rules;
use crate::config::checker::{Checker, Literals, shown};
use crate::config::raw::Level;
use crate::config::tree::Spot;
use crate::config::{Effects, Problem, Problems, Reading, Surroundings, process_env, read, secrets};
use crate::ids::TenantId;
use crate::secret::Secret;
use raw::RawConfig;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use trust::trust;

/// Tenant of rows that had none, unless the operator says another.
const LEGACY_TENANT: &str = "default";

/// Connections to a server, unless the operator says another number.
const CONNECTIONS: usize = 16;
const MOST_CONNECTIONS: usize = 500;

/// Shortest secret or key that is taken.
const SHORTEST_SECRET: usize = 16;

const LISTEN_HINT: &str = "`127.0.0.1:4078`, or `unix:` and a path";
const TRUST_HINT: &str =
    "add `trust: { shared_secret: … }` or `trust: { api_keys: … }`, or listen on `unix:` and a path";

/// What `mesh-store` runs from.
#[derive(Debug)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// Which file, and how it is used.
    pub settings: Settings,
    /// A server instead of a file.
    pub server: Option<Server>,
    /// Whom it believes.
    pub trust: Trust,
    /// Where metrics are told, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Least level that is logged.
    pub level: Level,
}

/// A PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it is and who connects.
    pub url: Secret,
    /// Most connections at the same time.
    pub connections: usize,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and port.
    Tcp(SocketAddr),
    /// A socket on this machine.
    Unix(PathBuf),
}

impl Listen {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(Self::Unix(PathBuf::from(path))),
            None => text.parse().ok().map(Self::Tcp),
        }
    }
}

/// Loads a config file. Gives what is odd about it as well.
///
/// # Errors
/// All mistakes of the file, in its order.
pub fn load(path: &Path) -> Result<(Config, Vec<Problem>), Problems> {
    load_in(path, Surroundings { env: &process_env, effects: Effects::Create })
}

fn load_in(path: &Path, around: Surroundings<'_>) -> Result<(Config, Vec<Problem>), Problems> {
    let Reading { raw, document, mut checker } = read::<RawConfig>(path, around)?;
    checker.literals = Literals::from_key(raw.allow_literal_secrets);
    let config = check(&raw, document.top(), &mut checker, around);
    checker.finish(config).map(|(config, warnings, _)| (config, warnings))
}

fn check(raw: &RawConfig, top: Spot<'_>, checker: &mut Checker, around: Surroundings<'_>) -> Option<Config> {
    let listen = listen(&raw.listen, top.key("listen"), checker);
    let legacy = raw.legacy_tenant.as_deref().unwrap_or(LEGACY_TENANT);
    let legacy = checker.id(top.key("legacy_tenant"), "the tenant", legacy, TenantId::parse);
    if raw.database.as_deref() == Some("") {
        checker.problem(top.key("database").at, "the database's path is empty");
    }
    let wherever = wherever(raw, top, checker, around);
    let trust = match (&raw.trust, &listen) {
        (Some(raw), _) => trust(raw, top.key("trust"), checker, around),
        (None, Some(Listen::Unix(_))) => Some(Trust::Edge),
        (None, Some(Listen::Tcp(_))) => {
            let message = "a network listener needs `trust`: without it anyone could name any tenant";
            checker.hinted(top.key("listen").at, message, TRUST_HINT);
            None
        }
        (None, None) => None,
    };
    let embeddings = embeddings(&raw.embeddings, top.key("embeddings"), checker, around);
    let rules = store_rules(&raw.rules, top.key("rules"), None, checker);
    let metrics = match &raw.metrics {
        Some(raw) => metrics(&raw.listen, top.key("metrics").key("listen"), checker).map(Some),
        None => Some(None),
    };
    let file = PathBuf::from(raw.database.as_deref().unwrap_or_default());
    let mut settings = Settings::new(file, legacy?);
    settings.embedder = Embedder::configured(&embeddings?);
    settings.policy = Policy::new(rules?);
    let level = raw.log.level.unwrap_or(Level::Info);
    let server = match wherever? {
        Wherever::File => None,
        Wherever::Server(server) => Some(server),
    };
    Some(Config { listen: listen?, settings, server, trust: trust?, metrics: metrics?, level })
}

/// Where the store keeps things.
enum Wherever {
    File,
    Server(Server),
}

fn wherever(
    raw: &RawConfig,
    top: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Wherever> {
    let postgres = match (&raw.database, &raw.postgres) {
        (Some(_), None) => return Some(Wherever::File),
        (None, Some(postgres)) => postgres,
        (Some(_), Some(_)) => {
            checker.problem(top.key_at("postgres"), "a store has either `database` or `postgres`, not both");
            return None;
        }
        (None, None) => {
            checker.lacks(top, "a store needs `database` or `postgres`", "such as `database: data/mesh.db`");
            return None;
        }
    };
    let spot = top.key("postgres");
    let connections =
        checker.number(spot.key("connections"), postgres.connections, CONNECTIONS, (1, MOST_CONNECTIONS));
    let url = secrets::resolve(&postgres.url, spot.key("url"), around, checker);
    Some(Wherever::Server(Server { url: url?, connections: connections? }))
}

fn metrics(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        checker.hinted(spot.at, shown(spot, "this is no address", text), "such as `127.0.0.1:9091`");
    }
    address
}

fn listen(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<Listen> {
    let listen = Listen::parse(text);
    if listen.is_none() {
        checker.hinted(spot.at, shown(spot, "this is no address", text), LISTEN_HINT);
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::Folder;

    fn env(name: &str) -> Option<String> {
        (name == "STORE_SECRET").then(|| "sixteen-bytes-and-more".to_owned())
    }

    fn load_text(text: &str) -> Result<Config, Vec<String>> {
        let folder = Folder::new();
        let path = folder.path("store.yaml");
        std::fs::write(&path, text).unwrap();
        let around = Surroundings { env: &env, effects: Effects::None };
        load_in(&path, around).map(|(config, _)| config).map_err(|problems| {
            problems
                .iter()
                .map(|problem| format!("{}:{}: {}", problem.line, problem.column, problem.message))
                .collect()
        })
    }

    fn problems(text: &str) -> Vec<String> {
        load_text(text).unwrap_err()
    }

    #[test]
    fn the_file_that_is_shipped_has_no_mistake() {
        let text = include_str!("../../../conf/store.yaml");
        let folder = Folder::new();
        let path = folder.path("store.yaml");
        std::fs::write(&path, text).unwrap();
        let any = |_: &str| Some("sixteen-bytes-and-more".to_owned());
        let (config, warnings) = load_in(&path, Surroundings { env: &any, effects: Effects::None }).unwrap();
        assert!(matches!((&config.listen, &config.trust), (Listen::Tcp(_), Trust::SharedSecret(_))));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_socket_is_the_edges_and_needs_no_more() {
        let config = load_text("listen: unix:run/store.sock\ndatabase: mesh.db\n").unwrap();
        assert_eq!(config.listen, Listen::Unix("run/store.sock".into()));
        assert!(matches!(config.trust, Trust::Edge));
        assert_eq!(config.settings.legacy_tenant.as_str(), "default");
    }

    #[test]
    fn a_network_listener_without_trust_is_a_mistake() {
        let told = problems("listen: 127.0.0.1:4078\ndatabase: mesh.db\n");
        assert_eq!(told, ["1:9: a network listener needs `trust`: without it anyone could name any tenant"]);
    }

    #[test]
    fn keys_may_be_hashes_or_secrets_from_elsewhere() {
        let hash = "ab".repeat(32);
        let config = load_text(&format!(
            "listen: 127.0.0.1:4078\ndatabase: mesh.db\nlegacy_tenant: acme\ntrust:\n  api_keys:\n\
             \x20   - {{ id: one, tenant: acme, hash: \"sha256:{hash}\", access: read }}\n\
             \x20   - {{ id: two, tenant: globex, secret: {{ env: STORE_SECRET }} }}\n"
        ))
        .unwrap();
        assert!(matches!(config.trust, Trust::ApiKeys(_)));
        assert_eq!(config.settings.legacy_tenant.as_str(), "acme");
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_no_secret_is_shown() {
        let told = problems(
            "listen: nowhere\ndatabase: \"\"\nlegacy_tenant: Not A Name\ntrust:\n  api_keys:\n\
             \x20   - { id: one, tenant: acme, hash: my-real-key-was-put-here }\n\
             \x20   - { id: one, tenant: acme }\n\
             \x20   - { id: two, tenant: acme, secret: { env: NOT_SET_ANYWHERE } }\n",
        );
        let places: Vec<_> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["1:9", "2:11", "3:16", "6:38", "7:7", "8:47"], "{told:#?}");
        assert!(!told.iter().any(|line| line.contains("my-real-key")), "{told:#?}");
    }

    #[test]
    fn a_store_has_a_file_or_a_server_and_a_source_of_vectors() {
        let config = load_text(
            "listen: unix:s\npostgres: { url: { env: STORE_SECRET }, connections: 3 }\n\
             embeddings: { source: ollama, url: \"http://127.0.0.1:1\", model: m }\n",
        )
        .unwrap();
        assert_eq!(config.server.unwrap().connections, 3);
        assert_eq!(config.settings.embedder.unwrap().model(), "ollama:m");
        let config = load_text("listen: unix:s\ndatabase: a\nembeddings: { source: none }\n").unwrap();
        assert!(config.server.is_none() && config.settings.embedder.is_none());
        assert_eq!(problems("listen: unix:s\n"), ["1:1: a store needs `database` or `postgres`"]);
        let both = problems("listen: unix:s\ndatabase: a\npostgres: { url: { env: STORE_SECRET } }\n");
        assert_eq!(both, ["3:1: a store has either `database` or `postgres`, not both"]);
        let told = problems("listen: unix:s\ndatabase: a\nembeddings: { source: openai, batch: 0 }\n");
        assert_eq!(told.len(), 3, "{told:?}");
        let told = problems("listen: unix:s\ndatabase: a\nembeddings: { url: \"http://127.0.0.1:1\" }\n");
        assert_eq!(told, ["3:15: `url` is for a `source` that is a service"]);
    }

    #[test]
    fn an_unknown_key_is_a_mistake() {
        let told = problems("listen: unix:s\ndatabase: mesh.db\ndatabse: x\n");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("3:1: "), "{told:?}");
    }

    #[test]
    fn trust_is_one_thing_and_not_two() {
        let told = problems(
            "listen: 127.0.0.1:1\ndatabase: m.db\ntrust:\n  shared_secret: { env: STORE_SECRET }\n  api_keys: []\n",
        );
        assert_eq!(told, ["5:3: `trust` is either `shared_secret` or `api_keys`, not both"]);
        let told = problems("listen: 127.0.0.1:1\ndatabase: m.db\ntrust: { api_keys: [] }\n");
        assert_eq!(told.len(), 1);
    }
}
