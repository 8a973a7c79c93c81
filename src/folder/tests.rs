//! A folder on disk, and what is found in it.

use super::*;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder that is gone when the test is, and a file beside it that must never be seen.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("edge-folder-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let place = Self(path);
        place.put("../outside/secret.txt", "SECRET");
        for (file, text) in [
            ("index.html", "<!doctype html>"),
            ("app.js", "0123456789"),
            ("ui/index.html", "<p>ui"),
            ("ui/deep/page.html", "<p>deep"),
            (".env", "SECRET"),
            (".git/config", "SECRET"),
            (".well-known/security.txt", "Contact: x"),
            ("pages/.hidden/a.txt", "SECRET"),
            ("grüße.txt", "hallo"),
            ("empty.css", ""),
        ] {
            place.put(file, text);
        }
        place
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root().join(name);
        let parent = self.root().join(Path::new(name).parent().unwrap());
        std::fs::create_dir_all(self.root()).unwrap();
        std::fs::create_dir_all(parent).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn folder(&self, fallback: Option<&str>) -> Folder {
        Folder {
            root: self.root(),
            index: "index.html".into(),
            fallback: fallback.map(str::to_owned),
            cache_control: HeaderValue::from_static("public, no-cache"),
        }
    }

    fn ask(&self, below: &str, fields: &[(&'static str, &str)]) -> Found {
        ask(&self.folder(None), below, fields)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ask(folder: &Folder, below: &str, fields: &[(&'static str, &str)]) -> Found {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    find(folder, &Request::new(below, &Method::GET, &map), SystemTime::now()).unwrap()
}

#[track_caller]
fn whole(found: Found) -> (Answer, String) {
    let Found::Answer(mut answer) = found else { panic!("no answer: {found:?}") };
    let mut text = Vec::new();
    if let Some(body) = &mut answer.body {
        while !body.is_done() {
            text.extend(body.piece().unwrap());
        }
    }
    (answer, String::from_utf8(text).unwrap())
}

fn field(answer: &Answer, name: &str) -> String {
    answer.fields.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn files_come_with_their_types() {
    let place = Place::new("types");
    for (name, kind) in [
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
        ("/ui/", "text/html; charset=utf-8"),
        ("/empty.css", "text/css; charset=utf-8"),
        ("/gr%C3%BC%C3%9Fe.txt", "text/plain; charset=utf-8"),
        ("/.well-known/security.txt", "text/plain; charset=utf-8"),
    ] {
        let (answer, _) = whole(place.ask(name, &[]));
        assert_eq!((answer.status, field(&answer, "content-type")), (StatusCode::OK, kind.into()), "{name}");
        assert_eq!(field(&answer, "x-content-type-options"), "nosniff");
    }
    for (name, want) in [
        ("a.wasm", "application/wasm"),
        ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.webmanifest", "application/manifest+json"),
        ("a", "application/octet-stream"),
    ] {
        assert_eq!(kind(name), want, "{name}");
    }
}

#[test]
fn nothing_outside_and_nothing_hidden_is_found() {
    let place = Place::new("outside");
    let root = place.root();
    symlink("../outside/secret.txt", root.join("link.txt")).unwrap();
    symlink(place.0.join("outside"), root.join("absolute")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink("loop.txt", root.join("loop.txt")).unwrap();
    symlink("app.js", root.join("inside.js")).unwrap();
    let long = format!("/{}", "a".repeat(300));
    for below in [
        "/link.txt",
        "/absolute/secret.txt",
        "/up/outside/secret.txt",
        "/etc/passwd",
        "/loop.txt",
        "/.env",
        "/.git/config",
        "/pages/.hidden/a.txt",
        "/../outside/secret.txt",
        "/..%2Foutside%2Fsecret.txt",
        "/%2e%2e/outside/secret.txt",
        "/ui/..%2f..%2foutside/secret.txt",
        "//etc/passwd",
        "/etc%2Fpasswd",
        "/app.js/",
        "/app.js/x",
        "/app.js%00.html",
        "/pages",
        "/pages/",
        "/none.js",
        &long,
    ] {
        let found = place.ask(below, &[]);
        assert!(matches!(found, Found::Nothing), "{below}: {found:?}");
    }
    // A link that stays inside is the operator's way of naming a file twice.
    assert_eq!(whole(place.ask("/inside.js", &[])).1, "0123456789");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let place = Place::new("pipe");
    let made = std::process::Command::new("mkfifo").arg(place.root().join("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(place.root().join("socket")).unwrap();
    for below in ["/pipe", "/socket"] {
        assert!(matches!(place.ask(below, &[]), Found::Nothing), "{below}");
    }
}

#[test]
fn a_folder_with_a_page_is_named_with_a_slash() {
    let place = Place::new("slash");
    assert!(matches!(place.ask("/ui", &[]), Found::Folder));
    assert!(matches!(place.ask("/ui/deep", &[]), Found::Nothing));
    assert_eq!(whole(place.ask("/ui/", &[])).1, "<p>ui");
}

#[test]
fn pages_of_an_application_fall_back_and_missing_files_do_not() {
    let place = Place::new("fallback");
    let folder = place.folder(Some("index.html"));
    for page in ["/chat", "/settings/keys", "/settings/", "/pages", "/pages/"] {
        assert_eq!(whole(ask(&folder, page, &[])).1, "<!doctype html>", "{page}");
    }
    for missing in ["/none.js", "/chat/none.css", "/.env", "/.chat", "/a/../b"] {
        assert!(matches!(ask(&folder, missing, &[]), Found::Nothing), "{missing}");
    }
}

#[test]
fn the_smallest_form_that_the_client_takes_is_sent() {
    let place = Place::new("packed");
    place.put("app.js.gz", "gzip!");
    place.put("app.js.br", "br!");
    place.put("old.js.br", "of another version");
    place.put("old.js", "new");
    let before = SystemTime::now() - Duration::from_hours(1);
    let stale = File::options().write(true).open(place.root().join("old.js.br")).unwrap();
    stale.set_modified(before).unwrap();
    let mut tags = std::collections::HashSet::new();
    for (name, accept, coding, text) in [
        ("/app.js", "gzip, br", "br", "br!"),
        ("/app.js", "gzip", "gzip", "gzip!"),
        ("/app.js", "br;q=0, gzip;q=0", "", "0123456789"),
        ("/old.js", "br", "", "new"),
        ("/app.js.br", "br", "", "br!"),
    ] {
        let (answer, body) = whole(place.ask(name, &[("accept-encoding", accept)]));
        assert_eq!(
            (field(&answer, "content-encoding"), body),
            (coding.into(), text.into()),
            "{name} {accept}"
        );
        assert_eq!(field(&answer, "vary"), "accept-encoding");
        assert!(tags.insert(field(&answer, "etag")), "{name} {accept}");
        if name == "/app.js" {
            assert_eq!(field(&answer, "content-type"), "text/javascript; charset=utf-8");
        }
    }
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let place = Place::new("known");
    let (first, _) = whole(place.ask("/app.js", &[]));
    let (tag, date) = (field(&first, "etag"), field(&first, "last-modified"));
    assert!(!date.is_empty());
    for asked in [("if-none-match", tag.as_str()), ("if-modified-since", date.as_str())] {
        let (again, body) = whole(place.ask("/app.js", &[asked]));
        assert_eq!((again.status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(
            (field(&again, "etag"), field(&again, "cache-control")),
            (tag.clone(), "public, no-cache".into())
        );
        assert_eq!(
            (field(&again, "content-length"), field(&again, "vary")),
            (String::new(), "accept-encoding".into())
        );
    }
    assert!(matches!(place.ask("/app.js", &[("if-match", "\"other\"")]), Found::OtherVersion));
    // The same length and the same date, as files of images have, and yet another version.
    let path = place.put("app.js", "9876543210");
    let time = httpdate::parse_http_date(&date).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    let (changed, body) = whole(place.ask("/app.js", &[("if-none-match", &tag)]));
    assert_eq!((changed.status, body.as_str()), (StatusCode::OK, "9876543210"));
}

#[test]
fn parts_are_cut_out() {
    let place = Place::new("parts");
    let (part, body) = whole(place.ask("/app.js", &[("range", "bytes=2-4")]));
    assert_eq!((part.status, body.as_str()), (StatusCode::PARTIAL_CONTENT, "234"));
    assert_eq!(field(&part, "content-range"), "bytes 2-4/10");
    assert_eq!(field(&part, "content-length"), "3");
    assert!(matches!(place.ask("/app.js", &[("range", "bytes=10-")]), Found::BeyondEnd(10)));
    assert!(matches!(place.ask("/empty.css", &[("range", "bytes=0-")]), Found::BeyondEnd(0)));
    let mut fields = HeaderMap::new();
    fields.insert("range", HeaderValue::from_static("bytes=2-4"));
    let head = Request::new("/app.js", &Method::HEAD, &fields);
    let found = find(&place.folder(None), &head, SystemTime::now()).unwrap();
    let Found::Answer(answer) = found else { panic!("{found:?}") };
    assert_eq!((answer.status, field(&answer, "content-length")), (StatusCode::OK, "10".into()));
}

#[test]
fn a_file_from_the_future_or_from_before_time_has_no_date() {
    let place = Place::new("dates");
    let set =
        |time| File::options().write(true).open(place.root().join("app.js")).unwrap().set_modified(time);
    for time in [SystemTime::now() + Duration::from_hours(1), UNIX_EPOCH - Duration::from_hours(1)] {
        set(time).unwrap();
        let (answer, _) = whole(place.ask("/app.js", &[]));
        assert_eq!(field(&answer, "last-modified"), "");
        assert!(!field(&answer, "etag").is_empty());
    }
}

#[test]
fn another_folder_may_be_put_in_its_place() {
    let place = Place::new("swap");
    place.put("../next/app.js", "next");
    let current = place.0.join("current");
    symlink("root", &current).unwrap();
    let folder = Folder { root: current.clone(), ..place.folder(None) };
    assert_eq!(whole(ask(&folder, "/app.js", &[])).1, "0123456789");
    std::fs::remove_file(&current).unwrap();
    let request = Request::new("/app.js", &Method::GET, &HeaderMap::new());
    assert!(matches!(find(&folder, &request, SystemTime::now()), Err(FolderError::Root(_))));
    symlink("next", &current).unwrap();
    assert_eq!(whole(ask(&folder, "/app.js", &[])).1, "next");
}

#[test]
fn a_file_that_is_cut_short_meanwhile_ends_in_an_error() {
    let place = Place::new("short");
    let path = place.put("big.bin", &"x".repeat(3 * PIECE));
    let Found::Answer(Answer { body: Some(mut body), .. }) = place.ask("/big.bin", &[]) else {
        panic!("no body")
    };
    assert_eq!(body.piece().unwrap().len(), PIECE);
    std::fs::write(path, "short").unwrap();
    assert!(body.piece().is_err());
}
