//! A small question over HTTP that the edge asks on its own account: one GET, bounded in time and bytes.
//!
//! Over TCP, TLS (certificates are checked against the machine's authorities) or the socket of a service
//! inside this process. Redirects are not followed: whoever answers is whom the operator named.

use super::upstream::authority;
use crate::config::checked::HttpAddress;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A service inside this process.
    Socket(PathBuf),
    /// A server.
    Url(HttpAddress),
}

/// Why there is no answer. None of these says what was asked: an address may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    /// No address, no connection, or it broke.
    #[error("cannot be reached")]
    Unreachable,
    /// It took too long.
    #[error("did not answer in time")]
    Slow,
    /// Another status than was hoped for.
    #[error("answered {0}")]
    Status(StatusCode),
    /// The answer is longer than is read.
    #[error("answered more than is read")]
    TooLong,
    /// The answer is not what it should be.
    #[error("answered what cannot be used")]
    Malformed,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
}

/// What is asked for, and how much of an answer is waited for and read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Time for the whole.
    pub(super) time: Duration,
    /// Bytes of the body.
    pub(super) bytes: usize,
}

/// Asks.
pub(super) struct Fetcher(Connector);

impl Fetcher {
    pub(super) fn new() -> Self {
        Self(Connector::new(None))
    }

    /// One GET of this path and query.
    pub(super) async fn get(
        &self,
        place: &Place,
        target: &str,
        fields: &[(HeaderName, HeaderValue)],
        bounds: Bounds,
    ) -> Result<Answer, FetchError> {
        let asked = self.ask(place, target, fields, bounds.bytes);
        tokio::time::timeout(bounds.time, asked).await.map_err(|_| FetchError::Slow)?
    }

    async fn ask(
        &self,
        place: &Place,
        target: &str,
        fields: &[(HeaderName, HeaderValue)],
        most: usize,
    ) -> Result<Answer, FetchError> {
        let unreachable = |_| FetchError::Unreachable;
        let peer = peer(place).await?;
        let (mut session, _) = self.0.get_http_session(&peer).await.map_err(unreachable)?;
        let head = head(place, target, fields)?;
        session.write_request_header(Box::new(head)).await.map_err(unreachable)?;
        session.finish_request_body().await.map_err(unreachable)?;
        session.read_response_header().await.map_err(unreachable)?;
        let told = session.response_header().ok_or(FetchError::Malformed)?;
        let (status, fields) = (told.status, told.headers.clone());
        let mut body = BytesMut::new();
        while let Some(piece) = session.read_response_body().await.map_err(unreachable)? {
            if body.len() + piece.len() > most {
                session.shutdown().await;
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        // Not kept: the next question comes seconds later, and a connection that was closed in between would fail it.
        session.shutdown().await;
        Ok(Answer { status, fields, body: body.freeze() })
    }
}

fn head(
    place: &Place,
    target: &str,
    fields: &[(HeaderName, HeaderValue)],
) -> Result<RequestHeader, FetchError> {
    let host = match place {
        Place::Socket(_) => "inside".to_owned(),
        Place::Url(url) => authority(&url.host, url.port),
    };
    let malformed = |_| FetchError::Malformed;
    let mut head =
        RequestHeader::build(Method::GET, target.as_bytes(), Some(4 + fields.len())).map_err(malformed)?;
    head.insert_header(header::HOST, host).map_err(malformed)?;
    let agent = concat!("openclaw-edge/", env!("CARGO_PKG_VERSION"));
    head.insert_header(header::USER_AGENT, agent).map_err(malformed)?;
    for (name, value) in fields {
        head.insert_header(name, value.clone()).map_err(malformed)?;
    }
    Ok(head)
}

/// A name is looked up each time: who is asked seldom may have moved.
async fn peer(place: &Place) -> Result<HttpPeer, FetchError> {
    let mut peer = match place {
        Place::Socket(path) => {
            let path = path.to_str().ok_or(FetchError::Unreachable)?;
            HttpPeer::new_uds(path, false, String::new()).map_err(|_| FetchError::Unreachable)?
        }
        Place::Url(url) => {
            let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
            let address = found.ok().and_then(|mut all| all.next()).ok_or(FetchError::Unreachable)?;
            HttpPeer::new(address, url.tls, url.host.clone())
        }
    };
    peer.options.connection_timeout = Some(CONNECT);
    peer.options.total_connection_timeout = Some(CONNECT * 2);
    Ok(peer)
}
