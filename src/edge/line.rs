//! One line of JSON, written member by member into one buffer: a line is made for every request.
//!
//! What is the same for many requests comes ready made; the moment at a line's front is the access log's
//! to write, which makes the text of a second once.

use std::time::Duration;

/// Most lines fit.
const USUAL: usize = 512;

/// A member's name, as it stands behind another member.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use member;

/// The members of a line behind its moment. Names come from [`member!`].
pub(super) struct Line {
    out: Vec<u8>,
}

impl Line {
    /// Begins with the request's id.
    pub(super) fn begin(id: &str) -> Self {
        let mut line = Self { out: Vec::with_capacity(USUAL) };
        line.word(member!("request_id"), id.as_bytes());
        line
    }

    /// Members that were made before.
    pub(super) fn told(&mut self, members: &str) {
        self.out.extend_from_slice(members.as_bytes());
    }

    /// A text that needs no escapes: a token, an address, a name that the operator gave.
    pub(super) fn word(&mut self, member: &str, word: &[u8]) {
        self.told(member);
        self.out.push(b'"');
        self.out.extend_from_slice(word);
        self.out.push(b'"');
    }

    /// A text of any kind.
    pub(super) fn text(&mut self, member: &str, text: &str) {
        if is_plain(text.as_bytes()) {
            return self.word(member, text.as_bytes());
        }
        self.told(member);
        self.out.push(b'"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.out.extend_from_slice(&[b'\\', u8::try_from(c).unwrap_or(b'?')]),
                c if c < ' ' => self.out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
                c => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.out.push(b'"');
    }

    /// A whole number.
    pub(super) fn number(&mut self, member: &str, number: impl itoa::Integer) {
        self.told(member);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Milliseconds, with microseconds behind the point.
    pub(super) fn millis(&mut self, member: &str, time: Duration) {
        self.number(member, time.as_secs() * 1000 + u64::from(time.subsec_millis()));
        self.out.push(b'.');
        self.out.extend_from_slice(&thousandths(time.subsec_micros() % 1000));
    }

    /// An object of numbers.
    pub(super) fn numbers<'n, N: itoa::Integer>(
        &mut self,
        member: &str,
        numbers: impl IntoIterator<Item = (&'n str, N)>,
    ) {
        self.told(member);
        let mut before = b'{';
        for (name, number) in numbers {
            self.out.extend_from_slice(&[before, b'"']);
            self.told(name);
            self.out.extend_from_slice(b"\":");
            self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            before = b',';
        }
        if before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// The members.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.out
    }
}

/// Three digits of a number below a thousand.
pub(super) fn thousandths(number: u32) -> [u8; 3] {
    let digit = |divisor: u32| b'0' + u8::try_from(number / divisor % 10).unwrap_or(0);
    [digit(100), digit(10), digit(1)]
}

/// Whether a text needs no escapes.
#[allow(clippy::needless_bitwise_bool, reason = "without branches the compiler makes the loop wide")]
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, &b| plain & (b >= 0x20) & (b != b'"') & (b != b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(line: &Line) -> String {
        format!("{{{}}}", std::str::from_utf8(&line.as_bytes()[1..]).unwrap())
    }

    #[test]
    fn members_follow_one_another() {
        let mut line = Line::begin("id");
        line.number(member!("status"), 200_u16);
        line.millis(member!("ms"), Duration::from_micros(12_034));
        line.numbers(member!("limits"), [("per-ip", 5_u32), ("per-key", 0)]);
        line.numbers(member!("none"), [("", 0_u32); 0]);
        line.told(",\"route\":\"a\"");
        line.text(member!("path"), "/a");
        let want = "{\"request_id\":\"id\",\"status\":200,\"ms\":12.034,\"limits\":{\"per-ip\":5,\"per-key\":0},\
                    \"none\":{},\"route\":\"a\",\"path\":\"/a\"}";
        assert_eq!(object(&line), want);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let mut line = Line::begin("id");
            line.text(member!("path"), &text);
            let read: serde_json::Value = serde_json::from_str(&object(&line)).unwrap();
            prop_assert_eq!(read["path"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn times_are_written_to_the_microsecond(micros in 0..u64::MAX / 2) {
            let mut line = Line::begin("id");
            line.millis(member!("ms"), Duration::from_micros(micros));
            let want = format!("\"ms\":{}.{:03}", micros / 1000, micros % 1000);
            prop_assert!(object(&line).contains(&want));
        }
    }
}
