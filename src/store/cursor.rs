//! Where a list goes on, as a text that only the store can have made, and only for the list that it was for.
//!
//! A cursor names a place in one tenant's rows; signed over the tenant and the filters, it is of no use with
//! others. Whoever holds one sees nothing that its rows did not show.

use super::model::{Filter, Place};
use super::reply::Refusal;
use crate::ids::TenantId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of the signature that go with a cursor.
const SIGNATURE: usize = 16;

/// Signs cursors and reads them back.
#[derive(Clone)]
pub(crate) struct Cursors {
    key: [u8; 32],
}

impl Cursors {
    /// With the database's own key: cursors outlive a restart.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A place as a text.
    pub(crate) fn write(&self, tenant: &TenantId, filter: &Filter, place: &Place) -> String {
        let text = match place {
            Place::Newest => "f".to_owned(),
            Place::After { updated_at, change, snapshot } => format!("n{updated_at}.{change}.{snapshot}"),
            Place::Late { change } => format!("l{change}"),
            Place::Name { scope, name } => format!("k{}.{scope}{name}", scope.len()),
        };
        let mut bytes = self.signature(tenant, filter, &text);
        bytes.extend_from_slice(text.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a text stands for.
    ///
    /// # Errors
    /// [`Refusal::InvalidCursor`], for whatever reason.
    pub(crate) fn read(&self, tenant: &TenantId, filter: &Filter, cursor: &str) -> Result<Place, Refusal> {
        self.opened(tenant, filter, cursor).ok_or(Refusal::InvalidCursor)
    }

    fn opened(&self, tenant: &TenantId, filter: &Filter, cursor: &str) -> Option<Place> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signature, text) = bytes.split_at_checked(SIGNATURE)?;
        let text = std::str::from_utf8(text).ok()?;
        let mac = self.mac(tenant, filter, text);
        mac.verify_truncated_left(signature).ok()?;
        let (kind, rest) = text.split_at_checked(1)?;
        let mut numbers = rest.split('.').map(str::parse::<i64>);
        match kind {
            "f" => Some(Place::Newest),
            "n" => Some(Place::After {
                updated_at: numbers.next()?.ok()?,
                change: numbers.next()?.ok()?,
                snapshot: numbers.next()?.ok()?,
            }),
            "l" => Some(Place::Late { change: numbers.next()?.ok()? }),
            "k" => {
                let (length, names) = rest.split_once('.')?;
                let (scope, name) = names.split_at_checked(length.parse().ok()?)?;
                Some(Place::Name { scope: scope.to_owned(), name: name.to_owned() })
            }
            // Signed by a later version of this program.
            _ => None,
        }
    }

    fn signature(&self, tenant: &TenantId, filter: &Filter, text: &str) -> Vec<u8> {
        self.mac(tenant, filter, text).finalize().into_bytes()[..SIGNATURE].to_vec()
    }

    fn mac(&self, tenant: &TenantId, filter: &Filter, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        let Filter { kind, scope, prefix, node, updated_since } = filter;
        let since = updated_since.map(|since| since.to_string());
        let parts = [
            Some(tenant.as_str()),
            Some(kind.as_str()),
            scope.as_deref(),
            prefix.as_deref(),
            node.as_deref(),
            since.as_deref(),
            Some(text),
        ];
        for part in parts {
            // With its length before it, no part can lend bytes to the next; none is told from empty.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            mac.update(&length.to_be_bytes());
            mac.update(part.unwrap_or_default().as_bytes());
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::Kind;
    use crate::store::testing::tenant;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn cursors() -> Cursors {
        Cursors::new([7; 32])
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_alone() {
        let (acme, filter) = (tenant("acme"), Filter::all(Kind::Memory));
        let place = Place::After { updated_at: 5, change: 9, snapshot: 12 };
        let cursor = cursors().write(&acme, &filter, &place);
        assert_eq!(cursors().read(&acme, &filter, &cursor), Ok(place));
        let others = [
            (tenant("globex"), filter.clone()),
            (acme.clone(), Filter::all(Kind::Skill)),
            (acme.clone(), Filter { scope: Some("mesh".into()), ..filter.clone() }),
            (acme.clone(), Filter { prefix: Some(String::new()), ..filter.clone() }),
        ];
        for (who, which) in others {
            assert_eq!(cursors().read(&who, &which, &cursor), Err(Refusal::InvalidCursor));
        }
        assert_eq!(Cursors::new([8; 32]).read(&acme, &filter, &cursor), Err(Refusal::InvalidCursor));
    }

    proptest! {
        #[test]
        fn any_place_comes_back_and_no_changed_text_does(scope in any::<String>(), name in any::<String>(), change in any::<i64>(), at in any::<usize>(), odd in any::<String>()) {
            let (acme, filter) = (tenant("acme"), Filter::all(Kind::Memory));
            for place in [Place::Name { scope: scope.clone(), name: name.clone() }, Place::Late { change }, Place::Newest] {
                let cursor = cursors().write(&acme, &filter, &place);
                prop_assert_eq!(cursors().read(&acme, &filter, &cursor), Ok(place));
                let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
                let at = at % bytes.len();
                bytes[at] ^= 1;
                let changed = URL_SAFE_NO_PAD.encode(bytes);
                prop_assert_eq!(cursors().read(&acme, &filter, &changed), Err(Refusal::InvalidCursor));
            }
            prop_assert_eq!(cursors().read(&acme, &filter, &odd), Err(Refusal::InvalidCursor));
        }
    }
}
