//! An HTTP/1.1 client that keeps nothing from the test: the bytes it sends are the bytes given, and the
//! fields it returns are all the fields that came. Every answer is inspected before a test sees it.

use super::inspect::inspect;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for an answer's next bytes; a test that runs into it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Counted(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

impl Request {
    /// Any method.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), fields: Vec::new(), body: Body::None }
    }

    /// `GET`.
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `POST` of JSON.
    pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target).field("Content-Type", "application/json").body(body)
    }

    /// `PUT` of JSON.
    pub(crate) fn put(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self::new("PUT", target).field("Content-Type", "application/json").body(body)
    }

    /// One more field; names may repeat.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// A body with `Content-Length`.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Body::Counted(body.as_ref().to_vec());
        self
    }

    /// A body in chunks.
    pub(crate) fn chunks(mut self, chunks: &[&[u8]]) -> Self {
        self.body = Body::Chunked(chunks.iter().map(|chunk| chunk.to_vec()).collect());
        self
    }

    /// The bytes on the wire.
    fn bytes(&self, host: SocketAddr, extra: &[(String, String)]) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            out.extend(format!("Host: {host}\r\n").bytes());
        }
        for (name, value) in self.fields.iter().chain(extra) {
            out.extend(format!("{name}: {value}\r\n").bytes());
        }
        match &self.body {
            Body::None => out.extend(b"\r\n"),
            Body::Counted(body) => {
                out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                out.extend(body);
            }
            Body::Chunked(chunks) => {
                out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                    out.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    out.extend(chunk);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n\r\n");
            }
        }
        out
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// All fields as they came, repeated ones too.
    pub(crate) fields: Vec<(String, String)>,
    /// The body, unchunked.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field that stands at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands more than once: {self:?}");
        value
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of a refusal by the edge; empty for anything else.
    pub(crate) fn code(&self) -> String {
        let body = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        if body.get("request_id").is_none() {
            return String::new();
        }
        body.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }

    /// Asserts on the status, showing the whole answer when it is another.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.fields, self.text());
        self
    }

    /// Asserts on a refusal.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{:?}\n{}", self.fields, self.text());
        self
    }

    /// All that a caller can see, without what differs from request to request.
    pub(crate) fn shape(&self) -> String {
        let id = self.field("x-request-id").unwrap_or("-").to_owned();
        let mut fields: Vec<String> = self
            .fields
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("date") && !name.eq_ignore_ascii_case("ratelimit"))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        fields.sort();
        format!("{} {fields:?} {}", self.status, self.text()).replace(&id, "<id>")
    }
}

/// Whether answers are held against the edge's promises.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// The edge answers.
    ToTheEdgesPromises,
    /// Someone else answers, who promised nothing of the kind.
    ToNothing,
}

/// Someone who calls: an address to call at, and fields that go with every request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    fields: Vec<(String, String)>,
    held: Held,
}

impl Client {
    /// A caller of the edge, without a key.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, fields: Vec::new(), held: Held::ToTheEdgesPromises }
    }

    /// A caller of something else than the edge.
    pub(crate) fn past_the_edge(address: SocketAddr) -> Self {
        Self { address, fields: Vec::new(), held: Held::ToNothing }
    }

    /// The same caller with one more field on every request.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut fields = self.fields.clone();
        fields.push((name.into(), value.into()));
        Self { address: self.address, fields, held: self.held }
    }

    /// Sends on a connection of its own.
    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.try_send(request).unwrap_or_else(|error| panic!("{error}: {request:?}"))
    }

    /// The same, for tests in which the edge may be gone.
    pub(crate) fn try_send(&self, request: &Request) -> std::io::Result<Answer> {
        let mut connection = Connection::try_open(self.address, self.held)?;
        let mut fields = self.fields.clone();
        fields.push(("Connection".into(), "close".into()));
        connection.write(&request.bytes(self.address, &fields))?;
        connection.answer(&request.method)?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }

    /// `GET`.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send(&Request::get(target))
    }

    /// `POST` of JSON.
    pub(crate) fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(&Request::post(target, body))
    }

    /// `PUT` of JSON.
    pub(crate) fn put(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(&Request::put(target, body))
    }

    /// Sends a request whose answer has no end, and gives the bare connection.
    pub(crate) fn begin(&self, request: &Request) -> std::io::Result<TcpStream> {
        let mut connection = Connection::try_open(self.address, self.held)?;
        connection.write(&request.bytes(self.address, &self.fields))?;
        Ok(connection.stream)
    }

    /// A connection that stays open.
    pub(crate) fn connection(&self) -> Connection {
        let mut connection = Connection::try_open(self.address, self.held).expect("the edge listens");
        connection.fields.clone_from(&self.fields);
        connection
    }

    /// Sends these very bytes; all answers until the server closes or says that it keeps the connection.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Raw {
        let mut connection = self.connection();
        // A server that refuses early may close while bytes are still on the way.
        let _ = connection.write(bytes);
        let mut answers = Vec::new();
        let closed = loop {
            match connection.answer("GET") {
                Ok(Some(answer)) => {
                    let stays = !answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
                    answers.push(answer);
                    if stays && connection.buffer.is_empty() {
                        break false;
                    }
                }
                Ok(None) | Err(_) => break true,
            }
        };
        Raw { answers, closed }
    }
}

/// What came back for raw bytes.
#[derive(Debug)]
pub(crate) struct Raw {
    /// The answers, in order.
    pub(crate) answers: Vec<Answer>,
    /// Whether the server closed.
    pub(crate) closed: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    fields: Vec<(String, String)>,
    peer: SocketAddr,
    held: Held,
}

impl Connection {
    fn try_open(address: SocketAddr, held: Held) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new(), fields: Vec::new(), peer: address, held })
    }

    /// Sends a request and reads its answer; the connection stays open.
    pub(crate) fn send(&mut self, request: &Request) -> Answer {
        self.begin(request);
        self.finish(request)
    }

    /// Sends a request without waiting for the answer.
    pub(crate) fn begin(&mut self, request: &Request) {
        let bytes = request.bytes(self.peer, &self.fields);
        self.write(&bytes).expect("the edge reads");
    }

    /// Reads the answer to a request that was begun.
    pub(crate) fn finish(&mut self, request: &Request) -> Answer {
        let answer = self.answer(&request.method).unwrap_or_else(|error| panic!("{error}: {request:?}"));
        answer.unwrap_or_else(|| panic!("closed without an answer: {request:?}"))
    }

    /// Sends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Whether the server closes without sending more.
    pub(crate) fn is_closed_by_server(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }

    /// Reads one answer; none when the server closed instead. Interim answers (1xx) are passed over.
    pub(crate) fn answer(&mut self, method: &str) -> std::io::Result<Option<Answer>> {
        loop {
            let Some(head) = self.head()? else { return Ok(None) };
            if (100..200).contains(&head.status) && head.status != 101 {
                continue;
            }
            let body = self.body(&head, method)?;
            let answer = Answer { status: head.status, fields: head.fields, body };
            match self.held {
                Held::ToTheEdgesPromises => inspect(&answer),
                Held::ToNothing => {}
            }
            return Ok(Some(answer));
        }
    }

    fn head(&mut self) -> std::io::Result<Option<Head>> {
        loop {
            if let Some((head, len)) = parse(&self.buffer) {
                self.buffer.drain(..len);
                return Ok(Some(head));
            }
            if self.fill()? == 0 {
                assert!(self.buffer.is_empty(), "torn answer: {:?}", String::from_utf8_lossy(&self.buffer));
                return Ok(None);
            }
        }
    }

    fn body(&mut self, head: &Head, method: &str) -> std::io::Result<Vec<u8>> {
        if method == "HEAD" || matches!(head.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        if head.value("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return self.chunked();
        }
        if let Some(length) = head.value("content-length") {
            return self.take(length.parse().expect("Content-Length is a number"));
        }
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    fn chunked(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).expect("a chunk begins with its size");
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            assert_eq!(self.line()?, "", "a chunk ends with CR LF");
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.take(end + 2)?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let count = loop {
            match self.stream.read(&mut piece) {
                // A read with a time-out ends so when the process was stopped and continued (signal(7)).
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.buffer.extend(&piece[..count]);
        Ok(count)
    }
}

struct Head {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn value(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

fn parse(bytes: &[u8]) -> Option<(Head, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(len) = response.parse(bytes).expect("the answer is HTTP") else {
        return None;
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields = response.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
    Some((Head { status: response.code.expect("a whole head has a status"), fields }, len))
}
