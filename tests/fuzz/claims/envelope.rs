//! Any bytes in any envelope: verifying never panics, and without keys nothing is ever verified.

use openclaw_edge::config::checked::{Canonical, Envelope, MeshRules, Mode, OnFailure};
use openclaw_edge::ids::TenantId;
use openclaw_edge::signatures::{Context, KeyRegistry, Scratch, verify};

const ENVELOPES: [Envelope; 4] = [Envelope::None, Envelope::Telegram, Envelope::Discord, Envelope::Generic];

/// The claim, for these bytes.
pub(super) fn hold(body: &[u8]) {
    let tenant = TenantId::parse("acme").expect("is a tenant's name");
    let keys = KeyRegistry::default();
    let mut scratch = Scratch::default();
    for envelope in ENVELOPES {
        for mode in [Mode::Required, Mode::Optional] {
            let policy = MeshRules {
                mode,
                on_failure: OnFailure::Drop,
                envelope,
                freshness: None,
                canonical: Canonical::Mesh,
            };
            let context = Context {
                policy: &policy,
                tenant: &tenant,
                keys: &keys,
                query: None,
                now_unix: 0.0,
                taken: None,
            };
            if let Ok(verified) = verify(body, &context, &mut scratch) {
                assert_eq!(verified.verified, 0);
            }
        }
    }
}
