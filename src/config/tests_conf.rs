//! The files that we ship load, and files on disk are read as told: keys, modes, folders.

use super::tests::{GOOD, PLANTED, env};
use super::{Effects, Loaded, Problems, Surroundings, parse_in};
use std::path::{Path, PathBuf};

const EDGE: &str = include_str!("../../conf/edge.yaml");
const QUICKSTART: &str = include_str!("../../conf/quickstart.yaml");
const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEICoqKioqKioqKioqKioqKioqKioqKioqKioqKioqKioq\n-----END PRIVATE KEY-----\n";

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("edge-config-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }

    fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load(text: &str, effects: Effects) -> Result<Loaded, Problems> {
    parse_in("t.yaml", text, Surroundings { env: &env, effects })
}

fn edge_in(folder: &Folder) -> String {
    folder.put("ceo.pem", PEM, 0o644);
    let site = rcgen::generate_simple_self_signed(["edge.test".to_owned()]).expect("made");
    folder.put("site.pem", &site.cert.pem(), 0o644);
    folder.put("site.key", &site.signing_key.serialize_pem(), 0o600);
    folder.put("acme-edge.pem", PRIVATE, 0o600);
    folder.put("redis-ca.pem", PEM, 0o644);
    std::fs::create_dir_all(folder.0.join("ui")).expect("folder");
    folder.put("globex-federation.key", "federation-key-0123456789abcdef\r\n", 0o600);
    let path = folder.0.display().to_string();
    EDGE.replace("/etc/openclaw-edge", &path).replace("/var/lib/openclaw-edge", &path)
}

fn with_secret(source: &str) -> String {
    GOOD.replacen("{ env: KEY }", source, 1)
}

#[test]
fn the_annotated_example_loads() {
    let folder = Folder::new("edge");
    let text = edge_in(&folder);
    let Loaded { config, warnings } =
        load(&text, Effects::None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((config.routes.len(), config.gateways.len(), config.nodes.len()), (24, 1, 2));
    assert_eq!(config.credentials[0].expires, Some(1_814_400_000));
    assert_eq!(config.files.len(), 7, "{:?}", config.files);
    let odd: Vec<_> = warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(odd.len(), 1, "{odd:?}");
    assert!(odd[0].ends_with("is made at the start"), "{odd:?}");
}

#[test]
fn the_schema_says_what_it_is() {
    let schema = super::schema();
    assert_eq!(schema["title"], "openclaw-edge config");
    assert!(schema["$schema"].as_str().is_some_and(|uri| uri.contains("json-schema.org")));
}

#[test]
fn the_annotated_example_shows_every_key() {
    let schema = super::schema();
    let mut keys = Vec::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        assert!(EDGE.contains(&format!("{key}:")), "conf/edge.yaml does not show `{key}`");
        assert!(super::reference().contains(&format!("| `{key}` |")), "the reference lacks `{key}`");
    }
}

fn collect_keys(schema: &serde_json::Value, keys: &mut Vec<String>) {
    let Some(object) = schema.as_object() else { return };
    if let Some(properties) = object.get("properties").and_then(|value| value.as_object()) {
        keys.extend(properties.keys().cloned());
    }
    object.values().for_each(|value| collect_keys(value, keys));
}

#[test]
fn the_quickstart_needs_nothing_and_stays_on_this_machine() {
    let nothing = |_: &str| None;
    let around = Surroundings { env: &nothing, effects: Effects::None };
    let loaded = parse_in("conf/quickstart.yaml", QUICKSTART, around);
    let config = loaded.unwrap_or_else(|problems| panic!("{problems}")).config;
    let clients = config.listen.iter().map(|listen| listen.address);
    assert!(clients.chain([config.admin]).all(|address| address.ip().is_loopback()));
    assert_eq!(config.credentials.len(), 2);
}

#[test]
fn a_key_is_made_once_and_only_for_a_config_without_mistakes() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("generated");
    let path = folder.0.join("a/b/acme.key");
    let text = with_secret(&format!("{{ generated: {} }}", path.display()));
    load(&text, Effects::None).expect("loads");
    load(&format!("{text}colour: red\n"), Effects::Create).expect_err("a mistake");
    assert!(!path.exists());
    let first = load(&text, Effects::Create).expect("makes").config;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.0.join("a/b"))), (0o600, 0o700));
    let key = std::fs::read_to_string(&path).expect("key");
    assert!(key.starts_with("oce_") && key.trim_end().len() == 47, "length {}", key.len());
    assert_eq!(first.credentials[0].generated.as_deref(), Some(path.as_path()));
    let second = load(&text, Effects::Create).expect("reads").config;
    assert_eq!(first.credentials[0].proof, second.credentials[0].proof);
    assert_eq!(second.files, [PathBuf::from("t.yaml"), path]);
}

#[test]
fn a_secret_file_is_for_its_owner_alone() {
    let folder = Folder::new("mode");
    let path = folder.put("key", &format!("{PLANTED}\n"), 0o640);
    let text = with_secret(&format!("{{ file: {} }}", path.display()));
    let problems = load(&text, Effects::None).expect_err("open to others").to_string();
    assert!(problems.contains("can be read by others") && problems.contains("chmod 600"), "{problems}");
    folder.put("key", &format!("{PLANTED}\n"), 0o600);
    let from_file = load(&text, Effects::None).expect("loads").config;
    let from_env = load(GOOD, Effects::None).expect("loads").config;
    assert_eq!(from_file.credentials[0].proof, from_env.credentials[0].proof);
    folder.put("key", "", 0o600);
    assert!(load(&text, Effects::None).expect_err("empty").to_string().contains("empty"));
    folder.put("key", &"x".repeat(70_000), 0o600);
    assert!(load(&text, Effects::None).expect_err("large").to_string().contains("larger"));
}

#[test]
fn a_file_that_is_no_config_is_told_with_its_place() {
    let folder = Folder::new("binary");
    let told = |path: &Path| super::load(path, Effects::None).expect_err("no config").to_string();
    let missing = folder.0.join("missing.yaml");
    assert_eq!(told(&missing), format!("{}: this file cannot be read: it is not there", missing.display()));
    assert!(told(&folder.0).ends_with("this file is not a plain file"));
    let path = folder.0.join("binary.yaml");
    std::fs::write(&path, b"a: b\nc: \xff\xfe\0").expect("written");
    assert!(told(&path).contains("binary.yaml:2:4: this is not UTF-8 text"), "{}", told(&path));
}

#[test]
fn any_byte_changed_in_the_example_is_no_panic() {
    let nothing = |_: &str| None;
    let around = Surroundings { env: &nothing, effects: Effects::None };
    let marks =
        ["\0", "\t", "  ", "- ", ": ", "[", "}", "\"", "\n", "&a ", "*a", "!x ", "${", "é", "|\n", "9"];
    for (turn, at) in (0..EDGE.len()).step_by(97).enumerate() {
        let Some((before, after)) = EDGE.split_at_checked(at) else { continue };
        let mark = marks[turn % marks.len()];
        let _ = parse_in("t", &format!("{before}{mark}{after}"), around);
        let mut rest = after.chars();
        rest.next();
        let _ = parse_in("t", &format!("{before}{}", rest.as_str()), around);
        let _ = parse_in("t", before, around);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn any_mutation_of_the_example_is_no_panic(
        from in 0..EDGE.len(), length in 0..400_usize, to in 0..EDGE.len(), text in "[ -~\n]{0,12}",
    ) {
        let piece = EDGE.get(from..(from + length).min(EDGE.len())).unwrap_or("");
        if let Some((before, after)) = EDGE.split_at_checked(to) {
            let _ = load(&format!("{before}{piece}{text}{after}"), Effects::None);
        }
    }
}
