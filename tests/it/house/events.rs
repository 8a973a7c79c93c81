//! A reader of Server-Sent Events that a test can let go of at any moment.

use super::client::{Client, Request};
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;

/// One event of a stream, as the HTML standard section 9.2 reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Where to go on after it.
    pub(crate) id: String,
    /// Its kind; empty when the event says none.
    pub(crate) name: String,
    /// Its lines of data; empty for what only moves the id on.
    pub(crate) data: String,
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Events {
    stream: TcpStream,
    /// As it came, in chunks.
    raw: Vec<u8>,
    /// As it was meant.
    text: Vec<u8>,
}

impl Events {
    /// Asks for a stream after the last event that was seen, and reads its head.
    pub(crate) fn open(client: &Client, path: &str, last: Option<&str>) -> std::io::Result<Self> {
        let mut request = Request::get(path).field("Accept", "text/event-stream");
        if let Some(last) = last {
            request = request.field("Last-Event-ID", last);
        }
        let mut events = Self { stream: client.begin(&request)?, raw: Vec::new(), text: Vec::new() };
        let end = loop {
            if let Some(at) = find(&events.raw, b"\r\n\r\n") {
                break at + 4;
            }
            if events.read()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head: Vec<u8> = events.raw.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err(std::io::Error::other(head));
        }
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        Ok(events)
    }

    /// The next event; none when the stream ended, in whatever way.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = find(&self.text, b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = read(&String::from_utf8(block).expect("events are UTF-8"));
                if event != Event::default() {
                    return Some(event);
                }
            }
            if !self.chunk()? && !matches!(self.read(), Ok(1..)) {
                return None;
            }
        }
    }

    fn read(&mut self) -> std::io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.raw.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// Takes one chunk that is there whole; none after the last.
    fn chunk(&mut self) -> Option<bool> {
        let Some(line) = find(&self.raw, b"\r\n") else { return Some(false) };
        let size = std::str::from_utf8(&self.raw[..line]).expect("a chunk's size is text");
        let size = usize::from_str_radix(size, 16).expect("a chunk begins with its size");
        let end = line + 2 + size;
        if self.raw.len() < end + 2 {
            return Some(false);
        }
        self.text.extend_from_slice(&self.raw[line + 2..end]);
        self.raw.drain(..end + 2);
        (size > 0).then_some(true)
    }
}

fn read(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut event.id),
            "event" => value.clone_into(&mut event.name),
            "data" => event.data.push_str(value),
            _ => {}
        }
    }
    event
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
