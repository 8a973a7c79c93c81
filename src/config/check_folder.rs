//! Rules about routes that serve a folder.

use super::check_routes;
use super::checked::{Folder, PathPattern};
use super::checker::{Checker, shown};
use super::raw;
use super::tree::Spot;
use http::{HeaderValue, Method};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// Those that a folder answers; any other is a mistake of the operator's, and 405 for a client.
pub(super) fn methods(raw: &[String], spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<Method>> {
    let methods = check_routes::methods(raw, spot, checker)?;
    if methods.is_empty() {
        return Some(vec![Method::GET, Method::HEAD]);
    }
    if let Some(at) = methods.iter().position(|method| !matches!(*method, Method::GET | Method::HEAD)) {
        checker.problem(spot.item(at).at, "files are served to GET and HEAD alone");
    }
    Some(methods)
}

pub(super) fn check(
    folder: &raw::Static,
    route: &raw::Route,
    spot: Spot<'_>,
    path: Option<&PathPattern>,
    checker: &mut Checker,
) -> Option<Arc<Folder>> {
    if path.is_some_and(|path| !path.rest) {
        let hint = "such as `/ui/**`, or `/**`";
        checker.hinted(spot.key("path").at, "where files are served, the path ends in `/**`", hint);
    }
    if route.verify.is_some() {
        checker.problem(spot.key_at("verify"), "files are served to readers: there is no body to `verify`");
    }
    if route.federation.is_some() {
        checker.problem(spot.key_at("federation"), "no mesh is behind a folder");
    }
    let spot = spot.key("static");
    let root = root(folder, spot.key("folder"), checker);
    let index = match &folder.index {
        Some(text) => name(spot.key("index"), "the file's name", text, checker),
        None => Some("index.html".to_owned()),
    };
    let fallback = match &folder.fallback {
        Some(text) => below(spot.key("fallback"), text, checker).map(Some),
        None => Some(None),
    };
    let age = match folder.cache.as_deref() {
        Some(text) => checker.duration(spot.key("cache"), Some(text), SECOND, (SECOND, YEAR)).map(Some),
        None => Some(None),
    };
    Some(Arc::new(Folder {
        root: root?,
        index: index?,
        fallback: fallback?,
        cache_control: cache_control(age?, route.public),
    }))
}

/// What only some may see, no cache keeps for others.
fn cache_control(age: Option<Duration>, is_public: bool) -> HeaderValue {
    let who = if is_public { "public" } else { "private" };
    let text = match age {
        Some(age) => format!("{who}, max-age={}", age.as_secs()),
        None => format!("{who}, no-cache"),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-cache"))
}

/// One that is not there yet may be put there later; until then its route answers 503.
fn root(folder: &raw::Static, spot: Spot<'_>, checker: &mut Checker) -> Option<PathBuf> {
    let root = Path::new(&folder.folder);
    if folder.folder.is_empty() {
        checker.problem(spot.at, "the folder's name is empty");
        return None;
    }
    if !root.is_dir() {
        checker.warn(spot.at, shown(spot, "this folder is not there:", &folder.folder));
    }
    Some(root.to_owned())
}

fn name(spot: Spot<'_>, what: &str, text: &str, checker: &mut Checker) -> Option<String> {
    if text.is_empty() || text.starts_with('.') || text.contains(['/', '\\', '\0']) {
        checker.problem(spot.at, shown(spot, &format!("{what} is none of a file:"), text));
        return None;
    }
    Some(text.to_owned())
}

fn below(spot: Spot<'_>, text: &str, checker: &mut Checker) -> Option<String> {
    let hint = "a path in the folder, such as `index.html`";
    let is_path = text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    if !is_path || text.contains(['\\', '\0']) {
        checker.hinted(spot.at, shown(spot, "this is no file in the folder:", text), hint);
        return None;
    }
    Some(text.to_owned())
}
