//! What the store promises of one tenant, in maps and lists: no engine, no index, no transaction.
//!
//! Written to be read beside docs/api-store.md and to be obviously right; knows nothing of HTTP.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Versions of the past that the store under test keeps.
pub(crate) const HISTORY: i64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Memory,
    Skill,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) scope: String,
    pub(crate) name: String,
}

impl Target {
    pub(crate) fn of(kind: Kind, scope: &str, name: &str) -> Self {
        let scope = match kind {
            Kind::Memory => scope,
            Kind::Skill => "",
        };
        Self { kind, scope: scope.to_owned(), name: name.to_owned() }
    }
}

/// A version of a row: what it held, or that it went.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_field_names, reason = "its number is called that everywhere")]
pub(crate) struct Version {
    pub(crate) version: i64,
    pub(crate) change: i64,
    pub(crate) action: &'static str,
    pub(crate) at: i64,
    pub(crate) ends: Option<i64>,
    pub(crate) sent_ms: Option<i64>,
    /// As clients see it, without `updated_at`; none for what went.
    pub(crate) row: Option<Value>,
}

impl Version {
    pub(super) fn is_over(&self, now: i64) -> bool {
        self.ends.is_some_and(|end| end <= now)
    }

    pub(crate) fn tag(&self) -> String {
        format!("\"v{}.{}\"", self.version, self.change)
    }

    pub(crate) fn written_ms(&self) -> i64 {
        self.sent_ms.unwrap_or(self.at * 1000)
    }

    pub(crate) fn shown(&self) -> Value {
        let mut row = self.row.clone().unwrap();
        row["updated_at"] = json!(self.at);
        row
    }

    pub(crate) fn shown_with_meta(&self) -> Value {
        let mut row = self.shown();
        self.add_meta(&mut row);
        row
    }

    pub(crate) fn add_meta(&self, row: &mut Value) {
        row["version"] = json!(self.version);
        row["change"] = json!(self.change);
        row["etag"] = json!(self.tag());
        row["expires_at"] = json!(self.ends);
    }

    pub(super) fn node(&self) -> &str {
        let row = self.row.as_ref().unwrap();
        row.get("node_id").or(row.get("source_node")).unwrap().as_str().unwrap()
    }

    /// Bytes of all texts, as a tenant's limit counts them.
    fn bytes(&self) -> i64 {
        let text = |value: &Value| value.as_str().map_or(0, str::len);
        let members = self.row.as_ref().unwrap().as_object().unwrap();
        let count = members.iter().map(|(name, value)| match name.as_str() {
            "value" => value.to_string().len(),
            _ => text(value),
        });
        i64::try_from(count.sum::<usize>()).unwrap()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) change: i64,
    pub(crate) action: &'static str,
    pub(crate) target: Option<Target>,
    pub(crate) version: i64,
    pub(crate) at: i64,
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Always,
    Present,
    Absent,
    Change(i64),
    Newer { sent_ms: i64, node: String },
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
    Put { target: Target, row: Value, ends: Option<i64>, sent_ms: Option<i64> },
    Delete(Target),
    Purge(Target),
    Restore(Target, i64),
}

#[derive(Debug, Clone)]
pub(crate) enum Done {
    Written(Version),
    Deleted(i64),
    Purged,
    Passed,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    pub(crate) rows: Option<i64>,
    pub(crate) bytes: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) kind: Kind,
    pub(crate) scope: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) since: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Newest,
    After { at: i64, change: i64, snapshot: i64 },
    Late { change: i64 },
    Name { after: Option<Target> },
}

/// What one tenant has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tenant {
    pub(crate) live: BTreeMap<Target, Version>,
    pub(crate) past: BTreeMap<Target, BTreeMap<i64, Version>>,
    pub(crate) feed: Vec<Entry>,
    pub(crate) last: i64,
    pub(crate) swept: i64,
    pub(crate) bounds: Bounds,
}

impl Tenant {
    pub(crate) fn row(&self, target: &Target, now: i64) -> Option<&Version> {
        self.live.get(target).filter(|row| !row.is_over(now))
    }

    /// All of them or none; which one was refused, and with what status.
    pub(crate) fn commit(
        &mut self,
        acts: Vec<(Act, Condition)>,
        now: i64,
    ) -> Result<Vec<Done>, (usize, u16)> {
        let before = self.clone();
        let mut done = Vec::new();
        for (index, (act, condition)) in acts.into_iter().enumerate() {
            match self.act(act, &condition, now) {
                Ok(one) => done.push(one),
                Err(status) => {
                    *self = before;
                    return Err((index, status));
                }
            }
        }
        Ok(done)
    }

    fn act(&mut self, act: Act, condition: &Condition, now: i64) -> Result<Done, u16> {
        let target = match &act {
            Act::Put { target, .. } | Act::Delete(target) | Act::Purge(target) | Act::Restore(target, _) => {
                target.clone()
            }
        };
        if self.live.get(&target).is_some_and(|row| row.is_over(now)) {
            self.take_away(&target, "expire", now);
            self.prune(&target);
        }
        let there = self.live.get(&target);
        let holds = match condition {
            Condition::Always => true,
            Condition::Present => there.is_some(),
            Condition::Absent => there.is_none(),
            Condition::Change(change) => there.is_some_and(|row| row.change == *change),
            Condition::Newer { sent_ms, node } => {
                let newer = match (there, self.newest_past(&target)) {
                    (Some(row), _) => (*sent_ms, node.as_str()) > (row.written_ms(), row.node()),
                    (None, Some(went)) => *sent_ms > went.at * 1000,
                    (None, None) => true,
                };
                if !newer {
                    return Ok(Done::Passed);
                }
                true
            }
        };
        if !holds {
            return Err(412);
        }
        match act {
            Act::Put { row, ends, sent_ms, .. } => self.put(&target, "put", row, ends, sent_ms, now),
            Act::Delete(_) if there.is_none() => Err(404),
            Act::Delete(_) => {
                let version = self.take_away(&target, "delete", now);
                self.prune(&target);
                Ok(Done::Deleted(version))
            }
            Act::Purge(_) => {
                let past = self.past.remove(&target).unwrap_or_default();
                if self.live.remove(&target).is_none() && past.is_empty() {
                    return Err(404);
                }
                self.feed.retain(|entry| entry.target.as_ref() != Some(&target));
                self.record(Some(target), "purge", 0, now);
                Ok(Done::Purged)
            }
            Act::Restore(_, version) => {
                let row = match there {
                    Some(row) if row.version == version => row.row.clone(),
                    _ => self.content(&target, version, now),
                };
                self.put(&target, "restore", row.ok_or(404_u16)?, None, None, now)
            }
        }
    }

    fn put(
        &mut self,
        target: &Target,
        action: &'static str,
        row: Value,
        ends: Option<i64>,
        sent_ms: Option<i64>,
        now: i64,
    ) -> Result<Done, u16> {
        let change = self.last + 1;
        let mut new = Version { version: 1, change, action, at: now, ends, sent_ms, row: Some(row) };
        let old = self.live.get(target).cloned();
        let (rows, bytes) = (i64::from(old.is_none()), new.bytes() - old.as_ref().map_or(0, Version::bytes));
        let over =
            |most: Option<i64>, has: i64, more: i64| more > 0 && most.is_some_and(|most| has + more > most);
        let (has_rows, has_bytes) = self.counts();
        if over(self.bounds.rows, has_rows, rows) || over(self.bounds.bytes, has_bytes, bytes) {
            return Err(507);
        }
        new.version = old.as_ref().or(self.newest_past(target)).map_or(1, |before| before.version + 1);
        self.record(Some(target.clone()), action, new.version, now);
        if let Some(old) = old {
            self.keep(target, old);
        }
        self.live.insert(target.clone(), new.clone());
        self.prune(target);
        Ok(Done::Written(new))
    }

    /// Rows and bytes, those that expired and were not swept too.
    pub(crate) fn counts(&self) -> (i64, i64) {
        (i64::try_from(self.live.len()).unwrap(), self.live.values().map(Version::bytes).sum())
    }

    fn keep(&mut self, target: &Target, mut old: Version) {
        old.action = self.action_of(&old);
        self.past.entry(target.clone()).or_default().insert(old.version, old);
    }

    /// The feed knows how a live version came to be, as long as it goes back so far.
    pub(super) fn action_of(&self, version: &Version) -> &'static str {
        self.feed.iter().find(|entry| entry.change == version.change).map_or("put", |entry| entry.action)
    }

    fn take_away(&mut self, target: &Target, action: &'static str, now: i64) -> i64 {
        let old = self.live.remove(target).unwrap();
        let version = old.version + 1;
        if !old.is_over(now) {
            self.keep(target, old);
        }
        let change = self.record(Some(target.clone()), action, version, now);
        let gone = Version { version, change, action, at: now, ends: None, sent_ms: None, row: None };
        self.past.entry(target.clone()).or_default().insert(version, gone);
        version
    }

    fn record(&mut self, target: Option<Target>, action: &'static str, version: i64, at: i64) -> i64 {
        self.last += 1;
        self.feed.push(Entry { change: self.last, action, target, version, at });
        self.last
    }

    /// The newest version is the live one or a tombstone; so many before it are kept.
    fn prune(&mut self, target: &Target) {
        let newest = self.live.get(target).or(self.newest_past(target)).map_or(0, |row| row.version);
        if let Some(past) = self.past.get_mut(target) {
            past.retain(|version, _| *version > newest - 1 - HISTORY);
        }
    }

    fn newest_past(&self, target: &Target) -> Option<&Version> {
        self.past.get(target)?.values().next_back()
    }

    pub(super) fn content(&self, target: &Target, version: i64, now: i64) -> Option<Value> {
        let kept = self.past.get(target)?.get(&version)?;
        if kept.is_over(now) { None } else { kept.row.clone() }
    }

    /// Takes away what is over and the feed from before a second.
    pub(crate) fn sweep(&mut self, feed_from: i64, now: i64) {
        let mut over: Vec<(i64, i64, Target)> = self
            .live
            .iter()
            .filter(|(_, row)| row.is_over(now))
            .map(|(target, row)| (row.ends.unwrap(), row.change, target.clone()))
            .collect();
        over.sort();
        for (_, _, target) in over {
            self.take_away(&target, "expire", now);
            self.prune(&target);
        }
        for version in self.past.values_mut().flat_map(BTreeMap::values_mut) {
            if version.is_over(now) {
                (version.row, version.ends, version.action) = (None, None, "expire");
            }
        }
        if let Some(up_to) =
            self.feed.iter().filter(|entry| entry.at < feed_from).map(|entry| entry.change).max()
        {
            self.feed.retain(|entry| entry.change > up_to);
            self.swept = up_to;
        }
    }

    pub(crate) fn versions(&self) -> usize {
        self.past.values().map(BTreeMap::len).sum()
    }

    /// Everything goes but the count of changes.
    pub(crate) fn erase(&mut self, now: i64) {
        self.live.clear();
        self.past.clear();
        self.feed.clear();
        self.record(None, "erase", 0, now);
    }
}
