//! Any text as public keys (PEM, base64, a key set, a store's registry): no weak key is taken, and what was taken
//! is written so that it is read as the same.

use openclaw_edge::config::{is_key_id, key_set, public_key};
use openclaw_edge::ids::TenantId;
use openclaw_edge::signatures::registered;

/// The claim, for these bytes.
pub(super) fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = public_key::read(text) {
        assert!(!key.is_weak());
        assert_eq!(public_key::read(&public_key::write(&key)), Ok(key));
    }
    let tenant = TenantId::parse("acme").expect("a tenant's name");
    if let Ok(set) = key_set::read(&tenant, text, None) {
        for key in &set.keys {
            assert!(!key.key.is_weak() && is_key_id(&key.id) && key.tenant == tenant);
        }
    }
    if let Ok(keys) = registered::read(text) {
        assert!(keys.iter().all(|key| !key.key.is_weak() && is_key_id(&key.id)));
        assert_eq!(registered::read(&registered::write(&keys)), Ok(keys));
    }
}
