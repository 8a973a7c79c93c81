//! `POST /mesh/sync`: the mesh's own way to bring two nodes' rows together. The last writer wins, by `ts`.
//!
//! - `sync_summary` says what a node has (`keys`: scope, key and `ts`; `skills`: name and `ts`). The answer is a
//!   `sync_request` for what is newer there and a `sync_delta` with what is newer here.
//! - `sync_request` names rows; the answer is a `sync_delta` with those that are here.
//! - `sync_delta` has whole messages (`entries`); those that are newer than what is here are written.

use super::access::Access;
use super::http::App;
use super::json::write_string;
use super::model::{
    Action, Condition, Content, Done, Filter, Kind, MOST_PAGE_BYTES, Place, Row, Target, Write,
};
use super::observe::Op;
use super::reply::{self, Refusal};
use super::writes::Refused;
use super::{body, http::Held};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Most rows named or sent in one answer; what is left comes with the next summary.
const MOST: usize = 1000;

/// One message; which members count is said by `type`.
#[derive(Deserialize)]
struct Message<'a> {
    r#type: String,
    #[serde(borrow, default, alias = "memory")]
    keys: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    skills: Vec<&'a RawValue>,
    #[serde(borrow, default, alias = "messages")]
    entries: Vec<&'a RawValue>,
}

/// A row by name, and when it was written.
#[derive(Deserialize)]
struct Named {
    scope: Option<String>,
    key: Option<String>,
    name: Option<String>,
    ts: Option<f64>,
}

/// What a message comes to.
#[derive(Default)]
struct Outcome {
    wanted: Vec<(Target, i64)>,
    sent: Vec<Row>,
    asked: Asked,
    applied: usize,
    passed: usize,
    more: bool,
}

/// Which messages an answer must hold, empty or not.
#[derive(Default, Clone, Copy)]
struct Asked {
    request: bool,
    delta: bool,
}

/// `POST /mesh/sync`.
pub(super) async fn sync(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let work = async {
        let held = app.hold(&headers, body).await?;
        Ok(app.sync(&access, &held).await)
    };
    app.observed_parts(Op::Sync, work).await
}

impl App {
    async fn sync(&self, access: &Access, held: &Held) -> Result<Response, Refused> {
        let invalid = |index| Refused { index, why: Refusal::InvalidMessage };
        let raw: Vec<&RawValue> = match held.bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => serde_json::from_slice(&held.bytes).map_err(|_| invalid(None))?,
            Some(_) | None => vec![serde_json::from_slice(&held.bytes).map_err(|_| invalid(None))?],
        };
        let mut outcome = Outcome::default();
        for (index, raw) in raw.into_iter().enumerate() {
            let message: Message<'_> = serde_json::from_str(raw.get()).map_err(|_| invalid(Some(index)))?;
            let at = |why| Refused { index: Some(index), why };
            match message.r#type.as_str() {
                "sync_summary" => self.summary(access, &message, &mut outcome).await.map_err(at)?,
                "sync_request" => self.request(access, &message, &mut outcome).await.map_err(at)?,
                "sync_delta" => self.delta(access, &message, &mut outcome).await?,
                _ => return Err(invalid(Some(index))),
            }
        }
        Ok(outcome.answer())
    }

    async fn summary(
        &self,
        access: &Access,
        message: &Message<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        (outcome.asked.request, outcome.asked.delta) = (true, true);
        let mut theirs = HashMap::new();
        for (target, ts) in named(message)? {
            theirs.insert(target, ts.ok_or(Refusal::InvalidMessage)?);
        }
        for (target, ts) in &theirs {
            if self.is_older_here(access, target, *ts).await? {
                if outcome.wanted.len() == MOST {
                    outcome.more = true;
                    break;
                }
                outcome.wanted.push((target.clone(), *ts));
            }
        }
        for kind in [Kind::Memory, Kind::Skill] {
            let mut from = Some(Place::Name { scope: String::new(), name: String::new() });
            while let Some(place) = from {
                let page = self.store.page(access, Filter::all(kind), place, 500).await?;
                for row in page.rows {
                    let newer = theirs.get(&row.content.target()).is_none_or(|ts| row.written_ms() > *ts);
                    if newer && !outcome.send(row) {
                        return Ok(());
                    }
                }
                from = page.next;
            }
        }
        Ok(())
    }

    /// Whether what is here is older than this, or nothing. A row that was deleted since is newer.
    async fn is_older_here(&self, access: &Access, target: &Target, ts: i64) -> Result<bool, Refusal> {
        if let Some(row) = self.store.row(access, target.clone()).await? {
            return Ok(row.written_ms() < ts);
        }
        let last = self.store.history(access, target.clone(), None, 1).await?.pop();
        let gone = last.filter(|version| matches!(version.action, Action::Delete | Action::Expire));
        Ok(gone.is_none_or(|gone| gone.stamp.updated_at.saturating_mul(1000) < ts))
    }

    async fn request(
        &self,
        access: &Access,
        message: &Message<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        outcome.asked.delta = true;
        for (target, _) in named(message)? {
            if let Some(row) = self.store.row(access, target).await?
                && !outcome.send(row)
            {
                break;
            }
        }
        Ok(())
    }

    async fn delta(
        &self,
        access: &Access,
        message: &Message<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Refused> {
        let mut writes = Vec::with_capacity(message.entries.len());
        for (index, raw) in message.entries.iter().enumerate() {
            writes.push(self.entry(access, raw).map_err(|why| Refused { index: Some(index), why })?);
        }
        let done = self.all(access, writes).await?;
        outcome.passed += done.iter().filter(|done| **done == Done::Passed).count();
        outcome.applied += done.iter().filter(|done| **done != Done::Passed).count();
        Ok(())
    }

    /// A whole message as a write that gives way to what is newer.
    fn entry(&self, access: &Access, raw: &RawValue) -> Result<Write, Refusal> {
        let new = body::message(raw.get())?;
        let sent_ms = new.sent_ms.ok_or(Refusal::InvalidMessage)?;
        let node = new.content.node().to_owned();
        Ok(Write { act: self.prepared(access, new)?, condition: Condition::Newer { sent_ms, node } })
    }
}

fn named(message: &Message<'_>) -> Result<Vec<(Target, Option<i64>)>, Refusal> {
    let read = |raw: &&RawValue| -> Result<Named, Refusal> {
        serde_json::from_str(raw.get()).map_err(|_| Refusal::InvalidMessage)
    };
    let mut found = Vec::with_capacity(message.keys.len() + message.skills.len());
    for raw in &message.keys {
        let Named { scope, key, ts, .. } = read(raw)?;
        let (Some(scope), Some(key)) = (scope, key) else { return Err(Refusal::InvalidMessage) };
        found
            .push((Target { kind: Kind::Memory, scope, name: key }, ts.map(body::milliseconds).transpose()?));
    }
    for raw in &message.skills {
        let Named { name, ts, .. } = read(raw)?;
        let name = name.ok_or(Refusal::InvalidMessage)?;
        found.push((Target::skill(&name), ts.map(body::milliseconds).transpose()?));
    }
    Ok(found)
}

impl Outcome {
    /// Takes a row into the answer; false when it is full.
    fn send(&mut self, row: Row) -> bool {
        let bytes: i64 = self.sent.last().map_or(0, |_| self.sent.iter().map(Row::bytes).sum());
        if self.sent.len() >= MOST || bytes >= MOST_PAGE_BYTES {
            self.more = true;
            return false;
        }
        self.sent.push(row);
        true
    }

    fn answer(&self) -> Response {
        let mut messages = Vec::new();
        if self.asked.request {
            let mut out = b"{\"type\":\"sync_request\",\"keys\":[".to_vec();
            list(&mut out, self.wanted.iter().filter(|(target, _)| target.kind == Kind::Memory), write_key);
            out.extend_from_slice(b"],\"skills\":[");
            list(&mut out, self.wanted.iter().filter(|(target, _)| target.kind == Kind::Skill), write_key);
            out.extend_from_slice(b"]}");
            messages.push(out);
        }
        if self.asked.delta {
            let mut out = b"{\"type\":\"sync_delta\",\"entries\":[".to_vec();
            list(&mut out, self.sent.iter(), write_entry);
            out.extend_from_slice(b"]}");
            messages.push(out);
        }
        let mut out = b"{\"messages\":[".to_vec();
        list(&mut out, messages.iter(), |out, message| out.extend_from_slice(message));
        let Self { applied, passed, more, .. } = self;
        out.extend_from_slice(
            format!("],\"applied\":{applied},\"passed\":{passed},\"more\":{more}}}").as_bytes(),
        );
        reply::json(StatusCode::OK, out)
    }
}

fn list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

fn write_key(out: &mut Vec<u8>, (target, ts): &(Target, i64)) {
    match target.kind {
        Kind::Memory => {
            out.extend_from_slice(b"{\"scope\":");
            write_string(out, &target.scope);
            out.extend_from_slice(b",\"key\":");
        }
        // Keys are no message's to name; they come by the registry alone.
        Kind::Skill | Kind::Key => out.extend_from_slice(b"{\"name\":"),
    }
    write_string(out, &target.name);
    write_ts(out, *ts);
}

/// A row as the mesh message that it came as, with its signature, or else that it would be.
fn write_entry(out: &mut Vec<u8>, row: &Row) {
    if let Some(proof) = &row.proof {
        return out.extend_from_slice(proof.as_str().as_bytes());
    }
    match &row.content {
        Content::Memory(memory) => {
            out.extend_from_slice(b"{\"type\":\"memory\",\"scope\":");
            write_string(out, &memory.scope);
            out.extend_from_slice(b",\"key\":");
            write_string(out, &memory.key);
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(memory.value.as_str().as_bytes());
            out.extend_from_slice(b",\"nodeId\":");
            write_string(out, &memory.node_id);
        }
        // Not asked for and so not among the rows: keys come by the registry alone.
        Content::Keys(keys) => {
            out.extend_from_slice(b"{\"type\":\"keys\",\"node\":");
            write_string(out, &keys.node);
        }
        Content::Skill(skill) => {
            out.extend_from_slice(b"{\"type\":\"skill\",\"name\":");
            write_string(out, &skill.name);
            out.extend_from_slice(b",\"sourceNode\":");
            write_string(out, &skill.source_node);
            for (name, text) in [("content", &skill.content), ("path", &skill.path)] {
                if let Some(text) = text {
                    out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                    write_string(out, text);
                }
            }
        }
    }
    write_ts(out, row.written_ms());
}

fn write_ts(out: &mut Vec<u8>, ms: i64) {
    let (seconds, rest) = (ms.div_euclid(1000), ms.rem_euclid(1000));
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:03}") };
    out.extend_from_slice(format!(",\"ts\":{seconds}{fraction}}}").as_bytes());
}
