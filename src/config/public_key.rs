//! An Ed25519 public key as text: PEM, base64, or the bytes themselves; read strictly.
//!
//! A key of small order is refused: anyone can sign for it. So is one whose bytes are not the one way of
//! writing its point: two texts would be one key, and other programs refuse it. Tells what is wrong and
//! never what stands there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey as _;

/// Why a text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The private half.
    #[error("a private key stands here; only its public half belongs here")]
    Private,
    /// No point of the curve, or no PEM of one.
    #[error("this is no Ed25519 public key")]
    Form,
    /// Neither PEM nor 32 bytes.
    #[error("this is not base64 of 32 bytes")]
    Length,
    /// Of small order.
    #[error("this key is weak: anyone can sign for it")]
    Weak,
    /// Another way of writing a point.
    #[error("this key is not written in its canonical form")]
    NotCanonical,
}

/// Reads PEM (SPKI) or base64 of 32 bytes.
///
/// # Errors
/// [`KeyError`].
pub fn read(text: &str) -> Result<VerifyingKey, KeyError> {
    if text.contains("PRIVATE KEY") {
        return Err(KeyError::Private);
    }
    if text.starts_with("-----BEGIN") {
        let key = VerifyingKey::from_public_key_pem(text).map_err(|_| KeyError::Form)?;
        return from_bytes(key.as_bytes());
    }
    let bytes = STANDARD.decode(text).map_err(|_| KeyError::Length)?;
    from_bytes(&bytes.try_into().map_err(|_| KeyError::Length)?)
}

/// Reads the bytes of RFC 8032 section 5.1.2.
///
/// # Errors
/// [`KeyError`].
pub fn from_bytes(bytes: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Form)?;
    if key.is_weak() {
        return Err(KeyError::Weak);
    }
    // Decompressing takes a y of p or more for the y that is left of it.
    if key.to_edwards().compress().as_bytes() != bytes {
        return Err(KeyError::NotCanonical);
    }
    Ok(key)
}

/// As [`read`] takes it: base64 of its 32 bytes.
#[must_use]
pub fn write(key: &VerifyingKey) -> String {
    STANDARD.encode(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_pem_or_base64_and_must_not_be_weak() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        assert_eq!(read(&write(&key)), Ok(key));
        // The neutral element, for which every message has a signature.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(read(&STANDARD.encode(neutral)), Err(KeyError::Weak));
        assert_eq!(read("AAAA"), Err(KeyError::Length));
        assert_eq!(read("-----BEGIN PUBLIC KEY-----"), Err(KeyError::Form));
        assert_eq!(read("-----BEGIN PRIVATE KEY-----"), Err(KeyError::Private));
    }

    #[test]
    fn a_point_has_one_way_to_be_written() {
        // y = p + n for the small n whose points are of full order: the field takes it for n.
        let mut found = 0;
        for n in 2..19_u8 {
            let mut bytes = [0xff_u8; 32];
            bytes[31] = 0x7f;
            bytes[0] = 0xed + n;
            let mut canonical = [0_u8; 32];
            canonical[0] = n;
            match from_bytes(&canonical) {
                Ok(key) => {
                    found += 1;
                    assert_eq!(VerifyingKey::from_bytes(&bytes).unwrap().to_edwards(), key.to_edwards());
                    assert_eq!(from_bytes(&bytes), Err(KeyError::NotCanonical), "{n}");
                }
                Err(error) => assert_eq!(from_bytes(&bytes), Err(error), "{n}"),
            }
        }
        assert!(found > 0);
    }
}
