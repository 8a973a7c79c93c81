//! An authority of a test's own, and the certificates and keys that it makes: real ones, in files as operators have them.

use super::temp::Temp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use std::path::PathBuf;
use std::sync::Arc;

/// The authority.
pub(crate) struct Pki {
    folder: Temp,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The chain's file.
    pub(crate) chain: PathBuf,
    /// The key's file.
    pub(crate) key: PathBuf,
    /// The certificate itself.
    pub(crate) der: CertificateDer<'static>,
}

impl Files {
    /// What stands in a config.
    pub(crate) fn entry(&self) -> String {
        format!("{{ chain: \"{}\", key: {{ file: \"{}\" }} }}", self.chain.display(), self.key.display())
    }
}

impl Pki {
    /// One that no machine knows.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test's own authority");
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        Self { folder: Temp::new(), issuer }
    }

    /// What clients believe who know it.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("it is an authority");
        Arc::new(roots)
    }

    /// Its own certificate, in a file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.write("authority.pem", self.issuer.pem())
    }

    /// Replaces the list of certificates that it has taken back; the list's file.
    pub(crate) fn take_back(&self, all: &[&Files]) -> PathBuf {
        let revoked = |files: &&Files| {
            let (_, read) = x509_parser::parse_x509_certificate(&files.der).expect("it is a certificate");
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(read.raw_serial()),
                revocation_time: date_time_ymd(2025, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2999, 1, 1),
            crl_number: SerialNumber::from(u64::try_from(all.len()).expect("a few") + 1),
            issuing_distribution_point: None,
            revoked_certs: all.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list =
            list.signed_by(&self.issuer).expect("the authority signs").pem().expect("it can be written");
        let fresh = self.folder.write("revoked.new", list);
        let path = self.folder.path().join("revoked.pem");
        std::fs::rename(fresh, &path).expect("a file can be renamed");
        path
    }

    /// A server's certificate for these names, in files that are called so. Made anew when it is there already.
    pub(crate) fn server(&self, file: &str, names: &[&str]) -> Files {
        self.made(file, names, |_| {})
    }

    /// The same, with something about it changed before it is signed.
    pub(crate) fn made(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names can be written");
        change(&mut params);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        // As one replaces files under a running server: each at once.
        let put = |name: String, text: String| {
            let fresh = self.folder.write(&format!("{name}.new"), text);
            let path = self.folder.path().join(name);
            private(&fresh);
            std::fs::rename(fresh, &path).expect("a file can be renamed");
            path
        };
        let key = put(format!("{file}.key"), key.serialize_pem());
        let chain = put(format!("{file}.pem"), certificate.pem());
        Files { chain, key, der: certificate.der().clone() }
    }
}

fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file has an owner");
}
