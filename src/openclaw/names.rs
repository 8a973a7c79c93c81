//! Methods under the names that dashboards called them by before: what each is called today, and in
//! which shape its caller reads the answer.

/// A call, as a gateway of today takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// What it is called today.
    pub method: &'a str,
    /// Its parameters; none where the old ones say nothing to the new method.
    pub params: Option<&'a str>,
    /// What its answer looks like.
    pub shape: Shape,
}

/// How an answer goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As it came.
    Today,
    /// Each agent with a `name`.
    Agents,
    /// Channels as a list and not by their ids.
    Channels,
    /// Each session with `id` and `title`.
    Sessions,
    /// With the numbers of agents, sessions and channels.
    Status,
}

/// What a call is today.
#[must_use]
pub fn today<'a>(method: &'a str, params: Option<&'a str>) -> Named<'a> {
    let (method, params, shape) = match method {
        "agent.list" => ("agents.list", None, Shape::Agents),
        // `agent` runs one; without anything to say to it, it asks for the list, as it once did.
        "agent" if says_nothing(params) => ("agents.list", None, Shape::Agents),
        "channels.list" | "channels" => ("channels.status", None, Shape::Channels),
        "sessions.list" => (method, params, Shape::Sessions),
        "status" => (method, params, Shape::Status),
        _ => (method, params, Shape::Today),
    };
    Named { method, params, shape }
}

fn says_nothing(params: Option<&str>) -> bool {
    params.is_none_or(|params| {
        let inner = params.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        params == "null" || inner.is_some_and(|inner| inner.trim_ascii().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::super::methods;
    use super::*;

    #[test]
    fn old_names_are_todays_methods() {
        for (old, new) in [
            ("agent.list", "agents.list"),
            ("channels.list", "channels.status"),
            ("channels", "channels.status"),
            ("status", "status"),
            ("sessions.list", "sessions.list"),
            ("cron.list", "cron.list"),
        ] {
            let named = today(old, None);
            assert_eq!(named.method, new);
            assert!(methods::find(named.method).is_some(), "{new}");
        }
        for old in ["agent.list", "channels.list", "channels"] {
            assert_eq!(methods::find(old), None, "{old} is a method of today");
            assert_eq!(today(old, Some(r#"{"x":1}"#)).params, None);
        }
    }

    #[test]
    fn an_agent_that_is_told_something_runs() {
        for nothing in [None, Some("{}"), Some("{ \n}"), Some("null")] {
            assert_eq!(today("agent", nothing).method, "agents.list");
        }
        let told = Some(r#"{"message":"hi","idempotencyKey":"k"}"#);
        assert_eq!(today("agent", told), Named { method: "agent", params: told, shape: Shape::Today });
    }
}
