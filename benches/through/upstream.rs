//! The service behind both proxies: reads a request whole, answers a fixed 300 bytes, keeps the connection.
//!
//! One thread. A request with [`ECHO`] is answered with its own head instead, so that a check can see what
//! came through. Bodies must have a length; the bench sends no others.

use crate::Fault;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The field that asks for the request's own head as the answer.
pub(crate) const ECHO: &str = "x-bench-echo";
const BODY: &str = concat!(
    r#"{"memories":[{"scope":"mesh","key":"weather/oslo","value":"rain until noon, then clear"},"#,
    r#"{"scope":"mesh","key":"deploy/last","value":"build 4711 went out on Monday at ten"},"#,
    r#"{"scope":"mesh","key":"oncall","value":"the scout has the pager until Friday evening"},"#,
    r#"{"scope":"local","key":"note","value":"ask the hub"}],"next":null}"#,
);

#[derive(Debug, clap::Args)]
pub(crate) struct Upstream {
    #[arg(long)]
    listen: SocketAddr,
}

impl Upstream {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let listener = TcpListener::bind(self.listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    }
}

/// What the head of a request says about the rest of it.
struct Head {
    len: usize,
    body: usize,
    echo: bool,
}

async fn serve(mut stream: TcpStream) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    let usual = answer(BODY);
    let mut bytes = Vec::with_capacity(8 * 1024);
    loop {
        let head = loop {
            match head(&bytes)? {
                Some(head) if bytes.len() >= head.len + head.body => break head,
                Some(_) | None if stream.read_buf(&mut bytes).await? == 0 => return Ok(()),
                Some(_) | None => {}
            }
        };
        if head.echo {
            let text = String::from_utf8_lossy(&bytes[..head.len]);
            stream.write_all(&answer(&text)).await?;
        } else {
            stream.write_all(&usual).await?;
        }
        bytes.drain(..head.len + head.body);
    }
}

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The head, once it is whole.
fn head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(len) = request.parse(bytes)? else { return Ok(None) };
    let mut head = Head { len, body: 0, echo: false };
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            head.body = std::str::from_utf8(field.value)?.parse()?;
        } else if field.name.eq_ignore_ascii_case(ECHO) {
            head.echo = true;
        }
    }
    Ok(Some(head))
}
