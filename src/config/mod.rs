//! The config room: what an operator wrote, and what we take it to mean.
//!
//! The way of a file: `source` turns text into a tree in which each node and key knows its place;
//! `shape` holds the tree against the JSON Schema made from [`raw`]; the `check_*` files turn the raw
//! structs into [`checked::Config`]. Every step adds to one list of [`Problem`]s and goes on, so an
//! operator sees all mistakes at once. This room knows no socket and none of the rooms that it configures.

mod check_abuse;
mod check_backends;
mod check_credentials;
pub(crate) mod check_embeddings;
mod check_folder;
mod check_identity;
mod check_key_feeds;
mod check_keys;
mod check_limits;
mod check_listen;
mod check_lists;
mod check_meshes;
mod check_operator;
mod check_plans;
mod check_routes;
mod check_server;
mod check_sessions;
mod check_shared;
mod check_signers;
mod check_signing;
pub(crate) mod check_store;
mod check_tls;
mod check_tokens;
mod check_verify;
pub mod checked;
mod checked_credentials;
mod checked_federation;
mod checked_limits;
mod checked_listen;
mod checked_operator;
mod checked_routes;
mod checked_sessions;
pub mod checked_store;
mod checked_tokens;
mod checked_verify;
pub mod checker;
mod clash;
mod import;
mod interpolate;
pub mod key_set;
pub mod pattern;
pub mod problems;
pub mod public_key;
pub mod raw;
mod raw_federation;
mod raw_identity;
mod raw_limits;
mod raw_listen;
mod raw_operator;
mod raw_routes;
mod raw_sessions;
mod raw_shared;
pub(crate) mod raw_store;
mod raw_tokens;
mod raw_verify;
mod reference;
pub mod secrets;
mod shape;
mod source;
#[cfg(test)]
mod tests;
#[cfg(all(test, unix))]
mod tests_conf;
pub mod tree;
pub mod units;
mod urls;

use checked::Fingerprint;
use checker::Checker;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tree::Document;

pub use check_keys::is_id as is_key_id;
pub use check_signers::thumbprint;
pub use import::{ImportError, import};
pub use problems::{Problem, Problems};
pub use urls::UrlError;

/// Largest file that is read.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a load may change on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// Nothing: for `check`. A `generated` key whose file is not there is replaced by a throwaway.
    None,
    /// Files of `generated` keys are made where they are not there.
    Create,
}

/// What a load may ask of the machine that it runs on.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Looks an environment variable up; `None` when it is not set (or is not UTF-8).
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// What may be changed.
    pub effects: Effects,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("effects", &self.effects).finish_non_exhaustive()
    }
}

/// The environment of this process.
#[must_use]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A config without mistakes, and what is odd about it all the same.
#[derive(Debug)]
pub struct Loaded {
    /// What the rooms are built from.
    pub config: checked::Config,
    /// What an operator may want to know: unused names, keys that have expired.
    pub warnings: Vec<Problem>,
}

/// A file that was read into its raw struct, and what its checks need.
pub struct Reading<T> {
    /// What was written. Where the shape had mistakes, the broken parts are left out.
    pub raw: T,
    /// Where everything stands.
    pub document: Document,
    /// Takes further problems; already holds those of the shape.
    pub checker: Checker,
}

// By hand: a raw struct may hold a secret, or one that was put in the wrong place.
impl<T> std::fmt::Debug for Reading<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (document, checker) = (&self.document, &self.checker);
        f.debug_struct("Reading")
            .field("document", document)
            .field("checker", checker)
            .finish_non_exhaustive()
    }
}

/// Loads the edge's config from a file.
///
/// # Errors
/// All mistakes of the file, in its order.
pub fn load(path: &Path, effects: Effects) -> Result<Loaded, Problems> {
    load_beside(path, effects, &[])
}

/// [`load`] beside certificates that serve already: that one of them has ended since is no mistake of the new file.
///
/// # Errors
/// All mistakes of the file, in its order.
pub fn load_beside(path: &Path, effects: Effects, serving: &[Fingerprint]) -> Result<Loaded, Problems> {
    let text = source::read_file(path)?;
    let around = Surroundings { env: &process_env, effects };
    parse_beside(&path.display().to_string(), &text, around, serving)
}

/// Loads the edge's config from text; `name` is what problems call it.
///
/// # Errors
/// All mistakes of the text, in its order.
pub fn parse(name: &str, text: &str, effects: Effects) -> Result<Loaded, Problems> {
    parse_in(name, text, Surroundings { env: &process_env, effects })
}

/// [`parse`] with an environment of the caller's choice.
///
/// # Errors
/// All mistakes of the text, in its order.
pub fn parse_in(name: &str, text: &str, around: Surroundings<'_>) -> Result<Loaded, Problems> {
    parse_beside(name, text, around, &[])
}

fn parse_beside(
    name: &str,
    text: &str,
    around: Surroundings<'_>,
    serving: &[Fingerprint],
) -> Result<Loaded, Problems> {
    let dry = parse_once(name, text, Surroundings { effects: Effects::None, ..around })?;
    let new = dry.config.certificates().filter(|one| !serving.contains(&one.fingerprint));
    let ended: Vec<Problem> = new.filter_map(|one| one.outside.clone()).collect();
    if !ended.is_empty() {
        return Err(Problems::new(ended));
    }
    match around.effects {
        Effects::None => Ok(dry),
        // Only now: a file with a mistake anywhere leaves no key files behind.
        Effects::Create => parse_once(name, text, around),
    }
}

fn parse_once(name: &str, text: &str, around: Surroundings<'_>) -> Result<Loaded, Problems> {
    let Reading { raw, document, mut checker } = read_text::<raw::Config>(name, text, around.env)?;
    checker.literals = checker::Literals::from_key(raw.allow_literal_secrets);
    let config = check(&raw, &document, &mut checker, around);
    let (config, warnings, files) = checker.finish(config)?;
    let config = checked::Config { files, fingerprint: fingerprint(text), ..config };
    Ok(Loaded { config, warnings })
}

/// Reads any YAML file whose raw struct has a schema; semantic checks are the caller's.
///
/// # Errors
/// Only what leaves nothing to check: no file, no YAML, or a shape of which nothing could be kept.
/// Other mistakes wait in the [`Reading`]'s checker; end with [`Checker::finish`].
pub fn read<T: DeserializeOwned + JsonSchema>(
    path: &Path,
    around: Surroundings<'_>,
) -> Result<Reading<T>, Problems> {
    let text = source::read_file(path)?;
    read_text(&path.display().to_string(), &text, around.env)
}

/// [`read`] for text that is already here.
///
/// # Errors
/// As for [`read`].
pub fn read_text<T: DeserializeOwned + JsonSchema>(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Reading<T>, Problems> {
    let mut checker = Checker::new(name);
    checker.read_file(PathBuf::from(name));
    let Some(tree) = source::parse(text, env, &mut checker) else {
        return Err(checker.into_problems());
    };
    let schema = schema_of::<T>();
    let Some(kept) = shape::check(&tree, &schema, &mut checker) else {
        return Err(checker.into_problems());
    };
    if let Ok(raw) = serde_json::from_value(kept.to_json()) {
        return Ok(Reading { raw, document: Document::new(kept, tree), checker });
    }
    // Serde's own sentence may quote a value, and a value may be a secret.
    if checker.is_clean() {
        checker.problem(tree.at, "this file does not have the shape of a config");
    }
    Err(checker.into_problems())
}

/// The JSON Schema of the edge's config.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schema_of::<raw::Config>();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "openclaw-edge config".into());
    }
    schema
}

/// The JSON Schema of a raw struct.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> serde_json::Value {
    schemars::schema_for!(T).to_value()
}

/// A Markdown reference of every key, made from the schema.
#[must_use]
pub fn reference() -> String {
    reference::of(&schema())
}

fn check(
    raw: &raw::Config,
    document: &Document,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<checked::Config> {
    let basics = check_server::check(raw, document, around, checker);
    let identity = check_identity::check(raw, document, checker, around);
    let token_issuers = check_tokens::check(raw, document.top(), &identity, checker);
    let sessions = check_sessions::check(raw, document.top(), checker, around);
    let mut limits = check_limits::check(raw, document, checker);
    let address_lists = check_lists::check(raw, document, &mut limits, checker);
    let abuse = check_abuse::check(&raw.abuse, document.top().key("abuse"), checker);
    let tariffs = check_plans::check(raw, document, &limits, checker);
    let backends = check_backends::check(raw, document, &identity, checker, around);
    let replay_cache = check_verify::cache(&raw.replay_cache, document.top().key("replay_cache"), checker);
    let shared = check_shared::server(raw, document, around, checker);
    let signing_keys = check_signing::keys(raw, document.top(), &identity, around, checker);
    let meshes = check_meshes::check(raw, document.top(), &identity, &signing_keys, around, checker);
    let outbox = check_meshes::outbox(&raw.outbox, document.top().key("outbox"), checker);
    let others = check_routes::Others {
        identity: &identity,
        limits: &limits,
        backends: &backends,
        signing_keys: &signing_keys,
        meshes: &meshes,
        around,
    };
    let serving = check_routes::check(raw, document, &others, checker);
    Some(checked::Config {
        listen: basics.listen,
        admin: basics.admin?,
        data: basics.data,
        server: basics.server?,
        head: basics.head?,
        log: basics.log,
        access_log: basics.access_log,
        trusted_proxies: basics.trusted_proxies,
        tenants: identity.tenants,
        credentials: identity.credentials,
        token_issuers,
        sessions,
        nodes: identity.nodes,
        key_feeds: identity.key_feeds,
        limits: limits.all,
        tariffs,
        address_lists,
        abuse: abuse?,
        max_addresses: limits.max_addresses,
        max_header_values: limits.max_header_values,
        replay_cache: replay_cache?,
        meshes,
        outbox: outbox?,
        shared,
        dialect: raw.limiter.dialect,
        upstreams: backends.upstreams,
        gateways: backends.gateways,
        routes: serving.routes,
        unmatched_limits: serving.unmatched_limits,
        files: Vec::new(),
        fingerprint: String::new(),
    })
}

fn fingerprint(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
