//! The cases, under the numbers that the suite gives them.

use super::utf8::{KOSME, SEQUENCES};
use super::wire::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, close, frame};

/// Writes of any size: all at once.
pub(super) const WHOLE: usize = usize::MAX;

/// What is sent, and what must come of it.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) number: String,
    pub(super) sent: Vec<Frame>,
    /// Bytes of one write.
    pub(super) piece: usize,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// These come back, messages and control frames each in their order, and the socket lives.
    Comes(Vec<Frame>),
    /// The connection is failed: a close with one of these codes at most, and of these messages some may come before.
    Fails(Vec<Frame>, &'static [u16]),
    /// The close that was sent is answered with this code, these come before it, and nothing is said to what came after it.
    Closes(Vec<Frame>, Option<u16>),
}

const PROTOCOL: &[u16] = &[1002];
const UTF8: &[u16] = &[1007, 1002];

fn case(number: impl Into<String>, piece: usize, sent: Vec<Frame>, outcome: Outcome) -> Case {
    Case { number: number.into(), sent, piece, outcome }
}

/// Comes back as it was sent.
fn echo(number: impl Into<String>, piece: usize, sent: Frame) -> Case {
    case(number, piece, vec![sent.clone()], Outcome::Comes(vec![sent]))
}

fn fails(number: impl Into<String>, piece: usize, sent: Vec<Frame>) -> Case {
    case(number, piece, sent, Outcome::Fails(Vec::new(), PROTOCOL))
}

fn text(payload: impl AsRef<[u8]>) -> Frame {
    frame(TEXT, payload)
}

fn more(payload: impl AsRef<[u8]>) -> Frame {
    frame(CONTINUATION, payload)
}

fn ping(payload: impl AsRef<[u8]>) -> Frame {
    frame(PING, payload)
}

fn pong(payload: impl AsRef<[u8]>) -> Frame {
    frame(PONG, payload)
}

/// Everything but sizes that take their time.
pub(super) fn quick() -> Vec<Case> {
    [
        framing(),
        pings(),
        reserved_bits(),
        opcodes(),
        fragments(),
        texts(),
        sequences(),
        closes(),
        codes(),
        ten(),
    ]
    .concat()
}

/// 1: payloads of all lengths that are written differently.
fn framing() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, opcode, fill) in [("1.1", TEXT, b'*'), ("1.2", BINARY, 0xfe)] {
        let sizes = [0, 125, 126, 127, 128, 65535, 65536];
        for (at, size) in sizes.into_iter().enumerate() {
            cases.push(echo(format!("{group}.{}", at + 1), WHOLE, frame(opcode, vec![fill; size])));
        }
        cases.push(echo(format!("{group}.8"), 997, frame(opcode, vec![fill; 65536])));
    }
    cases
}

/// 2: pings and pongs.
fn pings() -> Vec<Case> {
    let bytes = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    let ten: Vec<Frame> = (0..10).map(|at| ping(format!("payload-{at}"))).collect();
    let answers: Vec<Frame> = (0..10).map(|at| pong(format!("payload-{at}"))).collect();
    vec![
        case("2.1", WHOLE, vec![ping("")], Outcome::Comes(vec![pong("")])),
        case("2.2", WHOLE, vec![ping("Hello, world!")], Outcome::Comes(vec![pong("Hello, world!")])),
        case("2.3", WHOLE, vec![ping(bytes)], Outcome::Comes(vec![pong(bytes)])),
        case("2.4", WHOLE, vec![ping([0xfe; 125])], Outcome::Comes(vec![pong([0xfe; 125])])),
        fails("2.5", WHOLE, vec![ping([0xfe; 126])]),
        case("2.6", 1, vec![ping([0xfe; 125])], Outcome::Comes(vec![pong([0xfe; 125])])),
        case("2.7", WHOLE, vec![pong("")], Outcome::Comes(vec![])),
        case("2.8", WHOLE, vec![pong("unsolicited pong payload")], Outcome::Comes(vec![])),
        case(
            "2.9",
            WHOLE,
            vec![pong("unsolicited pong payload"), ping("ping payload")],
            Outcome::Comes(vec![pong("ping payload")]),
        ),
        case("2.10", WHOLE, ten.clone(), Outcome::Comes(answers.clone())),
        case("2.11", 1, ten, Outcome::Comes(answers)),
    ]
}

/// 3: reserved bits, which nobody has agreed on.
fn reserved_bits() -> Vec<Case> {
    let hello = text("Hello, world!");
    let after = |number: &str, piece, bad: Frame| {
        let outcome = Outcome::Fails(vec![text("Hello, world!")], PROTOCOL);
        case(number, piece, vec![text("Hello, world!"), bad, ping("")], outcome)
    };
    vec![
        fails("3.1", WHOLE, vec![hello.clone().reserved(1)]),
        after("3.2", WHOLE, hello.clone().reserved(2)),
        after("3.3", 20, hello.clone().reserved(3)),
        after("3.4", 1, hello.reserved(4)),
        fails("3.5", WHOLE, vec![frame(BINARY, [0xfe; 8]).reserved(5)]),
        fails("3.6", WHOLE, vec![ping("Hello, world!").reserved(6)]),
        fails("3.7", WHOLE, vec![frame(CLOSE, "").reserved(7)]),
    ]
}

/// 4: opcodes that mean nothing.
fn opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, first) in [("4.1", 3), ("4.2", 11)] {
        for at in 0..5 {
            let number = format!("{group}.{}", at + 1);
            let (opcode, payload) = (first + at, if at % 2 == 0 { "" } else { "reserved opcode payload" });
            let bad = frame(opcode, payload);
            cases.push(match at {
                0 | 1 => fails(number, WHOLE, vec![bad]),
                _ => case(
                    number,
                    if at == 4 { 1 } else { WHOLE },
                    vec![text("Hello, world!"), bad, ping("")],
                    Outcome::Fails(vec![text("Hello, world!")], PROTOCOL),
                ),
            });
        }
    }
    cases
}

/// 5: messages in several frames, and what may come in between.
fn fragments() -> Vec<Case> {
    let (one, two) = ("fragment1", "fragment2");
    let whole = text([one, two].concat());
    let both = vec![text(one).open(), more(two)];
    let between = vec![text(one).open(), ping("ping payload"), more(two)];
    let answers = Outcome::Comes(vec![pong("ping payload"), whole.clone()]);
    let echoed = || Outcome::Comes(vec![whole.clone()]);
    let lone = |is_open: bool| {
        let first = more("non-continuation payload");
        vec![if is_open { first.open() } else { first }, text("Hello, world!")]
    };
    let mut cases = vec![
        fails("5.1", WHOLE, vec![ping(one).open(), more(two)]),
        fails("5.2", WHOLE, vec![pong(one).open(), more(two)]),
        case("5.3", 15, both.clone(), echoed()),
        case("5.4", WHOLE, both.clone(), echoed()),
        case("5.5", 1, both, echoed()),
        case("5.6", 15, between.clone(), answers.clone()),
        case("5.7", WHOLE, between.clone(), answers.clone()),
        case("5.8", 1, between, answers),
    ];
    for (number, piece, is_open) in [
        ("5.9", 30, false),
        ("5.10", WHOLE, false),
        ("5.11", 1, false),
        ("5.12", 30, true),
        ("5.13", WHOLE, true),
        ("5.14", 1, true),
    ] {
        cases.push(fails(number, piece, lone(is_open)));
    }
    let mut after = vec![text(one).open(), more(two)];
    after.extend(lone(true));
    cases.push(case("5.15", WHOLE, after, Outcome::Fails(vec![whole], PROTOCOL)));
    for (number, is_open) in [("5.16", true), ("5.17", false)] {
        let lone = |at: u8| {
            let first = more(format!("fragment{at}"));
            if is_open { first.open() } else { first }
        };
        let twice =
            [1, 4].map(|at| vec![lone(at), text(format!("fragment{}", at + 1)).open(), more("fragment3")]);
        cases.push(fails(number, WHOLE, twice.concat()));
    }
    cases.push(fails("5.18", WHOLE, vec![text(one).open(), text(two)]));
    // The suite waits a second in the middle of 5.19; here each frame is a write of its own.
    let five = vec![
        text("fragment1").open(),
        more("fragment2").open(),
        ping("pongme 1!"),
        more("fragment3").open(),
        more("fragment4").open(),
        ping("pongme 2!"),
        more("fragment5"),
    ];
    let answers = Outcome::Comes(vec![
        pong("pongme 1!"),
        pong("pongme 2!"),
        text("fragment1fragment2fragment3fragment4fragment5"),
    ]);
    cases.push(case("5.19", 15, five.clone(), answers.clone()));
    cases.push(case("5.20", 1, five, answers));
    cases
}

/// One frame for each piece of a payload.
fn cut(opcode: u8, pieces: &[&[u8]]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = pieces.iter().map(|piece| more(piece).open()).collect();
    if let Some(first) = frames.first_mut() {
        first.opcode = opcode;
    }
    if let Some(last) = frames.last_mut() {
        last.is_final = true;
    }
    frames
}

/// 6.1 to 6.4: texts in pieces that cut characters, and where it shows that one is none.
fn texts() -> Vec<Case> {
    let greeting = "Hello-µ@ßöäüàá-UTF-8!!";
    let bytes = greeting.as_bytes();
    let kosme = hex(KOSME);
    let singly = |bytes: &[u8]| cut(TEXT, &bytes.chunks(1).collect::<Vec<_>>());
    let broken = [&kosme[..], &hex("eda080"), b"edited"].concat();
    let beyond = hex("f4908080");
    let bad = |number: &str, piece, sent| case(number, piece, sent, Outcome::Fails(Vec::new(), UTF8));
    vec![
        echo("6.1.1", WHOLE, text("")),
        case("6.1.2", WHOLE, cut(TEXT, &[b"", b"", b""]), Outcome::Comes(vec![text("")])),
        case(
            "6.1.3",
            WHOLE,
            cut(TEXT, &[b"", b"middle frame payload", b""]),
            Outcome::Comes(vec![text("middle frame payload")]),
        ),
        echo("6.2.1", WHOLE, text(greeting)),
        case("6.2.2", WHOLE, cut(TEXT, &[&bytes[..12], &bytes[12..]]), Outcome::Comes(vec![text(greeting)])),
        case("6.2.3", WHOLE, singly(bytes), Outcome::Comes(vec![text(greeting)])),
        case("6.2.4", WHOLE, singly(&kosme), Outcome::Comes(vec![text(&kosme)])),
        bad("6.3.1", WHOLE, vec![text(&broken)]),
        bad("6.3.2", WHOLE, singly(&broken)),
        bad("6.4.1", 24, cut(TEXT, &[&kosme, &beyond, b"edited"])),
        bad("6.4.2", 24, cut(TEXT, &[&[&kosme[..], &beyond[..1]].concat(), &beyond[1..], b"edited"])),
        bad("6.4.3", 15, vec![text([&kosme[..], &beyond, b"edited"].concat())]),
        bad("6.4.4", 1, vec![text([&kosme[..], &beyond, b"edited"].concat())]),
    ]
}

/// 6.5 to 6.23.
fn sequences() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, sequences) in SEQUENCES {
        for (at, sequence) in sequences.iter().enumerate() {
            let (number, bytes) = (format!("{group}.{}", at + 1), hex(sequence));
            cases.push(match std::str::from_utf8(&bytes) {
                Ok(_) => echo(number, WHOLE, text(&bytes)),
                Err(_) => case(number, WHOLE, vec![text(&bytes)], Outcome::Fails(Vec::new(), UTF8)),
            });
        }
    }
    cases
}

/// 7.1 to 7.5: how sockets are closed.
fn closes() -> Vec<Case> {
    let hello = || text("Hello World!");
    let normal = || close(1000, "");
    let large = || text(vec![b'B'; 256 * 1024]);
    let ended = |before: Vec<Frame>| Outcome::Closes(before, Some(1000));
    vec![
        case("7.1.1", WHOLE, vec![hello(), normal()], ended(vec![hello()])),
        case("7.1.2", WHOLE, vec![normal(), normal()], ended(vec![])),
        case("7.1.3", WHOLE, vec![normal(), ping("")], ended(vec![])),
        case("7.1.4", WHOLE, vec![normal(), hello()], ended(vec![])),
        case("7.1.5", WHOLE, vec![text("fragment1").open(), normal(), more("fragment2")], ended(vec![])),
        case("7.1.6", WHOLE, vec![large(), hello(), normal(), ping("")], ended(vec![large(), hello()])),
        case("7.3.1", WHOLE, vec![frame(CLOSE, "")], Outcome::Closes(vec![], None)),
        fails("7.3.2", WHOLE, vec![frame(CLOSE, "a")]),
        case("7.3.3", WHOLE, vec![normal()], ended(vec![])),
        case("7.3.4", WHOLE, vec![close(1000, "Hello World!")], ended(vec![])),
        case("7.3.5", WHOLE, vec![close(1000, [b'*'; 123])], ended(vec![])),
        fails("7.3.6", WHOLE, vec![close(1000, [b'*'; 124])]),
        case("7.5.1", WHOLE, vec![close(1000, hex("cebae1bdb9cf83cebcceb5eda080656469746564"))], {
            Outcome::Fails(Vec::new(), UTF8)
        }),
    ]
}

/// 7.7 to 7.13: codes of closes.
fn codes() -> Vec<Case> {
    let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    let bad = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
    let mut cases = Vec::new();
    for (at, code) in good.into_iter().enumerate() {
        let outcome = Outcome::Closes(vec![], Some(code));
        cases.push(case(format!("7.7.{}", at + 1), WHOLE, vec![close(code, "")], outcome));
    }
    for (at, code) in bad.into_iter().enumerate() {
        cases.push(fails(format!("7.9.{}", at + 1), WHOLE, vec![close(code, "")]));
    }
    for (at, code) in [5000, 65535].into_iter().enumerate() {
        cases.push(fails(format!("7.13.{}", at + 1), WHOLE, vec![close(code, "")]));
    }
    cases
}

/// 9: large messages, whole, in frames and in small writes; and many, one after the other.
pub(super) fn sizes() -> Vec<Case> {
    const KIB: usize = 1024;
    const MIB: usize = KIB * KIB;
    let mut cases = Vec::new();
    for (group, opcode) in [(1, TEXT), (2, BINARY)] {
        for (at, size) in [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB].into_iter().enumerate() {
            cases.push(echo(format!("9.{group}.{}", at + 1), WHOLE, frame(opcode, vec![b'*'; size])));
        }
    }
    for (group, opcode) in [(3, TEXT), (4, BINARY)] {
        let payload = vec![b'*'; 4 * MIB];
        let sizes = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];
        for (at, size) in sizes.into_iter().enumerate() {
            let sent = cut(opcode, &payload.chunks(size).collect::<Vec<_>>());
            let outcome = Outcome::Comes(vec![frame(opcode, &payload)]);
            cases.push(case(format!("9.{group}.{}", at + 1), WHOLE, sent, outcome));
        }
    }
    for (group, opcode) in [(5, TEXT), (6, BINARY)] {
        for (at, piece) in [64, 128, 256, 512, KIB, 2 * KIB].into_iter().enumerate() {
            cases.push(echo(format!("9.{group}.{}", at + 1), piece, frame(opcode, vec![b'*'; MIB])));
        }
    }
    cases
}

/// 9.7 and 9.8: how many messages of which size make a round.
pub(super) fn rounds() -> Vec<(String, Frame)> {
    let mut rounds = Vec::new();
    for (group, opcode) in [(7, TEXT), (8, BINARY)] {
        for (at, size) in [0, 16, 64, 256, 1024, 65536].into_iter().enumerate() {
            rounds.push((format!("9.{group}.{}", at + 1), frame(opcode, vec![b'*'; size])));
        }
    }
    rounds
}

/// 10: a message that a sender cut by itself.
fn ten() -> Vec<Case> {
    let payload = vec![b'*'; 65536];
    let sent = cut(TEXT, &payload.chunks(1300).collect::<Vec<_>>());
    vec![case("10.1.1", WHOLE, sent, Outcome::Comes(vec![text(&payload)]))]
}

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).expect("hex")).expect("small")).collect();
    digits.chunks(2).map(|two| two[0] * 16 + two[1]).collect()
}
