//! Which events a client asked for. A gateway counts subscriptions by connection; here many clients share one,
//! so each one's own are kept, and events that need one go to those alone who have it.

use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;

/// Most sessions whose messages one client follows on one gateway.
pub(super) const MOST_SESSIONS: usize = 256;

/// Calls that change what a connection gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Events of all sessions. Gateways know no way back.
    Sessions,
    /// One session's messages.
    Messages,
    /// No longer.
    NoMessages,
}

impl Change {
    /// What a method changes.
    pub(super) fn of(method: &str) -> Option<Self> {
        match method {
            "sessions.subscribe" => Some(Self::Sessions),
            "sessions.messages.subscribe" => Some(Self::Messages),
            "sessions.messages.unsubscribe" => Some(Self::NoMessages),
            _ => None,
        }
    }
}

/// Who gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// All clients of the connection.
    All,
    /// Those who follow all sessions, or this one.
    Followers,
    /// Those who follow this session.
    OfSession,
    /// Those who follow this session with its approvals.
    OfApprovals,
}

impl Audience {
    /// Of an event by its name.
    pub(super) fn of(event: &str) -> Self {
        match event {
            "session.approval" => Self::OfApprovals,
            "session.typing" => Self::OfSession,
            _ if event.starts_with("session.") => Self::Followers,
            _ => Self::All,
        }
    }
}

/// The session that an event's payload is about.
pub(super) fn session_of(payload: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct About<'a> {
        #[serde(rename = "sessionKey", borrow)]
        session: Option<Cow<'a, str>>,
    }
    serde_json::from_str::<About<'_>>(payload).ok()?.session
}

/// One session that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Followed {
    /// As the client named it.
    pub(super) asked: String,
    /// The parameters, to ask again.
    pub(super) params: String,
    /// With approvals.
    pub(super) approvals: bool,
}

/// What one client asked of one gateway.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Events of all sessions.
    pub(super) all: bool,
    /// By the gateway's own name of the session.
    pub(super) sessions: HashMap<String, Followed>,
}

impl Wants {
    /// Whether it gets an event about this session.
    pub(super) fn takes(&self, audience: Audience, session: Option<&str>) -> bool {
        let followed = || session.and_then(|session| self.sessions.get(session));
        match audience {
            Audience::All => true,
            Audience::Followers => self.all || followed().is_some(),
            Audience::OfSession => followed().is_some(),
            Audience::OfApprovals => followed().is_some_and(|followed| followed.approvals),
        }
    }

    /// The gateway's name of a session that is followed under this or its own name.
    pub(super) fn name_of(&self, session: &str) -> Option<&str> {
        let own = self.sessions.get_key_value(session).map(|(own, _)| own.as_str());
        own.or_else(|| {
            let asked = |(_, followed): &(&String, &Followed)| followed.asked == session;
            self.sessions.iter().find(asked).map(|(own, _)| own.as_str())
        })
    }
}

/// The parameters of a subscription, as far as they count here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub(super) key: String,
    #[serde(rename = "includeApprovals")]
    pub(super) approvals: bool,
}

impl Asked {
    /// Reads them; what they say wrongly the gateway refuses.
    pub(super) fn read(params: &str) -> Self {
        serde_json::from_str(params).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(session: &str, approvals: bool) -> Wants {
        let followed = Followed { asked: "main".into(), params: "{}".into(), approvals };
        Wants { all: false, sessions: [(session.to_owned(), followed)].into() }
    }

    #[test]
    fn events_go_to_those_who_asked() {
        let (none, all) = (Wants::default(), Wants { all: true, ..Wants::default() });
        let one = following("agent:main:main", false);
        let with = following("agent:main:main", true);
        let check = |event: &str, session: Option<&str>| {
            [&none, &all, &one, &with].map(|wants| wants.takes(Audience::of(event), session))
        };
        let (this, other) = (Some("agent:main:main"), Some("agent:other:main"));
        assert_eq!(check("cron", None), [true; 4]);
        assert_eq!(check("sessions.changed", this), [true; 4]);
        assert_eq!(check("session.message", this), [false, true, true, true]);
        assert_eq!(check("session.message", other), [false, true, false, false]);
        assert_eq!(check("session.tool", None), [false, true, false, false]);
        assert_eq!(check("session.typing", this), [false, false, true, true]);
        assert_eq!(check("session.approval", this), [false, false, false, true]);
    }

    #[test]
    fn a_session_is_known_by_both_its_names() {
        let wants = following("agent:main:main", false);
        assert_eq!(wants.name_of("main"), Some("agent:main:main"));
        assert_eq!(wants.name_of("agent:main:main"), Some("agent:main:main"));
        assert_eq!(wants.name_of("other"), None);
    }

    #[test]
    fn payloads_say_which_session_they_are_about() {
        assert_eq!(
            session_of(r#"{"a":[{"sessionKey":"x"}],"sessionKey":"k\u0065y"}"#).as_deref(),
            Some("key")
        );
        assert_eq!(session_of(r#"{"sessionKey":7}"#), None);
        assert_eq!(session_of("null"), None);
    }
}
