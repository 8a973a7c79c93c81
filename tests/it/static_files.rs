//! Folders behind routes: pages and their parts as browsers ask for them, and as those ask who want more.

use crate::house::client::Request;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, READER};
use crate::house::site::Site;
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use std::os::unix::fs::symlink;

const PAGE: &str = "<!doctype html><script src=\"assets/app.js\"></script>";

/// A site's folder, with something beside it that must never be seen.
fn folder() -> Temp {
    let folder = Temp::new();
    for (name, text) in [
        ("secret.txt", "SECRET"),
        ("site/index.html", PAGE),
        ("site/assets/app.js", "console.log(1)"),
        ("site/assets/app.js.br", "packed by brotli"),
        ("site/assets/app.js.gz", "packed by gzip"),
        ("site/docs/index.html", "<p>docs"),
        ("site/.env", "SECRET"),
        ("site/.git/HEAD", "SECRET"),
    ] {
        folder.write(name, text);
    }
    symlink("../secret.txt", folder.path().join("site/link.txt")).expect("a link can be made");
    symlink("..", folder.path().join("site/up")).expect("a link can be made");
    folder
}

fn start(entry: &str) -> Edge {
    let site = Site::new()
        .limit("pages", "by: ip, window: { limit: 1000, per: 1h }")
        .limit("few", "by: credential, window: { limit: 2, per: 1h }");
    Edge::start_in(folder(), &site.route(entry).route(
        "name: own, path: /own/**, scopes: [\"mesh:write\"], limits: [few], static: { folder: \"$FOLDER/site\", cache: 1h }",
    ))
}

const PUBLIC: &str = "name: site, path: /**, public: true, limits: [pages], \
    static: { folder: \"$FOLDER/site\", fallback: index.html }";

#[test]
fn a_page_and_its_parts_are_served_as_browsers_ask_for_them() {
    let edge = start(PUBLIC);
    let client = edge.client();
    let page = client.get("/").expect(200);
    assert_eq!(page.text(), PAGE);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.field("cache-control"), Some("public, no-cache"));
    assert!(page.field("ratelimit").is_some_and(|told| told.contains("pages")), "{page:?}");

    let plain = client.get("/assets/app.js").expect(200);
    assert_eq!((plain.text().as_str(), plain.field("content-encoding")), ("console.log(1)", None));
    let asked = Request::get("/assets/app.js").field("Accept-Encoding", "gzip, deflate, br");
    let packed = client.send(&asked).expect(200);
    assert_eq!((packed.text().as_str(), packed.field("content-encoding")), ("packed by brotli", Some("br")));
    assert_eq!(packed.field("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(packed.field("vary"), Some("accept-encoding"));
    assert_ne!(packed.field("etag"), plain.field("etag"));

    let tag = packed.field("etag").expect("a tag");
    let again = client.send(&asked.clone().field("If-None-Match", tag)).expect(304);
    assert_eq!((again.body.len(), again.field("etag")), (0, Some(tag)));
    let since = plain.field("last-modified").expect("a date");
    client.send(&Request::get("/assets/app.js").field("If-Modified-Since", since)).expect(304);

    // What an application calls its own pages is its page; a folder is named with a slash.
    assert_eq!(client.get("/chat/with/ceo").expect(200).text(), PAGE);
    let moved = client.get("/docs?a=b").expect(308);
    assert_eq!(moved.field("location"), Some("/docs/?a=b"));
    assert_eq!(client.get("/docs/").expect(200).text(), "<p>docs");
    client.get("/assets/none.js").refused(404, "not_found");
}

#[test]
fn a_connection_goes_on_after_every_kind_of_answer() {
    let edge = start(PUBLIC);
    let mut connection = edge.client().connection();
    let tag = connection.send(&Request::get("/assets/app.js")).field("etag").expect("a tag").to_owned();
    let part = |range: &str| Request::get("/assets/app.js").field("Range", range);
    for (request, status, body) in [
        (Request::new("HEAD", "/assets/app.js"), 200, ""),
        (part("bytes=0-6"), 206, "console"),
        (part("bytes=-3"), 206, "(1)"),
        (part("bytes=8-99").field("If-Range", &tag), 206, "log(1)"),
        (part("bytes=8-99").field("If-Range", "\"other\""), 200, "console.log(1)"),
        (part("bytes=0-1,4-5"), 200, "console.log(1)"),
        (Request::get("/assets/app.js").field("If-None-Match", &tag), 304, ""),
        (Request::get("/docs"), 308, ""),
        (Request::new("HEAD", "/docs"), 308, ""),
    ] {
        let answer = connection.send(&request);
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{request:?}");
    }
    let head = connection.send(&Request::new("HEAD", "/assets/app.js"));
    assert_eq!(head.field("content-length"), Some("14"));
    let beyond = connection.send(&part("bytes=99-"));
    assert_eq!(beyond.field("content-range"), Some("bytes */14"));
    beyond.refused(416, "range_not_satisfiable");
    let other = Request::get("/assets/app.js").field("If-Match", "\"other\"");
    connection.send(&other).refused(412, "precondition_failed");
    let post = connection.send(&Request::post("/assets/app.js", "{}"));
    assert_eq!(post.field("allow"), Some("GET, HEAD"));
    post.refused(405, "method_not_allowed");
}

#[test]
fn no_spelling_of_a_path_leads_out_of_the_folder() {
    let edge = start(PUBLIC);
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/.%2e/secret.txt",
        "/assets/../../secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/%252e%252e/secret.txt",
        "/..;/secret.txt",
        "//secret.txt",
        "/link.txt",
        "/up/secret.txt",
        "/.env",
        "/%2eenv",
        "/.git/HEAD",
        "/.env%00.js",
        "/%c0%ae%c0%ae/secret.txt",
        "/up",
        "/up/",
        "/assets",
    ] {
        let answer = edge.client().get(path);
        // An application's page at most: the root's, and never what is beside it or hidden in it.
        let is_page = answer.status == 200 && answer.text() == PAGE;
        assert!(is_page || matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert!(!answer.text().contains("SECRET"), "{path}: {answer:?}");
    }
    for path in ["/", "/assets/app.js"] {
        let raw = format!("GET http://evil.example{path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert!(edge.client().raw(raw.as_bytes()).answers.iter().all(|answer| answer.status == 400));
    }
}

#[test]
fn keys_scopes_and_limits_hold_for_files_too() {
    let edge = start(PUBLIC);
    edge.client().get("/own/assets/app.js").refused(401, "unauthorized");
    edge.caller(READER).get("/own/assets/app.js").refused(403, "forbidden");
    let own = edge.caller(ACME).get("/own/assets/app.js").expect(200);
    assert_eq!(own.field("cache-control"), Some("private, max-age=3600"));
    edge.caller(ACME).get("/own/").expect(200);
    edge.caller(ACME).get("/own/assets/app.js").refused(429, "limit_exceeded");
    edge.caller(GLOBEX).get("/own/assets/none").refused(404, "not_found");
    let line = edge.log_line(&own);
    assert_eq!((&line["route"], &line["status"]), (&"own".into(), &200.into()), "{line}");
}

#[test]
fn a_large_file_streams_and_a_slow_reader_holds_little_of_it() {
    let folder = folder();
    let text: Vec<u8> = (0..24 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    folder.write("site/large.bin", &text);
    let edge = Edge::start_in(folder, &Site::new().route(PUBLIC.replace("limits: [pages], ", "").as_str()));
    edge.client().get("/").expect(200);
    let before = edge.memory();
    let slow: Vec<_> =
        (0..20).map(|_| edge.client().begin(&Request::get("/large.bin")).expect("a connection")).collect();
    let sent = || edge.metrics().sum("openclaw_edge_in_flight", &[]);
    until("all of them", SOON, || (sent() > 19.5).then_some(()));
    let all = edge.client().get("/large.bin").expect(200);
    assert!(all.body == text, "the bytes differ");
    assert_eq!(all.field("content-type"), Some("application/octet-stream"));
    // Twenty times the file would be 480 MiB.
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 96 << 20, "{grown} bytes more");
    drop(slow);
}

#[test]
fn a_folder_that_is_away_is_said_to_be_and_may_come_back() {
    let edge = start(PUBLIC);
    let folder = edge.config().parent().expect("a file lies in a folder").to_owned();
    let (site, away) = (folder.join("site"), folder.join("away"));
    std::fs::rename(&site, &away).expect("a folder can be renamed");
    let no = edge.client().get("/");
    assert_eq!(no.field("retry-after"), Some("1"));
    no.refused(503, "folder_unavailable");
    edge.logged("a folder is not served");
    std::fs::rename(&away, &site).expect("a folder can be renamed");
    edge.client().get("/").expect(200);
}
