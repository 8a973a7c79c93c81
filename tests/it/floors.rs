//! The rooms and their floors: who may import whom, read from the sources.

use crate::house::parts::repository;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Rooms by floor. A room imports from floors below its own, and from nowhere else.
const FLOORS: &[&[&str]] = &[
    &["ids", "secret", "jose", "openclaw"],
    &["config"],
    &["metrics", "audit", "identity", "limits", "signatures", "folder", "traffic"],
    &["admission", "console"],
    &["edge", "hub", "store"],
    &["cli"],
    &["bin"],
];

/// Words that belong to one room or the other alone.
const OWNED: &[(&str, &[&str])] = &[
    ("pingora", &["edge"]),
    ("pingora_proxy", &["edge"]),
    ("pingora_timeout", &["edge"]),
    ("pingora_limits", &["edge", "limits"]),
    ("redis", &["edge"]),
    ("rusqlite", &["store"]),
    ("clap", &["cli", "bin"]),
];

/// What the recipe must not know.
const NOT_IN_ADMISSION: &[&str] =
    &["tokio", "prometheus", "pingora", "Instant::now", "SystemTime", "std::net::Tcp", "std::fs"];

/// A source file: the room it belongs to, and its code without comments.
struct Source {
    path: PathBuf,
    home: String,
    depth: usize,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = repository().join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found in {}", root.display());
    files
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).expect("it was found there").to_owned();
            let first = inside.components().next().expect("a file has a name").as_os_str().to_string_lossy();
            let home = first.trim_end_matches(".rs").to_owned();
            let code = without_comments(&std::fs::read_to_string(&path).expect("a source can be read"));
            Source { path: inside.clone(), home, depth: inside.components().count(), code }
        })
        .collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The words that stand behind this prefix, such as `config` behind `crate::`.
fn behind<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(prefix)
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())]
        })
        .collect()
}

#[test]
fn every_room_stands_on_a_floor() {
    for source in sources() {
        if source.home != "lib" {
            assert!(floor(&source.home).is_some(), "{} is in no known room", source.path.display());
        }
    }
}

#[test]
fn rooms_import_downward_only() {
    for source in sources().iter().filter(|source| source.home != "lib") {
        let here = floor(&source.home).expect("every room stands on a floor");
        let mut used = behind(&source.code, "crate::");
        used.extend(behind(&source.code, "openclaw_edge::"));
        for room in used {
            let shown = source.path.display();
            assert!(
                !room.is_empty(),
                "{shown} imports from several rooms at once; one `use` a room reads better"
            );
            let Some(there) = floor(room) else { panic!("{shown} imports {room}, which is no room") };
            assert!(there < here || room == source.home, "{shown} imports {room}, which is not below it");
        }
        let tests = source.path.to_string_lossy().ends_with("tests.rs");
        let code = source.code.split("#[cfg(test)]").next().filter(|_| !tests).unwrap_or_default();
        let out = if source.depth > 2 { "super::super::super::" } else { "super::super::" };
        assert!(!code.contains(out), "{} leaves its room by the back door", source.path.display());
    }
}

#[test]
fn each_library_is_named_in_its_own_room_alone() {
    for source in sources() {
        for (library, rooms) in OWNED {
            let named = !behind(&source.code, &format!("{library}::")).is_empty();
            assert!(
                !named || rooms.contains(&source.home.as_str()),
                "{} names {library}",
                source.path.display()
            );
        }
    }
}

#[test]
fn the_recipe_knows_no_clock_no_socket_and_no_counter() {
    for source in sources().iter().filter(|source| source.home == "admission") {
        for word in NOT_IN_ADMISSION {
            assert!(!source.code.contains(word), "{} has {word}", source.path.display());
        }
    }
}

#[test]
fn nothing_is_kept_in_statics() {
    for source in sources() {
        for line in source.code.lines() {
            let line = line.trim_start();
            let kept = ["static ", "pub static ", "pub(crate) static ", "thread_local!"]
                .iter()
                .any(|word| line.starts_with(word));
            // The allocator has to be one.
            assert!(!kept || line.contains("MiMalloc"), "{}: {line}", source.path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = repository().join("src");
    for source in sources() {
        let text = std::fs::read_to_string(root.join(&source.path)).expect("a source can be read");
        assert!(text.starts_with("//!"), "{} does not", source.path.display());
    }
}
