//! One request and its answer, as far as it has come: what Pingora's hooks hand from one to the next.

use super::federation::Arrived;
use super::live::{Live, Passage, Site};
use super::replay::Claim;
use super::screen::Trace;
use super::shared::Spent;
use super::tls::Secured;
use super::upstream::Pool;
use crate::admission::{Admitted, Rejection, Trail};
use crate::identity::sessions::Wire;
use crate::signatures::{Failure, Proved, Verified};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state of one exchange.
pub(super) struct Exchange {
    pub(super) started: Instant,
    pub(super) arrived: Duration,
    pub(super) request_id: RequestId,
    pub(super) live: Arc<Option<Live>>,
    pub(super) trail: Trail,
    /// What is remembered of its connection, where that is over TLS.
    pub(super) secured: Option<Arc<Secured>>,
    /// Over what it came.
    pub(super) wire: Wire,
    /// The Host field as it came.
    pub(super) host: Option<HeaderValue>,
    /// The trace that it came on.
    pub(super) trace: Option<Trace>,
    /// Who is not known comes with a browser that may be asked for a key.
    pub(super) asks: bool,
    /// What admission said before there was a session, for the session to go on with.
    pub(super) verdict: Option<Result<Admitted, Rejection>>,
    pub(super) admitted: Option<Admitted>,
    pub(super) rejection: Option<Rejection>,
    /// The held body, to be sent on.
    pub(super) body: Option<Bytes>,
    pub(super) held: Option<Passage>,
    pub(super) verified: Option<Verified>,
    /// The sender's delivery, on routes for webhooks.
    pub(super) proved: Option<Proved>,
    /// What is marked when the upstream takes it.
    pub(super) claim: Option<Claim>,
    /// What it holds of limits that several edges share.
    pub(super) shared: Spent,
    /// It was taken before.
    pub(super) duplicate: bool,
    /// What came over the border from another mesh.
    pub(super) arrived_over: Option<Arrived>,
    /// What the edge itself answers, with JSON.
    pub(super) own_answer: Option<(StatusCode, Bytes)>,
    pub(super) failure: Option<Failure>,
    /// Bytes of a streamed body so far.
    pub(super) streamed: usize,
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) tries: usize,
    pub(super) dialled: Option<Instant>,
    pub(super) upstream_took: Option<Duration>,
    pub(super) socket: Option<SocketEnd>,
    /// Counts as in flight while the exchange lasts.
    _passage: Passage,
}

/// How a relayed WebSocket ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SocketEnd {
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) code: Option<u16>,
    /// Calls that were answered with a refusal.
    pub(super) refused: u64,
    /// What the gateway's handshake took.
    pub(super) dialled: Option<Duration>,
}

impl Exchange {
    pub(super) fn new(site: &Arc<Site>) -> Self {
        let started = Instant::now();
        Self {
            started,
            arrived: site.unix(started),
            request_id: RequestId::fresh(),
            live: site.live.load_full(),
            trail: Trail::default(),
            secured: None,
            wire: Wire::Clear,
            host: None,
            trace: None,
            asks: false,
            verdict: None,
            admitted: None,
            rejection: None,
            body: None,
            held: None,
            verified: None,
            proved: None,
            claim: None,
            shared: Spent::default(),
            duplicate: false,
            arrived_over: None,
            own_answer: None,
            failure: None,
            streamed: 0,
            pool: None,
            tries: 0,
            dialled: None,
            upstream_took: None,
            socket: None,
            _passage: site.enter(),
        }
    }
}

/// Names one request in logs and answers, here and in the services behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestId {
    text: [u8; 64],
    len: u8,
}

impl RequestId {
    /// 128 random bits in hex. They name, they protect nothing.
    pub(super) fn fresh() -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut random = fastrand::u128(..);
        let mut text = [0; 64];
        for byte in &mut text[..32] {
            *byte = HEX[(random & 15) as usize];
            random >>= 4;
        }
        Self { text, len: 32 }
    }

    /// The id that a trusted proxy gave, if it is one.
    pub(super) fn taken(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let fits = (8..=64).contains(&bytes.len());
        let clean = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !(fits && clean) {
            return None;
        }
        let mut text = [0; 64];
        text[..bytes.len()].copy_from_slice(bytes);
        Some(Self { text, len: u8::try_from(bytes.len()).ok()? })
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.len)]).unwrap_or_default()
    }

    pub(super) fn field(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text[..usize::from(self.len)])
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_or_taken_whole() {
        assert_eq!(RequestId::fresh().as_str().len(), 32);
        assert!(RequestId::fresh() != RequestId::fresh());
        let taken = |text: &'static str| {
            RequestId::taken(&HeaderValue::from_static(text)).map(|id| id.as_str().to_owned())
        };
        assert_eq!(taken("abc-1234.x_Y"), Some("abc-1234.x_Y".to_owned()));
        for bad in ["short", "with space", "semi;colon"] {
            assert_eq!(taken(bad), None);
        }
    }
}
