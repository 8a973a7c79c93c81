//! A request that someone captured: as it stood on the wire, as `curl --trace` wrote it down, or in a HAR file.
//!
//! Nothing is put right: what the capture lost (curl's `-v` loses the body) is lost.

use super::Failure;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A captured request.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) method: String,
    /// Scheme and host, as far as the capture tells.
    pub(super) origin: String,
    pub(super) target: String,
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Captured {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Failure> {
        if let Ok(har) = serde_json::from_slice::<serde_json::Value>(bytes)
            && har.get("log").is_some()
        {
            return from_har(&har);
        }
        if bytes.starts_with(b"== Info") || bytes.starts_with(b"=> Send") {
            return from_wire(&traced(&String::from_utf8_lossy(bytes)));
        }
        from_wire(bytes)
    }
}

fn unreadable(why: &str) -> Failure {
    Failure::new(format!("the captured request cannot be read: {why}"))
}

/// The bytes that `curl --trace` says were sent.
fn traced(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut is_sent = false;
    for line in text.lines() {
        if line.starts_with("=> Send header") || line.starts_with("=> Send data") {
            is_sent = true;
        } else if line.starts_with("=> ") || line.starts_with("<= ") || line.starts_with("== ") {
            is_sent = false;
        } else if let (true, Some((offset, rest))) = (is_sent, line.split_once(": "))
            && offset.len() == 4
        {
            // Sixteen pairs of hex digits, then the same as text.
            let pairs = rest.as_bytes().chunks(3).take(16);
            let digits = pairs.map_while(|pair| std::str::from_utf8(pair.get(..2)?).ok());
            bytes.extend(digits.map_while(|pair| u8::from_str_radix(pair, 16).ok()));
        }
    }
    bytes
}

fn from_wire(bytes: &[u8]) -> Result<Captured, Failure> {
    let (end, gap) = memchr::memmem::find(bytes, b"\r\n\r\n")
        .map(|at| (at, 4))
        .or_else(|| memchr::memmem::find(bytes, b"\n\n").map(|at| (at, 2)))
        .ok_or_else(|| unreadable("no empty line after its fields"))?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| unreadable("its fields are no text"))?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(unreadable("no `POST /path HTTP/1.1` in its first line"));
    };
    let pairs = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()));
    let fields = fields(pairs)?;
    let host = fields.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    Ok(Captured {
        method: method.to_owned(),
        origin: format!("https://{host}"),
        target: target.to_owned(),
        body: bytes[end + gap..].to_vec(),
        fields,
    })
}

fn from_har(har: &serde_json::Value) -> Result<Captured, Failure> {
    let request = &har["log"]["entries"][0]["request"];
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let url = text(&request["url"]).ok_or_else(|| unreadable("its first entry has no URL"))?;
    let url: http::Uri = url.parse().map_err(|_| unreadable("its URL is none"))?;
    let pairs = request["headers"].as_array().into_iter().flatten();
    let pairs: Vec<_> = pairs.filter_map(|one| Some((text(&one["name"])?, text(&one["value"])?))).collect();
    Ok(Captured {
        method: text(&request["method"]).unwrap_or_else(|| "POST".into()),
        origin: format!(
            "{}://{}",
            url.scheme_str().unwrap_or("https"),
            url.authority().map_or("localhost", http::uri::Authority::as_str)
        ),
        target: url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        fields: fields(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))?,
        body: text(&request["postData"]["text"]).unwrap_or_default().into_bytes(),
    })
}

fn fields<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Result<HeaderMap, Failure> {
    let mut fields = HeaderMap::new();
    // HTTP/2's own, as browsers write them into a HAR file, are no fields.
    for (name, value) in pairs.filter(|(name, _)| !name.starts_with(':')) {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| unreadable("a field's name is none"))?;
        let value = HeaderValue::from_str(value).map_err(|_| unreadable("a field's value is none"))?;
        fields.append(name, value);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_is_read_from_each_kind_of_capture() {
        let wire = b"POST /a?b=c HTTP/1.1\r\nHost: h.example\r\nX-Sig: 1\r\nX-Sig: 2\r\n\r\n{\"a\": 1}\n";
        let hex =
            |bytes: &[u8]| bytes.iter().map(|byte| ::hex::encode([*byte])).collect::<Vec<_>>().join(" ");
        let trace = |bytes: &[u8], what: &str| {
            let lines = bytes.chunks(16).enumerate();
            let lines = lines.map(|(at, line)| format!("{:04x}: {:<48}dead beef\n", at * 16, hex(line)));
            format!("=> Send {what}, {} bytes (0x0)\n{}", bytes.len(), lines.collect::<String>())
        };
        let end = wire.len() - 9;
        let trace = format!(
            "== Info: Connected\n{}{}== Info: done\n<= Recv header, 4 bytes (0x4)\n0000: 58 58 58 58  XXXX\n",
            trace(&wire[..end], "header"),
            trace(&wire[end..], "data")
        );
        let har = serde_json::json!({ "log": { "entries": [{ "request": {
            "method": "POST", "url": "https://h.example/a?b=c", "postData": { "text": "{\"a\": 1}\n" },
            "headers": [{ "name": ":path", "value": "/a" }, { "name": "X-Sig", "value": "1" }, { "name": "x-sig", "value": "2" }],
        } }] } });
        for capture in [wire.to_vec(), trace.into_bytes(), har.to_string().into_bytes()] {
            let found = Captured::read(&capture).unwrap();
            assert_eq!(
                (&*found.method, &*found.origin, &*found.target),
                ("POST", "https://h.example", "/a?b=c")
            );
            assert_eq!(found.fields.get_all("x-sig").iter().count(), 2);
            assert_eq!(found.body, b"{\"a\": 1}\n");
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        for bad in ["", "POST", "POST /\r\nno end", "\n\n"] {
            assert!(Captured::read(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
