//! The scopes and roles that OpenClaw knows, as a set of bits, and which of them stand for others.

/// One scope of an operator, or a role beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Look.
    Read,
    /// Talk to agents, change what is theirs.
    Write,
    /// Everything.
    Admin,
    /// Decide on approvals.
    Approvals,
    /// Answer questions.
    Questions,
    /// Let devices in.
    Pairing,
    /// Voice.
    Talk,
    /// The secrets of voice.
    TalkSecrets,
    /// Look at sessions alone.
    SessionsRead,
    /// Change sessions alone.
    SessionsWrite,
    /// The role of nodes: no operator's scope, not even the widest, stands for it.
    Node,
    /// The role of workers.
    Worker,
}

use Scope::{
    Admin, Approvals, Node, Pairing, Questions, Read, SessionsRead, SessionsWrite, Talk, TalkSecrets, Worker,
    Write,
};

const ALL: [Scope; 12] = [
    Read,
    Write,
    Admin,
    Approvals,
    Questions,
    Pairing,
    Talk,
    TalkSecrets,
    SessionsRead,
    SessionsWrite,
    Node,
    Worker,
];

impl Scope {
    /// As OpenClaw writes it; for roles, what a credential of the edge must have.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Read => "operator.read",
            Write => "operator.write",
            Admin => "operator.admin",
            Approvals => "operator.approvals",
            Questions => "operator.questions",
            Pairing => "operator.pairing",
            Talk => "operator.talk",
            TalkSecrets => "operator.talk.secrets",
            SessionsRead => "operator.sessions.read",
            SessionsWrite => "operator.sessions.write",
            Node => "node",
            Worker => "worker",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// What it stands for beside itself.
    const fn implied(self) -> &'static [Self] {
        match self {
            Admin => {
                &[Read, Write, Approvals, Questions, Pairing, Talk, TalkSecrets, SessionsRead, SessionsWrite]
            }
            Write => &[Read, Talk, SessionsRead, SessionsWrite],
            Read | SessionsWrite => &[SessionsRead],
            Approvals | Questions | Pairing | Talk | TalkSecrets | SessionsRead | Node | Worker => &[],
        }
    }
}

/// A set of scopes, each with all that it stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u16);

impl Scopes {
    /// The set of these words; others say nothing here.
    #[must_use]
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().filter_map(Scope::parse).fold(Self::default(), |mut set, scope| {
            set.0 |= scope.implied().iter().fold(scope.bit(), |bits, other| bits | other.bit());
            set
        })
    }

    /// Whether a scope is in it.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// A scope of the other set that is not in this one.
    #[must_use]
    pub fn lacks(self, other: Self) -> Option<Scope> {
        ALL.into_iter().find(|scope| other.has(*scope) && !self.has(*scope))
    }

    /// The operator's scopes that none of the others stands for: the shortest way to say the same.
    #[must_use]
    pub fn least(self) -> Vec<Scope> {
        let has = |scope: &Scope| self.has(*scope) && !matches!(scope, Node | Worker);
        let implied =
            |scope: Scope| ALL.into_iter().any(|wide| self.has(wide) && wide.implied().contains(&scope));
        ALL.into_iter().filter(has).filter(|scope| !implied(*scope)).collect()
    }

    /// The scopes of an operator, without the other roles.
    #[must_use]
    pub const fn operators(self) -> Self {
        Self(self.0 & !(Node.bit() | Worker.bit()))
    }

    /// The operator's scopes as the words of `X-OpenClaw-Scopes`. A gateway compares them literally, so
    /// what a scope stands for is written out.
    #[must_use]
    pub fn field(self) -> String {
        let words = ALL.into_iter().filter(|scope| self.has(*scope) && !matches!(scope, Node | Worker));
        words.map(Scope::as_str).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_scopes_stand_for_narrow_ones() {
        let write = Scopes::of(["operator.write"]);
        assert!(write.has(Read) && write.has(Talk) && !write.has(Admin) && !write.has(Approvals));
        let admin = Scopes::of(["operator.admin", "gateways:connect"]);
        assert!(ALL.iter().all(|scope| admin.has(*scope) != matches!(scope, Node | Worker)));
        assert_eq!(Scopes::of(["operator.read"]).lacks(write), Some(Write));
        assert_eq!(admin.lacks(write), None);
        assert_eq!(Scopes::of(["operator.read", "node"]).field(), "operator.read,operator.sessions.read");
        assert_eq!(Scopes::default().field(), "");
        assert_eq!(admin.least(), [Admin]);
        assert_eq!(Scopes::of(["operator.write", "operator.approvals", "node"]).least(), [Write, Approvals]);
        assert_eq!(Scopes::default().least(), []);
        assert_eq!(
            Scopes::of(["operator.read", "node", "worker"]).operators(),
            Scopes::of(["operator.read"])
        );
    }
}
