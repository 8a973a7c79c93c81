//! `${NAME}` in a value: put in from the environment.
//!
//! `$${` stands for `${` itself. This file knows no YAML and does not look the environment up itself.

use std::fmt::Write as _;

/// What became of a text.
#[derive(PartialEq, Eq)]
pub(super) enum Filled {
    /// There was nothing to put in.
    Unchanged,
    /// Only `$${` was made `${`.
    Unescaped(String),
    /// Something came from the environment, so the text may be a secret.
    FromEnvironment(String),
}

/// Why nothing could be put in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FillError {
    /// `${` without `}`.
    #[error("`${{` without `}}`")]
    Open,
    /// Between the braces stands no name.
    #[error("`${{…}}` around something that is no name")]
    Name,
    /// The variable is not set.
    #[error("the environment variable {name} is not set")]
    Missing {
        /// Its name.
        name: String,
    },
}

impl FillError {
    /// What would be right.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Open | Self::Name => "a variable is written `${NAME}`; for `${` itself write `$${`".into(),
            Self::Missing { name } => format!("set it before the start: `{name}=…`"),
        }
    }
}

/// Puts variables in.
pub(super) fn fill(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Filled, FillError> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut from_environment, mut unescaped) = (text, false, false);
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            // Writing to a String cannot fail.
            let _ = write!(out, "{before}${{");
            (rest, unescaped) = (after, true);
            continue;
        }
        out.push_str(before);
        let end = after.find('}').ok_or(FillError::Open)?;
        let name = &after[..end];
        if !is_variable_name(name) {
            return Err(FillError::Name);
        }
        out.push_str(&env(name).ok_or_else(|| FillError::Missing { name: name.into() })?);
        (rest, from_environment) = (&after[end + 1..], true);
    }
    out.push_str(rest);
    Ok(match (from_environment, unescaped) {
        (true, _) => Filled::FromEnvironment(out),
        (false, true) => Filled::Unescaped(out),
        (false, false) => Filled::Unchanged,
    })
}

/// Whether a text may name an environment variable.
pub(super) fn is_variable_name(name: &str) -> bool {
    name.len() <= 128
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<(String, bool), FillError> {
        let env = |name: &str| (name == "PORT").then(|| "80${PORT}".to_owned());
        Ok(match fill(text, &env)? {
            Filled::Unchanged => (text.into(), false),
            Filled::Unescaped(text) => (text, false),
            Filled::FromEnvironment(text) => (text, true),
        })
    }

    #[test]
    fn a_variable_is_put_in_once_and_never_read_again() {
        assert_eq!(filled("a:${PORT}:b"), Ok(("a:80${PORT}:b".into(), true)));
        assert_eq!(filled("a$PORT}"), Ok(("a$PORT}".into(), false)));
        assert_eq!(filled("$${PORT}"), Ok(("${PORT}".into(), false)));
        assert_eq!(filled("${NO}"), Err(FillError::Missing { name: "NO".into() }));
        assert_eq!(filled("${PORT"), Err(FillError::Open));
        assert_eq!(filled("${}"), Err(FillError::Name));
        assert_eq!(filled("${a b}"), Err(FillError::Name));
    }
}
