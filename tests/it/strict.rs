//! Requests that two servers could read in two ways: refused before anyone reads them.

use crate::house::client::{Client, Raw, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::site::Site;
use crate::house::sockets::EchoGateway;

/// A request behind the evil one. Whoever answers it has been smuggled to.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n";

/// Sends a head with something behind it, and asserts that it is refused alone and the connection closed.
#[track_caller]
fn refused(client: &Client, bytes: &[u8], status: u16, code: &str) -> Raw {
    let shown = String::from_utf8_lossy(bytes);
    let raw = client.raw(bytes);
    assert_eq!(raw.answers.len(), 1, "{shown}: {raw:?}");
    assert!(raw.closed, "the connection stays open after {shown}: {raw:?}");
    assert_eq!((raw.answers[0].status, raw.answers[0].code().as_str()), (status, code), "{shown}");
    raw
}

#[test]
fn a_body_whose_end_is_in_doubt_is_refused() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    bodies_in_doubt(&edge.client());
    upstream.untouched();
}

/// However its bytes come to the edge.
pub(crate) fn bodies_in_doubt(client: &Client) {
    for (fields, code) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "ambiguous_length"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", "ambiguous_length"),
        ("Content-Length: 5\r\nContent-Length: 6", "bad_content_length"),
        ("Content-Length: 5\r\nContent-Length: 5", "bad_content_length"),
        ("Content-Length: 5, 6", "bad_content_length"),
        ("Content-Length: +5", "bad_content_length"),
        ("Content-Length: -5", "bad_content_length"),
        ("Content-Length: 0x5", "bad_content_length"),
        ("Content-Length: 5 5", "bad_content_length"),
        ("Content-Length: ", "bad_content_length"),
        ("Content-Length: 99999999999999999999", "bad_content_length"),
        ("Transfer-Encoding: gzip", "bad_transfer_encoding"),
        ("Transfer-Encoding: gzip, chunked", "bad_transfer_encoding"),
        ("Transfer-Encoding: chunked, gzip", "bad_transfer_encoding"),
        ("Transfer-Encoding: chunked, chunked", "bad_transfer_encoding"),
        ("Transfer-Encoding: identity", "bad_transfer_encoding"),
        ("Transfer-Encoding: xchunked", "bad_transfer_encoding"),
        ("Transfer-Encoding: \"chunked\"", "bad_transfer_encoding"),
        ("Transfer-Encoding: chunked;q=1", "bad_transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "bad_transfer_encoding"),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "bad_transfer_encoding"),
        ("Transfer-Encoding : chunked", "bad_field_name"),
        ("Transfer-Encoding\t: chunked", "bad_field_name"),
        ("Content-Length : 5", "bad_field_name"),
        ("Transfer-Encoding: \x0bchunked", "bad_field_value"),
        ("X: y\r\n Transfer-Encoding: chunked", "folded_field"),
        ("Transfer-Encoding:\r\n chunked", "bad_transfer_encoding"),
    ] {
        let bytes = format!("POST /first HTTP/1.1\r\nHost: edge\r\n{fields}\r\n\r\n0\r\n\r\n{SECOND}");
        refused(client, bytes.as_bytes(), 400, code);
    }
}

#[test]
fn a_malformed_head_is_refused() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    malformed_heads(&edge.client());
    upstream.untouched();
}

/// However its bytes come to the edge.
pub(crate) fn malformed_heads(client: &Client) {
    for (head, status, code) in [
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400, "folded_field"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400, "folded_field"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n", 400, "bad_line_ending"),
        ("GET /x HTTP/1.1\nHost: a\n\n", 400, "bad_line_ending"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400, "bad_line_ending"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400, "bad_line_ending"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX: b\x01c\r\n\r\n", 400, "bad_field_value"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, "bad_field_name"),
        ("GET /x HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "bad_field_name"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400, "bad_field_name"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", 400, "bad_field_name"),
        ("GET /x HTTP/1.1\r\n\r\n", 400, "bad_host"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_host"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "bad_host"),
        ("GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad_host"),
        ("GET /x HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "bad_host"),
        ("GET /x HTTP/1.1\r\nHost: \r\n\r\n", 400, "bad_host"),
        ("GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("GET /x y HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("GET /x\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("G@T /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("GET http://other/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("GET /x\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("GET /x HTTP/1.2\r\nHost: a\r\n\r\n", 505, "bad_version"),
        ("GET /x HTTP/9.9\r\nHost: a\r\n\r\n", 505, "bad_version"),
        ("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        ("TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417, "bad_expectation"),
    ] {
        refused(client, head.as_bytes(), status, code);
    }
}

#[test]
fn bytes_that_are_no_http_at_all_bring_no_one_down() {
    let upstream = Double::mirror();
    let mut edge = Edge::start(&Site::open(&upstream));
    let tls_hello = [0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03, b'\r', b'\n', b'\r', b'\n'];
    for bytes in [
        &tls_hello[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n",
    ] {
        let raw = edge.client().raw(bytes);
        assert!(raw.closed, "{raw:?}");
        assert!(raw.answers.iter().all(|answer| answer.status >= 400), "{raw:?}");
    }
    upstream.untouched();
    edge.client().get("/x").expect(200);
    assert!(edge.runs());
}

#[test]
fn a_path_with_a_second_reading_is_refused() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    for (path, code) in [
        ("/a\\b", "path_backslash"),
        ("/a/..\\..\\b", "path_backslash"),
        ("/a%5Cb", "path_backslash"),
        ("/a%5c..%5cb", "path_backslash"),
        ("/../etc", "path_dot_segment"),
        ("/a/../b", "path_dot_segment"),
        ("/a/./b", "path_dot_segment"),
        ("/a/..", "path_dot_segment"),
        ("/a/.", "path_dot_segment"),
        ("/%2e%2e/b", "path_dot_segment"),
        ("/a/%2E%2e/b", "path_dot_segment"),
        ("/a/.%2e/b", "path_dot_segment"),
        ("/a/..;x/b", "path_dot_segment"),
        ("/a%2f..%2fb", "path_dot_segment"),
        ("/a%00b", "path_nul"),
        ("/a%252e%252e/b", "path_double_encoding"),
        ("/a%252fb", "path_double_encoding"),
        ("/a%25%32%66b", "path_needless_encoding"),
        ("/a%2Fb", "path_encoded_slash"),
        ("/a%2fb", "path_encoded_slash"),
        ("//a", "path_empty_segment"),
        ("/a//b", "path_empty_segment"),
        ("/%61", "path_needless_encoding"),
        ("/a%2", "path_malformed"),
        ("/a%", "path_malformed"),
        ("/a%GG", "path_malformed"),
        ("/a%u0041", "path_malformed"),
        ("/a%C0%AF", "path_malformed"),
        ("/a%FF", "path_malformed"),
    ] {
        edge.client().get(path).refused(400, code);
        edge.client().get(&format!("{path}?q=1")).refused(400, code);
    }
    upstream.untouched();
}

#[test]
fn no_spelling_of_a_guarded_path_gets_in_through_an_open_one() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .route("name: admin, path: /admin/**, scopes: [nobody-has-this], upstream: all")
        .route("name: open, path: /**, public: true, upstream: all");
    let edge = Edge::start(&site);
    for path in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/admin?x",
        "/%61dmin",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x%2F..%2Fadmin",
        "/admin%2Fx",
        "/%2Fadmin",
        "/admin;x",
        "/admin;/x",
        "/admin%3Bx",
        "/x/..;/admin",
        "/admin%00",
        "/ADMIN%2F..%2Fadmin",
        "/%2561dmin",
        "/x\\..\\admin",
        "/admin%20",
        "/admin.",
    ] {
        edge.client().get(path);
    }
    for seen in upstream.seen() {
        let path = percent_decoded(seen.path());
        let first = path.split('/').find(|segment| !segment.is_empty()).unwrap_or_default();
        assert!(first != "admin", "{} got in as {path}", seen.target);
        assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{}", seen.target);
    }
}

fn percent_decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&digits, 16).expect("two hex digits"));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn what_passes_arrives_as_the_same_bytes() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .route("name: open, path: /**, public: true, encoded_slashes: keep, upstream: all");
    let edge = Edge::start(&site);
    for target in [
        "/",
        "/a/b.c/d..e/...",
        "/a/",
        "/a%20b/%C3%A9",
        "/a%2Fb",
        "/a%2fb",
        "/a;b=c/d",
        "/a:b@c!$&'()*+,=~-_",
        "/a%25",
        "/x?q=a%2Fb&r=..%2F..&s=//&t=%00&u=a+b",
        "/x?",
        "/x??a=?",
        "/.well-known/thing",
    ] {
        edge.client().get(target).expect(200);
        assert_eq!(upstream.only().target, target);
    }
}

#[test]
fn a_head_that_is_too_large_or_has_too_many_fields_is_a_431() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream).top("head: { max_bytes: 8KiB, max_fields: 20 }"));
    let long_value = format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(9000));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(9000));
    let endless = format!("GET /{}", "y".repeat(9000));
    for head in [&long_value, &long_target, &endless] {
        refused(&edge.client(), head.as_bytes(), 431, "head_too_large");
    }
    let fields = |count: usize| (1..count).map(|at| format!("X-{at}: y\r\n")).collect::<Vec<_>>().concat();
    let many = format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(21));
    refused(&edge.client(), many.as_bytes(), 431, "too_many_fields");
    upstream.untouched();
    let enough = format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(20));
    let raw = edge.client().raw(enough.as_bytes());
    assert_eq!(raw.answers[0].status, 200);
}

#[test]
fn a_head_that_comes_in_pieces_is_read_as_one() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    let bytes = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let mut connection = edge.client().connection();
    for byte in bytes {
        connection.write(&[*byte]).unwrap();
    }
    assert_eq!(connection.answer("POST").unwrap().expect("an answer").expect(200).json()["bytes"], 4);
    let mut evil = edge.client().connection();
    for byte in b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" {
        evil.write(&[*byte]).unwrap();
    }
    evil.answer("GET").unwrap().expect("an answer").refused(400, "ambiguous_length");
    assert!(evil.is_closed_by_server());
}

#[test]
fn the_second_request_of_a_connection_is_guarded_like_the_first() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    let mut connection = edge.client().connection();
    connection.send(&Request::post("/x", "{}")).expect(200);
    connection.send(&Request::get("/y")).expect(200);
    upstream.forget();
    let evil =
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    connection.write(evil.as_bytes()).unwrap();
    connection.answer("POST").unwrap().expect("an answer").refused(400, "ambiguous_length");
    assert!(connection.is_closed_by_server());
    upstream.untouched();
}

#[test]
fn a_request_hidden_in_a_refused_ones_body_is_not_served() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let inner = format!("GET /smuggled HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\r\n", ACME.text);
    let outer = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    let raw = edge.client().raw(outer.as_bytes());
    assert_eq!(raw.answers.len(), 1, "{raw:?}");
    assert_eq!(raw.answers[0].status, 401);
    upstream.untouched();
}

#[test]
fn bytes_sent_before_an_upgrade_is_agreed_are_refused() {
    let gateway = EchoGateway::start();
    let edge = Edge::start(&Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes());
    let head = format!(
        "GET /gateways/ceo HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ACME.text
    );
    for behind in [&b"\x81\x85\0\0\0\0hello"[..], b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"] {
        refused(&edge.client(), &[head.as_bytes(), behind].concat(), 400, "early_upgrade_bytes");
    }
    assert!(gateway.upgrades().is_empty());
}

#[test]
fn fields_that_belong_to_one_hop_stay_on_it() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    let request = Request::get("/x")
        .field("X-Hop", "1")
        .field("X-Stays", "2")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("TE", "trailers")
        .field("Trailer", "X-Later")
        .field("Upgrade", "h2c");
    let mut connection = edge.client().with("Connection", "keep-alive, X-Hop").connection();
    connection.send(&request);
    for seen in upstream.seen() {
        for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade", "trailer"] {
            assert_eq!(seen.field(name), None, "{name} went on: {seen:?}");
        }
        assert_eq!(seen.field("x-stays"), Some("2"));
    }
}

#[test]
fn naming_an_internal_field_as_a_hops_own_does_not_take_it_away() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let request =
        Request::get("/x").field("Connection", "close, X-Tenant-Id, X-Credential-Id, X-Forwarded-For, Host");
    let mut connection = edge.caller(ACME).connection();
    let answer = connection.send(&request);
    if answer.status == 200 {
        let seen = upstream.only();
        assert_eq!(seen.field("x-tenant-id"), Some("acme"));
        assert_eq!(seen.field("x-credential-id"), Some("acme-ceo"));
        assert!(seen.field("host").is_some());
    } else {
        upstream.untouched();
    }
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream));
    let mut connection = edge.client().connection();
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    connection.write(head.as_bytes()).unwrap();
    connection.write(b"body").unwrap();
    let answer = connection.answer("POST").unwrap().expect("an answer").expect(200);
    assert_eq!(answer.json()["bytes"], 4);
}
