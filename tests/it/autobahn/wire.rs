//! Frames as bytes, and a connection that sends just those: what no library would send, too.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Longest wait for the other side; a test that runs into it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// One frame (RFC 6455 section 5.2).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) is_final: bool,
    pub(super) reserved: u8,
    pub(super) opcode: u8,
    pub(super) payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = String::from_utf8_lossy(&self.payload[..self.payload.len().min(40)]).into_owned();
        write!(f, "{}/{} {shown:?} ({} bytes)", self.opcode, self.reserved, self.payload.len())
    }
}

pub(super) fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { is_final: true, reserved: 0, opcode, payload: payload.as_ref().to_vec() }
}

/// A close with a code, and what is behind it.
pub(super) fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    frame(CLOSE, [&code.to_be_bytes()[..], reason.as_ref()].concat())
}

impl Frame {
    /// More of the message follows.
    pub(super) fn open(self) -> Self {
        Self { is_final: false, ..self }
    }

    pub(super) fn reserved(self, reserved: u8) -> Self {
        Self { reserved, ..self }
    }

    pub(super) fn is_control(&self) -> bool {
        self.opcode >= 8
    }

    /// The code of a close; none for one without.
    pub(super) fn code(&self) -> Option<u16> {
        self.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))
    }

    fn bytes(&self, side: Side) -> Vec<u8> {
        let mut out = vec![u8::from(self.is_final) << 7 | self.reserved << 4 | self.opcode];
        let masked = match side {
            Side::Client => 0x80,
            Side::Server => 0,
        };
        let length = self.payload.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => out.push(masked | short),
            (_, Ok(medium)) => {
                out.push(masked | 0x7e);
                out.extend(medium.to_be_bytes());
            }
            (_, Err(_)) => {
                out.push(masked | 0x7f);
                out.extend((length as u64).to_be_bytes());
            }
        }
        match side {
            Side::Client => {
                let mask = [0x37, 0xfa, 0x21, 0x3d];
                out.extend(mask);
                out.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            }
            Side::Server => out.extend(&self.payload),
        }
        out
    }
}

/// Which part a connection plays: clients mask what they send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Client,
    Server,
}

/// A connection after its handshake.
pub(super) struct Wire {
    stream: TcpStream,
    side: Side,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects as a client.
    pub(super) fn connect(address: SocketAddr, target: &str, key: &str) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the edge listens");
        let mut wire = Self::over(stream, Side::Client);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        wire.stream.write_all(head.as_bytes()).expect("the edge reads");
        let answer = wire.head().expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        wire
    }

    /// Takes the next connection as a server.
    pub(super) fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("the edge dials");
        let mut wire = Self::over(stream, Side::Server);
        let head = wire.head().expect("a handshake");
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        });
        let accept = derive_accept_key(key.expect("a key").as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        wire.stream.write_all(answer.as_bytes()).expect("the edge reads");
        wire
    }

    fn over(stream: TcpStream, side: Side) -> Self {
        stream.set_nodelay(true).expect("a socket takes an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        Self { stream, side, buffer: Vec::new() }
    }

    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.buffer.drain(..end + 4).collect::<Vec<u8>>();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            self.fill()?;
        }
    }

    /// Sends frames in writes of so many bytes. The other side may have closed in between.
    pub(super) fn send(&mut self, frames: &[Frame], piece: usize) {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes(self.side)).collect();
        for piece in bytes.chunks(piece.max(1)) {
            if self.stream.write_all(piece).is_err() {
                return;
            }
        }
    }

    /// Sends a frame as the other side would: masked by a server, not by a client.
    pub(super) fn send_as_the_other(&mut self, frame: &Frame) {
        let other = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let _ = self.stream.write_all(&frame.bytes(other));
    }

    /// Whether the other side is a client.
    pub(super) fn is_server(&self) -> bool {
        matches!(self.side, Side::Server)
    }

    /// Another handle of the same connection, to send while the first reads.
    pub(super) fn twin(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a socket has handles"),
            side: self.side,
            buffer: Vec::new(),
        }
    }

    /// The next frame; none when the connection is closed.
    pub(super) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = parse(&self.buffer) {
                self.buffer.drain(..length);
                return Some(frame);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut piece = vec![0; 256 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => {
                    self.buffer.extend(&piece[..count]);
                    return Some(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came in time")
                }
                Err(_) => return None,
            }
        }
    }
}

/// A frame and its length, if it is whole.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mask: Option<[u8; 4]> = if second & 0x80 == 0 {
        None
    } else {
        at += 4;
        Some(*bytes.get(at - 4..)?.first_chunk()?)
    };
    let mut payload = bytes.get(at..at.checked_add(length)?)?.to_vec();
    if let Some(mask) = mask {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    let frame = Frame { is_final: first & 0x80 != 0, reserved: first >> 4 & 7, opcode: first & 0xf, payload };
    Some((frame, at + length))
}
