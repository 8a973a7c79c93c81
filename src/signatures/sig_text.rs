//! Reads the base64 of a signature, in exactly one spelling per alphabet and padding.
//!
//! Lenient decoders give one signature many spellings, which makes a replayed message look new. Here the
//! alphabet is the standard or the URL-safe one (RFC 4648 sections 4 and 5), not both; padding is whole
//! or left out; spare bits are zero; and there is nothing else: no white space, nothing behind the end.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ed25519_dalek::Signature;

/// Characters that 64 bytes take, without padding.
const LENGTH: usize = 86;

/// The signature that a text spells, if it is exactly one.
#[must_use]
pub fn parse(text: &str) -> Option<Signature> {
    let text = if text.len() == LENGTH { text } else { text.strip_suffix("==")? };
    if text.len() != LENGTH {
        return None;
    }
    let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url_safe { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
    let mut bytes = [0; 66];
    let length = engine.decode_slice(text, &mut bytes).ok()?;
    Signature::from_slice(bytes.get(..length)?).ok()
}

/// The signature in these bytes, which must be 64.
#[must_use]
pub fn ed25519(bytes: &[u8]) -> Option<Signature> {
    Signature::from_slice(bytes).ok()
}

/// The spelling that mesh nodes write: standard alphabet, padded.
#[must_use]
pub fn write(signature: &Signature) -> String {
    STANDARD.encode(signature.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Signature {
        let mut bytes = [0xFB; 64];
        bytes[63] = 0x0F;
        Signature::from_bytes(&bytes)
    }

    #[test]
    fn both_alphabets_are_read_padded_or_not() {
        let text = write(&sample());
        let url_safe = text.replace('+', "-").replace('/', "_");
        for spelling in [&text, &url_safe, &text[..86].to_owned(), &url_safe[..86].to_owned()] {
            assert_eq!(parse(spelling), Some(sample()), "{spelling}");
        }
        assert_ne!(text, url_safe);
    }

    #[test]
    fn nothing_but_the_signature_is_read() {
        let text = write(&sample());
        let bare = &text[..86];
        let loose = [
            String::new(),
            text[..20].to_owned(),
            format!("{bare}="),
            format!("{bare}==="),
            format!("{text}A"),
            format!("{text} "),
            format!(" {text}"),
            format!("{}\n{}", &text[..44], &text[44..]),
            format!("{bare}AA=="),
            text.replacen('+', "-", 1),
            format!("{}h==", &bare[..85]),
            format!("{}x", &bare[..85]),
            format!("{}é", &bare[..84]),
            format!("{}==", &bare[..85]),
        ];
        for spelling in loose {
            assert_eq!(parse(&spelling), None, "{spelling:?}");
        }
    }
}
