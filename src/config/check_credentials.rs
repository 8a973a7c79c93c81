//! Credentials: keys and certificates, whose they are and when they are taken.

use super::check_identity::{expiry, scopes};
use super::check_keys::begin;
use super::checked::{Credential, PreviousKey, Proof};
use super::checker::{Checker, Known, shown};
use super::tree::Spot;
use super::{Surroundings, raw, secrets};
use crate::ids::{CredentialId, NodeId};
use crate::secret::Secret;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;

/// Shortest key: 24 characters of base64 carry 144 bits when they are random.
const SHORTEST_KEY: usize = 24;
/// Longest name in a certificate.
const LONGEST_NAME: usize = 2048;

pub(super) fn check(
    raw: &raw::Config,
    top: Spot<'_>,
    known: &Known<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Vec<Credential> {
    let all = top.key("credentials");
    let asks = raw.listen.iter().filter_map(|listen| listen.tls.as_ref());
    let asks_for_certificates = asks.into_iter().any(|tls| tls.client_certificates.is_some());
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut proofs: HashMap<Proof, usize> = HashMap::new();
    let mut credentials = Vec::new();
    for (index, one) in raw.credentials.iter().enumerate() {
        let spot = all.item(index);
        if let Some(first) = ids.insert(&one.id, index) {
            let line = all.item(first).at.line;
            let message = shown(spot.key("id"), "two credentials are called", &one.id);
            checker.problem(spot.key("id").at, format!("{message}; the other is on line {line}"));
        }
        if one.certificate.is_some() && !asks_for_certificates {
            let hint = "`tls: { client_certificates: { ca: authorities.pem } }` on a socket of `listen`";
            checker.hinted(spot.key("certificate").at, "no socket asks its clients for a certificate", hint);
        }
        let Some(credential) = credential(one, spot, known, checker, around) else { continue };
        let previous = credential.previous.as_ref().map(|previous| Proof::Key(previous.hash));
        for proof in [Some(credential.proof.clone()), previous].into_iter().flatten() {
            if let Some(first) = proofs.insert(proof, index) {
                same_twice(&credential, spot, all.item(first), checker);
            }
        }
        credentials.push(credential);
    }
    credentials
}

fn same_twice(credential: &Credential, spot: Spot<'_>, first: Spot<'_>, checker: &mut Checker) {
    let (what, hint) = match credential.proof {
        Proof::Key(_) => ("key", "give each credential a key of its own"),
        Proof::Fingerprint(_) | Proof::Uri(_) | Proof::Dns(_) => {
            ("certificate", "give each credential a certificate of its own")
        }
    };
    let message = format!("this is the same {what} as that of the credential on line {}", first.at.line);
    checker.hinted(spot.at, message, hint);
}

fn credential(
    raw: &raw::Credential,
    spot: Spot<'_>,
    known: &Known<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Credential> {
    let id = checker.id(spot.key("id"), "the id", &raw.id, CredentialId::parse);
    let tenant = checker.tenant(spot.key("tenant"), &raw.tenant, known);
    let node = match &raw.node {
        Some(node) => checker.id(spot.key("node"), "the node", node, NodeId::parse).map(Some),
        None => Some(None),
    };
    let scopes = scopes(&raw.scopes, spot.key("scopes"), checker);
    let begins = match &raw.not_before {
        Some(text) => begin(text, spot.key("not_before"), checker).map(Some),
        None => Some(None),
    };
    let expires = match &raw.expires {
        Some(text) => expiry(text, spot.key("expires"), "credential", checker).map(Some),
        None => Some(None),
    };
    let proof = proof(raw, spot, checker, around);
    let previous = match &raw.previous {
        Some(previous) => self::previous(previous, raw, spot, checker, around).map(Some),
        None => Some(None),
    };
    let (begins, expires) = (begins?, expires?);
    if begins.zip(expires).is_some_and(|(begin, end)| begin >= end) {
        checker.problem(spot.key("expires").at, "this credential ends before it begins");
    }
    let ((proof, generated), previous) = (proof?, previous?);
    Some(Credential {
        id: id?,
        tenant: tenant?,
        node: node?,
        proof,
        previous,
        scopes,
        begins,
        expires,
        generated,
    })
}

/// What it is known by, and the file that was made for it.
fn proof(
    raw: &raw::Credential,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<(Proof, Option<PathBuf>)> {
    match (&raw.hash, &raw.secret, &raw.certificate) {
        (Some(hash), None, None) => Some((Proof::Key(parse_hash(hash, spot.key("hash"), checker)?), None)),
        (None, Some(source), None) => {
            let hash = secret(source, spot.key("secret"), checker, around)?;
            let generated = match source {
                raw::SecretSource::Generated(file) => Some(PathBuf::from(&file.generated)),
                raw::SecretSource::Env(_) | raw::SecretSource::File(_) | raw::SecretSource::Literal(_) => {
                    None
                }
            };
            Some((Proof::Key(hash), generated))
        }
        (None, None, Some(certificate)) => {
            self::certificate(certificate, spot.key("certificate"), checker).map(|proof| (proof, None))
        }
        (Some(_), Some(_), None) => {
            let at = spot.key_at("secret");
            checker.problem(at, "a credential has either `hash` or `secret`, not both");
            None
        }
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let hint = "two credentials may belong to one tenant and node";
            checker.hinted(
                spot.key_at("certificate"),
                "a credential has a key or a certificate, not both",
                hint,
            );
            None
        }
        (None, None, None) => {
            let hint = "`hash: sha256:…` as `openclaw-edge keys hash` prints it, `secret: { env: NAME }`, or a `certificate`";
            checker.lacks(spot, "a credential needs `hash`, `secret` or `certificate`", hint);
            None
        }
    }
}

fn secret(
    source: &raw::SecretSource,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<[u8; 32]> {
    let secret = secrets::resolve(source, spot, around, checker)?;
    judge_key(&secret, spot, checker)?;
    Some(Sha256::digest(secret.expose()).into())
}

fn previous(
    raw: &raw::PreviousKey,
    of: &raw::Credential,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<PreviousKey> {
    let spot = spot.key("previous");
    if of.certificate.is_some() {
        let hint = "a second credential with the other certificate";
        checker.hinted(spot.at, "a credential with a certificate has no key before it", hint);
        return None;
    }
    let expires = expiry(&raw.expires, spot.key("expires"), "key", checker);
    let hash = match (&raw.hash, &raw.secret) {
        (Some(hash), None) => parse_hash(hash, spot.key("hash"), checker),
        (None, Some(source)) => secret(source, spot.key("secret"), checker, around),
        (Some(_), Some(_)) | (None, None) => {
            checker.lacks(spot, "a previous key is a `hash` or a `secret`", "as the credential's own");
            None
        }
    };
    Some(PreviousKey { hash: hash?, expires: expires? })
}

fn certificate(raw: &raw::CertificateOf, spot: Spot<'_>, checker: &mut Checker) -> Option<Proof> {
    let plain =
        |text: &str| (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    match (&raw.uri, &raw.dns, &raw.fingerprint) {
        (Some(uri), None, None) => {
            let is_good = plain(uri) && uri.contains(':');
            if !is_good {
                let spot = spot.key("uri");
                checker.hinted(spot.at, shown(spot, "this is no URI", uri), "`spiffe://example.org/ceo`");
            }
            is_good.then(|| Proof::Uri(uri.as_str().into()))
        }
        (None, Some(dns), None) => {
            let is_good = plain(dns) && !dns.contains('*');
            if !is_good {
                let spot = spot.key("dns");
                checker.hinted(spot.at, shown(spot, "this is no DNS name", dns), "whole, without `*`");
            }
            is_good.then(|| Proof::Dns(dns.to_ascii_lowercase().into()))
        }
        (None, None, Some(text)) => {
            let print = text.strip_prefix("sha256:").and_then(|hex| decode_hex(&hex.replace(':', "")));
            if print.is_none() {
                let hint = "`sha256:` and 64 hex digits: openssl x509 -in FILE -noout -fingerprint -sha256";
                checker.hinted(spot.key("fingerprint").at, "this is no fingerprint of a certificate", hint);
            }
            print.map(Proof::Fingerprint)
        }
        (None, None, None) => {
            checker.lacks(
                spot,
                "a certificate is known by something",
                "one of `uri`, `dns` and `fingerprint`",
            );
            None
        }
        (Some(_), _, _) | (_, Some(_), _) => {
            checker.problem(spot.at, "a certificate is known by one of `uri`, `dns` and `fingerprint`");
            None
        }
    }
}

fn judge_key(secret: &Secret, spot: Spot<'_>, checker: &mut Checker) -> Option<()> {
    let key = secret.expose();
    if !key.iter().all(u8::is_ascii_graphic) {
        let hint = "printable ASCII without spaces: it travels in a header";
        checker.hinted(spot.at, "this key has characters that cannot be sent", hint);
        return None;
    }
    if key.len() < SHORTEST_KEY {
        let message = format!("this key is weak: it is shorter than {SHORTEST_KEY} characters");
        checker.hinted(spot.at, message, "`openclaw-edge keys new` makes a good one");
        return None;
    }
    Some(())
}

/// Never shows the text: what stands here by mistake is often the key itself.
fn parse_hash(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<[u8; 32]> {
    let hash = text.strip_prefix("sha256:").and_then(decode_hex);
    if hash.is_none() {
        let hint = "`sha256:` and 64 hex digits, as `openclaw-edge keys hash` prints it";
        checker.hinted(spot.at, "this is no hash of a key", hint);
    }
    hash
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(hash)
}
