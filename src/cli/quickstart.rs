//! The config for a first look: from `conf/quickstart.yaml` where there is one, else as built in.

use crate::config::checked::Config;
use crate::edge::reload::Source;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const FILE: &str = "conf/quickstart.yaml";
const TEXT: &str = include_str!("../../conf/quickstart.yaml");

/// The named file, else the quickstart.
pub(super) fn source(named: Option<PathBuf>) -> Source {
    match named {
        Some(path) => Source::File(path),
        None if Path::new(FILE).is_file() => Source::File(FILE.into()),
        None => Source::Builtin(FILE, TEXT),
    }
}

/// A first write, a first read, and a refusal: for configs whose keys the edge made itself.
pub(super) fn hello(config: &Config) -> Option<String> {
    let mut made = config.credentials.iter().filter_map(|key| Some((key, key.generated.as_ref()?)));
    let (own, own_file) = made.next()?;
    let (other, other_file) = made.find(|(key, _)| key.tenant != own.tenant)?;
    let listen = config.listen.first()?;
    let address = listen.address;
    let base = format!("{}://{address}/mesh/memory", listen.scheme());
    let key = |file: &PathBuf| format!("-H \"X-API-Key: $(cat {})\"", file.display());
    let mut out = String::new();
    let _ = writeln!(out, "\nopenclaw-edge serves {address}; metrics and health are on {}.", config.admin);
    let _ = writeln!(out, "{} writes:", own.tenant);
    let _ = writeln!(
        out,
        "  curl -sS -X PUT {} {base} -d '{{\"scope\":\"mesh\",\"key\":\"greeting\",\"value\":\"hello\"}}'",
        key(own_file)
    );
    let _ = writeln!(out, "{} reads:", own.tenant);
    let _ = writeln!(out, "  curl -sS {} {base}/mesh/greeting", key(own_file));
    let _ = writeln!(out, "{} is refused ({} has no such key):", other.tenant, other.tenant);
    let _ = writeln!(out, "  curl -sS -i {} {base}/mesh/greeting\n", key(other_file));
    Some(out)
}
