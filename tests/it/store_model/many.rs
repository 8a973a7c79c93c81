//! What is done to many rows at once: batches, and the mesh's own synchronisation.

use super::plain::{Act, Condition, Done, Kind, Target, Version};
use super::{NODE_TTL, World};
use crate::house::client::Request;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl World {
    pub(super) fn batch(&mut self, who: &'static str) {
        let now = self.now;
        let (mut operations, mut acts, mut refusal) = (Vec::new(), Vec::new(), None);
        for index in 0..self.chance.usize(1..6) {
            let target = self.target();
            let (condition, field) = self.condition(who, &target);
            // Later operations see the ones before, so what the model knew of a tag may be out of date: as outside.
            let (mut body, act) = match self.chance.u8(..6) {
                0 => (json!({"op": "delete"}), Act::Delete(target.clone())),
                1 => (json!({"op": "purge"}), Act::Purge(target.clone())),
                2 => {
                    let version = self.chance.i64(1..6);
                    (json!({"op": "restore", "version": version}), Act::Restore(target.clone(), version))
                }
                _ => {
                    let (row, mut body, ends) = self.content(&target);
                    body["op"] = json!("put");
                    (body, Act::Put { target: target.clone(), row, ends, sent_ms: None })
                }
            };
            match target.kind {
                Kind::Memory => {
                    body["scope"] = json!(target.scope);
                    body["key"] = json!(target.name);
                }
                Kind::Skill => body["name"] = json!(target.name),
            }
            if let Some((name, tag)) = field {
                body[name.to_lowercase().replace('-', "_")] = json!(tag);
            }
            // A batch looks for the condition first.
            let refused = match (who, &condition) {
                ("strict", None) => Some(428),
                _ => Self::refusal(who, &target, condition.as_ref()),
            };
            refusal = refusal.or(refused.map(|status| (index, status)));
            operations.push(body);
            acts.push((act, condition.unwrap_or(Condition::Always)));
        }
        let answer = self.send(who, &Request::post("/mesh/batch", json!(operations).to_string()));
        let done = match refusal {
            Some(refusal) => Err(refusal),
            None => self.model(who).commit(acts, now),
        };
        match done {
            Err((index, status)) => {
                self.refused(&answer, status);
                assert_eq!(answer.json()["index"], index, "{}", self.asked);
            }
            Ok(done) => {
                let results: Vec<Value> = done.iter().map(told).collect();
                self.same(&answer, &json!({"results": results}));
            }
        }
    }

    pub(super) fn delta(&mut self, who: &'static str) {
        let now = self.now;
        let (mut entries, mut acts, mut refused) = (Vec::new(), Vec::new(), false);
        for _ in 0..self.chance.usize(1..4) {
            let target = self.target();
            let (row, _, _) = self.content(&target);
            let sent_ms = (now + self.chance.i64(-8..3)) * 1000 + self.of(&[0, 500]);
            #[allow(clippy::cast_precision_loss, reason = "thousandths of seconds of this century")]
            let ts = sent_ms as f64 / 1000.0;
            let member = |name: &str| row.get(name).filter(|value| !value.is_null()).cloned();
            let mut entry = match target.kind {
                Kind::Memory => {
                    json!({"type": "memory", "scope": target.scope, "key": target.name, "value": row["value"],
                           "nodeId": row["node_id"]})
                }
                Kind::Skill => {
                    json!({"type": "skill", "name": target.name, "sourceNode": row["source_node"]})
                }
            };
            if target.kind == Kind::Skill {
                for name in ["content", "path"] {
                    if let Some(text) = member(name) {
                        entry[name] = text;
                    }
                }
            }
            entry["ts"] = json!(ts);
            refused |= Self::refusal(who, &target, Some(&Condition::Always)).is_some();
            let node = member("node_id").or(member("source_node")).unwrap().as_str().unwrap().to_owned();
            let ends = (target.scope == "node").then_some(now + NODE_TTL);
            let act = Act::Put { target, row, ends, sent_ms: Some(sent_ms) };
            acts.push((act, Condition::Newer { sent_ms, node }));
            entries.push(entry);
        }
        let message = json!({"type": "sync_delta", "entries": entries});
        let answer = self.send(who, &Request::post("/mesh/sync", message.to_string()));
        if refused {
            return self.refused(&answer, 403);
        }
        match self.model(who).commit(acts, now) {
            Err((_, status)) => self.refused(&answer, status),
            Ok(done) => {
                let passed = done.iter().filter(|done| matches!(done, Done::Passed)).count();
                let expected =
                    json!({"messages": [], "applied": done.len() - passed, "passed": passed, "more": false});
                self.same(&answer, &expected);
            }
        }
    }

    /// A summary that knows some rows, some of them newer; what it brings is what the model has.
    pub(super) fn summary(&mut self, who: &'static str) {
        let now = self.now;
        let mut theirs: BTreeMap<Target, i64> = BTreeMap::new();
        for _ in 0..self.chance.usize(..5) {
            let target = self.target();
            theirs.insert(target, (now + self.chance.i64(-9..2)) * 1000);
        }
        let (mut keys, mut skills) = (Vec::new(), Vec::new());
        for (target, ts) in &theirs {
            match target.kind {
                Kind::Memory => {
                    keys.push(json!({"scope": target.scope, "key": target.name, "ts": ts / 1000}))
                }
                Kind::Skill => skills.push(json!({"name": target.name, "ts": ts / 1000})),
            }
        }
        let model = &self.models[who];
        let wanted: Vec<&Target> = theirs
            .iter()
            .filter(|(target, ts)| match model.row(target, now) {
                Some(row) => row.written_ms() < **ts,
                None => match model.history(target, None, now).first() {
                    Some((gone, _)) if gone.row.is_none() => gone.at * 1000 < **ts,
                    Some(_) | None => true,
                },
            })
            .map(|(target, _)| target)
            .collect();
        let sent: Vec<Value> = model
            .live
            .iter()
            .filter(|(target, _)| model.row(target, now).is_some())
            .filter(|(target, row)| theirs.get(*target).is_none_or(|ts| row.written_ms() > *ts))
            .map(|(target, row)| message(target, row))
            .collect();
        let wanted: Vec<Value> =
            wanted.into_iter().map(|target| json!([target.scope, target.name])).collect();
        let text = json!({"type": "sync_summary", "keys": keys, "skills": skills}).to_string();
        let answer = self.send(who, &Request::post("/mesh/sync", text)).expect(200).json();
        let messages = answer["messages"].as_array().unwrap();
        assert_eq!(messages[1]["entries"], json!(sent), "{}", self.asked);
        // What is asked for has no order.
        let mut asked: Vec<Value> = Vec::new();
        for one in messages[0]["keys"].as_array().unwrap() {
            asked.push(json!([one["scope"], one["key"]]));
        }
        for one in messages[0]["skills"].as_array().unwrap() {
            asked.push(json!(["", one["name"]]));
        }
        let sorted = |mut list: Vec<Value>| {
            list.sort_by_key(Value::to_string);
            list
        };
        assert_eq!(sorted(asked), sorted(wanted), "{}", self.asked);
    }
}

/// One result of a batch.
fn told(done: &Done) -> Value {
    match done {
        Done::Written(row) => {
            let mut told = json!({"written": true, "row": row.shown()});
            row.add_meta(&mut told);
            told
        }
        Done::Deleted(version) => json!({"deleted": true, "version": version}),
        Done::Purged => json!({"purged": true}),
        Done::Passed => json!({"passed": true}),
    }
}

/// A row as the mesh message that it would be.
fn message(target: &Target, row: &Version) -> Value {
    let held = row.row.as_ref().unwrap();
    let ms = row.written_ms();
    let mut message = match target.kind {
        Kind::Memory => {
            json!({"type": "memory", "scope": target.scope, "key": target.name, "value": held["value"],
                   "nodeId": held["node_id"]})
        }
        Kind::Skill => json!({"type": "skill", "name": target.name, "sourceNode": held["source_node"]}),
    };
    if target.kind == Kind::Skill {
        for name in ["content", "path"] {
            if !held[name].is_null() {
                message[name] = held[name].clone();
            }
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "thousandths of seconds of this century")]
    let fraction = json!(ms as f64 / 1000.0);
    message["ts"] = if ms % 1000 == 0 { json!(ms / 1000) } else { fraction };
    message
}
