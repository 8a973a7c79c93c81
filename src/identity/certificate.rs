//! What a client's certificate says of its holder: names and fingerprint, read once when hands were shaken. Whether an
//! authority stands behind it was decided there.

use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;

/// Most names that are looked at: certificates of clients have one or two.
const MAX_NAMES: usize = 32;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
    /// URIs among its alternative names, such as a SPIFFE id.
    pub uris: Vec<Box<str>>,
    /// DNS names, in lower case.
    pub names: Vec<Box<str>>,
    /// First second (Unix) at which it no longer counts.
    pub ends: u64,
}

impl Presented {
    /// Reads one; nothing where it cannot be read, which an authority would hardly have signed.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let alternatives = certificate.subject_alternative_name().ok()?;
        let all = alternatives.iter().flat_map(|list| &list.value.general_names);
        let (mut uris, mut names) = (Vec::new(), Vec::new());
        for name in all.take(MAX_NAMES) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).into()),
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into()),
                _ => {}
            }
        }
        let last = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        Some(Self { fingerprint: Sha256::digest(der).into(), uris, names, ends: last.saturating_add(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    #[test]
    fn names_of_each_kind_are_read_apart() {
        let mut params = CertificateParams::new(["Client.Test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://mesh/ceo".try_into().unwrap()));
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let read = Presented::read(&der).unwrap();
        let text = |list: &[Box<str>]| list.join(" ");
        assert_eq!(text(&read.uris), "spiffe://mesh/ceo");
        assert_eq!(text(&read.names), "client.test");
        assert_eq!(read.fingerprint, <[u8; 32]>::from(Sha256::digest(&der)));
        assert_eq!(Presented::read(b"no certificate"), None);
    }
}
