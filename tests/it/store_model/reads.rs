//! What reads must answer: a row's past, lists and their cursors, searches, the feed.

use super::plain::{Filter, Kind, Place, Target};
use super::{LIST_CAP, NODES, QUERIES, SCOPES, Walk, World, asked, encoded, path};
use crate::house::client::Request;
use serde_json::{Value, json};

impl World {
    pub(super) fn history(&mut self, who: &'static str) {
        let (target, now) = (self.target(), self.now);
        let before = self.chance.bool().then(|| self.chance.i64(1..8));
        let limit = self.chance.usize(1..5);
        let mut versions = self.model(who).history(&target, before, now);
        let query = before.map_or_else(String::new, |before| format!("&before={before}"));
        let answer =
            self.send(who, &Request::get(&format!("{}?history=1&limit={limit}{query}", path(&target))));
        if versions.is_empty() && before.is_none() {
            return self.refused(&answer, 404);
        }
        let more = versions.len() > limit;
        versions.truncate(limit);
        let next = versions.last().filter(|_| more).map(|(version, _)| version.version);
        let shown: Vec<Value> = versions
            .into_iter()
            .map(|(version, row)| {
                let mut shown =
                    json!({"version": version.version, "action": version.action, "updated_at": version.at});
                if let Some(row) = row {
                    shown["row"] = row;
                }
                shown
            })
            .collect();
        self.same(&answer, &json!({"versions": shown, "next_before": next}));
    }

    fn filter(&mut self, kind: Kind) -> Filter {
        let mut filter = Filter::all(kind);
        if kind == Kind::Memory && self.chance.u8(..3) == 0 {
            filter.scope = Some(self.of(&SCOPES).to_owned());
        }
        if self.chance.u8(..3) == 0 {
            filter.prefix = Some(self.of(&["a", "a/", "A", "w", "é"]).to_owned());
        }
        filter
    }

    pub(super) fn list(&mut self, who: &'static str) {
        let now = self.now;
        let given = self.chance.usize(1..8);
        let limit = (self.chance.u8(..3) > 0).then_some(given);
        let held = self.walks.entry(who).or_default();
        let walk = if held.is_empty() || self.chance.u8(..3) == 0 {
            None
        } else {
            Some(held.swap_remove(self.chance.usize(..held.len())))
        };
        let (filter, place, mut query) = if let Some(Walk { cursor, filter, place }) = walk {
            (filter, place, format!("&cursor={cursor}"))
        } else {
            let kind = if self.chance.u8(..4) == 0 { Kind::Skill } else { Kind::Memory };
            let mut filter = self.filter(kind);
            if self.chance.u8(..4) == 0 {
                filter.node = Some(self.of(&NODES).to_owned());
            }
            if self.chance.u8(..4) == 0 {
                filter.since = Some(now - self.chance.i64(0..20));
            }
            if self.chance.bool() {
                (filter, Place::Name { after: None }, "&order=key".to_owned())
            } else {
                (filter, Place::Newest, String::new())
            }
        };
        let kind = filter.kind;
        query.push_str(&asked(&filter));
        if let Some(limit) = limit {
            query = format!("{query}&limit={limit}");
        }
        let base = match kind {
            Kind::Memory => "/mesh/memory",
            Kind::Skill => "/mesh/skills",
        };
        let (rows, next) = self.model(who).page(&filter, &place, limit.unwrap_or(LIST_CAP), now);
        let answer = self.send(who, &Request::get(&format!("{base}?meta=1{query}")));
        let shown: Vec<Value> = rows.iter().map(|(_, row)| row.shown_with_meta()).collect();
        self.same(&answer, &json!(shown));
        let cursor = answer.field("mesh-next-cursor").map(str::to_owned);
        assert_eq!(cursor.is_some(), next.is_some(), "{}: {next:?}", self.asked);
        assert_eq!(answer.field("link").is_some(), next.is_some(), "{}", self.asked);
        if let (Some(cursor), Some(place)) = (cursor, next) {
            self.walks.entry(who).or_default().push(Walk { cursor, filter, place });
        }
    }

    pub(super) fn search(&mut self, who: &'static str) {
        let now = self.now;
        let words = self.of(&QUERIES);
        let filter = self.filter(Kind::Memory);
        let limit = self.of(&[1, 3, 100]);
        let expected = self.model(who).search(words, &filter, now);
        let query = format!("/mesh/memory?q={}&limit={limit}{}", encoded(words), asked(&filter));
        let answer = self.send(who, &Request::get(&query)).expect(200);
        let hits = answer.json();
        let mut found: Vec<Target> = hits
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| Target::of(Kind::Memory, hit["scope"].as_str().unwrap(), hit["key"].as_str().unwrap()))
            .collect();
        found.sort();
        assert_eq!(found.len(), expected.len().min(limit), "{}: {hits} {expected:?}", self.asked);
        found.dedup();
        assert_eq!(found.len(), expected.len().min(limit), "{}: twice {hits}", self.asked);
        assert!(found.iter().all(|one| expected.contains(one)), "{}: {hits} {expected:?}", self.asked);
    }

    pub(super) fn changes(&mut self, who: &'static str) {
        let now = self.now;
        let last = self.models[who].last;
        let since = match self.chance.u8(..8) {
            0 => last + 3,
            1 => 0,
            _ => self.chance.i64(0..=last),
        };
        let limit = self.chance.usize(1..12);
        let kind = self.of(&[None, None, Some(Kind::Memory), Some(Kind::Skill)]);
        let filter = self.filter(kind.unwrap_or(Kind::Memory));
        let narrowed = self.chance.bool();
        let mut query = format!("since={since}&limit={limit}");
        match kind {
            Some(Kind::Memory) => query.push_str("&kind=memory"),
            Some(Kind::Skill) => query.push_str("&kind=skill"),
            None => {}
        }
        if narrowed {
            query.push_str(&asked(&filter));
        }
        let (changes, next, reset) =
            self.model(who).changes(narrowed.then_some(&filter), kind, since, limit, now);
        let answer = self.send(who, &Request::get(&format!("/mesh/changes?{query}")));
        self.same(&answer, &json!({"changes": changes, "next": next, "reset": reset}));
    }

    /// All rows by name and the whole feed, whatever was looked at before.
    pub(super) fn everything(&mut self, who: &'static str) {
        let now = self.now;
        for kind in [Kind::Memory, Kind::Skill] {
            let base = if kind == Kind::Memory { "/mesh/memory" } else { "/mesh/skills" };
            let answer = self.send(who, &Request::get(&format!("{base}?limit=1000&meta=1&order=key")));
            let (rows, _) =
                self.models[who].page(&Filter::all(kind), &Place::Name { after: None }, 1000, now);
            let shown: Vec<Value> = rows.iter().map(|(_, row)| row.shown_with_meta()).collect();
            self.same(&answer, &json!(shown));
        }
        let mut since = self.models[who].swept;
        loop {
            let (changes, next, _) = self.models[who].changes(None, None, since, 100, now);
            let answer = self.send(who, &Request::get(&format!("/mesh/changes?since={since}&limit=100")));
            self.same(&answer, &json!({"changes": changes, "next": next, "reset": false}));
            if next == since {
                break;
            }
            since = next;
        }
    }
}
