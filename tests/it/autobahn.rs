//! The cases of the Autobahn|Testsuite for WebSockets (RFC 6455), under its numbers, on both of the edge's hops: once
//! the tester is a client of the edge, with a gateway behind that sends everything back; once it is the gateway, with
//! such a client in front. The suite itself runs on Python 2 alone, which no Debian has any more.
//!
//! | Cases | |
//! | --- | --- |
//! | 1.1.1-8, 1.2.1-8 | lengths of payloads |
//! | 2.1-11 | pings and pongs |
//! | 3.1-7 | reserved bits |
//! | 4.1.1-5, 4.2.1-5 | opcodes that mean nothing |
//! | 5.1-20 | fragments; without the pause of a second in 5.19 and 5.20 |
//! | 6.1.1-3, 6.2.1-4, 6.3.1-2, 6.4.1-4, 6.5-6.23 | UTF-8, 128 sequences |
//! | 7.1.1-6, 7.3.1-6, 7.5.1, 7.7.1-13, 7.9.1-9, 7.13.1-2 | closing, codes |
//! | 9.1.1-6, 9.2.1-6, 9.3.1-9, 9.4.1-9, 9.5.1-6, 9.6.1-6 | sizes up to 16 MiB, in frames and in writes |
//! | 9.7.1-6, 9.8.1-6 | rounds of messages: 100 each, where the suite makes 1000 |
//! | 10.1.1 | a message cut by its sender |
//!
//! Not among them: 12 and 13, compression, which the edge does not agree to.

mod cases;
mod utf8;
mod wire;

use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, open};
use cases::{Case, Outcome, WHOLE};
use std::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use wire::{CLOSE, Frame, PING, PONG, TEXT, Wire, close, frame};

/// Not Mission Control's: the edge connects to gateways by itself only where someone may ask about them.
const ROUTE: &str =
    "name: gateway, path: \"/gateways/{gateway}/**\", scopes: [gateways:connect], gateway: \"{gateway}\"";
/// Messages of one round.
const ROUND: usize = 100;

/// Runs one case over a fresh connection; what went wrong, if something did.
fn run(case: &Case, wire: &mut Wire) -> Result<(), String> {
    // While all of it is sent, the answers come already.
    std::thread::scope(|scope| {
        let (mut out, case) = (wire.twin(), case.clone());
        scope.spawn(move || out.send(&case.sent, case.piece));
        match &case.outcome {
            Outcome::Comes(wanted) => comes(wire, wanted),
            Outcome::Fails(before, codes) => failed(wire, before, codes),
            Outcome::Closes(before, code) => closed(wire, before, *code),
        }
    })
}

/// Messages and control frames are each in order; the edge may answer a ping before a gateway answers a message.
fn comes(wire: &mut Wire, wanted: &[Frame]) -> Result<(), String> {
    let (mut control, mut data): (Vec<&Frame>, Vec<&Frame>) = wanted.iter().partition(|one| one.is_control());
    while !(control.is_empty() && data.is_empty()) {
        let Some(got) = wire.next() else { return Err("closed before all had come".into()) };
        let queue = if got.is_control() { &mut control } else { &mut data };
        if queue.first() != Some(&&got) {
            return Err(format!("{got:?} came instead of {:?}", queue.first()));
        }
        queue.remove(0);
    }
    wire.send(&[close(1000, "")], WHOLE);
    closed(wire, &[], Some(1000))
}

fn failed(wire: &mut Wire, before: &[Frame], codes: &[u16]) -> Result<(), String> {
    let mut before = before.iter();
    while let Some(got) = wire.next() {
        match got.opcode {
            CLOSE if got.code().is_some_and(|code| codes.contains(&code)) => {
                if wire.is_server() {
                    return Ok(());
                }
            }
            PING | PONG => {}
            _ if before.next() == Some(&got) => {}
            _ => return Err(format!("{got:?} came, and the connection should fail")),
        }
    }
    Ok(())
}

fn closed(wire: &mut Wire, before: &[Frame], code: Option<u16>) -> Result<(), String> {
    let mut before = before.iter();
    let mut is_answered = false;
    while let Some(got) = wire.next() {
        match got.opcode {
            // A server hangs up first, and the edge waits for that (section 7.1.1).
            CLOSE if got.code() == code && wire.is_server() => return Ok(()),
            CLOSE if got.code() == code => is_answered = true,
            _ if !is_answered && before.next() == Some(&got) => {}
            _ => return Err(format!("{got:?} came, and a close with {code:?} was due")),
        }
    }
    // What was sent before a close may be lost with it (RFC 6455 section 1.4), and the suite says so.
    if is_answered { Ok(()) } else { Err("no close came".into()) }
}

#[track_caller]
fn none_fails(failures: &[String], count: usize) {
    assert!(failures.is_empty(), "{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
}

/// The edge as a server.
fn as_client(cases: &[Case]) {
    let gateway = EchoGateway::start();
    let site = Site::new().gateway("ceo", "acme", gateway.address()).route(ROUTE);
    let edge = Edge::start(&site);
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let mut wire = Wire::connect(edge.address(), "/gateways/ceo", ACME.text);
            run(case, &mut wire).err().map(|why| format!("{}: {why}", case.number))
        })
        .collect();
    none_fails(&failures, cases.len());
}

/// The edge as a client, and in front of it one that sends everything back.
fn as_gateway(cases: &[Case]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let edge = Edge::start(&Site::new().gateway("ceo", "acme", address).route(ROUTE));
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            std::thread::scope(|scope| {
                scope.spawn(|| send_all_back(&edge));
                let mut wire = Wire::accept(&listener);
                run(case, &mut wire).err().map(|why| format!("{}: {why}", case.number))
            })
        })
        .collect();
    none_fails(&failures, cases.len());
}

fn send_all_back(edge: &Edge) {
    let mut socket =
        open(edge.address(), "/gateways/ceo", &[("X-API-Key", ACME.text)]).expect("an open socket");
    while let Ok(message) = socket.read() {
        let sent = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => socket.flush(),
        };
        if sent.is_err() {
            break;
        }
    }
}

#[test]
fn every_case_holds_towards_clients() {
    as_client(&cases::quick());
}

#[test]
fn every_case_holds_towards_gateways() {
    as_gateway(&cases::quick());
}

#[test]
fn every_size_holds_towards_clients() {
    as_client(&cases::sizes());
}

#[test]
fn every_size_holds_towards_gateways() {
    as_gateway(&cases::sizes());
}

#[test]
fn rounds_of_messages_come_back_one_by_one() {
    let gateway = EchoGateway::start();
    let edge = Edge::start(&Site::new().gateway("ceo", "acme", gateway.address()).route(ROUTE));
    for (number, message) in cases::rounds() {
        let mut wire = Wire::connect(edge.address(), "/gateways/ceo", ACME.text);
        for at in 0..ROUND {
            wire.send(std::slice::from_ref(&message), WHOLE);
            assert_eq!(wire.next().as_ref(), Some(&message), "{number}: message {at}");
        }
        assert_eq!(comes(&mut wire, &[]), Ok(()), "{number}");
    }
}

/// Not in the suite, whose clients cannot do otherwise: a client masks, a server does not (RFC 6455 section 5.1).
#[test]
fn who_masks_wrongly_is_cut_off() {
    let gateway = EchoGateway::start();
    let edge = Edge::start(&Site::new().gateway("ceo", "acme", gateway.address()).route(ROUTE));
    let mut wire = Wire::connect(edge.address(), "/gateways/ceo", ACME.text);
    wire.send_as_the_other(&frame(TEXT, "hello"));
    assert_eq!(failed(&mut wire, &[], &[1002]), Ok(()));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let edge = Edge::start(&Site::new().gateway("ceo", "acme", address).route(ROUTE));
    std::thread::scope(|scope| {
        scope.spawn(|| send_all_back(&edge));
        let mut wire = Wire::accept(&listener);
        wire.send_as_the_other(&frame(TEXT, "hello"));
        assert_eq!(failed(&mut wire, &[], &[1002]), Ok(()));
    });
}

/// The list at the top is what is run: 285 cases on each hop, and 12 rounds on one.
#[test]
fn the_list_of_cases_is_whole() {
    let quick = cases::quick();
    let count = |prefix: &str| quick.iter().filter(|case| case.number.starts_with(prefix)).count();
    for (section, wanted) in
        [("1.", 16), ("2.", 11), ("3.", 7), ("4.", 10), ("5.", 20), ("7.", 37), ("10.", 1)]
    {
        assert_eq!(count(section), wanted, "{section}");
    }
    let sizes = cases::sizes().len() + cases::rounds().len();
    assert_eq!(sizes, 54);
    for (group, sequences) in utf8::SEQUENCES {
        for sequence in *sequences {
            let is_good = std::str::from_utf8(&cases::hex(sequence)).is_ok();
            assert!(is_good || !utf8::ALL_GOOD.contains(group), "{group}: {sequence}");
            assert!(!is_good || !utf8::NONE_GOOD.contains(group), "{group}: {sequence}");
        }
    }
    let sequences: usize = utf8::SEQUENCES.iter().map(|(_, sequences)| sequences.len()).sum();
    assert_eq!((sequences, count("6.")), (128, 141));
}
