//! Certificates of a test's own: an authority, and a server's certificate that it signed.

use super::parts::program;
use super::temp::Temp;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server's certificate for 127.0.0.1 and for no name.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// PEM.
    pub(crate) chain: Vec<u8>,
    /// PEM.
    pub(crate) key: Vec<u8>,
}

/// An authority that no machine knows.
#[derive(Debug)]
pub(crate) struct Authority {
    openssl: PathBuf,
    folder: Temp,
}

impl Authority {
    /// Makes one; nothing where the machine has no OpenSSL.
    pub(crate) fn new() -> Option<Self> {
        let authority = Self { openssl: program("openssl")?, folder: Temp::new() };
        authority.run(&[
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2",
            "-subj /CN=authority -addext basicConstraints=critical,CA:TRUE",
        ]);
        Some(authority)
    }

    /// Its own certificate's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A new certificate for 127.0.0.1.
    pub(crate) fn certificate(&self) -> Certificate {
        self.folder.write("names", "subjectAltName=IP:127.0.0.1\n");
        self.run(&[
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr",
            "-subj /CN=server",
        ]);
        self.run(&[
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names",
            "-out server.pem",
        ]);
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).expect("openssl wrote it");
        Certificate { chain: read("server.pem"), key: read("server.key") }
    }

    fn run(&self, args: &[&str]) {
        let folder: &Path = self.folder.path();
        let args = args.iter().flat_map(|words| words.split(' '));
        let out = Command::new(&self.openssl).args(args).current_dir(folder).output();
        let out = out.expect("openssl can be started");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
