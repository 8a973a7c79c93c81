//! What an operator writes about the sockets that clients connect to.

use super::raw::SecretSource;
use schemars::JsonSchema;
use serde::Deserialize;

/// One socket for clients: plain HTTP, HTTP over TLS, or nothing but redirects to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port, such as `0.0.0.0:8080` or `[::]:8080`.
    pub address: String,
    /// TLS. Without it the socket speaks plain HTTP: for this machine, or behind a proxy that ends TLS.
    pub tls: Option<Tls>,
    /// The port of `https` to which every `GET` and `HEAD` is sent; anything else is refused (403), since it came in
    /// the clear. Not together with `tls`.
    pub redirect_to_https: Option<u16>,
}

/// TLS on a socket for clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates, picked by the name that a client asks for (SNI). One who asks for none, or for another name,
    /// gets the first.
    pub certificates: Vec<Certificate>,
    /// Oldest version that is spoken. Default `tls1.2`.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered beside HTTP/1.1. Default `true`.
    #[serde(default = "yes")]
    pub http2: bool,
    /// `Strict-Transport-Security` on every answer. Default: none.
    pub hsts: Option<Hsts>,
    /// Certificates that clients show (mutual TLS). Default: they are asked for none.
    pub client_certificates: Option<ClientCertificates>,
}

fn yes() -> bool {
    true
}

/// A certificate and its key. Both files are read anew when they change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// File with the certificate and behind it those of the authorities between it and the root (PEM).
    pub chain: String,
    /// The private key (PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase): ECDSA (P-256, P-384), Ed25519, or RSA of at
    /// least 2048 bits.
    pub key: SecretSource,
}

/// Certificates that clients show: `credentials` say whose they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// File with the authorities that sign them (PEM).
    pub ca: String,
    /// File with the lists of those that were taken back (CRL, PEM), one for each authority. Past the time that a list names
    /// for its successor, nobody is let in who would have to be looked up in it.
    pub crl: Option<String>,
    /// Whether a client without one is turned away when hands are shaken. With `false` it may come with a key instead.
    /// Default `true`.
    #[serde(default = "yes")]
    pub required: bool,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2, with forward secrecy and authenticated ciphers alone.
    #[default]
    #[serde(rename = "tls1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "tls1.3")]
    Tls13,
}

/// Tells browsers to come over `https` alone (RFC 6797).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// How long they keep to it, such as `365d`; `0s` takes it back.
    pub max_age: String,
    /// Also on every name below this one. Default `false`.
    #[serde(default)]
    pub include_subdomains: bool,
    /// Asks to be put on the browsers' own lists, which is hard to take back. Default `false`.
    #[serde(default)]
    pub preload: bool,
}
