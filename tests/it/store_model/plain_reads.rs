//! What a tenant of the plain model is shown.

use super::plain::{Entry, Filter, Kind, Place, Target, Tenant, Version};
use serde_json::{Value, json};

impl Tenant {
    /// Newest first; each with what it held where that can still be read.
    pub(crate) fn history(
        &self,
        target: &Target,
        before: Option<i64>,
        now: i64,
    ) -> Vec<(Version, Option<Value>)> {
        let live = self.row(target, now).map(|row| Version { action: self.action_of(row), ..row.clone() });
        let past = self.past.get(target).into_iter().flat_map(|past| past.values().rev().cloned());
        live.into_iter()
            .chain(past)
            .filter(|version| before.is_none_or(|before| version.version < before))
            .map(|version| {
                let readable = version.row.is_some() && !version.is_over(now);
                let shown = readable.then(|| version.shown());
                (version, shown)
            })
            .collect()
    }

    /// What a restore that names no version brings back.
    pub(crate) fn last_content(&self, target: &Target, now: i64) -> Option<i64> {
        let live = self.row(target, now).map(|row| row.version);
        let versions = self.history(target, live, now);
        versions.into_iter().find(|(_, shown)| shown.is_some()).map(|(version, _)| version.version)
    }

    /// A page, and where the next one starts.
    pub(crate) fn page(
        &self,
        filter: &Filter,
        from: &Place,
        limit: usize,
        now: i64,
    ) -> (Vec<(Target, Version)>, Option<Place>) {
        let mut rows: Vec<(Target, Version)> = self
            .live
            .iter()
            .filter(|(target, row)| filter.takes(target, row) && !row.is_over(now))
            .map(|(target, row)| (target.clone(), row.clone()))
            .collect();
        let snapshot = match from {
            Place::After { snapshot, .. } => *snapshot,
            Place::Newest | Place::Late { .. } | Place::Name { .. } => self.last,
        };
        match from {
            Place::Newest | Place::After { .. } => {
                rows.retain(|(_, row)| row.change <= snapshot);
                if let Place::After { at, change, .. } = from {
                    rows.retain(|(_, row)| (row.at, row.change) < (*at, *change));
                }
                rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.at, row.change)));
            }
            Place::Late { change } => {
                rows.retain(|(_, row)| row.change > *change);
                rows.sort_by_key(|(_, row)| row.change);
            }
            Place::Name { after } => rows.retain(|(target, _)| after.as_ref().is_none_or(|at| target > at)),
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last();
        let next = match (from, last) {
            (Place::Newest | Place::After { .. }, Some((_, row))) if more => {
                Some(Place::After { at: row.at, change: row.change, snapshot })
            }
            (Place::Newest | Place::After { .. }, _) => {
                (self.last > snapshot).then_some(Place::Late { change: snapshot })
            }
            (Place::Late { .. }, Some((_, row))) if more => Some(Place::Late { change: row.change }),
            (Place::Name { .. }, Some((target, _))) if more => {
                Some(Place::Name { after: Some(target.clone()) })
            }
            (Place::Late { .. } | Place::Name { .. }, _) => None,
        };
        (rows, next)
    }

    /// Memories that have all words; words of one piece side by side.
    pub(crate) fn search(&self, query: &str, filter: &Filter, now: i64) -> Vec<Target> {
        let pieces: Vec<Vec<String>> =
            query.split_whitespace().map(words).filter(|piece| !piece.is_empty()).collect();
        if pieces.is_empty() {
            return Vec::new();
        }
        let has = |target: &Target, row: &Version| {
            let mut text = target.name.clone();
            strings(&row.row.as_ref().unwrap()["value"], 0, &mut text);
            let texts = [words(&target.scope), words(&text)];
            pieces
                .iter()
                .all(|piece| texts.iter().any(|text| text.windows(piece.len()).any(|at| at == piece)))
        };
        self.live
            .iter()
            .filter(|(target, row)| filter.takes(target, row) && !row.is_over(now) && has(target, row))
            .map(|(target, _)| target.clone())
            .collect()
    }

    /// The feed after a change: entries, the next `since`, and whether what came before is lost.
    pub(crate) fn changes(
        &self,
        filter: Option<&Filter>,
        kind: Option<Kind>,
        since: i64,
        limit: usize,
        now: i64,
    ) -> (Vec<Value>, i64, bool) {
        if since < self.swept || since > self.last {
            return (Vec::new(), self.last, true);
        }
        let wanted = |entry: &&Entry| {
            let Some(target) = &entry.target else { return true };
            kind.is_none_or(|kind| kind == target.kind)
                && filter.is_none_or(|filter| filter.takes_name(target))
        };
        let found: Vec<&Entry> =
            self.feed.iter().filter(|entry| entry.change > since).filter(wanted).take(limit).collect();
        let next = if found.len() == limit { found.last().unwrap().change } else { self.last };
        (found.into_iter().map(|entry| self.shown(entry, now)).collect(), next, false)
    }

    fn shown(&self, entry: &Entry, now: i64) -> Value {
        let mut shown =
            json!({"change": entry.change, "action": entry.action, "version": entry.version, "at": entry.at});
        let Some(target) = &entry.target else { return shown };
        match target.kind {
            Kind::Memory => {
                shown["kind"] = json!("memory");
                shown["scope"] = json!(target.scope);
                shown["key"] = json!(target.name);
            }
            Kind::Skill => {
                shown["kind"] = json!("skill");
                shown["name"] = json!(target.name);
            }
        }
        if !matches!(entry.action, "put" | "restore") {
            return shown;
        }
        let row = match self.row(target, now) {
            Some(row) if row.change == entry.change => row.row.clone(),
            _ => self.content(target, entry.version, now),
        };
        if let Some(mut row) = row {
            row["updated_at"] = json!(entry.at);
            shown["row"] = row;
        }
        shown
    }
}

impl Filter {
    pub(crate) fn all(kind: Kind) -> Self {
        Self { kind, scope: None, prefix: None, node: None, since: None }
    }

    fn takes(&self, target: &Target, row: &Version) -> bool {
        target.kind == self.kind
            && self.takes_name(target)
            && self.node.as_ref().is_none_or(|node| node == row.node())
            && self.since.is_none_or(|since| row.at >= since)
    }

    fn takes_name(&self, target: &Target) -> bool {
        self.scope.as_ref().is_none_or(|scope| *scope == target.scope)
            && self.prefix.as_ref().is_none_or(|prefix| target.name.starts_with(prefix))
    }
}

/// Lower case, without the accents that the test's words have.
fn words(text: &str) -> Vec<String> {
    let folded = text.to_lowercase().replace(['ü', 'Ü'], "u").replace(['é', 'É'], "e");
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn strings(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::String(found) if depth <= 3 => {
            text.push(' ');
            text.push_str(found);
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, depth + 1, text)),
        Value::Object(members) => members.values().for_each(|member| strings(member, depth + 1, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
