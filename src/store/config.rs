//! The config of `mesh-store`: what an operator writes, and what it means.
//!
//! Reading, positions and hints are the config room's; which keys there are and what they mean for the
//! store is decided here. A network listener without a way to tell callers apart is a mistake.

use super::Settings;
use super::access::{ApiKey, Rights, Trust};
use super::embed::Embedder;
use crate::config::check_embeddings::embeddings;
use crate::config::checker::{Checker, Literals, shown};
use crate::config::raw::{self, Level, SecretSource};
use crate::config::tree::Spot;
use crate::config::{Effects, Problem, Problems, Reading, Surroundings, process_env, read, secrets};
use crate::ids::{CredentialId, IdError, TenantId};
use crate::secret::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    /// `127.0.0.1:4078`, or `unix:` and a path.
    listen: String,
    /// The `SQLite` file; made when it is not there. Relative to where the store starts. Either this or `postgres`.
    database: Option<String>,
    /// A PostgreSQL database.
    postgres: Option<RawPostgres>,
    /// Tenant that rows of an existing, untenanted database get. Default `default`.
    legacy_tenant: Option<String>,
    /// Where vectors for `mode=semantic` come from. Default: the vectorizer that is built in.
    #[serde(default)]
    embeddings: raw::Embeddings,
    /// How callers are told apart. Only a Unix socket may do without: there it is the edge that calls.
    trust: Option<RawTrust>,
    /// Accept secrets written straight into this file. Off by default.
    #[serde(default)]
    allow_literal_secrets: bool,
    /// The operator's log (standard error, JSON).
    #[serde(default)]
    log: RawLog,
}

/// A PostgreSQL database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPostgres {
    /// `postgres://user:password@host:5432/database`; `?sslmode=require` asks for TLS.
    url: SecretSource,
    /// Most connections at the same time, 1 to 500. Default 16.
    connections: Option<usize>,
}

/// How callers are told apart: one of `shared_secret` and `api_keys`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawTrust {
    /// The edge sends it as `X-Edge-Auth`; whoever does may name the tenant.
    shared_secret: Option<SecretSource>,
    /// Keys of the store's own, for use without the edge.
    api_keys: Option<Vec<RawKey>>,
}

/// One key of the store's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawKey {
    /// What problems call it; never the key.
    id: String,
    /// Whose it is.
    tenant: String,
    /// `sha256:` and the hex of the whole key text. Either this or `secret`.
    hash: Option<String>,
    /// The key itself, from elsewhere. Either this or `hash`.
    secret: Option<SecretSource>,
    /// What it may do. Default `write`, which includes reading.
    #[serde(default)]
    access: RawRights,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawRights {
    /// Read.
    Read,
    /// Read and write.
    #[default]
    Write,
    /// Read, write, and what changes the tenant as a whole: its keys, its erasure.
    Admin,
}

/// The operator's log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawLog {
    /// Least level that is written. Default `info`.
    level: Option<Level>,
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
    let file = PathBuf::from(raw.database.as_deref().unwrap_or_default());
    let mut settings = Settings::new(file, legacy?);
    settings.embedder = Embedder::configured(&embeddings?);
    let level = raw.log.level.unwrap_or(Level::Info);
    let server = match wherever? {
        Wherever::File => None,
        Wherever::Server(server) => Some(server),
    };
    Some(Config { listen: listen?, settings, server, trust: trust?, level })
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

fn listen(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<Listen> {
    let listen = Listen::parse(text);
    if listen.is_none() {
        checker.hinted(spot.at, shown(spot, "this is no address", text), LISTEN_HINT);
    }
    listen
}

fn trust(raw: &RawTrust, spot: Spot<'_>, checker: &mut Checker, around: Surroundings<'_>) -> Option<Trust> {
    match (&raw.shared_secret, &raw.api_keys) {
        (Some(source), None) => {
            secret(source, spot.key("shared_secret"), checker, around).map(Trust::SharedSecret)
        }
        (None, Some(raw)) => Some(Trust::api_keys(api_keys(raw, spot.key("api_keys"), checker, around))),
        (Some(_), Some(_)) => {
            checker.problem(
                spot.key_at("api_keys"),
                "`trust` is either `shared_secret` or `api_keys`, not both",
            );
            None
        }
        (None, None) => {
            checker.problem(spot.at, "`trust` needs `shared_secret` or `api_keys`");
            None
        }
    }
}

fn api_keys(raw: &[RawKey], all: Spot<'_>, checker: &mut Checker, around: Surroundings<'_>) -> Vec<ApiKey> {
    let (mut ids, mut hashes) = (HashSet::new(), HashSet::new());
    let mut keys = Vec::new();
    for (index, one) in raw.iter().enumerate() {
        let spot = all.item(index);
        let Some(key) = api_key(one, spot, checker, around) else { continue };
        if !ids.insert(key.id.clone()) {
            checker.problem(spot.key("id").at, shown(spot.key("id"), "two keys are called", &one.id));
        }
        if !hashes.insert(key.hash) {
            checker.hinted(spot.at, "another entry has the same key", "give each entry a key of its own");
        }
        keys.push(key);
    }
    if raw.is_empty() {
        checker.problem(all.at, "there are no keys, so nobody could call");
    }
    keys
}

fn api_key(raw: &RawKey, spot: Spot<'_>, checker: &mut Checker, around: Surroundings<'_>) -> Option<ApiKey> {
    let id = checker.id(spot.key("id"), "the id", &raw.id, CredentialId::parse);
    let tenant = checker.id(spot.key("tenant"), "the tenant", &raw.tenant, TenantId::parse);
    let hash = match (&raw.hash, &raw.secret) {
        (Some(hash), None) => {
            let parsed = parse_hash(hash);
            if parsed.is_none() {
                // Not shown: it may be the key itself, put in the wrong place.
                checker.hinted(
                    spot.key("hash").at,
                    "this is no hash of a key",
                    "`sha256:` and 64 hexadecimal digits",
                );
            }
            parsed
        }
        (None, Some(source)) => secret(source, spot.key("secret"), checker, around)
            .map(|secret| Sha256::digest(secret.expose()).into()),
        (Some(_), Some(_)) => {
            checker.problem(spot.key_at("secret"), "a key has either `hash` or `secret`, not both");
            None
        }
        (None, None) => {
            checker.problem(spot.at, "a key needs `hash` or `secret`");
            None
        }
    };
    let rights = match raw.access {
        RawRights::Read => Rights::Read,
        RawRights::Write => Rights::Write,
        RawRights::Admin => Rights::Admin,
    };
    Some(ApiKey { id: id?, tenant: tenant?, hash: hash?, rights })
}

fn secret(
    source: &SecretSource,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Secret> {
    let secret = secrets::resolve(source, spot, around, checker)?;
    if secret.expose().len() < SHORTEST_SECRET {
        checker.problem(spot.at, format!("this secret is shorter than {SHORTEST_SECRET} bytes"));
        return None;
    }
    if !secret.expose().iter().all(u8::is_ascii_graphic) {
        let hint = "printable ASCII without spaces: it travels in a header";
        checker.hinted(spot.at, "this secret has characters that cannot be sent", hint);
        return None;
    }
    Some(secret)
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// A config given on the command line, for a store that needs no file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Where clients connect.
    pub listen: String,
    /// The `SQLite` file.
    pub database: PathBuf,
    /// Environment variable that holds a PostgreSQL URL, to use instead of a file.
    pub postgres_env: Option<String>,
    /// Tenant of rows that had none.
    pub legacy_tenant: Option<String>,
    /// Environment variable that holds the secret shared with the edge.
    pub shared_secret_env: Option<String>,
}

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// `--listen` is no address.
    #[error("--listen is no address; write {LISTEN_HINT}")]
    Listen,
    /// `--legacy-tenant` is no tenant.
    #[error("--legacy-tenant {0}")]
    Tenant(#[source] IdError),
    /// The variable is not set.
    #[error("the environment variable that --shared-secret-env names is not set")]
    Unset,
    /// The variable is not set.
    #[error("the environment variable that --postgres-env names is not set")]
    NoUrl,
    /// The secret is too short, or cannot travel in a header.
    #[error(
        "the shared secret needs {SHORTEST_SECRET} characters or more, all printable ASCII without spaces"
    )]
    Weak,
    /// Anyone could name any tenant.
    #[error(
        "a network listener needs --shared-secret-env, or a --config with `trust`: \
         without it anyone could name any tenant"
    )]
    NoTrust,
}

impl Flags {
    /// What the flags mean; `env` looks an environment variable up.
    ///
    /// # Errors
    /// [`FlagsError`], which never shows a secret.
    pub fn check(&self, env: impl Fn(&str) -> Option<String>) -> Result<Config, FlagsError> {
        let listen = Listen::parse(&self.listen).ok_or(FlagsError::Listen)?;
        let legacy = self.legacy_tenant.as_deref().unwrap_or(LEGACY_TENANT);
        let legacy = TenantId::parse(legacy).map_err(FlagsError::Tenant)?;
        let server = match &self.postgres_env {
            Some(name) => {
                let url = Secret::new(env(name).ok_or(FlagsError::NoUrl)?.into_bytes());
                Some(Server { url, connections: CONNECTIONS })
            }
            None => None,
        };
        let trust = match (&self.shared_secret_env, &listen) {
            (Some(name), _) => {
                let secret = Secret::new(env(name).ok_or(FlagsError::Unset)?.into_bytes());
                if secret.expose().len() < SHORTEST_SECRET
                    || !secret.expose().iter().all(u8::is_ascii_graphic)
                {
                    return Err(FlagsError::Weak);
                }
                Trust::SharedSecret(secret)
            }
            (None, Listen::Unix(_)) => Trust::Edge,
            (None, Listen::Tcp(_)) => return Err(FlagsError::NoTrust),
        };
        Ok(Config {
            listen,
            settings: Settings::new(self.database.clone(), legacy),
            server,
            trust,
            level: Level::Info,
        })
    }
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
        let text = include_str!("../../conf/store.yaml");
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

    #[test]
    fn flags_do_without_a_file_under_the_same_rules() {
        let flags =
            |listen: &str| Flags { listen: listen.into(), database: "m.db".into(), ..Flags::default() };
        assert!(matches!(flags("unix:s.sock").check(env).unwrap().trust, Trust::Edge));
        assert!(matches!(flags("127.0.0.1:0").check(env), Err(FlagsError::NoTrust)));
        assert!(matches!(flags("nowhere").check(env), Err(FlagsError::Listen)));
        assert!(matches!(flags("unix:").check(env), Err(FlagsError::Listen)));
        let shared = |name: &str| Flags { shared_secret_env: Some(name.into()), ..flags("127.0.0.1:0") };
        assert!(matches!(shared("STORE_SECRET").check(env).unwrap().trust, Trust::SharedSecret(_)));
        assert!(matches!(shared("OTHER").check(env), Err(FlagsError::Unset)));
        let odd = Flags { legacy_tenant: Some("A".into()), ..flags("unix:s") };
        assert!(matches!(odd.check(env), Err(FlagsError::Tenant(_))));
    }
}
