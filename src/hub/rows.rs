//! What the API tells of a gateway's tasks and jobs: the gateway's own members by their own names, and of
//! those the ones that are for a dashboard. What a job would run (prompts, commands) is not read at all.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A background task (`tasks.list`, event `task`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// What kind, such as `automation_run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What runs it: `cron`, `subagent`, `acp`, `cli`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `queued`, `running`, `completed`, `failed`, `cancelled`, `timed_out`.
    pub status: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// In which session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// What it comes from: a job's id where `runtime` is `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Unix milliseconds.
    pub updated_at: u64,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_summary: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_summary: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Task {
    /// Whether it goes on.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.status.as_str(), "queued" | "running")
    }
}

/// A job (`cron.list`, event `cron`).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
    /// Names those that the gateway brings along, such as `heartbeat:main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declaration_key: Option<String>,
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_agent_id: Option<String>,
    /// `at`, `every`, `cron`, `on-exit`, `stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_kind: Option<String>,
    /// When, for the first three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Value>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_at_ms: Option<u64>,
    /// Unix milliseconds, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_at_ms: Option<u64>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at_ms: Option<u64>,
    /// `ok`, `error`, `skipped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_status: Option<String>,
    /// Why it went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_error: Option<String>,
}

impl Job {
    /// Reads a row of `cron.list`, compact or whole, or the job of an event.
    #[must_use]
    pub fn read(row: &Value) -> Option<Self> {
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let state = &row["state"];
        // A compact row has at its top what a whole one has in its state.
        let number = |name: &str| row[name].as_u64().or_else(|| state[name].as_u64());
        let kind = word(&row["scheduleKind"]).or_else(|| word(&row["schedule"]["kind"]));
        let is_plain = matches!(kind.as_deref(), Some("at" | "every" | "cron"));
        Some(Self {
            id: word(&row["id"])?,
            name: word(&row["name"]).unwrap_or_default(),
            enabled: row["enabled"].as_bool().unwrap_or(true),
            declaration_key: word(&row["declarationKey"]),
            effective_agent_id: word(&row["effectiveAgentId"]).or_else(|| word(&row["agentId"])),
            schedule: Some(&row["schedule"]).filter(|_| is_plain).filter(|at| at.is_object()).cloned(),
            schedule_kind: kind,
            next_run_at_ms: number("nextRunAtMs"),
            running_at_ms: number("runningAtMs"),
            last_run_at_ms: number("lastRunAtMs"),
            last_run_status: word(&row["lastRunStatus"])
                .or_else(|| word(&state["lastRunStatus"]))
                .or_else(|| word(&state["lastStatus"])),
            last_run_error: word(&row["lastRunError"]).or_else(|| word(&state["lastError"])),
        })
    }
}

/// A run of a job (`cron.runs`, event `cron` with `finished`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Run {
    /// Whose.
    pub job_id: String,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// `ok`, `error`, `skipped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `succeeded`, `failed`, `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_status: Option<String>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at_ms: Option<u64>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Run {
    /// Whether both are the same run.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.job_id == other.job_id && self.run_at_ms == other.run_at_ms && {
            self.run_id.is_none() || other.run_id.is_none() || self.run_id == other.run_id
        }
    }
}

/// An agent (`agents.list`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Agent {
    /// Reads a row of `agents.list`.
    #[must_use]
    pub fn read(row: &Value) -> Option<Self> {
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let model = word(&row["model"]["primary"]).or_else(|| word(&row["model"]));
        Some(Self { id: word(&row["id"])?, name: word(&row["name"]), model })
    }
}

/// How a gateway says that it is (`health`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Its own word.
    pub ok: bool,
    /// When, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<u64>,
    /// Whether its event loop or its models lag.
    pub degraded: bool,
    /// Why.
    pub reasons: Vec<String>,
    /// Plugins that could not be loaded.
    pub plugin_errors: usize,
}

impl Health {
    /// Reads the payload of `health`.
    #[must_use]
    pub fn read(payload: &Value) -> Option<Self> {
        let reasons = payload["eventLoop"]["reasons"].as_array().into_iter().flatten();
        let is_true = |value: &Value| value.as_bool().unwrap_or(false);
        Some(Self {
            ok: payload["ok"].as_bool()?,
            ts: payload["ts"].as_u64(),
            degraded: is_true(&payload["eventLoop"]["degraded"])
                || is_true(&payload["modelRuntime"]["degraded"]),
            reasons: reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect(),
            plugin_errors: payload["plugins"]["errors"].as_array().map_or(0, Vec::len),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_reads_the_same_compact_and_whole() {
        let schedule = json!({"kind": "every", "everyMs": 3_600_000, "anchorMs": 1});
        let compact = json!({"id": "j", "name": "echo", "enabled": true, "nextRunAt": "…", "nextRunAtMs": 9,
            "scheduleKind": "every", "schedule": schedule, "lastRunAtMs": 5, "lastRunStatus": "ok",
            "lastRunError": null, "effectiveAgentId": "main"});
        let whole = json!({"id": "j", "name": "echo", "enabled": true, "agentId": "main", "schedule": schedule,
            "payload": {"kind": "command", "argv": ["sh", "-c", "secret"]},
            "state": {"nextRunAtMs": 9, "lastRunAtMs": 5, "lastRunStatus": "ok"}});
        assert_eq!(Job::read(&compact), Job::read(&whole));
        let told = serde_json::to_string(&Job::read(&whole)).unwrap();
        assert!(told.contains(r#""nextRunAtMs":9"#) && !told.contains("secret"), "{told}");
        let on_exit = json!({"id": "j", "schedule": {"kind": "on-exit", "argv": ["secret"]}});
        let told = serde_json::to_string(&Job::read(&on_exit)).unwrap();
        assert!(told.contains("on-exit") && !told.contains("secret"), "{told}");
        assert_eq!(Job::read(&json!({"name": "without an id"})), None);
    }

    #[test]
    fn a_task_keeps_its_own_names() {
        let row = json!({"id": "t", "taskId": "t", "kind": "automation_run", "runtime": "cron",
            "status": "running", "sourceId": "j", "createdAt": 1, "updatedAt": 2, "ownerKey": "x"});
        let task: Task = serde_json::from_value(row).unwrap();
        assert!(task.is_active());
        let told = serde_json::to_value(&task).unwrap();
        assert_eq!(told["sourceId"], "j");
        assert!(told.get("ownerKey").is_none() && told.get("error").is_none(), "{told}");
    }

    #[test]
    fn runs_are_the_same_by_time_and_id() {
        let run = |id: Option<&str>, at| Run {
            job_id: "j".into(),
            run_id: id.map(str::to_owned),
            run_at_ms: Some(at),
            ..Run::default()
        };
        assert!(run(Some("a"), 1).is_same(&run(None, 1)));
        assert!(!run(Some("a"), 1).is_same(&run(Some("b"), 1)));
        assert!(!run(Some("a"), 1).is_same(&run(Some("a"), 2)));
    }
}
