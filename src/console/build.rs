//! Writes down which files the built page has, for the crate to embed. Without them (no Node, no `npm run build`) the
//! list is empty, and the edge says so where the page would be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let built = root.join("src/console/built");
    println!("cargo::rerun-if-changed={}", built.display());
    println!("cargo::rerun-if-changed=src/console/build.rs");
    let mut files = BTreeMap::new();
    let page = built.join("page");
    if page.is_dir() {
        collect(&page, &page, &mut files)?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("page.rs"), list(&files)?)
}

/// Every file below a folder, by its path there.
fn collect(folder: &Path, root: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, root, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.insert(name.to_string_lossy().replace('\\', "/"), path);
        }
    }
    Ok(())
}

/// The list as Rust: each file with what lies beside it compressed.
fn list(files: &BTreeMap<String, PathBuf>) -> io::Result<String> {
    let mut out = String::from("&[\n");
    let is_packed = |name: &str| matches!(name.rsplit('.').next(), Some("br" | "gz"));
    for (name, path) in files.iter().filter(|(name, _)| !is_packed(name)) {
        let mut hasher = DefaultHasher::new();
        hasher.write(&fs::read(path)?);
        let tag = hasher.finish();
        let literal = |path: &Path| format!("{:?}", path.to_string_lossy());
        let packed = |ending: &str| match files.get(&format!("{name}{ending}")) {
            Some(path) => format!("Some(include_bytes!({}))", literal(path)),
            None => "None".to_owned(),
        };
        let plain = literal(path);
        let (brotli, gzip) = (packed(".br"), packed(".gz"));
        // A text can always be written to.
        let _ = writeln!(
            out,
            "    File {{ path: {name:?}, tag: \"{tag:016x}\", plain: include_bytes!({plain}), brotli: {brotli}, gzip: {gzip} }},"
        );
    }
    out.push_str("]\n");
    Ok(out)
}
