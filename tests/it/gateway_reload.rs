//! Gateways that are added, changed and removed while sockets to them are open: whoever is not concerned stays.

use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, Key};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, Socket, ask, closed, open};
use std::net::SocketAddr;

fn connect(edge: &Edge, id: &str, key: Key) -> Socket {
    let target = format!("/gateways/{id}");
    open(edge.address(), &target, &[("X-API-Key", key.text)]).expect("an open socket")
}

fn entry(id: &str, address: SocketAddr, more: &str) -> String {
    format!("id: {id}, tenant: acme, url: \"ws://{address}\", frames: relayed{more}")
}

#[test]
fn gateways_come_go_and_change_and_the_other_sockets_stay() {
    let (first, second, third) = (EchoGateway::start(), EchoGateway::start(), EchoGateway::start());
    let base = || Site::new().top("allow_literal_secrets: true").gateway_routes();
    let kept = entry("kept", first.address(), "");
    let site = base()
        .gateway_entry(&entry("gone", second.address(), ""))
        .gateway_entry(&kept)
        .gateway_entry(&entry("moved", second.address(), ""))
        .gateway_entry(&entry("rekeyed", second.address(), ", token: \"one-secret\""));
    let edge = Edge::start(&site);
    let mut sockets = ["kept", "gone", "moved", "rekeyed"].map(|id| connect(&edge, id, ACME));
    for socket in &mut sockets {
        assert_eq!(ask(socket, "before"), "before");
    }
    open(edge.address(), "/gateways/new", &[("X-API-Key", ACME.text)]).unwrap_err().refused(404, "not_found");

    edge.reload(
        &base()
            .gateway_entry(&entry("new", third.address(), ""))
            .gateway_entry(&kept)
            .gateway_entry(&entry("moved", third.address(), ""))
            .gateway_entry(&entry("rekeyed", second.address(), ", token: \"another-secret\"")),
    );
    let [mut stays, mut gone, mut moved, mut rekeyed] = sockets;
    assert_eq!(closed(&mut gone), (1008, "gateway removed".to_owned()));
    assert_eq!(closed(&mut moved), (1012, "gateway changed".to_owned()));
    assert_eq!(closed(&mut rekeyed), (1012, "gateway changed".to_owned()));
    assert_eq!(ask(&mut stays, "after"), "after");
    assert_eq!(ask(&mut connect(&edge, "new", ACME), "hello"), "hello");
    assert_eq!(ask(&mut connect(&edge, "moved", ACME), "hello"), "hello");
    open(edge.address(), "/gateways/gone", &[("X-API-Key", ACME.text)])
        .unwrap_err()
        .refused(404, "not_found");
    // And a change that concerns none of them.
    edge.reload(&base().limit("unused", "by: ip, window: { limit: 9, per: 1m }").gateway_entry(&kept));
    assert_eq!(ask(&mut stays, "still"), "still");
}

#[test]
fn a_gateway_that_becomes_another_tenants_is_gone_for_the_first() {
    let gateway = EchoGateway::start();
    let of = |tenant: &str| Site::new().gateway("ceo", tenant, gateway.address()).gateway_routes();
    let edge = Edge::start(&of("acme"));
    let mut socket = connect(&edge, "ceo", ACME);
    assert_eq!(ask(&mut socket, "mine"), "mine");
    edge.reload(&of("globex"));
    assert_eq!(closed(&mut socket), (1008, "gateway removed".to_owned()));
    assert_eq!(ask(&mut connect(&edge, "ceo", GLOBEX), "mine"), "mine");
}
