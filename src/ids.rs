//! Names that were checked once and are then trusted: tenants, nodes, meshes, credentials, gateways, routes.
//!
//! Each type can only be had from [`parse`](TenantId::parse), so a function that takes a [`TenantId`]
//! cannot be called with text that came straight from a client. This file knows nothing of where
//! names come from.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text was empty.
    #[error("is empty")]
    Empty,
    /// The text was longer than the type allows.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// Most bytes that the type takes.
        max: usize,
    },
    /// A character that the type does not allow.
    #[error("has {found:?} at byte {at}; allowed are {allowed}")]
    Character {
        /// The character that was found.
        found: char,
        /// Its offset in bytes.
        at: usize,
        /// The allowed set, in words.
        allowed: &'static str,
    },
}

fn check(text: &str, max: usize, allowed: &'static str, ok: impl Fn(char) -> bool) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > max {
        return Err(IdError::TooLong { max });
    }
    match text.char_indices().find(|&(_, c)| !ok(c)) {
        Some((at, found)) => Err(IdError::Character { found, at, allowed }),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:expr, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes it a name.
            ///
            /// # Errors
            /// [`IdError`] says what is wrong and where.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, $max, $allowed, $ok)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

const WORD: &str = "a-z, 0-9, '-', '_' and '.'";

fn word(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
}

id!(
    /// One customer or team. Every piece of data belongs to exactly one.
    TenantId, 64, WORD, word
);
id!(
    /// What logs and metrics call a key; never the key.
    CredentialId, 64, WORD, word
);
id!(
    /// One OpenClaw gateway.
    GatewayId, 64, WORD, word
);
id!(
    /// Another mesh, as `X-Mesh-Id` and the names of its nodes have it.
    MeshId, 64, "A-Z, a-z, 0-9, '-', '_' and '.'", |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
);
id!(
    /// A mesh node, as messages name it (`ceo`, `external:<mesh>:<node>`).
    NodeId, 128, "printable characters without spaces", |c| !c.is_control() && !c.is_whitespace()
);
id!(
    /// A name that the operator gave to a route, limit or upstream; safe as a metric label.
    Name, 64, "A-Z, a-z, 0-9, '-', '_' and '.'", |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
);
id!(
    /// A scope such as `mesh:read`.
    Scope, 64, "A-Z, a-z, 0-9, ':', '-', '_', '.' and '*'",
    |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '*')
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_lower_case_words_only() {
        assert!(TenantId::parse("acme-2_b.c").is_ok());
        assert_eq!(TenantId::parse(""), Err(IdError::Empty));
        assert_eq!(TenantId::parse(&"a".repeat(65)), Err(IdError::TooLong { max: 64 }));
        for bad in ["Acme", "a b", "a/b", "a:b", "é", "a\n"] {
            assert!(matches!(TenantId::parse(bad), Err(IdError::Character { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_node_may_come_from_another_mesh() {
        assert!(NodeId::parse("external:hq:ceo").is_ok());
        assert!(NodeId::parse("a b").is_err());
    }
}
