//! The edge as a device of a gateway: a key pair of its own for each, and the token that the gateway gives it
//! once somebody has approved it. Both are kept in one file that only the edge's user can read.

use crate::ids::GatewayId;
use crate::openclaw::Scopes;
use crate::openclaw::operator::{Challenge, Proof, Shows, signed_text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its file cannot be read or written.
    #[error("the device's file {0}")]
    File(PathBuf, #[source] io::Error),
    /// What stands in it is none.
    #[error("{0} is no device's file: take it away, and pair again")]
    Form(PathBuf),
    /// The machine gives no randomness.
    #[error("the machine gives no randomness")]
    Random,
}

/// The edge as one gateway knows it.
pub struct Device {
    path: PathBuf,
    key: SigningKey,
    id: String,
    /// What the gateway gave it.
    token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .field("token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The private key's seed, base64url.
    seed: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.seed.zeroize();
        self.token.zeroize();
    }
}

impl Device {
    /// The device for a gateway, from its file in the data folder; made when there is none.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn open(data: &Path, gateway: &GatewayId) -> Result<Self, DeviceError> {
        let folder = data.join("operator");
        let path = folder.join(format!("{gateway}.json"));
        let failed = |error| DeviceError::File(path.clone(), error);
        match std::fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) => Self::read(&path, &bytes).ok_or(DeviceError::Form(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
                let mut seed = Zeroizing::new([0; 32]);
                getrandom::fill(&mut *seed).map_err(|_| DeviceError::Random)?;
                let device = Self::of(path, SigningKey::from_bytes(&seed), None);
                device.write()?;
                Ok(device)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether there is a device for a gateway; none is made.
    #[must_use]
    pub fn is_kept(data: &Path, gateway: &GatewayId) -> bool {
        let path = data.join("operator").join(format!("{gateway}.json"));
        let kept = std::fs::read(&path).map(Zeroizing::new).ok();
        kept.and_then(|bytes| Self::read(&path, &bytes)).is_some()
    }

    fn of(path: PathBuf, key: SigningKey, token: Option<Zeroizing<String>>) -> Self {
        let id = hex::encode(Sha256::digest(key.verifying_key().as_bytes()));
        Self { path, key, id, token }
    }

    fn read(path: &Path, bytes: &[u8]) -> Option<Self> {
        let mut kept: Kept = serde_json::from_slice(bytes).ok()?;
        let seed = Zeroizing::new(URL_SAFE_NO_PAD.decode(kept.seed.as_bytes()).ok()?);
        let seed: &[u8; 32] = seed.as_slice().try_into().ok()?;
        Some(Self::of(path.to_owned(), SigningKey::from_bytes(seed), kept.token.take().map(Zeroizing::new)))
    }

    fn write(&self) -> Result<(), DeviceError> {
        let failed = |error| DeviceError::File(self.path.clone(), error);
        let token = self.token.as_ref().map(|token| token.as_str().to_owned());
        let kept = Kept { seed: URL_SAFE_NO_PAD.encode(self.key.as_bytes()), token };
        let text = Zeroizing::new(serde_json::to_string(&kept).map_err(|error| failed(error.into()))?);
        // A crash leaves the old file or the new one, and nobody else reads either.
        let fresh = self.path.with_extension(format!("{}.new", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&fresh, &self.path).map_err(failed)
    }

    /// What the gateway knows it by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it shows: the token that it was given, or else the gateway's own secret.
    #[must_use]
    pub fn shows<'s>(&'s self, secret: Option<&'s str>) -> Shows<'s> {
        match (&self.token, secret) {
            (Some(token), _) => Shows::DeviceToken(token),
            (None, Some(secret)) => Shows::Secret(secret),
            (None, None) => Shows::Nothing,
        }
    }

    /// Its proof for a challenge.
    #[must_use]
    pub fn proof(&self, scopes: Scopes, shows: Shows<'_>, challenge: &Challenge) -> Proof {
        let text = signed_text(&self.id, scopes, shows, challenge);
        Proof {
            id: self.id.clone(),
            public_key: URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()),
            signature: URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()).to_bytes()),
        }
    }

    /// Keeps a token that the gateway gave; nothing is written when it has it already.
    ///
    /// # Errors
    /// [`DeviceError::File`].
    pub fn keep(&mut self, token: Zeroizing<String>) -> Result<(), DeviceError> {
        if self.token.as_ref() == Some(&token) {
            return Ok(());
        }
        self.token = Some(token);
        self.write()
    }

    /// Forgets a token that the gateway no longer takes. Whether there was one.
    ///
    /// # Errors
    /// [`DeviceError::File`].
    pub fn disown(&mut self) -> Result<bool, DeviceError> {
        let had = self.token.take().is_some();
        if had {
            self.write()?;
        }
        Ok(had)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, VerifyingKey};
    use std::os::unix::fs::PermissionsExt as _;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder =
                std::env::temp_dir().join(format!("openclaw-edge-device-{:016x}", fastrand::u64(..)));
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_device_stays_the_same_and_is_nobody_elses_to_read() {
        let folder = Folder::new();
        let gateway = GatewayId::parse("ceo").unwrap();
        let mut device = Device::open(&folder.0, &gateway).unwrap();
        device.keep(Zeroizing::new("device-token".into())).unwrap();
        let again = Device::open(&folder.0, &gateway).unwrap();
        assert_eq!(device.id(), again.id());
        assert!(matches!(again.shows(Some("s")), Shows::DeviceToken("device-token")));
        assert!(!format!("{again:?}").contains("device-token"));
        let mode = |path: &str| folder.0.join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("operator"), mode("operator/ceo.json")), (0o700, 0o600));
        let left: Vec<_> = std::fs::read_dir(folder.0.join("operator")).unwrap().collect();
        assert_eq!(left.len(), 1);
        std::fs::write(folder.0.join("operator/ceo.json"), "{}").unwrap();
        assert!(matches!(Device::open(&folder.0, &gateway), Err(DeviceError::Form(_))));
    }

    #[test]
    fn its_proof_holds_for_what_is_sent() {
        let folder = Folder::new();
        let device = Device::open(&folder.0, &GatewayId::parse("ceo").unwrap()).unwrap();
        let challenge = Challenge { nonce: "n".into(), ts: 5 };
        let scopes = Scopes::of(["operator.read"]);
        let shows = device.shows(Some("secret"));
        let proof = device.proof(scopes, shows, &challenge);
        let key: [u8; 32] = URL_SAFE_NO_PAD.decode(&proof.public_key).unwrap().try_into().unwrap();
        assert_eq!(hex::encode(Sha256::digest(key)), proof.id);
        let signature: [u8; 64] = URL_SAFE_NO_PAD.decode(&proof.signature).unwrap().try_into().unwrap();
        let text = signed_text(&proof.id, scopes, shows, &challenge);
        let key = VerifyingKey::from_bytes(&key).unwrap();
        assert!(key.verify_strict(text.as_bytes(), &Signature::from_bytes(&signature)).is_ok());
    }
}
