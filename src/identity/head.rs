//! The guard over the raw bytes of an HTTP/1 request head (RFC 9112), before any parser sees them.
//!
//! Parsers differ on what they forgive, and a request that two of them read differently can be smuggled
//! past one to the other. So this guard forgives nothing: a head either has one reading or is refused.
//! It does not build a request; the server's parser does that from the same bytes afterwards.

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

/// Looks at the bytes that have come so far.
///
/// # Errors
/// [`HeadFault`]: the connection must be answered with it and closed.
pub fn examine(bytes: &[u8], bounds: Bounds) -> Result<Progress, HeadFault> {
    let seen = &bytes[..bytes.len().min(bounds.max_bytes)];
    let Some(end) = find_end(seen) else {
        return if bytes.len() >= bounds.max_bytes {
            Err(HeadFault::TooLarge)
        } else {
            Ok(Progress::Partial)
        };
    };
    let head = &bytes[..end];
    let mut lines = Lines { rest: head };
    let version = request_line(lines.next().ok_or(HeadFault::RequestLine)??)?;
    let mut framing = Framing::default();
    let mut count = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > bounds.max_fields {
            return Err(HeadFault::TooManyFields);
        }
        framing.field(line)?;
    }
    framing.settle(version, bytes.len() > end)?;
    Ok(Progress::Whole { len: end })
}

/// Offset behind the first empty line. A bare LF LF also ends the search: the line check then refuses it.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\n', &bytes[from..]) {
        let next = from + at + 1;
        match &bytes[next..] {
            [b'\r', b'\n', ..] => return Some(next + 2),
            [b'\n', ..] => return Some(next + 1),
            _ => from = next,
        }
    }
    None
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], HeadFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        let Some(line) = line.strip_suffix(b"\r") else { return Some(Err(HeadFault::LineEnding)) };
        if memchr::memchr2(b'\r', 0, line).is_some() {
            return Some(Err(HeadFault::LineEnding));
        }
        Some(Ok(line))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn request_line(line: &[u8]) -> Result<Version, HeadFault> {
    let mut words = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(HeadFault::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|&b| is_token(b)) {
        return Err(HeadFault::RequestLine);
    }
    if method == b"CONNECT" || method == b"TRACE" {
        return Err(HeadFault::Method);
    }
    if target.first() != Some(&b'/') || target.len() > MAX_TARGET || !is_target(target) {
        return Err(HeadFault::Target);
    }
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ => Err(HeadFault::Version),
    }
}

/// Whether the bytes are ones that browsers and tools send in a path and a query, and that the server's
/// parser takes (RFC 3986 has fewer).
fn is_target(target: &[u8]) -> bool {
    let question = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(question);
    let visible = |b: u8| (0x21..0x7f).contains(&b) && !matches!(b, b'#' | b'<' | b'>');
    path.iter().all(|&b| visible(b) && b != b'`') && query.iter().all(|&b| visible(b) && b != b'"')
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
    fn field(&mut self, line: &[u8]) -> Result<(), HeadFault> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(HeadFault::Folded);
        }
        let colon = memchr::memchr(b':', line).ok_or(HeadFault::FieldName)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&b| is_token(b)) {
            return Err(HeadFault::FieldName);
        }
        if has_control(value) {
            return Err(HeadFault::FieldValue);
        }
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

/// Whether there is a control character other than the tab.
#[allow(clippy::needless_bitwise_bool, reason = "without branches the compiler makes the loop wide")]
fn has_control(value: &[u8]) -> bool {
    value.iter().fold(false, |found, &b| found | ((b < 0x20) & (b != b'\t')) | (b == 0x7f))
}

fn expectation(value: &[u8]) -> Result<(), HeadFault> {
    if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(HeadFault::Expectation) }
}

/// RFC 9110 section 5.6.2, as a table: this runs for every byte of every field name.
#[allow(clippy::cast_possible_truncation, reason = "the table has 256 places")]
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut b = 0;
        while b < 256 {
            let c = b as u8;
            table[b] = c.is_ascii_alphanumeric()
                || matches!(
                    c,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            b += 1;
        }
        table
    };
    TOKEN[byte as usize]
}

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
