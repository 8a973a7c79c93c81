//! TLS towards clients: which certificate answers to which name, and what is remembered of a connection.
//!
//! Made anew with each config, so that versions, names and keys change with a reload while connections go on with
//! what they began with. What files the certificates come from, and whether they are any good, was the config's to say.

use super::entrance::Entries;
use crate::config::checked::{self, TlsVersion};
use crate::identity::certificate::Presented;
use crate::metrics::Metrics;
use async_trait::async_trait;
use http::HeaderValue;
use parking_lot::Mutex;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::protocols::l4::stream::Stream as Wire;
use pingora::protocols::tls::{SslDigest, TlsRef, TlsStream};
use pingora::tls::{ClientHello, ResolvesServerCert, ServerConfig, TlsAcceptor};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::CertifiedKey;
use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Streams of one connection that its client may have taken back before they were answered, beyond those that were
/// answered: what a browser's reader does now and then and a flood of resets (CVE-2023-44487) all the time.
const MOST_TAKEN_BACK: usize = 100;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up")]
pub struct TlsError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// TLS on one socket.
pub(super) struct Tls {
    acceptor: Acceptor,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    /// Sets it up. `tickets` let clients go on where they left off, also over a reload.
    pub(super) fn new(
        tls: &checked::Tls,
        address: SocketAddr,
        tickets: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, TlsError> {
        let hsts = tls.hsts.as_ref().map(HeaderValue::try_from).transpose();
        let hsts = hsts.map_err(|error| TlsError(error.into()))?;
        let names = Arc::new(Names::new(&tls.certificates));
        let settings = TlsSettings::with_callbacks(Box::new(Remember { hsts, address }));
        let mut settings = settings.map_err(|error| TlsError(error.to_string().into()))?;
        settings.set_cert_resolver(names.clone());
        let mut acceptor = settings.build();
        // Pingora's own settings have both versions and no tickets.
        acceptor.acceptor = TlsAcceptor::from(Arc::new(server(tls, names, tickets)?));
        Ok(Self { acceptor, clients: tls.clients.clone() })
    }

    /// Shakes hands. How long that may take is the caller's to say.
    pub(super) async fn shake_hands(&self, wire: Wire) -> pingora::Result<TlsStream<Wire>> {
        self.acceptor.tls_handshake(wire).await
    }

    /// Whether an authority stands behind a certificate, as things are now.
    fn vouches_for(&self, chain: &[CertificateDer<'static>]) -> bool {
        let (Some(clients), [own, others @ ..]) = (&self.clients, chain) else { return false };
        clients.verify_client_cert(own, others, UnixTime::now()).is_ok()
    }
}

fn server(
    tls: &checked::Tls,
    names: Arc<Names>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, TlsError> {
    let versions: &[_] = match tls.min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| TlsError(error.into()))?;
    let builder = match &tls.clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_cert_resolver(names);
    let offered: &[&[u8]] = if tls.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    server.alpn_protocols = offered.iter().map(|one| one.to_vec()).collect();
    if tls.clients.is_none() {
        server.ticketer = tickets.clone();
    } else {
        // Who goes on where it left off is not asked for its certificate again: it may have been taken back since.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    Ok(server)
}

/// Certificates by the name that a client asks for.
#[derive(Debug)]
struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind the `*.`.
    below: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For all others: those that have the names of the first.
    other: Vec<Arc<CertifiedKey>>,
}

impl Names {
    fn new(certificates: &[checked::Certificate]) -> Self {
        let mut names = Self { exact: HashMap::new(), below: HashMap::new(), other: Vec::new() };
        for one in certificates {
            for name in &one.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(below) => (&mut names.below, below),
                    None => (&mut names.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(one.key.clone());
            }
            let same = |first: &checked::Certificate| first.names == one.names;
            if certificates.first().is_some_and(same) {
                names.other.push(one.key.clone());
            }
        }
        names
    }

    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.other };
        // Clients write names as they were typed.
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        let below = || self.below.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(below).unwrap_or(&self.other)
    }
}

impl ResolvesServerCert for Names {
    /// The first that the client can check: a name may have a key of each kind.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.of(hello.server_name());
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        keys.iter().find(fits).or_else(|| keys.first()).cloned()
    }
}

/// What is remembered of a connection over TLS.
#[derive(Debug)]
pub(super) struct Secured {
    /// `Strict-Transport-Security` for its answers.
    pub(super) hsts: Option<HeaderValue>,
    shown: Option<Shown>,
    taken_back: AtomicUsize,
    answered: AtomicUsize,
    over: Notify,
}

/// The certificate that a client showed.
#[derive(Debug)]
struct Shown {
    presented: Presented,
    chain: Vec<CertificateDer<'static>>,
    /// The socket that it came to: who stands behind certificates there, may change with a reload.
    address: SocketAddr,
    /// What was found with the config that was looked at last.
    judged: Mutex<Judged>,
}

#[derive(Debug)]
struct Judged {
    by: Weak<Tls>,
    counts: bool,
}

impl Shown {
    fn read(chain: &[CertificateDer<'static>], address: SocketAddr) -> Option<Self> {
        let presented = Presented::read(chain.first()?)?;
        let judged = Mutex::new(Judged { by: Weak::new(), counts: false });
        Some(Self { presented, chain: chain.to_vec(), address, judged })
    }

    /// Asked once for each config: lists of revoked certificates change while connections stay.
    fn counts(&self, entries: &Entries) -> bool {
        let Some(tls) = entries.tls_at(self.address) else { return false };
        let mut judged = self.judged.lock();
        if !std::ptr::eq(judged.by.as_ptr(), Arc::as_ptr(tls)) {
            *judged = Judged { by: Arc::downgrade(tls), counts: tls.vouches_for(&self.chain) };
        }
        judged.counts
    }
}

impl Secured {
    /// The client's certificate, while an authority stands behind it.
    pub(super) fn certificate(&self, entries: &Entries) -> Option<&Presented> {
        self.shown.as_ref().filter(|shown| shown.counts(entries)).map(|shown| &shown.presented)
    }

    /// What is remembered of the connection that a stream or a session belongs to.
    pub(super) fn of(digest: Option<&Arc<SslDigest>>) -> Option<Arc<Self>> {
        digest.and_then(|digest| digest.extension.get::<Arc<Self>>()).cloned()
    }

    /// A stream was answered.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// The client took a stream back.
    pub(super) fn taken_back(&self, metrics: &Metrics) {
        let taken_back = self.taken_back.fetch_add(1, Ordering::Relaxed) + 1;
        if taken_back > MOST_TAKEN_BACK + self.answered.load(Ordering::Relaxed) {
            metrics.http2_abused.inc();
            self.close();
        }
    }

    /// Ends the connection, as far as it is one of streams; one of HTTP/1.1 ends with its answer.
    pub(super) fn close(&self) {
        self.over.notify_one();
    }

    /// Waits until the connection is to be closed.
    pub(super) async fn closed(&self) {
        self.over.notified().await;
    }
}

/// Puts what is remembered beside what Pingora knows of a connection.
struct Remember {
    hsts: Option<HeaderValue>,
    address: SocketAddr,
}

#[async_trait]
impl TlsAccept for Remember {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let secured = Secured {
            hsts: self.hsts.clone(),
            shown: tls.peer_cert_chain_der().and_then(|chain| Shown::read(chain, self.address)),
            taken_back: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            over: Notify::new(),
        };
        Some(Arc::new(Arc::new(secured)))
    }
}

/// How a handshake failed, in one of few words. Pingora keeps of rustls' error the sentence alone.
pub(super) fn failure(error: &pingora::Error) -> &'static str {
    let said = error.to_string();
    let words = [
        ("received corrupt message", "not_tls"),
        ("peer is incompatible", "incompatible"),
        ("received fatal alert", "client_alert"),
        ("invalid peer certificate", "client_certificate"),
        ("peer sent no certificates", "client_certificate"),
        ("handshake eof", "closed"),
    ];
    words.iter().find(|(sentence, _)| said.contains(sentence)).map_or("failed", |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError, Error as Fault, InvalidMessage, PeerIncompatible};

    #[test]
    fn failures_are_told_apart_by_what_rustls_says() {
        for (fault, word) in [
            (Fault::InvalidMessage(InvalidMessage::InvalidContentType), "not_tls"),
            (Fault::PeerIncompatible(PeerIncompatible::Tls12NotOffered), "incompatible"),
            (Fault::AlertReceived(AlertDescription::UnknownCA), "client_alert"),
            (Fault::InvalidCertificate(CertificateError::Revoked), "client_certificate"),
            (Fault::NoCertificatesPresented, "client_certificate"),
            (Fault::DecryptError, "failed"),
        ] {
            let told = format!("tls connect error: {fault}");
            assert_eq!(
                failure(&pingora::Error::explain(pingora::ErrorType::TLSHandshakeFailure, told)),
                word
            );
        }
    }
}
