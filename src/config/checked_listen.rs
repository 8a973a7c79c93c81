//! The sockets that clients connect to, with the certificates that stand on them.

use super::checked::Config;
use super::problems::Problem;
use super::raw::TlsVersion;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use std::net::SocketAddr;
use std::sync::Arc;

/// One socket for clients.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Its address.
    pub address: SocketAddr,
    /// What is spoken there.
    pub speaks: Speaks,
}

/// What is spoken on a socket.
#[derive(Debug, Clone)]
pub enum Speaks {
    /// HTTP in the clear.
    Plain,
    /// HTTP in the clear, and nothing but redirects to this port of `https`.
    Redirect(u16),
    /// HTTP over TLS.
    Tls(Arc<Tls>),
}

impl Listen {
    /// How its addresses begin.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.speaks {
            Speaks::Plain | Speaks::Redirect(_) => "http",
            Speaks::Tls(_) => "https",
        }
    }

    fn certificates(&self) -> &[Certificate] {
        match &self.speaks {
            Speaks::Plain | Speaks::Redirect(_) => &[],
            Speaks::Tls(tls) => &tls.certificates,
        }
    }
}

impl Config {
    /// All certificates on sockets for clients.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.listen.iter().flat_map(Listen::certificates)
    }
}

/// TLS on a socket.
#[derive(Debug)]
pub struct Tls {
    /// At least one; the first is for those who ask for no name that is known.
    pub certificates: Vec<Certificate>,
    /// Oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// The value of `Strict-Transport-Security`.
    pub hsts: Option<String>,
    /// Who stands behind clients' certificates, where they are asked for some.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// SHA-256 of a certificate's DER.
pub type Fingerprint = [u8; 32];

/// A certificate that belongs to its key.
#[derive(Debug)]
pub struct Certificate {
    /// The chain's file: what logs and metrics call it.
    pub file: String,
    /// The DNS names on it, in lower case; `*.` in front stands for one label.
    pub names: Vec<String>,
    /// Unix time at which it ends.
    pub not_after: i64,
    /// Tells it from others.
    pub fingerprint: Fingerprint,
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// Set when today is outside its time. It is a mistake then, unless the certificate serves already.
    pub(super) outside: Option<Problem>,
}
