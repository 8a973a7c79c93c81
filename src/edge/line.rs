//! One line of JSON, written member by member into one buffer: a line is made for every request.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

/// Most lines fit.
const USUAL: usize = 640;

/// A line being written. Names are constants or the operator's own and need no escapes; texts get them.
pub(super) struct Line {
    out: Vec<u8>,
}

impl Line {
    /// Begins with the moment (Unix time) and the request's id.
    pub(super) fn begin(unix: Duration, id: &str) -> Self {
        let mut line = Self { out: Vec::with_capacity(USUAL) };
        line.out.push(b'{');
        line.display("time", timestamp(unix));
        line.text("request_id", id);
        line
    }

    fn name(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A text of any kind.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.out.push(b'"');
        if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            for c in text.chars() {
                match c {
                    '"' | '\\' => self.out.extend_from_slice(&[b'\\', u8::try_from(c).unwrap_or(b'?')]),
                    c if c < ' ' => self.put(format_args!("\\u{:04x}", u32::from(c))),
                    c => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        }
        self.out.push(b'"');
    }

    /// A value that writes itself without quotes and backslashes.
    pub(super) fn display(&mut self, name: &str, value: impl Display) {
        self.name(name);
        self.put(format_args!("\"{value}\""));
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str, number: impl itoa::Integer) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Milliseconds, with microseconds behind the point.
    pub(super) fn millis(&mut self, name: &str, time: Duration) {
        self.name(name);
        let micros = time.as_micros();
        self.out.extend_from_slice(itoa::Buffer::new().format(micros / 1000).as_bytes());
        let rest = u16::try_from(micros % 1000).unwrap_or(0);
        let digit = |divisor: u16| b'0' + u8::try_from(rest / divisor % 10).unwrap_or(0);
        self.out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }

    /// An object within.
    pub(super) fn group(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.name(name);
        self.out.push(b'{');
        write(self);
        self.out.push(b'}');
    }

    /// The line with its end.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"}\n");
        self.out
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.out.write_fmt(arguments);
    }
}

/// To the millisecond: what a person can use.
fn timestamp(unix: Duration) -> jiff::Timestamp {
    let millis = i64::try_from(unix.as_millis()).ok();
    millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_one_object() {
        let mut line = Line::begin(Duration::from_millis(1_700_000_000_123), "id");
        line.number("status", 200_u16);
        line.millis("ms", Duration::from_micros(12_034));
        line.group("limits", |line| line.number("per-ip", 5_u32));
        line.text("path", "/a");
        let text = String::from_utf8(line.end()).unwrap();
        let want = "{\"time\":\"2023-11-14T22:13:20.123Z\",\"request_id\":\"id\",\"status\":200,\"ms\":12.034,\"limits\":{\"per-ip\":5},\"path\":\"/a\"}\n";
        assert_eq!(text, want);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let mut line = Line::begin(Duration::ZERO, "id");
            line.text("path", &text);
            let read: serde_json::Value = serde_json::from_slice(&line.end()).unwrap();
            prop_assert_eq!(read["path"].as_str(), Some(text.as_str()));
        }
    }
}
