//! What was found: about what, whether it is well, and what to do. Knows neither sockets nor files.

use serde::Serialize;
use std::fmt::Write as _;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Well.
    Good,
    /// It works, and somebody should look at it.
    Look,
    /// It does not work, or will soon not.
    Bad,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Look => "look",
            Self::Bad => "BAD",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The kind of check: a stable word.
    pub(super) check: &'static str,
    /// What was looked at.
    pub(super) subject: String,
    pub(super) state: State,
    /// What was seen, in a sentence.
    pub(super) text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

/// All of them, in the order in which they were looked at.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// It is well.
    pub(super) fn good(&mut self, check: &'static str, subject: &str, text: impl Into<String>) {
        self.push(check, subject, State::Good, text.into(), None);
    }

    /// Somebody should look at it.
    pub(super) fn look(
        &mut self,
        check: &'static str,
        subject: &str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(check, subject, State::Look, text.into(), Some(advice.into()));
    }

    /// It does not work.
    pub(super) fn bad(
        &mut self,
        check: &'static str,
        subject: &str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(check, subject, State::Bad, text.into(), Some(advice.into()));
    }

    fn push(
        &mut self,
        check: &'static str,
        subject: &str,
        state: State,
        text: String,
        advice: Option<String>,
    ) {
        self.0.push(Finding { check, subject: subject.to_owned(), state, text, advice });
    }

    /// How many stand so.
    pub(super) fn count(&self, state: State) -> usize {
        self.0.iter().filter(|finding| finding.state == state).count()
    }

    /// For people: a line each, and below it what to do.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for Finding { check, subject, state, text, advice } in &self.0 {
            let mut lines = text.lines();
            let first = lines.next().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:<4} {check:<12} {subject}: {first}", state.word());
            for line in lines {
                let _ = writeln!(out, "{:18}{line}", "");
            }
            if let Some(advice) = advice {
                let _ = writeln!(out, "{:18}-> {advice}", "");
            }
        }
        out
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        let ok = self.count(State::Bad) == 0;
        format!("{}\n", serde_json::json!({ "ok": ok, "findings": self.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_lines_and_programs_get_members() {
        let mut findings = Findings::default();
        findings.good("upstream", "bridge", "answers");
        findings.bad("config", "edge.yaml", "one\ntwo", "mend it");
        assert_eq!(
            findings.text(),
            "good upstream     bridge: answers\nBAD  config       edge.yaml: one\n                  two\n                  -> mend it\n"
        );
        let json: serde_json::Value = serde_json::from_str(&findings.json()).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][0]["state"], "good");
        assert_eq!(json["findings"][1]["advice"], "mend it");
    }
}
