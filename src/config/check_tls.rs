//! Certificates and their keys: read, held against each other, and judged before anyone is served with them.
//!
//! A certificate whose time is over is told apart from other mistakes: at a start it is one, while one that serves
//! already must not keep a reload from, say, revoking a key.

use super::checked::{Certificate, Tls};
use super::checker::Checker;
use super::tree::Spot;
use super::{Surroundings, raw, secrets};
use rustls::Error as TlsError;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

/// Shortest RSA key: what authorities sign.
const LEAST_RSA_BITS: usize = 2048;
/// Longest time that browsers are bound for.
const LONGEST_HSTS: Duration = Duration::from_hours(24 * 3650);
/// Least time for the browsers' own lists (hstspreload.org).
const PRELOAD: Duration = Duration::from_hours(24 * 365);
/// Signatures over MD5 and SHA-1, which can be forged.
const BROKEN: &[&str] = &["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];

pub(super) fn check(
    raw: &raw::Tls,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Tls> {
    let all = spot.key("certificates");
    if raw.certificates.is_empty() {
        checker.lacks(
            all,
            "at least one certificate is needed",
            "`- { chain: site.pem, key: { file: site.key } }`",
        );
    }
    let mut certificates = Vec::with_capacity(raw.certificates.len());
    for (index, one) in raw.certificates.iter().enumerate() {
        certificates.extend(certificate(one, all.item(index), around, checker));
    }
    let hsts = match &raw.hsts {
        Some(raw) => Some(hsts(raw, spot.key("hsts"), checker)?),
        None => None,
    };
    let clients = match &raw.client_certificates {
        Some(raw) => Some(clients(raw, spot.key("client_certificates"), checker)?),
        None => None,
    };
    // One that could not be read has told so; without it others would come to stand in its place.
    let is_whole = certificates.len() == raw.certificates.len() && !certificates.is_empty();
    is_whole.then_some(Tls { certificates, min_version: raw.min_version, http2: raw.http2, hsts, clients })
}

/// Who stands behind clients' certificates.
fn clients(
    raw: &raw::ClientCertificates,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let at = spot.key("ca");
    let roots = roots(&raw.ca, at, checker)?;
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(file) = &raw.crl {
        let at = spot.key("crl");
        let pem = secrets::public_text(file, at, checker)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
        let Some(lists) = lists.ok().filter(|lists| !lists.is_empty()) else {
            let hint = "`-----BEGIN X509 CRL-----`: openssl crl -inform DER -in FILE";
            checker.hinted(at.at, "no list of revoked certificates in PEM stands in this file", hint);
            return None;
        };
        builder = builder.with_crls(lists).only_check_end_entity_revocation().enforce_revocation_expiration();
    }
    if !raw.required {
        builder = builder.allow_unauthenticated();
    }
    let built = builder.build();
    if built.is_err() {
        let at = if raw.crl.is_some() { spot.key("crl").at } else { at.at };
        checker.problem(at, "the authorities and their lists of revoked certificates cannot be used");
    }
    built.ok()
}

/// The authorities in a file.
pub(super) fn roots(file: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<RootCertStore> {
    let pem = secrets::public_text(file, spot, checker)?;
    let mut roots = RootCertStore::empty();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = read.unwrap_or_default();
    let taken = all.into_iter().filter_map(|one| roots.add(one).ok()).count();
    if taken == 0 {
        let hint = "`-----BEGIN CERTIFICATE-----`: the authority's own, one or more";
        checker.hinted(spot.at, "no authority's certificate in PEM stands in this file", hint);
        return None;
    }
    Some(roots)
}

fn hsts(raw: &raw::Hsts, spot: Spot<'_>, checker: &mut Checker) -> Option<String> {
    let at = spot.key("max_age");
    let bounds = (Duration::ZERO, LONGEST_HSTS);
    let age = checker.duration(at, Some(&raw.max_age), Duration::ZERO, bounds)?;
    if raw.preload && (age < PRELOAD || !raw.include_subdomains) {
        let hint =
            "the browsers' lists take names with `max_age: 365d` or more and `include_subdomains: true`";
        checker.hinted(spot.key("preload").at, "this cannot be put on the browsers' lists", hint);
        return None;
    }
    let mut value = format!("max-age={}", age.as_secs());
    if raw.include_subdomains {
        value.push_str("; includeSubDomains");
    }
    if raw.preload {
        value.push_str("; preload");
    }
    Some(value)
}

fn certificate(
    raw: &raw::Certificate,
    spot: Spot<'_>,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<Certificate> {
    let (at_chain, at_key) = (spot.key("chain"), spot.key("key"));
    let chain =
        secrets::public_text(&raw.chain, at_chain, checker).and_then(|pem| chain(&pem, at_chain, checker));
    let key = secrets::resolve(&raw.key, at_key, around, checker);
    let (chain, key) = (chain?, key?);
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.expose()) else {
        let hint = "`-----BEGIN PRIVATE KEY-----` (PKCS#8), PKCS#1 or SEC1, without a passphrase";
        checker.hinted(at_key.at, "this is no private key in PEM", hint);
        return None;
    };
    let fingerprint = Sha256::digest(&chain[0]).into();
    let leaf = chain[0].clone();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).ok()?;
    judge(&leaf, at_chain, checker)?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| mismatched(&error, at_key, checker))
        .ok()?;
    let not_after = leaf.validity().not_after.timestamp();
    Some(Certificate {
        file: raw.chain.clone(),
        names: names(&leaf, at_chain, checker),
        not_after,
        fingerprint,
        key: Arc::new(key),
        outside: outside(&leaf, at_chain, checker),
    })
}

/// The certificates in a file, the server's own first.
fn chain(pem: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let hint = "`-----BEGIN CERTIFICATE-----`: the server's own first, then those of the authorities between it and the root";
    let Some(chain) = read.ok().filter(|chain| !chain.is_empty()) else {
        checker.hinted(spot.at, "no certificate in PEM stands in this file", hint);
        return None;
    };
    let mut signed_by: Option<Vec<u8>> = None;
    for (place, der) in chain.iter().enumerate() {
        let Ok((_, one)) = x509_parser::parse_x509_certificate(der) else {
            checker.problem(spot.at, format!("certificate {} of this file cannot be read", place + 1));
            return None;
        };
        if signed_by.is_some_and(|issuer| issuer != one.subject().as_raw()) {
            let message = format!("certificate {} of this file did not sign the one before it", place + 1);
            checker.hinted(spot.at, message, hint);
            return None;
        }
        signed_by = Some(one.issuer().as_raw().to_vec());
    }
    Some(chain)
}

/// Refuses what can be forged.
fn judge(leaf: &X509Certificate<'_>, spot: Spot<'_>, checker: &mut Checker) -> Option<()> {
    if let Ok(PublicKey::RSA(key)) = leaf.public_key().parsed()
        && key.key_size() < LEAST_RSA_BITS
    {
        let message = format!("this certificate's key is weak: RSA of {} bits", key.key_size());
        checker.hinted(spot.at, message, "RSA of at least 2048 bits, or better ECDSA on P-256");
        return None;
    }
    if BROKEN.contains(&leaf.signature_algorithm.algorithm.to_id_string().as_str()) {
        let hint = "have it signed anew, over SHA-256";
        checker.hinted(spot.at, "this certificate is signed over MD5 or SHA-1, which can be forged", hint);
        return None;
    }
    Some(())
}

/// Never shows what stands in the key.
fn mismatched(error: &TlsError, spot: Spot<'_>, checker: &mut Checker) {
    if matches!(error, TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
        let hint = "chain and key of one order belong together; was one of the two files replaced alone?";
        checker.hinted(spot.at, "this key does not belong to the certificate", hint);
    } else {
        let hint = "ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits";
        checker.hinted(spot.at, "this key is of a kind that cannot be used, or too weak", hint);
    }
}

fn names(leaf: &X509Certificate<'_>, spot: Spot<'_>, checker: &mut Checker) -> Vec<String> {
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let Some(alternatives) = alternatives else {
        checker.warn(spot.at, "this certificate has no subjectAltName: clients do not take it for any name");
        return Vec::new();
    };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(dns).collect()
}

/// What is wrong where today is outside the certificate's time.
fn outside(leaf: &X509Certificate<'_>, spot: Spot<'_>, checker: &Checker) -> Option<super::Problem> {
    let now = jiff::Timestamp::now().as_second();
    let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    let day = |second: i64| {
        jiff::Timestamp::from_second(second).map_or_else(|_| String::from("?"), |moment| moment.to_string())
    };
    if now > to {
        Some(checker.made(
            spot.at,
            format!("this certificate ended on {}", day(to)),
            "put the new one in its place",
        ))
    } else if now < from {
        let message = format!("this certificate begins on {}", day(from));
        Some(checker.made(spot.at, message, "is this machine's clock right?"))
    } else {
        None
    }
}
