//! The other side: making keys and signing messages.
//!
//! Keys travel as PEM, PKCS#8 (RFC 8410, without the public half, as OpenSSL and Node write them) and
//! SPKI.

use super::canonical::{Canonicaliser, Message, Shape};
use super::malformed::Malformed;
use super::sig_text;
use crate::config::checked::Canonical;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// Why there is no key or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The system gave no randomness.
    #[error("the system gave no random bytes")]
    Randomness,
    /// No PKCS#8 PEM of an Ed25519 key. The cause is left out: it could quote the file.
    #[error("is not an Ed25519 private key as PKCS#8 PEM")]
    PrivateKey,
    /// No SPKI PEM of an Ed25519 key, or one of small order.
    #[error("is not a sound Ed25519 public key as SPKI PEM")]
    PublicKey,
    /// The key could not be written.
    #[error("the key could not be written as PEM")]
    Encoding,
    /// The message has no canonical text.
    #[error("the message cannot be signed")]
    Message(#[from] Malformed),
}

/// A fresh key from the system's randomness.
///
/// # Errors
/// [`SignError::Randomness`].
pub fn generate() -> Result<SigningKey, SignError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| SignError::Randomness)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// PKCS#8 PEM of the private half.
///
/// # Errors
/// [`SignError::Encoding`].
pub fn private_pem(key: &SigningKey) -> Result<Zeroizing<String>, SignError> {
    let bytes = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    bytes.to_pkcs8_pem(LineEnding::LF).map_err(|_| SignError::Encoding)
}

/// SPKI PEM of the public half.
///
/// # Errors
/// [`SignError::Encoding`].
pub fn public_pem(key: &VerifyingKey) -> Result<String, SignError> {
    key.to_public_key_pem(LineEnding::LF).map_err(|_| SignError::Encoding)
}

/// Reads PKCS#8 PEM.
///
/// # Errors
/// [`SignError::PrivateKey`].
pub fn read_private_pem(pem: &str) -> Result<SigningKey, SignError> {
    SigningKey::from_pkcs8_pem(pem.trim()).map_err(|_| SignError::PrivateKey)
}

/// Reads SPKI PEM.
///
/// # Errors
/// [`SignError::PublicKey`], for keys of small order too.
pub fn read_public_pem(pem: &str) -> Result<VerifyingKey, SignError> {
    let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|_| SignError::PublicKey)?;
    if key.is_weak() { Err(SignError::PublicKey) } else { Ok(key) }
}

/// The canonical text of one message: what is signed.
///
/// # Errors
/// [`Malformed`], also for anything that is not one object.
pub fn canonical_text(message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Canonicaliser::default();
    let document = reader.read(message)?;
    match (document.shape(), document.elements().next()) {
        (Shape::Single, Some((_, content))) => Ok(content?.canonical.to_vec()),
        (Shape::Single | Shape::Batch, _) => Err(Malformed::NotAnObject),
    }
}

/// A message, or each message of an array, with a `sig` put in.
///
/// What comes out is canonical text with `sig` first; a signature that was there before is gone.
///
/// # Errors
/// [`SignError::Message`].
pub fn sign(messages: &[u8], key: &SigningKey) -> Result<Vec<u8>, SignError> {
    sign_as(messages, key, Canonical::Mesh)
}

/// [`sign`], in one canonical form or the other.
///
/// # Errors
/// As for [`sign`].
pub fn sign_as(messages: &[u8], key: &SigningKey, form: Canonical) -> Result<Vec<u8>, SignError> {
    let mut reader = Canonicaliser::default();
    let document = reader.read_as(messages, form)?;
    let batch = document.shape() == Shape::Batch;
    let mut signed = Vec::with_capacity(messages.len() + 128);
    if batch {
        signed.push(b'[');
    }
    for (index, (_, content)) in document.elements().enumerate() {
        if index > 0 {
            signed.push(b',');
        }
        signed.extend_from_slice(&self::signed(&content?, key));
    }
    if batch {
        signed.push(b']');
    }
    Ok(signed)
}

/// One message with a `sig` put in.
pub(super) fn signed(message: &Message<'_>, key: &SigningKey) -> Vec<u8> {
    let sig = sig_text::write(&key.sign(message.canonical));
    let mut signed = Vec::with_capacity(message.canonical.len() + sig.len() + 16);
    signed.extend_from_slice(b"{\"sig\":\"");
    signed.extend_from_slice(sig.as_bytes());
    signed.push(b'"');
    if message.canonical.len() > 2 {
        signed.push(b',');
    }
    signed.extend_from_slice(&message.canonical[1..]);
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_pem_both_ways() {
        let key = generate().unwrap();
        assert_eq!(read_private_pem(&private_pem(&key).unwrap()).unwrap().to_bytes(), key.to_bytes());
        let public = key.verifying_key();
        assert_eq!(read_public_pem(&public_pem(&public).unwrap()).unwrap(), public);
        assert!(matches!(read_private_pem("-----BEGIN"), Err(SignError::PrivateKey)));
        assert!(matches!(read_public_pem(&private_pem(&key).unwrap()), Err(SignError::PublicKey)));
    }

    #[test]
    fn signing_puts_sig_first_and_takes_the_old_one_out() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = sign(br#"[{"b":1.0,"sig":"old"}, {"signature":1}]"#, &key).unwrap();
        let signed = String::from_utf8(signed).unwrap();
        assert!(signed.starts_with("[{\"sig\":\""), "{signed}");
        assert!(signed.contains("\",\"b\":1},{\"sig\":\"") && signed.ends_with("\"}]"), "{signed}");
        assert!(!signed.contains("old"));
        assert_eq!(sign(b"[]", &key).unwrap(), b"[]");
        assert!(matches!(sign(b"[1]", &key), Err(SignError::Message(Malformed::NotAnObject))));
    }

    #[test]
    fn a_canonical_text_is_of_one_message() {
        assert_eq!(canonical_text(b" {\"b\":1,\"a\":[ ]} ").unwrap(), b"{\"a\":[],\"b\":1}");
        assert_eq!(canonical_text(b"[{}]"), Err(Malformed::NotAnObject));
        assert_eq!(canonical_text(b"1"), Err(Malformed::NotAnObject));
    }
}
