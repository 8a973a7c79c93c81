//! The body of `PUT /mesh/keys/:node`.

use super::{given, object};
use crate::signatures::registered::{self, Registered, RegisteredError};
use crate::store::reply::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads it: `keys`, or the members of a single one.
///
/// # Errors
/// A [`Refusal`] that says what is wrong with the keys, and never shows them.
pub(crate) fn keys(bytes: &[u8]) -> Result<Vec<Registered>, Refusal> {
    #[derive(Deserialize)]
    struct Single<'a> {
        #[serde(borrow, default, deserialize_with = "given")]
        public_key: Option<&'a RawValue>,
    }
    // Strict, as the keys themselves: an end that is misspelt would be no end.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Several<'a> {
        #[serde(borrow)]
        keys: &'a RawValue,
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::InvalidBody)?;
    let read = if object::<Single<'_>>(bytes)?.public_key.is_some() {
        registered::read(&format!("[{text}]"))
    } else {
        let several = serde_json::from_slice::<Several<'_>>(bytes);
        several.map_err(|_| RegisteredError::Form).and_then(|several| registered::read(several.keys.get()))
    };
    read.map_err(Refusal::Keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::public_key;

    #[test]
    fn the_keys_of_a_node_are_a_list_or_one() {
        let key = public_key::write(&ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key());
        let ids = |text: &str| keys(text.as_bytes()).map(|keys| keys.len());
        assert_eq!(ids(&format!(r#"{{"public_key":"{key}","kid":"a","not_after":9}}"#)), Ok(1));
        assert_eq!(ids(&format!(r#"{{"keys":[{{"public_key":"{key}"}}]}}"#)), Ok(1));
        let form = Err(Refusal::Keys(RegisteredError::Form));
        assert_eq!(ids("{}"), form);
        assert_eq!(ids(r#"{"keys":7}"#), form);
        assert_eq!(ids(&format!(r#"{{"public_key":"{key}","not_afer":9}}"#)), form);
        assert_eq!(ids(&format!(r#"{{"keys":[{{"public_key":"{key}"}}],"not_after":9}}"#)), form);
        assert_eq!(ids(&format!(r#"{{"keys":[],"public_key":"{key}"}}"#)), form);
        for bad in ["", "[]", "7", "{", "null"] {
            assert_eq!(ids(bad), Err(Refusal::InvalidBody), "{bad}");
        }
    }
}
