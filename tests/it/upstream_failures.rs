//! Upstreams that are dead, silent or mad: the client gets one clean answer, and the next request a new chance.

use crate::house::client::Request;
use crate::house::double::{Double, Gate, Reply};
use crate::house::edge::Edge;
use crate::house::process::free_address;
use crate::house::site::Site;
use crate::house::wait::{SOON, until};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

fn open_route(upstream: &str) -> Site {
    Site::new().upstream_entry("all", upstream).route("name: all, path: /**, public: true, upstream: all")
}

#[test]
fn a_dead_upstream_is_a_502_and_its_return_is_noticed() {
    let address = free_address();
    let edge = Edge::start(&open_route(&format!("servers: [\"{address}\"]")));
    for _ in 0..10 {
        let answer = edge.client().get("/x").refused(502, "upstream_unreachable");
        assert!(!answer.text().contains(&address.to_string()), "{}", answer.text());
    }
    let upstream = Double::start_at(address, |_| Reply::text(200, "back"));
    assert_eq!(edge.client().get("/x").expect(200).text(), "back");
    drop(upstream);
    edge.client().get("/x").expect(502);
}

#[test]
fn a_silent_upstream_is_a_504() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "too late").after(&held));
    let edge = Edge::start(&open_route(&format!("servers: [\"{}\"], read_timeout: 1s", upstream.address())));
    for request in [Request::get("/x"), Request::post("/x", "{}")] {
        edge.send(&request).refused(504, "upstream_timeout");
    }
    assert_eq!(upstream.count(), 2, "a request that may have been taken is not sent again");
    gate.open();
    edge.client().get("/x").expect(200);
}

/// An upstream that reads a request and then says these bytes, whatever they are, and hangs up.
fn mad(says: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(says);
        }
    });
    address
}

#[test]
fn an_upstream_that_speaks_nonsense_or_hangs_up_is_a_502() {
    let nonsense: &[&'static [u8]] = &[
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"\x16\x03\x01\x02\x00",
    ];
    for &says in nonsense {
        let address = mad(says);
        let mut edge = Edge::start(&open_route(&format!("servers: [\"{address}\"]")));
        for request in [Request::get("/x"), Request::post("/x", "{}")] {
            let answer = edge.send(&request);
            assert_eq!(answer.status, 502, "{:?}: {}", String::from_utf8_lossy(says), answer.text());
            assert!(!answer.code().is_empty(), "{}", answer.text());
        }
        assert!(edge.runs());
        assert!(!edge.log().contains("panicked"), "{}", edge.log());
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let address = mad(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
    let edge = Edge::start(&open_route(&format!("servers: [\"{address}\"]")));
    let answer = edge.client().try_send(&Request::get("/x"));
    assert!(
        answer.as_ref().is_err() || answer.as_ref().is_ok_and(|answer| answer.status == 502),
        "{answer:?}"
    );
}

#[test]
fn no_request_that_may_change_something_is_sent_twice() {
    let address = mad(b"");
    let seen = Double::mirror();
    let site = Site::new()
        .upstream_entry("flaky", &format!("servers: [\"{address}\", \"{}\"]", seen.address()))
        .route("name: all, path: /**, public: true, upstream: flaky");
    let edge = Edge::start(&site);
    let statuses: Vec<u16> = (0..20).map(|_| edge.client().post("/x", "{}").status).collect();
    let served = statuses.iter().filter(|&&status| status == 200).count();
    assert_eq!(seen.count(), served, "{statuses:?}");
}

#[test]
fn an_upstreams_own_errors_pass_as_they_are() {
    let upstream = Double::start(|seen| {
        let status: u16 = seen.path().trim_start_matches('/').parse().unwrap_or(200);
        Reply::text(status, "its own words")
            .field("x-own", "field")
            .field("set-cookie", "a=1")
            .field("set-cookie", "b=2")
    });
    let edge = Edge::start(&Site::open(&upstream));
    for status in [400, 401, 403, 404, 409, 418, 422, 429, 500, 502, 503, 504] {
        let answer = edge.client().get(&format!("/{status}")).expect(status);
        assert_eq!(answer.text(), "its own words");
        assert_eq!(answer.field("x-own"), Some("field"));
        assert_eq!(
            answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).count(),
            2
        );
    }
}

#[test]
fn fields_that_an_upstream_should_not_have_sent_do_not_leak() {
    let upstream = Double::start(|_| {
        Reply::text(200, "x")
            .field("x-tenant-id", "acme")
            .field("x-node-id", "ceo")
            .field("x-credential-id", "acme-ceo")
    });
    let edge = Edge::start(&Site::open(&upstream));
    // The house's client asserts that none of them came through.
    edge.client().get("/x").expect(200);
}

#[test]
fn of_two_servers_the_living_one_answers() {
    let upstream = Double::mirror();
    let edge =
        Edge::start(&open_route(&format!("servers: [\"{}\", \"{}\"]", free_address(), upstream.address())));
    for _ in 0..20 {
        edge.client().get("/x").expect(200);
    }
    assert_eq!(upstream.count(), 20);
}

#[test]
fn a_client_that_leaves_does_not_hold_anything() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "late").after(&held));
    let edge = Edge::start(&Site::open(&upstream));
    let mut connection = edge.client().connection();
    connection.begin(&Request::get("/x"));
    until("the request's arrival", SOON, || (upstream.count() == 1).then_some(()));
    drop(connection);
    gate.open();
    until("nothing in flight", SOON, || {
        (edge.metrics().sum("openclaw_edge_in_flight", &[]) < 0.5).then_some(())
    });
    edge.client().get("/y").expect(200);
}
