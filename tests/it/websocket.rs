//! Sockets to gateways: frames, closes and refusals, with a stand-in that sends back what it gets.

use crate::house::client::Request;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, READER};
use crate::house::process::free_address;
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, closed, open};
use crate::house::wait::{SOON, until};
use base64::Engine as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const KEY: &[(&str, &str)] = &[("X-API-Key", ACME.text)];

fn edge(gateway: &EchoGateway) -> Edge {
    Edge::start(&Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes())
}

#[test]
fn texts_and_bytes_go_both_ways_unchanged() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let mut socket = open(edge.address(), "/gateways/ceo", KEY).expect("an open socket");
    for text in ["", "{\"type\":\"req\"}", "grüße 😀", &"x".repeat(70_000)] {
        assert_eq!(ask(&mut socket, text), text);
    }
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[0]).collect();
        socket.send(Message::binary(bytes.clone())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::binary(bytes));
    }
}

#[test]
fn messages_keep_their_order_and_their_edges() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let mut socket = open(edge.address(), "/gateways/ceo", KEY).expect("an open socket");
    for at in 0..500 {
        socket.write(Message::text(format!("{at}"))).unwrap();
    }
    socket.flush().unwrap();
    for at in 0..500 {
        assert_eq!(crate::house::sockets::next_text(&mut socket), format!("{at}"));
    }
}

#[test]
fn a_message_of_25_mib_passes() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let mut socket = open(edge.address(), "/gateways/ceo", KEY).expect("an open socket");
    let large = "y".repeat(25 << 20);
    assert!(ask(&mut socket, &large) == large);
}

#[test]
fn the_gateways_close_arrives_with_its_code_and_reason() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    for (code, reason) in [
        (1000, ""),
        (1002, "protocol mismatch"),
        (1008, "unauthorized: grüße"),
        (1009, ""),
        (1012, "service restart"),
        (1013, "gateway starting"),
        (4001, "device removed"),
    ] {
        let mut socket = open(edge.address(), "/gateways/ceo", KEY).expect("an open socket");
        socket.send(Message::text(format!("close {code} {reason}"))).unwrap();
        assert_eq!(closed(&mut socket), (code, reason.to_owned()));
    }
}

#[test]
fn a_clients_close_is_answered() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let mut socket = open(edge.address(), "/gateways/ceo", KEY).expect("an open socket");
    assert_eq!(ask(&mut socket, "hello"), "hello");
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).unwrap();
    assert_eq!(closed(&mut socket).0, 1000);
    until("the end of the socket", SOON, || {
        (edge.metrics().sum("openclaw_edge_websockets_open", &[]) < 0.5).then_some(())
    });
}

#[test]
fn pings_are_answered() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let mut socket = open(edge.address(), "/gateways/ceo", KEY).expect("an open socket");
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));
}

#[test]
fn the_gateway_hears_neither_the_key_nor_forged_fields() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("key:{}", ACME.text));
    let fields = [
        ("Authorization", format!("Basic {basic}")),
        ("X-Forwarded-For", "203.0.113.66".to_owned()),
        ("X-OpenClaw-Scopes", "operator.admin".to_owned()),
        ("X-Tenant-Id", "globex".to_owned()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut socket = open(edge.address(), "/gateways/ceo", &fields).expect("an open socket");
    assert_eq!(ask(&mut socket, "hello"), "hello");
    let upgrade = gateway.upgrades().remove(0);
    assert_eq!(upgrade.field("authorization"), None);
    for evil in [ACME.text, basic.as_str(), "203.0.113.66", "operator.admin", "globex"] {
        assert!(!upgrade.fields.iter().any(|(_, value)| value.contains(evil)), "{upgrade:?}");
    }
    // A gateway that does not trust the edge refuses clients that were forwarded.
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip"] {
        assert_eq!(upgrade.field(name), None, "{upgrade:?}");
    }
}

#[test]
fn the_path_behind_the_gateways_name_and_the_query_go_on() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    for (asked, got) in [
        ("/gateways/ceo", "/"),
        ("/gateways/ceo/", "/"),
        ("/gateways/ceo/ws", "/ws"),
        ("/gateways/ceo/a/b?c=d", "/a/b?c=d"),
        ("/gateways/ceo?c=d", "/?c=d"),
    ] {
        let mut socket = open(edge.address(), asked, KEY).expect("an open socket");
        assert_eq!(ask(&mut socket, "hello"), "hello");
        assert_eq!(gateway.upgrades().pop().unwrap().target, got, "{asked}");
    }
}

#[test]
fn who_may_not_connect_is_refused_before_the_gateway_hears_of_it() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let refusal = |fields: &[(&str, &str)]| open(edge.address(), "/gateways/ceo", fields).unwrap_err();
    refusal(&[]).refused(401, "unauthorized");
    refusal(&[("X-API-Key", "wrong")]).refused(401, "unauthorized");
    refusal(&[("X-API-Key", READER.text)]).refused(403, "forbidden");
    refusal(&[("X-API-Key", GLOBEX.text)]).refused(404, "not_found");
    refusal(&[("X-API-Key", GLOBEX.text), ("X-Tenant-Id", "acme")]).refused(404, "not_found");
    assert!(gateway.upgrades().is_empty());
}

#[test]
fn a_handshake_that_is_none_is_refused() {
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    let base = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in [
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Key", ""),
    ] {
        let mut request = Request::get("/gateways/ceo").field("X-API-Key", ACME.text);
        for (known, usual) in base {
            request = request.field(known, if known == name { value } else { usual });
        }
        let answer = edge.client().connection().send(&request);
        assert!((400..=426).contains(&answer.status), "{name}: {value}: {answer:?}");
    }
    assert!(gateway.upgrades().is_empty());
}

#[test]
fn a_dead_gateway_is_a_502_and_not_a_broken_socket() {
    let nobody = free_address();
    let edge = Edge::start(&Site::new().gateway("ceo", "acme", nobody).gateway_routes());
    let refusal =
        open(edge.address(), "/gateways/ceo", KEY).unwrap_err().refused(502, "upstream_unreachable");
    assert!(!refusal.text().contains(&nobody.port().to_string()), "{}", refusal.text());
}

#[test]
fn a_gateway_that_dies_takes_its_sockets_along_and_no_others() {
    let (mortal, other) = (EchoGateway::start(), EchoGateway::start());
    let site = Site::new()
        .gateway("ceo", "acme", mortal.address())
        .gateway("sec", "acme", other.address())
        .gateway_routes();
    let edge = Edge::start(&site);
    let mut first = open(edge.address(), "/gateways/ceo", KEY).expect("an open socket");
    let mut second = open(edge.address(), "/gateways/sec", KEY).expect("an open socket");
    assert_eq!(ask(&mut first, "hello"), "hello");
    drop(mortal);
    let end = loop {
        match first.read() {
            Ok(Message::Close(_)) | Err(_) => break true,
            Ok(_) => {}
        }
    };
    assert!(end);
    assert_eq!(ask(&mut second, "still here"), "still here");
}

#[test]
fn of_four_thousand_quick_connects_none_is_lost() {
    const CALLERS: usize = 8;
    const EACH: usize = 500;
    let gateway = EchoGateway::start();
    let edge = edge(&gateway);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let address = edge.address();
            scope.spawn(move || {
                for at in 0..EACH {
                    let mut socket = open(address, "/gateways/ceo", KEY).expect("an open socket");
                    let text = format!("{caller}/{at}");
                    assert_eq!(ask(&mut socket, &text), text);
                    drop(socket);
                }
            });
        }
    });
    assert_eq!(gateway.upgrades().len(), CALLERS * EACH);
    until("the end of all sockets", SOON, || {
        (edge.metrics().sum("openclaw_edge_websockets_open", &[]) < 0.5).then_some(())
    });
}

#[test]
fn more_sockets_than_allowed_are_refused_and_one_that_leaves_makes_room() {
    let gateway = EchoGateway::start();
    let site = Site::new()
        .gateway("ceo", "acme", gateway.address())
        .gateway_routes()
        .top("server: { max_websockets: 5 }");
    let edge = Edge::start(&site);
    let mut sockets: Vec<_> =
        (0..5).map(|_| open(edge.address(), "/gateways/ceo", KEY).expect("an open socket")).collect();
    open(edge.address(), "/gateways/ceo", KEY).unwrap_err().refused(503, "too_many_sockets");
    sockets.pop();
    until("room for another", SOON, || open(edge.address(), "/gateways/ceo", KEY).ok());
}
