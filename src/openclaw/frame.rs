//! A client's frame, read as far as it must be: which call it is and where its members stand.
//!
//! Nothing is built and nothing is copied: one pass over the bytes that keeps slices of three members.
//! What two readers could read in two ways (a member named twice, a name or method written with
//! escapes) is no frame here, so nothing is let through that the gateway would understand otherwise.

/// Most objects and arrays inside each other.
pub const MAX_DEPTH: u32 = 128;

/// Most bytes of an id, quotes included: it is sent back.
pub const MAX_ID: usize = 512;

/// Most bytes of a `traceparent`, as gateways have it.
const MAX_TRACE: usize = 128;

/// A request frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// The id as it stands there, quotes included; to be sent back as it came.
    pub id: &'a str,
    /// The method.
    pub method: &'a str,
    /// Whether it brings a trace of its own.
    pub is_traced: bool,
    /// That trace as it stands there, quotes included: a text without escapes that gateways would take. None
    /// where it is anything else.
    pub trace: Option<&'a str>,
    /// Where its last brace stands.
    pub close: usize,
    /// For sockets that lead to many gateways: which one, as `gatewayId` has it. None where that is missing, no
    /// text, or written with escapes.
    pub gateway: Option<&'a str>,
    /// The parameters as they stand there; what is in them was not looked at.
    pub params: Option<&'a str>,
    /// Whether it has members that are none of these.
    pub has_others: bool,
}

/// Why bytes are no request frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They are no JSON object.
    #[error("no JSON object")]
    Syntax,
    /// They are nested too deeply.
    #[error("nested too deeply")]
    Depth,
    /// A name, the type or the method is written with escapes.
    #[error("a member is written with escapes")]
    Escaped,
    /// A member stands there twice.
    #[error("a member is repeated")]
    Repeated,
    /// The type is not `req`.
    #[error("at /type: must be req")]
    Type,
    /// The id is missing, no text, or too long.
    #[error("at /id: must be string")]
    Id,
    /// The method is missing or no text.
    #[error("at /method: must be string")]
    Method,
}

/// Reads a frame.
///
/// # Errors
/// The first [`Fault`], with the id where it was read before.
pub fn read(text: &[u8]) -> Result<Call<'_>, (Fault, Option<&str>)> {
    let mut members = Members::default();
    let close = members.collect(text).map_err(|fault| (fault, members.named()))?;
    let fail = |fault| (fault, members.named());
    let word = |value: Option<&'_ [u8]>, fault| match value {
        Some([b'"', inner @ .., b'"']) if inner.contains(&b'\\') => Err(fail(Fault::Escaped)),
        Some([b'"', inner @ .., b'"']) => Ok(inner.len() + 2),
        Some(_) | None => Err(fail(fault)),
    };
    word(members.kind, Fault::Type)?;
    if members.kind != Some(b"\"req\"") {
        return Err(fail(Fault::Type));
    }
    let id = members.named().ok_or((Fault::Id, None))?;
    if !id.starts_with('"') {
        return Err(fail(Fault::Id));
    }
    word(members.method, Fault::Method)?;
    let method = members.method.and_then(|method| std::str::from_utf8(&method[1..method.len() - 1]).ok());
    let method = method.ok_or_else(|| fail(Fault::Method))?;
    Ok(Call {
        id,
        method,
        is_traced: members.trace.is_some(),
        trace: members.trace(),
        close,
        gateway: members.gateway(),
        params: members.params.and_then(|params| std::str::from_utf8(params).ok()),
        has_others: members.has_others,
    })
}

/// Which of many gateways a frame is for, though it is no call.
#[must_use]
pub fn gateway(text: &[u8]) -> Option<&str> {
    let mut members = Members::default();
    // What stands before the fault can be told.
    let _ = members.collect(text);
    members.gateway()
}

/// Whether a text is an object that names no gateway, however it is read.
#[must_use]
pub fn names_none(text: &[u8]) -> bool {
    let mut members = Members::default();
    members.collect(text).is_ok() && members.gateway.is_none()
}

/// The members that matter, as they stand there.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    trace: Option<&'a [u8]>,
    gateway: Option<&'a [u8]>,
    params: Option<&'a [u8]>,
    has_others: bool,
}

impl<'a> Members<'a> {
    /// The text of the gateway's id.
    fn gateway(&self) -> Option<&'a str> {
        match self.gateway? {
            [b'"', inner @ .., b'"'] if inner.iter().all(|b| *b >= 0x20 && *b != b'\\') => {
                std::str::from_utf8(inner).ok()
            }
            _ => None,
        }
    }

    fn trace(&self) -> Option<&'a str> {
        let trace = self.trace?;
        match trace {
            [b'"', inner @ .., b'"'] if inner.len() <= MAX_TRACE && inner.iter().all(|b| is_plain(*b)) => {
                std::str::from_utf8(trace).ok()
            }
            _ => None,
        }
    }

    /// The id, where it can be sent back: a text or a number of bounded length.
    fn named(&self) -> Option<&'a str> {
        let id = self.id.filter(|id| id.len() <= MAX_ID)?;
        let is_plain = matches!(id.first(), Some(b'"' | b'-' | b'0'..=b'9')) && !id.iter().any(|b| *b < 0x20);
        std::str::from_utf8(id).ok().filter(|_| is_plain)
    }

    /// Walks the object; where its last brace stands.
    fn collect(&mut self, text: &'a [u8]) -> Result<usize, Fault> {
        let mut at = blank(text, 0);
        at = expect(text, at, b'{')?;
        at = blank(text, at);
        let mut first = true;
        loop {
            match text.get(at) {
                Some(b'}') if first => break,
                Some(b'"') => {}
                Some(_) | None => return Err(Fault::Syntax),
            }
            first = false;
            let end = string(text, at)?;
            let name = &text[at + 1..end - 1];
            at = expect(text, blank(text, end), b':')?;
            at = blank(text, at);
            let end = value(text, at)?;
            self.keep(name, &text[at..end])?;
            at = blank(text, end);
            match text.get(at) {
                Some(b',') => at = blank(text, at + 1),
                Some(b'}') => break,
                Some(_) | None => return Err(Fault::Syntax),
            }
        }
        if blank(text, at + 1) == text.len() { Ok(at) } else { Err(Fault::Syntax) }
    }

    fn keep(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Fault> {
        let place = match name {
            b"type" => &mut self.kind,
            b"id" => &mut self.id,
            b"method" => &mut self.method,
            b"traceparent" => &mut self.trace,
            b"gatewayId" => &mut self.gateway,
            b"params" => &mut self.params,
            other if other.contains(&b'\\') => return Err(Fault::Escaped),
            _ => {
                self.has_others = true;
                return Ok(());
            }
        };
        if place.replace(value).is_some() { Err(Fault::Repeated) } else { Ok(()) }
    }
}

/// Printable ASCII that needs no escape in a text.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && !matches!(byte, b'"' | b'\\')
}

fn blank(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn expect(text: &[u8], at: usize, byte: u8) -> Result<usize, Fault> {
    if text.get(at) == Some(&byte) { Ok(at + 1) } else { Err(Fault::Syntax) }
}

/// The end of a string that begins at `at`, behind its quote.
fn string(text: &[u8], at: usize) -> Result<usize, Fault> {
    let mut at = at + 1;
    loop {
        let rest = text.get(at..).ok_or(Fault::Syntax)?;
        let found = memchr::memchr2(b'"', b'\\', rest).ok_or(Fault::Syntax)?;
        at += found;
        if text[at] == b'"' {
            return Ok(at + 1);
        }
        at += 2;
    }
}

/// The end of a value that begins at `at`.
fn value(text: &[u8], at: usize) -> Result<usize, Fault> {
    match text.get(at).ok_or(Fault::Syntax)? {
        b'"' => string(text, at),
        b'{' | b'[' => nested(text, at),
        _ => {
            let rest = &text[at..];
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            match rest.iter().position(is_end).unwrap_or(rest.len()) {
                0 => Err(Fault::Syntax),
                length => Ok(at + length),
            }
        }
    }
}

/// The end of an object or array. Which bracket closes which is not looked at: where they do not match,
/// no reader reads anything.
fn nested(text: &[u8], mut at: usize) -> Result<usize, Fault> {
    let mut depth = 0;
    loop {
        match text.get(at).ok_or(Fault::Syntax)? {
            b'"' => {
                at = string(text, at)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth >= MAX_DEPTH {
                    return Err(Fault::Depth);
                }
            }
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) -> Result<(&str, &str), Fault> {
        read(text.as_bytes()).map(|call| (call.id, call.method)).map_err(|(fault, _)| fault)
    }

    #[test]
    fn a_call_is_found_wherever_its_members_stand() {
        assert_eq!(check(r#"{"type":"req","id":"a","method":"status"}"#), Ok(("\"a\"", "status")));
        let odd = " { \"params\" : {\"method\":\"x\",\"a\":[1,{\"}\":\"\\\"]\"}]} , \"method\":\"cron.list\",\n\"id\":\"\\u0041\",\"type\":\"req\" } ";
        assert_eq!(check(odd), Ok(("\"\\u0041\"", "cron.list")));
        let traced = read(br#"{"type":"req","id":"a","method":"m","traceparent":"00-1"}"#).unwrap();
        assert!(traced.is_traced && traced.close == 56, "{traced:?}");
        assert_eq!(traced.trace, Some("\"00-1\""));
    }

    #[test]
    fn a_trace_is_a_plain_text_that_gateways_take() {
        let long = |count: usize| format!("\"{}\"", "x".repeat(count));
        for (trace, good) in [
            (long(0), true),
            (long(128), true),
            (long(129), false),
            ("7".to_owned(), false),
            ("\"\\u0041\"".to_owned(), false),
            ("\"\u{e9}\"".to_owned(), false),
            ("[\"a\"]".to_owned(), false),
        ] {
            let text = format!("{{\"type\":\"req\",\"id\":\"a\",\"method\":\"m\",\"traceparent\":{trace}}}");
            let call = read(text.as_bytes()).unwrap();
            assert_eq!((call.is_traced, call.trace), (true, good.then_some(trace.as_str())));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_call() {
        for (text, fault) in [
            ("", Fault::Syntax),
            ("[]", Fault::Syntax),
            ("{}", Fault::Type),
            (r#"{"type":"req"} x"#, Fault::Syntax),
            (r#"{"type":"req","id":"a","method":"status","method":"config.set"}"#, Fault::Repeated),
            (r#"{"type":"req","id":"a","method":"status","m\u0065thod":"config.set"}"#, Fault::Escaped),
            (r#"{"type":"req","id":"a","method":"st\u0061tus"}"#, Fault::Escaped),
            (r#"{"type":"event","id":"a","method":"status"}"#, Fault::Type),
            (r#"{"type":"req","id":7,"method":"status"}"#, Fault::Id),
            (r#"{"type":"req","method":"status"}"#, Fault::Id),
            (r#"{"type":"req","id":"a"}"#, Fault::Method),
            (r#"{"type":"req","id":"a","method":["status"]}"#, Fault::Method),
            ("\u{feff}{}", Fault::Syntax),
        ] {
            assert_eq!(check(text), Err(fault), "{text}");
        }
        let deep = format!(r#"{{"type":"req","id":"a","params":{}"#, "[".repeat(200));
        assert_eq!(check(&deep), Err(Fault::Depth));
    }

    #[test]
    fn an_id_that_was_read_can_be_answered() {
        assert_eq!(read(br#"{"id":7,"type":"req","method":"m"}"#), Err((Fault::Id, Some("7"))));
        assert_eq!(read(br#"{"id":{"a":1},"type":"req","method":"m"}"#), Err((Fault::Id, None)));
        let long = format!(r#"{{"id":"{}","type":"req","method":"m"}}"#, "x".repeat(MAX_ID));
        assert_eq!(read(long.as_bytes()), Err((Fault::Id, None)));
    }

    #[test]
    fn a_frame_for_one_of_many_says_which() {
        let call =
            read(br#"{"gatewayId":"ceo","type":"req","id":"a","method":"m","params":{"x":[1]}}"#).unwrap();
        assert_eq!((call.gateway, call.params, call.has_others), (Some("ceo"), Some(r#"{"x":[1]}"#), false));
        let call =
            read(br#"{"type":"req","id":"a","method":"m","expectedProfileId":"p","gatewayId":7}"#).unwrap();
        assert_eq!((call.gateway, call.params, call.has_others), (None, None, true));
        let twice = br#"{"gatewayId":"ceo","gatewayId":"sec","type":"req","id":"a","method":"m"}"#;
        assert_eq!(read(twice), Err((Fault::Repeated, None)));
        assert_eq!(gateway(br#"{"gatewayId":"ceo","type":"event"}"#), Some("ceo"));
        assert_eq!(gateway(br#"{"gatewayId":"c\u0065o"}"#), None);
        assert_eq!(gateway(b"no frame"), None);
        assert!(names_none(br#"{"a":{"gatewayId":"x"}}"#));
        for other in [&br#"{"gatewayId":7}"#[..], br#"{"g\u0061tewayId":"x"}"#, b"[]", b"{"] {
            assert!(!names_none(other));
        }
    }

    proptest! {
        /// What a whole parser reads as a call, this reads alike; and it never reads another.
        #[test]
        fn as_a_whole_parser_reads_it(id in "\\PC{0,8}", method in "[a-z.]{1,12}", extra in "\\PC{0,20}", n in any::<i32>()) {
            let frame = serde_json::json!({"params": {"text": extra, "n": [n, null, true]}, "id": id, "type": "req", "method": method});
            let text = frame.to_string();
            let call = read(text.as_bytes()).unwrap();
            prop_assert_eq!(call.method, method);
            prop_assert_eq!(serde_json::from_str::<String>(call.id).unwrap(), id);
            prop_assert_eq!(call.close, text.len() - 1);
        }

        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&text);
        }
    }
}
