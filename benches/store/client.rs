//! One connection that stays open, and no more of HTTP than the store's answers need.

use crate::Fault;
use crate::house::SECRET;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

pub(crate) struct Client {
    stream: TcpStream,
    tenant: String,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn open(address: SocketAddr, tenant: &str) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, tenant: tenant.to_owned(), buffer: Vec::with_capacity(64 * 1024) })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<&[u8], Fault> {
        self.send("GET", path, "")
    }

    pub(crate) fn put(&mut self, path: &str, body: &str) -> Result<&[u8], Fault> {
        self.send("PUT", path, body)
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Result<&[u8], Fault> {
        self.send("POST", path, body)
    }

    /// The body of a 200; whatever else is answered ends the run.
    fn send(&mut self, method: &str, path: &str, body: &str) -> Result<&[u8], Fault> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: store\r\nX-Edge-Auth: {SECRET}\r\nX-Tenant-Id: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.tenant,
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        self.buffer.clear();
        let mut piece = [0; 16 * 1024];
        let mut whole = None;
        loop {
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Err("the store hung up".into());
            }
            self.buffer.extend_from_slice(&piece[..count]);
            if whole.is_none() {
                whole = head(&self.buffer)?;
            }
            if let Some((start, end)) = whole
                && self.buffer.len() >= end
            {
                return Ok(&self.buffer[start..end]);
            }
        }
    }
}

/// Where the body starts and ends, once the head is whole.
fn head(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
    if !text.starts_with("http/1.1 200 ") {
        return Err(String::from_utf8_lossy(bytes).into_owned().into());
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.ok_or("an answer without a length")?.parse()?;
    Ok(Some((end + 4, end + 4 + length)))
}
