//! Leaving: on SIGTERM nothing that was begun is cut off, and nothing new is begun.

use crate::house::client::Request;
use crate::house::double::{Double, Gate, Reply};
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, open};
use crate::house::wait::{SOON, until};
use std::time::Duration;

/// Longer than any drain in these tests, shorter than the default one.
const LEAVES: Duration = Duration::from_secs(25);

#[test]
fn a_request_in_flight_is_still_answered() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "slow but sure").after(&held));
    let mut edge = Edge::start(&Site::open(&upstream));
    let request = Request::get("/slow");
    let mut connection = edge.client().connection();
    connection.begin(&request);
    until("the request's arrival", SOON, || (upstream.count() == 1).then_some(()));
    edge.sigterm();
    until("the listener's end", SOON, || (!edge.listens()).then_some(()));
    assert!(edge.runs());
    gate.open();
    assert_eq!(connection.finish(&request).expect(200).text(), "slow but sure");
    assert!(edge.wait(LEAVES).success());
}

#[test]
fn an_idle_edge_leaves_at_once_and_says_that_all_is_well() {
    let upstream = Double::mirror();
    let mut edge = Edge::start(&Site::open(&upstream));
    let mut idle = edge.client().connection();
    idle.send(&Request::get("/x")).expect(200);
    edge.sigterm();
    assert!(edge.wait(LEAVES).success());
}

#[test]
fn readiness_ends_before_the_edge_does() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "x").after(&held));
    let mut edge = Edge::start(&Site::open(&upstream));
    let mut connection = edge.client().connection();
    connection.begin(&Request::get("/x"));
    until("the request's arrival", SOON, || (upstream.count() == 1).then_some(()));
    edge.sigterm();
    until("not ready", SOON, || {
        edge.admin("/readyz").is_none_or(|answer| answer.status != 200).then_some(())
    });
    assert!(edge.runs());
    gate.open();
    assert!(edge.wait(LEAVES).success());
}

#[test]
fn open_websockets_are_closed_as_by_a_server_that_restarts() {
    let gateway = EchoGateway::start();
    let site =
        Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes().top("server: { drain: 1s }");
    let mut edge = Edge::start(&site);
    let mut socket =
        open(edge.address(), "/gateways/ceo", &[("X-API-Key", ACME.text)]).expect("an open socket");
    assert_eq!(ask(&mut socket, "hello"), "hello");
    edge.sigterm();
    let (code, _) = crate::house::sockets::closed(&mut socket);
    assert!(matches!(code, 1001 | 1012), "{code}");
    assert!(edge.wait(LEAVES).success());
}

#[test]
fn what_hangs_for_ever_is_cut_off_when_the_drain_is_over() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "never").after(&held));
    let mut edge = Edge::start(&Site::open(&upstream).top("server: { drain: 1s }"));
    let mut connection = edge.client().connection();
    connection.begin(&Request::get("/x"));
    until("the request's arrival", SOON, || (upstream.count() == 1).then_some(()));
    edge.sigterm();
    edge.wait(LEAVES);
    gate.open();
}

#[test]
fn the_last_lines_of_the_access_log_are_written() {
    let upstream = Double::mirror();
    let mut edge = Edge::start(&Site::open(&upstream));
    let answers: Vec<_> = (0..200).map(|at| edge.client().get(&format!("/x{at}")).expect(200)).collect();
    edge.sigterm();
    assert!(edge.wait(LEAVES).success());
    for answer in &answers {
        edge.log_line(answer);
    }
}
