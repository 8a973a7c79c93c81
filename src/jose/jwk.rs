//! Key sets (RFC 7517) of those who issue tokens.
//!
//! Keys of kinds that are not taken are left out; one of ours that is wrong or weak makes the whole set wrong, so that
//! what was known before stays. Serde's own sentences are never told, as they may quote what stands there.

use super::jws::{JwsError, Token, TokenKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;

/// Most keys of one set: issuers have two or three.
const MOST_KEYS: usize = 100;
/// Shortest and longest RSA modulus, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a text is no key set that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// No JSON, or no set.
    #[error("this is no key set")]
    Form,
    /// Too many keys.
    #[error("more than {MOST_KEYS} keys are in this set")]
    TooMany,
    /// None of its keys is for signatures that are taken.
    #[error("no key of this set is for EdDSA, ES256 or RS256")]
    Empty,
    /// One is wrong.
    #[error("key {at} of the set cannot be used")]
    Key {
        /// Its place, from 0.
        at: usize,
    },
    /// One is too short, or of small order.
    #[error("key {at} of the set is weak")]
    Weak {
        /// Its place, from 0.
        at: usize,
    },
    /// Two have one name.
    #[error("key {at} of the set has the name of another")]
    Twice {
        /// Its place, from 0.
        at: usize,
    },
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The keys of an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenKeys(Vec<(Option<String>, TokenKey)>);

impl TokenKeys {
    /// Reads a set.
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn read(text: &[u8]) -> Result<Self, JwkError> {
        let set: Set = serde_json::from_slice(text).map_err(|_| JwkError::Form)?;
        if set.keys.len() > MOST_KEYS {
            return Err(JwkError::TooMany);
        }
        let mut keys: Vec<(Option<String>, TokenKey)> = Vec::with_capacity(set.keys.len());
        for (at, jwk) in set.keys.into_iter().enumerate() {
            let Some(key) = jwk.key(at)? else { continue };
            if keys.iter().any(|(kid, other)| *kid == jwk.kid && other.algorithm() == key.algorithm()) {
                return Err(JwkError::Twice { at });
            }
            keys.push((jwk.kid, key));
        }
        if keys.is_empty() { Err(JwkError::Empty) } else { Ok(Self(keys)) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a token's signature with the key that it names; one that names none, with the only key of its kind.
    ///
    /// # Errors
    /// [`JwsError`].
    pub fn verify(&self, token: &Token<'_>) -> Result<(), JwsError> {
        let fits = |(kid, key): &&(Option<String>, TokenKey)| match &token.kid {
            Some(_) => *kid == token.kid,
            None => key.algorithm() == token.algorithm,
        };
        let mut found = self.0.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some((_, key)), None) => token.verify(key),
            (Some(_), Some(_)) if token.kid.is_some() => {
                // One name for keys of two kinds.
                let named =
                    self.0.iter().find(|(kid, key)| *kid == token.kid && key.algorithm() == token.algorithm);
                named.ok_or(JwsError::Algorithm).and_then(|(_, key)| token.verify(key))
            }
            (None | Some(_), _) => Err(JwsError::UnknownKey),
        }
    }
}

impl Jwk {
    /// The key; nothing where it is of a kind or for a use that does not concern us.
    fn key(&self, at: usize) -> Result<Option<TokenKey>, JwkError> {
        let wrong = JwkError::Key { at };
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let number = |text: &Option<String>| {
            text.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(wrong)
        };
        let (algorithm, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let bytes: [u8; 32] = number(&self.x)?.try_into().map_err(|_| wrong)?;
                let key = VerifyingKey::from_bytes(&bytes).map_err(|_| wrong)?;
                if key.is_weak() {
                    return Err(JwkError::Weak { at });
                }
                ("EdDSA", TokenKey::EdDsa(key))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (number(&self.x)?, number(&self.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return Err(wrong);
                }
                ("ES256", TokenKey::Es256([&[4][..], &x, &y].concat()))
            }
            ("RSA", _) => {
                let trimmed = |bytes: Vec<u8>| bytes.into_iter().skip_while(|&b| b == 0).collect::<Vec<_>>();
                let (n, e) = (trimmed(number(&self.n)?), trimmed(number(&self.e)?));
                if !RSA_BYTES.contains(&n.len()) {
                    return Err(JwkError::Weak { at });
                }
                // A key of another RSA algorithm does not concern us.
                if self.alg.as_deref().is_some_and(|alg| alg != "RS256") {
                    return Ok(None);
                }
                ("RS256", TokenKey::Rs256 { n, e })
            }
            _ => return Ok(None),
        };
        if self.alg.as_deref().is_some_and(|named| named != algorithm && named != "Ed25519") {
            return Err(wrong);
        }
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    /// RFC 8037 appendix A: key, and a token signed with it.
    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const ED_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    /// RFC 7515 appendix A.3.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const EC_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    /// RFC 7515 appendix A.2.
    const RSA: &str = r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
    const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    fn set(keys: &[&str]) -> Result<TokenKeys, JwkError> {
        TokenKeys::read(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
    }

    fn check(keys: &[&str], token: &str) -> Result<(), JwsError> {
        set(keys).unwrap().verify(&Token::read(token.as_bytes())?)
    }

    #[test]
    fn the_tokens_of_the_standards_are_taken_with_their_keys_and_no_others() {
        for (key, token) in [(ED, ED_TOKEN), (EC, EC_TOKEN), (RSA, RSA_TOKEN)] {
            assert_eq!(check(&[key], token), Ok(()), "{token}");
            assert_eq!(check(&[ED, EC, RSA], token), Ok(()));
            let others: Vec<_> = [ED, EC, RSA].into_iter().filter(|other| *other != key).collect();
            assert_eq!(check(&others, token), Err(JwsError::UnknownKey));
            for at in 0..token.len() {
                let mut changed = token.to_owned().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                // The last digit of base64 may have bits that say nothing; those are refused as well.
                assert!(check(&[key], &changed).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn a_token_cannot_choose_how_it_is_checked() {
        let head = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let rest = |token: &'static str| token.split_once('.').unwrap().1;
        for (alg, fault) in [
            ("none", JwsError::Algorithm),
            ("HS256", JwsError::Algorithm),
            ("ES256", JwsError::UnknownKey),
            ("RS256", JwsError::UnknownKey),
        ] {
            let token = format!("{}.{}", head(&format!("{{\"alg\":\"{alg}\"}}")), rest(ED_TOKEN));
            assert_eq!(check(&[ED], &token), Err(fault), "{alg}");
        }
        let named = ED.replacen('{', "{\"kid\":\"a\",", 1);
        let token = format!("{}.{}", head(r#"{"alg":"RS256","kid":"a"}"#), rest(ED_TOKEN));
        assert_eq!(check(&[&named], &token), Err(JwsError::Algorithm));
        for bad in [
            r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#,
            r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#,
            "{}",
            "7",
        ] {
            let token = format!("{}.{}", head(bad), rest(ED_TOKEN));
            assert_eq!(check(&[ED], &token), Err(JwsError::Malformed), "{bad}");
        }
    }

    #[test]
    fn weak_and_wrong_keys_make_a_set_wrong() {
        let named = |key: &str| key.replacen('{', "{\"kid\":\"a\",", 1);
        let (ed, short) = (named(ED), r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0t"}"#);
        let weak = r#"{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        for (keys, fault) in [
            (vec![EC, short], JwkError::Weak { at: 1 }),
            (vec![weak], JwkError::Weak { at: 0 }),
            (vec![r#"{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}"#], JwkError::Key { at: 0 }),
            (vec![&*ed, &*ed], JwkError::Twice { at: 1 }),
            (vec![r#"{"kty":"oct","k":"AQ"}"#], JwkError::Empty),
        ] {
            assert_eq!(set(&keys), Err(fault), "{keys:?}");
        }
        let for_others = [ED, r#"{"kty":"RSA","use":"enc","n":"x"}"#, r#"{"kty":"EC","crv":"P-384"}"#];
        assert_eq!(set(&for_others).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_answered(text in any::<Vec<u8>>()) {
            let _ = TokenKeys::read(&text);
            let _ = Token::read(&text);
        }

        #[test]
        fn no_header_and_claims_are_too_odd(head in any::<String>(), claims in any::<Vec<u8>>()) {
            let text = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
            if let Ok(token) = Token::read(text.as_bytes()) {
                let _ = set(&[ED]).unwrap().verify(&token);
            }
        }
    }
}
