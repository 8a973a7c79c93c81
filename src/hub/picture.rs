//! What is known of one gateway: lists that were taken once, and events that went on from them.
//!
//! Everything here is bounded, and no clock and no socket is known: what came is put in its place, and
//! whoever puts it there is told which list has to be taken again.

use super::rows::{Agent, Health, Job, Run, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Most tasks that are kept; the ones that ended longest ago go first.
pub const MOST_TASKS: usize = 2000;
/// Most jobs.
pub const MOST_JOBS: usize = 2000;
/// Most runs of jobs.
pub const MOST_RUNS: usize = 500;
/// Most sessions that are known by name.
const MOST_SESSIONS: usize = 5000;

/// A list that a gateway can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// `tasks.list`.
    Tasks,
    /// `cron.list`.
    Jobs,
    /// `cron.runs`.
    Runs,
    /// `agents.list`.
    Agents,
    /// `sessions.list`.
    Sessions,
    /// `channels.status`.
    Channels,
    /// `status`.
    Status,
}

/// All of them.
pub const LISTS: [List; 7] =
    [List::Tasks, List::Jobs, List::Runs, List::Agents, List::Sessions, List::Channels, List::Status];

impl List {
    /// The method that gives it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tasks => "tasks.list",
            Self::Jobs => "cron.list",
            Self::Runs => "cron.runs",
            Self::Agents => "agents.list",
            Self::Sessions => "sessions.list",
            Self::Channels => "channels.status",
            Self::Status => "status",
        }
    }
}

/// What has changed, for those who follow.
#[derive(Debug, Clone)]
pub enum Change {
    /// A task.
    Task(Arc<Task>),
    /// A task is gone.
    TaskGone(String),
    /// A job.
    Job(Arc<Job>),
    /// A job is gone.
    JobGone(String),
    /// A job has run.
    Run(Arc<Run>),
    /// How the gateway is.
    Health(Health),
    /// How many are connected to it.
    Presence(usize),
}

/// What an event brought: changes, and lists that have to be taken again.
#[derive(Debug, Default)]
pub struct Brought {
    /// In order.
    pub changes: Vec<Change>,
    /// What it says nothing about.
    pub stale: Vec<List>,
}

/// How many sessions there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// All.
    pub total: u64,
    /// Those in which an agent works now.
    pub active: u64,
}

/// What is known of one gateway.
#[derive(Debug, Default)]
pub struct Picture {
    tasks: HashMap<String, Arc<Task>>,
    jobs: BTreeMap<String, Arc<Job>>,
    runs: VecDeque<Arc<Run>>,
    agents: Option<Vec<Agent>>,
    channels: Option<Vec<String>>,
    sessions: HashMap<String, bool>,
    total_sessions: Option<u64>,
    health: Option<Health>,
    presence: Option<usize>,
    status: Option<Value>,
    listed: HashSet<List>,
}

impl Picture {
    /// The tasks, in no order.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// The jobs, by id.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.values()
    }

    /// The runs of jobs, newest first.
    pub fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter()
    }

    /// The agents, once they are known.
    #[must_use]
    pub fn agents(&self) -> Option<&[Agent]> {
        self.agents.as_deref()
    }

    /// The names of the channels, once they are known.
    #[must_use]
    pub fn channels(&self) -> Option<&[String]> {
        self.channels.as_deref()
    }

    /// The sessions, once they are known.
    #[must_use]
    pub fn sessions(&self) -> Option<Sessions> {
        let active = self.sessions.values().filter(|active| **active).count();
        self.total_sessions.map(|total| Sessions { total, active: active as u64 })
    }

    /// How it is.
    #[must_use]
    pub const fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// How many are connected to it.
    #[must_use]
    pub const fn presence(&self) -> Option<usize> {
        self.presence
    }

    /// Whether a list has come at all.
    #[must_use]
    pub fn has(&self, list: List) -> bool {
        self.listed.contains(&list)
    }

    /// What it says of itself.
    #[must_use]
    pub const fn status(&self) -> Option<&Value> {
        self.status.as_ref()
    }

    /// Begins with what came along with the hello.
    pub fn greet(&mut self, snapshot: &Value) {
        self.take_health(&snapshot["health"]);
        self.presence = snapshot["presence"].as_array().map(Vec::len);
    }

    /// Puts a whole list in its place. `rows` are all pages of it.
    pub fn take_list(&mut self, list: List, pages: &[Value]) {
        let rows = |name: &'static str| pages.iter().filter_map(move |page| page[name].as_array()).flatten();
        match list {
            List::Tasks => self.take_tasks(rows("tasks")),
            List::Jobs => {
                let jobs = rows("jobs").filter_map(Job::read).take(MOST_JOBS);
                self.jobs = jobs.map(|job| (job.id.clone(), Arc::new(job))).collect();
            }
            List::Runs => {
                let runs = rows("entries").filter_map(row_of::<Run>).take(MOST_RUNS);
                self.runs = runs.map(Arc::new).collect();
            }
            List::Agents => self.agents = Some(rows("agents").filter_map(Agent::read).collect()),
            List::Sessions => {
                let named = rows("sessions").filter_map(session).take(MOST_SESSIONS);
                self.sessions = named.collect();
                let total = pages.first().and_then(|page| page["totalCount"].as_u64());
                self.total_sessions = Some(total.unwrap_or(self.sessions.len() as u64));
            }
            List::Channels => {
                if let Some(page) = pages.first() {
                    self.take_channels(page);
                }
            }
            List::Status => self.status = pages.first().map(own_status),
        }
        self.listed.insert(list);
    }

    fn take_tasks<'v>(&mut self, rows: impl Iterator<Item = &'v Value>) {
        let mut known = std::mem::take(&mut self.tasks);
        for task in rows.filter_map(row_of::<Task>) {
            // An event may have overtaken the list.
            let newer = known.remove(&task.id).filter(|known| known.updated_at > task.updated_at);
            self.tasks.insert(task.id.clone(), newer.unwrap_or_else(|| Arc::new(task)));
        }
        self.bound_tasks();
    }

    fn bound_tasks(&mut self) {
        let Some(over) = self.tasks.len().checked_sub(MOST_TASKS).filter(|over| *over > 0) else { return };
        let mut oldest: Vec<(bool, u64, String)> = Vec::with_capacity(self.tasks.len());
        oldest.extend(self.tasks.values().map(|task| (task.is_active(), task.updated_at, task.id.clone())));
        oldest.sort_unstable();
        // Some more, so that this is not done for every one that comes.
        for (_, _, id) in oldest.into_iter().take(over + MOST_TASKS / 20) {
            self.tasks.remove(&id);
        }
    }

    fn take_health(&mut self, payload: &Value) -> Option<Health> {
        let health = Health::read(payload)?;
        self.take_channels(payload);
        self.health = Some(health.clone());
        Some(health)
    }

    fn take_channels(&mut self, payload: &Value) {
        if let Some(channels) = payload["channels"].as_object() {
            self.channels = Some(channels.keys().cloned().collect());
        }
    }

    /// Puts an event in its place.
    pub fn take_event(&mut self, name: &str, payload: &Value) -> Brought {
        let mut brought = Brought::default();
        match name {
            "task" => self.task(payload, &mut brought),
            "cron" => self.cron(payload, &mut brought),
            "sessions.changed" => self.session(payload, &mut brought),
            "health" => brought.changes.extend(self.take_health(payload).map(Change::Health)),
            "presence" => {
                if let Some(present) = payload["presence"].as_array() {
                    self.presence = Some(present.len());
                    brought.changes.push(Change::Presence(present.len()));
                }
            }
            "config.changed" => brought.stale.extend([List::Agents, List::Channels, List::Jobs]),
            // Others are not about what is kept here.
            _ => {}
        }
        brought
    }

    fn task(&mut self, payload: &Value, brought: &mut Brought) {
        match payload["action"].as_str() {
            Some("upserted") => match row_of::<Task>(&payload["task"]) {
                Some(task) => {
                    let is_old =
                        self.tasks.get(&task.id).is_some_and(|known| known.updated_at > task.updated_at);
                    if !is_old {
                        let task = Arc::new(task);
                        self.tasks.insert(task.id.clone(), task.clone());
                        self.bound_tasks();
                        brought.changes.push(Change::Task(task));
                    }
                }
                None => brought.stale.push(List::Tasks),
            },
            Some("deleted") => {
                let gone = payload["taskId"].as_str().and_then(|id| self.tasks.remove(id));
                brought.changes.extend(gone.map(|task| Change::TaskGone(task.id.clone())));
            }
            // `restored`, and what newer gateways may say.
            _ => brought.stale.push(List::Tasks),
        }
    }

    fn cron(&mut self, payload: &Value, brought: &mut Brought) {
        let Some(id) = payload["jobId"].as_str() else { return brought.stale.push(List::Jobs) };
        match payload["action"].as_str() {
            Some("removed") => {
                if self.jobs.remove(id).is_some() {
                    self.runs.retain(|run| run.job_id != id);
                    brought.changes.push(Change::JobGone(id.to_owned()));
                }
                return;
            }
            Some("finished") => self.ran(payload, brought),
            _ => {}
        }
        let Some(mut job) = Job::read(&payload["job"]) else { return brought.stale.push(List::Jobs) };
        if let Some(known) = self.jobs.get(id) {
            // An event's job does not say what a list found out about it.
            job.effective_agent_id = job.effective_agent_id.or_else(|| known.effective_agent_id.clone());
        } else if job.effective_agent_id.is_none() {
            brought.stale.push(List::Jobs);
        }
        if self.jobs.len() < MOST_JOBS || self.jobs.contains_key(id) {
            let job = Arc::new(job);
            self.jobs.insert(id.to_owned(), job.clone());
            brought.changes.push(Change::Job(job));
        }
    }

    fn ran(&mut self, payload: &Value, brought: &mut Brought) {
        let Some(run) = row_of::<Run>(payload).map(Arc::new) else {
            return brought.stale.push(List::Runs);
        };
        self.runs.retain(|known| !known.is_same(&run));
        self.runs.push_front(run.clone());
        self.runs.truncate(MOST_RUNS);
        brought.changes.push(Change::Run(run));
    }

    fn session(&mut self, payload: &Value, brought: &mut Brought) {
        let reason = payload["reason"].as_str();
        let key = payload["sessionKey"].as_str();
        match (key, reason, session(&payload["session"])) {
            (_, Some("create"), Some((key, active))) => {
                let is_new = !self.sessions.contains_key(&key);
                if let Some(total) = self.total_sessions.as_mut().filter(|_| is_new) {
                    *total += 1;
                }
                self.note(key, active);
            }
            (_, _, Some((key, active))) if self.sessions.contains_key(&key) => self.note(key, active),
            _ => brought.stale.push(List::Sessions),
        }
    }

    fn note(&mut self, key: String, active: bool) {
        if self.sessions.len() < MOST_SESSIONS || self.sessions.contains_key(&key) {
            self.sessions.insert(key, active);
        }
    }
}

/// A row, where it is one; others are left out.
fn row_of<T: DeserializeOwned + Named>(row: &Value) -> Option<T> {
    T::deserialize(row).ok().filter(Named::is_named)
}

/// A row without the name by which it is kept is none.
trait Named {
    fn is_named(&self) -> bool;
}

impl Named for Task {
    fn is_named(&self) -> bool {
        !self.id.is_empty()
    }
}

impl Named for Run {
    fn is_named(&self) -> bool {
        !self.job_id.is_empty()
    }
}

fn session(row: &Value) -> Option<(String, bool)> {
    let key = row["key"].as_str()?;
    let active = row["hasActiveRun"].as_bool().unwrap_or(false);
    Some((key.to_owned(), active))
}

/// Of a gateway's own status, what says how it is; not where its files are, nor what its host looks like.
fn own_status(status: &Value) -> Value {
    const TOLD: [&str; 8] = [
        "runtimeVersion",
        "heartbeat",
        "channelSummary",
        "degradedPlugins",
        "tasks",
        "taskAudit",
        "modelRuntime",
        "eventLoop",
    ];
    let told = TOLD.iter().filter_map(|name| Some(((*name).to_owned(), status.get(*name)?.clone())));
    let mut told: serde_json::Map<String, Value> = told.collect();
    if let Some(count) = status["sessions"].get("count") {
        told.insert("sessions".into(), serde_json::json!({ "count": count }));
    }
    Value::Object(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(id: &str, status: &str, updated: u64) -> Value {
        json!({"id": id, "status": status, "createdAt": 1, "updatedAt": updated})
    }

    fn statuses(picture: &Picture) -> Vec<String> {
        let mut told: Vec<String> =
            picture.tasks().map(|task| format!("{} {}", task.id, task.status)).collect();
        told.sort();
        told
    }

    #[test]
    fn events_go_on_from_the_list() {
        let mut picture = Picture::default();
        picture
            .take_list(List::Tasks, &[json!({"tasks": [task("a", "running", 5), task("b", "queued", 5)]})]);
        let brought =
            picture.take_event("task", &json!({"action": "upserted", "task": task("a", "completed", 6)}));
        assert!(matches!(&brought.changes[..], [Change::Task(task)] if task.status == "completed"));
        // What the list already knows better changes nothing.
        let brought =
            picture.take_event("task", &json!({"action": "upserted", "task": task("a", "running", 4)}));
        assert!(brought.changes.is_empty() && brought.stale.is_empty());
        picture.take_event("task", &json!({"action": "deleted", "taskId": "b"}));
        assert_eq!(statuses(&picture), ["a completed"]);
        assert_eq!(picture.take_event("task", &json!({"action": "restored"})).stale, [List::Tasks]);
        // A list that an event has overtaken.
        picture.take_list(
            List::Tasks,
            &[json!({"tasks": [task("a", "running", 5)]}), json!({"tasks": [task("c", "failed", 9)]})],
        );
        assert_eq!(statuses(&picture), ["a completed", "c failed"]);
    }

    #[test]
    fn rows_that_are_none_are_left_out() {
        let mut picture = Picture::default();
        let rows =
            json!({"tasks": [7, {}, {"id": 7}, {"id": "x", "updatedAt": "soon"}, task("a", "running", 1)]});
        picture.take_list(List::Tasks, &[rows]);
        assert_eq!(statuses(&picture), ["a running"]);
        picture.take_list(List::Runs, &[json!({"entries": [{"status": "ok"}, {"jobId": "j"}]})]);
        assert_eq!(picture.runs().count(), 1);
        for name in ["task", "cron", "sessions.changed", "health", "presence", "new"] {
            for payload in [json!(null), json!([]), json!({"action": 7}), json!("x")] {
                picture.take_event(name, &payload);
            }
        }
        for list in LISTS {
            picture.take_list(list, &[json!(null)]);
            picture.take_list(list, &[]);
        }
    }

    #[test]
    fn tasks_are_bounded_and_active_ones_stay() {
        let mut picture = Picture::default();
        picture.take_event("task", &json!({"action": "upserted", "task": task("active", "running", 0)}));
        for at in 0..=MOST_TASKS as u64 {
            let one = task(&format!("t{at}"), "completed", at + 1);
            picture.take_event("task", &json!({"action": "upserted", "task": one}));
        }
        assert!(picture.tasks().count() <= MOST_TASKS);
        assert!(picture.tasks().any(|task| task.id == "active"));
        assert!(!picture.tasks().any(|task| task.id == "t0"));
    }

    #[test]
    fn a_job_and_its_runs_follow_its_events() {
        let mut picture = Picture::default();
        let job = |state: Value| json!({"id": "j", "name": "echo", "enabled": true, "schedule": {"kind": "every"}, "state": state});
        picture.take_list(
            List::Jobs,
            &[json!({"jobs": [{"id": "j", "name": "echo", "effectiveAgentId": "main"}]})],
        );
        let event = json!({"jobId": "j", "action": "started", "job": job(json!({"runningAtMs": 4}))});
        picture.take_event("cron", &event);
        let known = picture.jobs().next().unwrap().clone();
        assert_eq!((known.running_at_ms, known.effective_agent_id.as_deref()), (Some(4), Some("main")));
        let event = json!({"jobId": "j", "action": "finished", "status": "ok", "runId": "r", "runAtMs": 4,
            "durationMs": 9, "summary": "hello", "job": job(json!({"lastRunStatus": "ok"}))});
        let brought = picture.take_event("cron", &event);
        assert!(matches!(&brought.changes[..], [Change::Run(_), Change::Job(_)]), "{brought:?}");
        picture.take_event("cron", &event);
        let runs: Vec<_> = picture.runs().collect();
        assert_eq!((runs.len(), runs[0].summary.as_deref()), (1, Some("hello")));
        assert_eq!(picture.jobs().next().unwrap().running_at_ms, None);
        let new = json!({"jobId": "new", "action": "added", "job": {"id": "new", "name": "n"}});
        assert_eq!(picture.take_event("cron", &new).stale, [List::Jobs], "whose it is, only a list says");
        picture.take_event("cron", &json!({"jobId": "new", "action": "removed"}));
        let event = json!({"jobId": "j", "action": "updated"});
        assert_eq!(picture.take_event("cron", &event).stale, [List::Jobs]);
        picture.take_event("cron", &json!({"jobId": "j", "action": "removed"}));
        assert_eq!((picture.jobs().count(), picture.runs().count()), (0, 0));
    }

    #[test]
    fn sessions_are_counted() {
        let mut picture = Picture::default();
        assert_eq!(picture.sessions(), None);
        let rows = json!([{"key": "a", "hasActiveRun": true}, {"key": "b"}]);
        picture.take_list(List::Sessions, &[json!({"totalCount": 7, "sessions": rows})]);
        assert_eq!(picture.sessions(), Some(Sessions { total: 7, active: 1 }));
        let made =
            json!({"sessionKey": "c", "reason": "create", "session": {"key": "c", "hasActiveRun": true}});
        assert!(picture.take_event("sessions.changed", &made).stale.is_empty());
        assert_eq!(picture.sessions(), Some(Sessions { total: 8, active: 2 }));
        let gone = json!({"sessionKey": "c", "reason": "delete"});
        assert_eq!(picture.take_event("sessions.changed", &gone).stale, [List::Sessions]);
    }

    #[test]
    fn a_gateways_files_and_host_stay_its_own() {
        let mut picture = Picture::default();
        picture.take_list(
            List::Status,
            &[json!({"runtimeVersion": "2026.9.6", "pid": 7,
            "sessions": {"paths": ["/secret"], "count": 3}, "hostDesktop": {}})],
        );
        let told = picture.status().unwrap().to_string();
        assert_eq!(told, r#"{"runtimeVersion":"2026.9.6","sessions":{"count":3}}"#);
        picture.greet(&json!({"health": {"ok": true, "ts": 5, "channels": {"telegram": {}},
            "eventLoop": {"degraded": true, "reasons": ["cpu"]}}, "presence": [{}, {}]}));
        let health = picture.health().unwrap();
        assert!(health.ok && health.degraded && health.reasons == ["cpu"]);
        assert_eq!(
            (picture.channels().unwrap(), picture.presence()),
            (&["telegram".to_owned()][..], Some(2))
        );
    }
}
