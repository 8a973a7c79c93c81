//! The documents are held to what they say: commands, flags, configs, codes, metrics and links.

use crate::house::codes::REFUSALS;
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::parts::{program, repository};
use crate::house::process::{edge_program, run_edge, store_program};
use crate::house::site::Site;
use crate::house::temp::Temp;
use std::path::{Path, PathBuf};
use std::process::Command;

fn read(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All documents: the README and what lies in `docs/`.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![repository().join("README.md")];
    collect(&repository().join("docs"), "md", &mut paths);
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a document can be read")))
        .collect()
}

fn collect(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("an entry can be read").path()) {
        if path.is_dir() {
            collect(&path, extension, into);
        } else if path.extension().is_some_and(|found| found == extension) {
            into.push(path);
        }
    }
}

/// The fenced blocks in one of these languages.
fn blocks(text: &str, languages: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some((languages.contains(&language.trim()), String::new())),
            (Some(_), Some((wanted, block))) if wanted => found.push(block),
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some((wanted, mut block))) => {
                block.push_str(line);
                block.push('\n');
                open = Some((wanted, block));
            }
        }
    }
    found
}

/// The commands of the two programs in a shell block, continued lines joined.
fn commands(block: &str) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        for part in line.split(['|', ';', '&', '(', ')', '<', '>']) {
            let words: Vec<String> =
                part.trim_start_matches('$').split_whitespace().map(str::to_owned).collect();
            let name = words.first().map(|word| word.rsplit('/').next().unwrap_or_default().to_owned());
            if matches!(name.as_deref(), Some("openclaw-edge" | "mesh-store")) && words.len() > 1 {
                found.push(words);
            }
        }
    }
    found
}

#[test]
fn every_command_in_the_documents_exists_with_its_flags() {
    let mut count = 0;
    for (path, text) in documents() {
        for words in
            blocks(&text, &["sh", "bash", "console", "shell"]).iter().flat_map(|block| commands(block))
        {
            let name = if words[0].ends_with("mesh-store") { store_program() } else { edge_program() };
            let is_word = |word: &&String| {
                word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            };
            let mut args: Vec<&str> = words[1..].iter().take_while(is_word).map(String::as_str).collect();
            args.truncate(2);
            let help = loop {
                let output = Command::new(&name)
                    .args(&args)
                    .arg("--help")
                    .output()
                    .expect("the program can be started");
                if output.status.success() || args.len() < 2 {
                    assert!(output.status.success(), "{}: {words:?} is no command", path.display());
                    break String::from_utf8_lossy(&output.stdout).into_owned();
                }
                args.pop();
            };
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                assert!(help.contains(flag), "{}: {words:?} has no {flag}:\n{help}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 0, "the documents show no command at all");
}

/// A public key for where a document's config has one in a file.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAZndY2brYFrNV6z1LNAaxeLHf6ZmqW/r1Ps74rhxyAwM=\n-----END PUBLIC KEY-----\n";

/// A private key for where it has one of the edge's own in a file.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEICoqKioqKioqKioqKioqKioqKioqKioqKioqKioqKioq\n-----END PRIVATE KEY-----\n";

/// A secret, long enough and no other's, for where it has one in a file or variable.
fn stand_in(name: &str) -> String {
    format!("oce_a-stand-in-that-is-long-enough-{}", crate::house::keys::hex(name))
}

/// What stands behind each of these words, up to the end of a path or name.
fn named<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let rests = text.match_indices(word).map(|(at, _)| &text[at + word.len()..]);
    rests
        .map(|rest| {
            rest[..rest.find(|c: char| c.is_whitespace() || ",}\"".contains(c)).unwrap_or(rest.len())].trim()
        })
        .collect()
}

/// Makes the certificates that a config has, each with the key that stands beside it; the keys' files.
fn certificates<'t>(folder: &Temp, place: &str, text: &'t str) -> Vec<&'t str> {
    let mut keys = Vec::new();
    for line in text.lines() {
        let (chain, key) = (named(line, "chain: "), named(line, "key: { file: "));
        let ([chain], [key]) = (&chain[..], &key[..]) else { continue };
        let made = rcgen::generate_simple_self_signed(["edge.test".to_owned()]).expect("a certificate");
        for (file, text) in [(chain, made.cert.pem()), (key, made.signing_key.serialize_pem())] {
            owners_alone(&folder.write(file.trim_start_matches(place).trim_start_matches('/'), text));
        }
        keys.push(*key);
    }
    keys
}

fn owners_alone(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file has an owner");
}

/// Checks a config in which files and variables that an operator would have are stood in for.
fn check(name: &str, text: &str) {
    let folder = Temp::new();
    let place = folder.path().display().to_string();
    let text = text.replace(" /etc/", &format!(" {place}/etc/")).replace(" /var/", &format!(" {place}/var/"));
    let mut command = Command::new(edge_program());
    for variable in named(&text, "env: ").into_iter().chain(named(&text, "${")) {
        command.env(
            variable,
            if variable.contains("HOST") { "127.0.0.1".to_owned() } else { stand_in(variable) },
        );
    }
    let private = named(&text, "private_key: { file: ");
    let keys = certificates(&folder, &place, &text);
    for file in named(&text, "file: ").into_iter().filter(|file| !keys.contains(file)) {
        let is_public = file.contains(".pem") || file.contains(".pub");
        let content = match (private.contains(&file), is_public) {
            (true, _) => PRIVATE_KEY.to_owned(),
            (false, true) => PUBLIC_KEY.to_owned(),
            (false, false) => stand_in(file),
        };
        let path = folder.write(file.trim_start_matches(&place).trim_start_matches('/'), content);
        owners_alone(&path);
    }
    let path = folder.write("edge.yaml", &text);
    let output =
        command.args(["check", "--config"]).arg(&path).current_dir(&place).output().expect("it starts");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {said}\n{text}");
}

#[test]
fn every_whole_config_in_the_documents_passes_the_check() {
    check("conf/edge.yaml", &read("conf/edge.yaml"));
    check("conf/quickstart.yaml", &read("conf/quickstart.yaml"));
    for (path, text) in documents() {
        for block in blocks(&text, &["yaml", "yml"]) {
            let whole = ["listen:", "tenants:", "routes:"]
                .iter()
                .all(|key| block.lines().any(|line| line.starts_with(key)));
            if whole {
                check(&path.display().to_string(), &block);
            }
        }
    }
}

#[test]
fn every_refusal_is_in_the_api_document_with_its_status() {
    let text = read("docs/api.md");
    for (code, status) in REFUSALS {
        let told = text
            .lines()
            .any(|line| line.contains(&format!("`{code}`")) && line.contains(&status.to_string()));
        assert!(told, "docs/api.md does not tell of {code} ({status})");
    }
}

#[test]
fn the_table_of_codes_is_that_of_the_sources() {
    let text = read("src/admission/rejection.rs");
    // Reasons why a signature is refused have one status and are listed where they are found.
    let reasons = read("src/signatures/mesh.rs");
    for (code, status) in REFUSALS {
        let refused = text.contains(&format!("say({status}, \"{code}\""));
        let reason = *status == 401 && reasons.contains(&format!("=> \"{code}\""));
        assert!(refused || reason, "{code} ({status}) is not in the sources");
    }
    let said =
        text.match_indices("say(").filter(|(at, _)| text[at + 4..].starts_with(|c: char| c.is_ascii_digit()));
    for code in said.filter_map(|(at, _)| text[at..].split([')', ';']).next()?.split('"').nth(1)) {
        let listed = REFUSALS.iter().any(|(known, _)| *known == code);
        assert!(listed, "{code} is new: put it into the house's table");
    }
}

#[test]
fn the_metrics_and_their_document_name_the_same_series() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    edge.caller(ACME).get("/x").expect(200);
    edge.client().get("/x").expect(401);
    let text = read("docs/metrics.md");
    let metrics = edge.metrics();
    for name in metrics.names() {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(text.contains(&format!("`{family}")), "docs/metrics.md does not tell of {family}");
    }
}

#[test]
fn links_within_the_repository_lead_somewhere() {
    for (path, text) in documents() {
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let full = path.parent().expect("a document lies in a folder").join(target);
            assert!(full.exists(), "{} links to {target}, which is not there", path.display());
        }
    }
}

#[test]
fn the_metrics_are_in_the_format_that_prometheus_reads() {
    use std::io::Write as _;
    let Some(promtool) = program("promtool") else { return };
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    edge.caller(ACME).get("/x").expect(200);
    let text = edge.admin("/metrics").expect("the admin listener answers").body;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool can be started");
    child.stdin.take().expect("stdin is a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_schema_in_the_sources_is_the_one_that_is_printed() {
    let output = run_edge(&["schema"]);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let kept: serde_json::Value = serde_json::from_str(&read("conf/edge.schema.json")).expect("JSON");
    assert!(
        kept == printed,
        "conf/edge.schema.json is out of date: openclaw-edge schema >conf/edge.schema.json"
    );
}

#[test]
fn the_reference_of_the_config_is_the_one_that_is_printed() {
    let output = run_edge(&["schema", "--reference"]);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        printed == read("docs/configuration.md"),
        "openclaw-edge schema --reference > docs/configuration.md"
    );
}
