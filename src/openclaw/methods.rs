//! Which scope each method needs: OpenClaw's own table, as data of one version.

use super::scopes::{Scope, Scopes};

/// The version that the table is of.
pub const VERSION: &str = "2026.9.6";

const TABLE: &str = include_str!("methods-2026.9.6.txt");

/// What a method needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A scope of the operator. The gateway may ask for more, by the call's parameters.
    Scope(Scope),
    /// The role of a node.
    Node,
}

/// A method that the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its place in the table.
    pub number: u16,
    /// What it needs.
    pub need: Need,
}

/// How many methods the table has.
pub const COUNT: usize = 482;

/// Calls that are answered at once with `accepted` and again when what they began has ended.
const ANSWERED_TWICE: [&str; 3] = ["agent", "exec.approval.request", "plugin.approval.request"];

/// Whether a second answer may follow the first.
#[must_use]
pub fn is_answered_twice(name: &str) -> bool {
    ANSWERED_TWICE.contains(&name)
}

/// A line of the table: where its name stands, and what it needs.
#[derive(Clone, Copy)]
struct Line {
    from: usize,
    to: usize,
    need: Need,
}

/// Read by the compiler; names stand in order.
const LINES: &[Line; COUNT] = &lines(TABLE.as_bytes());

const fn lines(text: &[u8]) -> [Line; COUNT] {
    let mut lines = [Line { from: 0, to: 0, need: Need::Node }; COUNT];
    let (mut at, mut count) = (0, 0);
    while at < text.len() {
        let from = at;
        while text[at] != b' ' {
            at += 1;
        }
        let to = at;
        at += 1;
        let word = at;
        while text[at] != b'\n' && text[at] != b' ' {
            at += 1;
        }
        if text[from] != b'#' {
            lines[count] = Line { from, to, need: need_of(text, word, at) };
            count += 1;
        }
        while text[at] != b'\n' {
            at += 1;
        }
        at += 1;
    }
    assert!(count == COUNT, "the table has as many lines as it says");
    lines
}

/// The need that a word of the table names.
const fn need_of(text: &[u8], from: usize, to: usize) -> Need {
    const NEEDS: [Scope; 9] = [
        Scope::Read,
        Scope::Write,
        Scope::Admin,
        Scope::Approvals,
        Scope::Questions,
        Scope::Pairing,
        Scope::Talk,
        Scope::SessionsWrite,
        Scope::Node,
    ];
    let mut nth = 0;
    while nth < NEEDS.len() {
        let word = NEEDS[nth].as_str().as_bytes();
        let mut same = word.len() == to - from;
        let mut at = 0;
        while same && at < word.len() {
            same = word[at] == text[from + at];
            at += 1;
        }
        if same {
            return if matches!(NEEDS[nth], Scope::Node) { Need::Node } else { Need::Scope(NEEDS[nth]) };
        }
        nth += 1;
    }
    // A comment's words; a method's are looked at by a test.
    Need::Scope(Scope::Admin)
}

/// The method of that name. Plugins bring others: those need the widest scope.
#[must_use]
pub fn find(name: &str) -> Option<Method> {
    let place = LINES.binary_search_by(|line| TABLE[line.from..line.to].cmp(name)).ok()?;
    Some(Method { number: u16::try_from(place).ok()?, need: LINES[place].need })
}

/// All names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    LINES.iter().map(|line| &TABLE[line.from..line.to])
}

/// What a method needs, known or not.
#[must_use]
pub fn need(method: Option<Method>) -> Need {
    method.map_or(Need::Scope(Scope::Admin), |method| method.need)
}

/// The role that a socket connected in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A person's client, or a program for one.
    Operator,
    /// A machine that runs commands.
    Node,
    /// A process that works for the gateway.
    Worker,
}

impl Role {
    /// The role of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Operator, Self::Node, Self::Worker].into_iter().find(|role| role.as_str() == text)
    }

    /// As OpenClaw writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
            Self::Worker => "worker",
        }
    }

    /// The scope that a credential needs for it.
    #[must_use]
    pub const fn need(self) -> Option<Scope> {
        match self {
            Self::Operator => None,
            Self::Node => Some(Scope::Node),
            Self::Worker => Some(Scope::Worker),
        }
    }
}

/// Why a method may not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// A scope is missing.
    Scope(Scope),
    /// It is another role's.
    Role(Role),
}

/// Whether a caller with these scopes may call a method in this role.
///
/// # Errors
/// [`Denied`].
pub fn allow(method: Option<Method>, role: Role, scopes: Scopes) -> Result<(), Denied> {
    match (need(method), role) {
        (Need::Node, Role::Node) => Ok(()),
        // A node is no operator, whatever its credential has.
        (Need::Node, Role::Operator | Role::Worker) | (Need::Scope(_), Role::Node) => Err(Denied::Role(role)),
        (Need::Scope(scope), Role::Operator | Role::Worker) => {
            if scopes.has(scope) {
                Ok(())
            } else {
                Err(Denied::Scope(scope))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert!(TABLE.contains(VERSION) && names().is_sorted());
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        for (number, line) in (0..).zip(lines) {
            let words: Vec<&str> = line.split(' ').collect();
            let need = match Scope::parse(words[1]).unwrap_or_else(|| panic!("{line}")) {
                Scope::Node => Need::Node,
                scope => Need::Scope(scope),
            };
            assert_eq!(find(words[0]), Some(Method { number, need }), "{line}");
            assert!(words.len() == 2 || words[2..] == ["+"], "{line}");
        }
    }

    #[test]
    fn each_method_needs_its_scope_and_strange_ones_the_widest() {
        let check =
            |method: &str, role, words: &[&str]| allow(find(method), role, Scopes::of(words.iter().copied()));
        assert_eq!(check("status", Role::Operator, &["operator.read"]), Ok(()));
        assert_eq!(check("chat.send", Role::Operator, &["operator.write"]), Ok(()));
        assert_eq!(check("chat.send", Role::Operator, &["operator.read"]), Err(Denied::Scope(Scope::Write)));
        assert_eq!(
            check("plugin.method", Role::Operator, &["operator.write"]),
            Err(Denied::Scope(Scope::Admin))
        );
        assert_eq!(check("plugin.method", Role::Operator, &["operator.admin"]), Ok(()));
        assert_eq!(
            check("node.event", Role::Operator, &["operator.admin", "node"]),
            Err(Denied::Role(Role::Operator))
        );
        assert_eq!(check("node.event", Role::Node, &["node"]), Ok(()));
        assert_eq!(check("status", Role::Node, &["node", "operator.admin"]), Err(Denied::Role(Role::Node)));
    }
}
