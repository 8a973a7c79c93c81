//! The guard over the raw bytes of an HTTP/1 request head (RFC 9112), before any parser sees them.
//!
//! Parsers differ on what they forgive, and a request that two of them read differently can be smuggled
//! past one to the other. So this guard forgives nothing: a head either has one reading or is refused.
//! It does not build a request; the server's parser does that from the same bytes afterwards. Who must
//! know sooner gets the parts as they were read here.

/// Longest target that the server's parser takes.
const MAX_TARGET: usize = 65_534;

/// Bounds on a head.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most bytes, the empty line included.
    pub max_bytes: usize,
    /// Most fields.
    pub max_fields: usize,
}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The empty line has not come yet.
    Partial,
    /// A whole head of this many bytes; what follows belongs to the body.
    Whole {
        /// Length of the head.
        len: usize,
    },
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// Larger than the bound.
    #[error("the request head is too large")]
    TooLarge,
    /// More fields than the bound.
    #[error("the request head has too many fields")]
    TooManyFields,
    /// A line that does not end in CR LF, or a CR or NUL within a line.
    #[error("a line of the request head does not end in CR LF")]
    LineEnding,
    /// Method, target and version are not three words with one space between.
    #[error("the request line is malformed")]
    RequestLine,
    /// A target that is not a path.
    #[error("the request target must be a path")]
    Target,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the HTTP version is not supported")]
    Version,
    /// A method that a proxy of paths does not serve.
    #[error("the method is not supported")]
    Method,
    /// A continuation line (obsolete folding).
    #[error("a header field is folded over lines")]
    Folded,
    /// A field name that is no token, or space before the colon.
    #[error("a header field has a malformed name")]
    FieldName,
    /// A control character in a value.
    #[error("a header field has a malformed value")]
    FieldValue,
    /// Content-Length more than once, or not a plain number.
    #[error("Content-Length is repeated or malformed")]
    ContentLength,
    /// Content-Length and Transfer-Encoding together.
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    LengthAndEncoding,
    /// Transfer-Encoding other than one `chunked`, or before HTTP/1.1.
    #[error("the only Transfer-Encoding taken is one chunked")]
    TransferEncoding,
    /// No Host, two, or a malformed one.
    #[error("Host is missing, repeated or malformed")]
    Host,
    /// An expectation other than `100-continue`.
    #[error("the only expectation taken is 100-continue")]
    Expectation,
    /// Bytes behind the head of an upgrade request.
    #[error("bytes were sent before the upgrade was agreed")]
    EarlyUpgradeBytes,
}

/// Looks at the bytes that have come so far, once each.
///
/// # Errors
/// [`HeadFault`]: the connection must be answered with it and closed.
pub fn examine(bytes: &[u8], bounds: Bounds) -> Result<Progress, HeadFault> {
    let mut walk = Walk { bytes: &bytes[..bytes.len().min(bounds.max_bytes)], at: 0 };
    match walk.head(bounds.max_fields, |_, _| {}) {
        Ok((line, framing)) => {
            framing.settle(line.version, bytes.len() > walk.at)?;
            Ok(Progress::Whole { len: walk.at })
        }
        Err(Stop::More) if bytes.len() >= bounds.max_bytes => Err(HeadFault::TooLarge),
        Err(Stop::More) => Ok(Progress::Partial),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// What a head says, each part as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Method.
    pub method: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// Whether it is HTTP/1.1, where connections stay open unless somebody says otherwise.
    pub is_http11: bool,
    /// Names, and values without the space around them.
    pub fields: Vec<(&'a [u8], &'a [u8])>,
}

/// The parts of a head that [`examine`] found whole, where no bytes follow it.
#[must_use]
pub fn parts(bytes: &[u8], bounds: Bounds) -> Option<Parts<'_>> {
    let mut walk = Walk { bytes, at: 0 };
    let mut fields = Vec::with_capacity(16);
    let (line, _) =
        walk.head(bounds.max_fields, |name, value| fields.push((name, value.trim_ascii()))).ok()?;
    let is_http11 = line.version == Version::Http11;
    (walk.at == bytes.len()).then_some(Parts { method: line.method, target: line.target, is_http11, fields })
}

/// A head that came in frames (HTTP/2), which a codec has taken apart already.
#[derive(Debug)]
pub struct Framed<'a, F> {
    /// Method.
    pub method: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// Whom it is for.
    pub host: &'a [u8],
    /// Names in lower case, and values.
    pub fields: F,
}

/// The same guard over a head in frames: what it passes can be said in HTTP/1.1 with the same one reading.
///
/// # Errors
/// [`HeadFault`]: the stream must be answered with it.
pub fn frame<'a>(
    head: Framed<'a, impl Iterator<Item = (&'a [u8], &'a [u8])>>,
    bounds: Bounds,
) -> Result<(), HeadFault> {
    method(head.method)?;
    let target = [head.target, b" "].concat();
    let mut walk = Walk { bytes: &target, at: 0 };
    match walk.target() {
        Ok(_) if walk.at == target.len() => {}
        Ok(_) | Err(_) => return Err(HeadFault::Target),
    }
    let mut framing = Framing::default();
    let mut size = head.method.len() + head.target.len() + head.host.len();
    for (count, (name, value)) in head.fields.enumerate() {
        size += name.len() + value.len();
        if count >= bounds.max_fields {
            return Err(HeadFault::TooManyFields);
        }
        if size > bounds.max_bytes {
            return Err(HeadFault::TooLarge);
        }
        of_one_connection(name)?;
        if !value.iter().all(|&b| CLASSES[usize::from(b)] & VALUE != 0) {
            return Err(HeadFault::FieldValue);
        }
        // The codec has seen to it that a Host field says the same.
        if name != b"host" {
            framing.field(name, value)?;
        }
    }
    framing.host(head.host)
}

/// What HTTP/2 has no use for (RFC 9113 section 8.2.2).
fn of_one_connection(name: &[u8]) -> Result<(), HeadFault> {
    match name {
        b"transfer-encoding" => Err(HeadFault::TransferEncoding),
        b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" => Err(HeadFault::FieldName),
        _ => Ok(()),
    }
}

fn method(method: &[u8]) -> Result<(), HeadFault> {
    if method == b"CONNECT" || method == b"TRACE" { Err(HeadFault::Method) } else { Ok(()) }
}

/// Why a walk ends before the empty line.
enum Stop {
    /// The bytes are at their end.
    More,
    Fault(HeadFault),
}

impl From<HeadFault> for Stop {
    fn from(fault: HeadFault) -> Self {
        Self::Fault(fault)
    }
}

/// A walk over the bytes, each looked at once.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// `each` is shown every field.
    #[inline]
    fn head(
        &mut self,
        max_fields: usize,
        mut each: impl FnMut(&'a [u8], &'a [u8]),
    ) -> Result<(RequestLine<'a>, Framing), Stop> {
        let line = self.request_line()?;
        let mut framing = Framing::default();
        let mut count = 0;
        while self.peek()? != b'\r' {
            count += 1;
            if count > max_fields {
                return Err(HeadFault::TooManyFields.into());
            }
            let (name, value) = self.field()?;
            framing.field(name, value)?;
            each(name, value);
        }
        self.line_end(HeadFault::LineEnding)?;
        Ok((line, framing))
    }

    fn request_line(&mut self) -> Result<RequestLine<'a>, Stop> {
        let method = self.run(TOKEN)?;
        if method.is_empty() || self.peek()? != b' ' {
            return Err(HeadFault::RequestLine.into());
        }
        self::method(method)?;
        self.at += 1;
        let target = self.target()?;
        let version = match self.run(PATH)? {
            _ if self.peek()? == b' ' => return Err(HeadFault::RequestLine.into()),
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            _ => return Err(HeadFault::Version.into()),
        };
        self.line_end(HeadFault::RequestLine)?;
        Ok(RequestLine { method, target, version })
    }

    /// The target and the space behind it: bytes that browsers and tools send in a path and a query, and
    /// that the server's parser takes (RFC 3986 has fewer).
    fn target(&mut self) -> Result<&'a [u8], Stop> {
        let from = self.at;
        match self.peek()? {
            b'/' => {}
            b' ' => return Err(HeadFault::RequestLine.into()),
            _ => return Err(HeadFault::Target.into()),
        }
        self.run(PATH)?;
        if self.peek()? == b'?' {
            self.run(QUERY)?;
        }
        let target = &self.bytes[from..self.at];
        if target.len() > MAX_TARGET {
            return Err(HeadFault::Target.into());
        }
        match self.peek()? {
            b' ' => self.at += 1,
            b'\r' => return Err(HeadFault::RequestLine.into()),
            _ => return Err(HeadFault::Target.into()),
        }
        Ok(target)
    }

    fn field(&mut self) -> Result<(&'a [u8], &'a [u8]), Stop> {
        let name = self.run(TOKEN)?;
        match self.peek()? {
            b':' if !name.is_empty() => self.at += 1,
            b' ' | b'\t' if name.is_empty() => return Err(HeadFault::Folded.into()),
            _ => return Err(HeadFault::FieldName.into()),
        }
        let value = self.value()?;
        self.line_end(HeadFault::FieldValue)?;
        Ok((name, value))
    }

    /// Passes over bytes of a class, up to the first that is of another.
    fn run(&mut self, class: u8) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&b| CLASSES[usize::from(b)] & class == 0).ok_or(Stop::More)?;
        self.at += len;
        Ok(&rest[..len])
    }

    /// The same for a field's value, which is most of a head: eight bytes at a time.
    fn value(&mut self) -> Result<&'a [u8], Stop> {
        let from = self.at;
        while let Some(eight) = self.bytes[self.at..].first_chunk::<8>() {
            if may_have_control(u64::from_le_bytes(*eight)) {
                break;
            }
            self.at += 8;
        }
        self.run(VALUE)?;
        Ok(&self.bytes[from..self.at])
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::More)
    }

    /// Passes over CR LF, which must come here; another byte than those and NUL is the fault given.
    fn line_end(&mut self, fault: HeadFault) -> Result<(), Stop> {
        match &self.bytes[self.at..] {
            [b'\r', b'\n', ..] => {
                self.at += 2;
                Ok(())
            }
            [] | [b'\r'] => Err(Stop::More),
            [b'\r' | b'\n' | 0, ..] => Err(HeadFault::LineEnding.into()),
            [_, ..] => Err(fault.into()),
        }
    }
}

/// The first line.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// What the fields say about where the body ends and where the request goes.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "four facts that are asked apart")]
struct Framing {
    length: bool,
    encoding: bool,
    host: bool,
    upgrade: bool,
}

impl Framing {
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadFault> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value.trim_ascii()),
            6 if name.eq_ignore_ascii_case(b"expect") => expectation(value.trim_ascii()),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value.trim_ascii()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.encoding(value.trim_ascii()),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        let allowed =
            |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if self.host || value.is_empty() || !value.iter().all(allowed) {
            return Err(HeadFault::Host);
        }
        self.host = true;
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        // 15 digits are 900 TB and fit every reader's integer.
        if self.length || value.is_empty() || value.len() > 15 || !value.iter().all(u8::is_ascii_digit) {
            return Err(HeadFault::ContentLength);
        }
        self.length = true;
        Ok(())
    }

    fn encoding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        if self.encoding || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadFault::TransferEncoding);
        }
        self.encoding = true;
        Ok(())
    }

    fn settle(&self, version: Version, more: bool) -> Result<(), HeadFault> {
        if self.length && self.encoding {
            return Err(HeadFault::LengthAndEncoding);
        }
        if self.encoding && version == Version::Http10 {
            return Err(HeadFault::TransferEncoding);
        }
        if !self.host && version == Version::Http11 {
            return Err(HeadFault::Host);
        }
        if self.upgrade && more {
            return Err(HeadFault::EarlyUpgradeBytes);
        }
        Ok(())
    }
}

fn expectation(value: &[u8]) -> Result<(), HeadFault> {
    if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(HeadFault::Expectation) }
}

/// Whether one of eight bytes is below 0x20 or is 0x7f. Says yes a little too often: to a byte from 0x80 on,
/// and to one behind a control byte.
fn may_have_control(eight: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let below = eight.wrapping_sub(ONES * 0x20);
    let above = eight.wrapping_add(ONES);
    (below | above | eight) & HIGH != 0
}

/// Bytes of a token (RFC 9110 section 5.6.2).
const TOKEN: u8 = 1;
/// Bytes of a field's value: no control character but the tab.
const VALUE: u8 = 2;
/// Bytes of a path that are taken.
const PATH: u8 = 4;
/// Bytes of a query that are taken, its question mark among them.
const QUERY: u8 = 8;

/// The classes of every byte, as a table: this is asked for each byte of each head.
#[allow(clippy::cast_possible_truncation, reason = "the table has 256 places")]
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let b = place as u8;
        let visible = b > 0x20 && b < 0x7f && !matches!(b, b'#' | b'<' | b'>');
        let mark = matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^')
            || matches!(b, b'_' | b'`' | b'|' | b'~');
        if b.is_ascii_alphanumeric() || mark {
            table[place] |= TOKEN;
        }
        if (b >= 0x20 && b != 0x7f) || b == b'\t' {
            table[place] |= VALUE;
        }
        if visible && b != b'`' && b != b'?' {
            table[place] |= PATH;
        }
        if visible && b != b'"' {
            table[place] |= QUERY;
        }
        place += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { max_bytes: 16 * 1024, max_fields: 64 };

    fn check(fields: &str) -> Result<Progress, HeadFault> {
        examine(format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes(), BOUNDS)
    }

    #[test]
    fn a_plain_head_is_whole_and_the_body_is_left_alone() {
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: a:80\r\nX: \xc3\xa9\r\n\r\n";
        assert_eq!(examine(head, BOUNDS), Ok(Progress::Whole { len: head.len() }));
        let with_body = [&head[..], b"body"].concat();
        assert_eq!(examine(&with_body, BOUNDS), Ok(Progress::Whole { len: head.len() }));
        assert_eq!(examine(&head[..head.len() - 1], BOUNDS), Ok(Progress::Partial));
        assert_eq!(examine(b"", BOUNDS), Ok(Progress::Partial));
    }

    #[test]
    fn framing_has_one_reading_or_none() {
        for (fields, fault) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", HeadFault::LengthAndEncoding),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", HeadFault::ContentLength),
            ("Content-Length: 1\r\ncontent-length: 1\r\n", HeadFault::ContentLength),
            ("Content-Length: 1, 1\r\n", HeadFault::ContentLength),
            ("Content-Length: +1\r\n", HeadFault::ContentLength),
            ("Content-Length: 0x1\r\n", HeadFault::ContentLength),
            ("Content-Length:\r\n", HeadFault::ContentLength),
            ("Transfer-Encoding: gzip, chunked\r\n", HeadFault::TransferEncoding),
            ("Transfer-Encoding: chunked, chunked\r\n", HeadFault::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HeadFault::TransferEncoding),
            ("Transfer-Encoding: identity\r\n", HeadFault::TransferEncoding),
            ("Transfer-Encoding: xchunked\r\n", HeadFault::TransferEncoding),
            ("Transfer-Encoding : chunked\r\n", HeadFault::FieldName),
            ("Transfer-Encoding:\x0bchunked\r\n", HeadFault::FieldValue),
            ("X: a\r\n b\r\n", HeadFault::Folded),
            ("X: a\r\n\tb\r\n", HeadFault::Folded),
            ("X: a\nY: b\r\n", HeadFault::LineEnding),
            ("X: a\rb\r\n", HeadFault::LineEnding),
            ("X: a\0b\r\n", HeadFault::LineEnding),
            ("X\r\n", HeadFault::FieldName),
            (": a\r\n", HeadFault::FieldName),
            ("Host: b\r\n", HeadFault::Host),
            ("Expect: something\r\n", HeadFault::Expectation),
        ] {
            assert_eq!(check(fields), Err(fault), "{fields:?}");
        }
        assert!(check("Transfer-Encoding: Chunked\r\n").is_ok());
        assert!(check("Content-Length: 0\r\n").is_ok());
    }

    #[test]
    fn the_request_line_is_three_words_and_a_path() {
        for (line, fault) in [
            ("GET  / HTTP/1.1", HeadFault::RequestLine),
            ("GET /", HeadFault::RequestLine),
            (" GET / HTTP/1.1", HeadFault::RequestLine),
            ("G(T / HTTP/1.1", HeadFault::RequestLine),
            ("GET http://a/ HTTP/1.1", HeadFault::Target),
            ("OPTIONS * HTTP/1.1", HeadFault::Target),
            ("GET /a#b HTTP/1.1", HeadFault::Target),
            ("GET /\u{e9} HTTP/1.1", HeadFault::Target),
            ("GET /\t HTTP/1.1", HeadFault::Target),
            ("GET /x y HTTP/1.1", HeadFault::RequestLine),
            ("CONNECT /a HTTP/1.1", HeadFault::Method),
            ("GET / HTTP/2.0", HeadFault::Version),
            ("GET / http/1.1", HeadFault::Version),
            ("", HeadFault::RequestLine),
        ] {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(examine(head.as_bytes(), BOUNDS), Err(fault), "{line:?}");
        }
        assert_eq!(examine(b"GET / HTTP/1.1\r\n\r\n", BOUNDS), Err(HeadFault::Host));
        assert!(examine(b"GET / HTTP/1.0\r\n\r\n", BOUNDS).is_ok());
        assert_eq!(
            examine(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BOUNDS),
            Err(HeadFault::TransferEncoding)
        );
    }

    #[test]
    fn a_target_that_is_taken_is_one_for_the_servers_parser_too() {
        for byte in 0x21..0x7f_u8 {
            for target in [format!("/a{}b", byte as char), format!("/a?{}", byte as char)] {
                let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
                if examine(head.as_bytes(), BOUNDS).is_ok() {
                    let parsed = target.parse::<http::uri::PathAndQuery>();
                    assert_eq!(
                        parsed.ok().as_ref().map(http::uri::PathAndQuery::as_str),
                        Some(target.as_str())
                    );
                }
            }
        }
    }

    #[test]
    fn an_upgrade_brings_no_bytes_along() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
        assert!(examine(head.as_bytes(), BOUNDS).is_ok());
        assert_eq!(examine(format!("{head}x").as_bytes(), BOUNDS), Err(HeadFault::EarlyUpgradeBytes));
    }

    #[test]
    fn size_and_count_are_bounded_before_the_end_has_come() {
        let bounds = Bounds { max_bytes: 64, max_fields: 2 };
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(64));
        assert_eq!(examine(long.as_bytes(), bounds), Err(HeadFault::TooLarge));
        let many = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n";
        assert_eq!(examine(many, bounds), Err(HeadFault::TooManyFields));
    }

    #[test]
    fn a_control_byte_is_found_wherever_it_stands() {
        for byte in 0..=255_u8 {
            for place in 0..24 {
                let mut value = [b'v'; 24];
                value[place] = byte;
                let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
                head.extend_from_slice(&value);
                head.extend_from_slice(b"\r\n\r\n");
                let fine = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
                assert_eq!(examine(&head, BOUNDS).is_ok(), fine, "{byte:#04x} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = examine(&bytes, BOUNDS);
        }

        #[test]
        fn what_is_taken_is_read_alike_by_the_servers_parser(
            fields in "([A-Za-z-]{1,12}|Content-Length|Transfer-Encoding)(:| :|)[ \t\r\nA-Za-z0-9,]{0,14}",
        ) {
            let head = format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            if let Ok(Progress::Whole { len }) = examine(head.as_bytes(), BOUNDS) {
                let mut headers = [httparse::EMPTY_HEADER; 64];
                let mut request = httparse::Request::new(&mut headers);
                prop_assert_eq!(request.parse(head.as_bytes()), Ok(httparse::Status::Complete(len)));
            }
        }
    }
}
