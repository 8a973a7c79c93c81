//! The store against a plain model: what chance asks, many tenants at once, on both engines; every answer,
//! its tag, its cursors and its refusals are the model's.
//!
//! The store runs within the test, behind its own HTTP, so that its clock can be set: rows expire when the
//! test says so. Everything else is as it is outside.

mod many;
mod plain;
mod plain_reads;
mod reads;

use crate::house::client::{Answer, Client, Request};
use crate::house::inside::Inside;
use crate::house::pooler::Pooler;
use crate::house::postgres::Postgres;
use crate::house::store::caller;
use openclaw_edge::config::checked_store::{ScopeTtl, StoreRules, TenantRules};
use openclaw_edge::ids::TenantId;
use openclaw_edge::store::{Access, Policy, Settings};
use plain::{Act, Bounds, Condition, Done, Filter, HISTORY, Kind, Place, Target, Tenant, Version};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// `small` may keep little, `strict` must say what it has read; the others have the usual rules.
const TENANTS: [&str; 5] = ["acme", "globex", "acme-1", "small", "strict"];
const SCOPES: [&str; 5] = ["mesh", "node", "user:bob", "tenant:acme", "user:globex:7"];
const KEYS: [&str; 7] = ["a", "a/b", "A", "é", "weather-report", "a/b/c", "plan dawn"];
const NODES: [&str; 3] = ["ceo", "cto", "sec"];
const WORDS: [&str; 6] = ["dawn", "Zürich", "weather-report", "attack at", "report", "🚀"];
const QUERIES: [&str; 8] =
    ["dawn", "zurich", "report weather", "weather-report", "attack dawn", "mesh", "\"()*", "a-b"];

/// Rows of a list without `limit`.
const LIST_CAP: usize = 9;
/// What rows of scope `node` live for when they do not say.
const NODE_TTL: i64 = 30;
const SMALL: (i64, i64) = (9, 900);
const START: i64 = 1_750_000_000;

fn policy() -> Policy {
    let ttl = vec![ScopeTtl { pattern: "node".into(), seconds: Some(NODE_TTL) }];
    let usual = TenantRules { ttl, ..TenantRules::default() };
    let small = TenantRules { max_rows: Some(SMALL.0), max_bytes: Some(SMALL.1), ..usual.clone() };
    let strict = TenantRules { require_match: true, ..usual.clone() };
    let mut policy = Policy::new(StoreRules {
        history: HISTORY,
        usual,
        tenants: [(tenant("small"), small), (tenant("strict"), strict)].into(),
        // The test sweeps when it says so, and not the store.
        sweep_every: Duration::from_hours(24),
        ..StoreRules::default()
    });
    policy.list_cap = u32::try_from(LIST_CAP).unwrap();
    policy
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn settings(settings: &mut Settings) {
    settings.policy = policy();
    settings.embedder = None;
}

#[test]
fn whatever_is_asked_a_store_over_a_file_answers_as_the_model() {
    for seed in 1..=4 {
        World::new(Inside::start(START, settings), seed).run(1500);
    }
}

#[test]
fn whatever_is_asked_a_store_over_postgresql_answers_as_the_model() {
    let Some(server) = Postgres::start() else { return };
    World::new(Inside::start_at(server.url(), START, settings), 5).run(1500);
}

#[test]
fn whatever_is_asked_a_store_behind_a_pooler_of_transactions_answers_as_the_model() {
    let Some(server) = Postgres::start() else { return };
    let Some(pooler) = Pooler::start(&server) else { return };
    World::new(Inside::start_at(pooler.url(), START, settings), 6).run(600);
}

/// A cursor that a list gave, and where the model says that it goes on.
struct Walk {
    cursor: String,
    filter: Filter,
    place: Place,
}

struct World {
    store: Inside,
    chance: fastrand::Rng,
    models: BTreeMap<&'static str, Tenant>,
    walks: BTreeMap<&'static str, Vec<Walk>>,
    now: i64,
    /// What is asked, for whoever reads a failure.
    asked: String,
}

impl World {
    fn new(store: Inside, seed: u64) -> Self {
        let mut models: BTreeMap<&str, Tenant> =
            TENANTS.into_iter().map(|name| (name, Tenant::default())).collect();
        models.get_mut("small").unwrap().bounds = Bounds { rows: Some(SMALL.0), bytes: Some(SMALL.1) };
        let chance = fastrand::Rng::with_seed(seed);
        Self { store, chance, models, walks: BTreeMap::new(), now: START, asked: String::new() }
    }

    fn run(mut self, steps: usize) {
        for step in 0..steps {
            if self.chance.u8(..4) == 0 {
                self.now += self.chance.i64(1..6);
                self.store.set_time(self.now);
            }
            let who = self.of(&TENANTS);
            self.asked = format!("step {step}, {who} at {}", self.now);
            match self.chance.u8(..100) {
                0..=29 => self.put(who),
                30..=37 => self.get(who),
                38..=43 => self.delete(who),
                44..=48 => self.restore(who),
                49..=53 => self.history(who),
                54..=63 => self.list(who),
                64..=70 => self.search(who),
                71..=78 => self.changes(who),
                79..=86 => self.batch(who),
                87..=90 => self.delta(who),
                91..=93 => self.summary(who),
                94..=96 => self.sweep(who),
                97..=98 => self.usage(who),
                _ => self.erase(who),
            }
        }
        for who in TENANTS {
            self.asked = format!("at the end, {who}");
            self.usage(who);
            self.everything(who);
        }
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.chance.usize(..choices.len())]
    }

    fn client(&self, who: &str) -> Client {
        caller(self.store.address(), who)
    }

    fn model(&mut self, who: &str) -> &mut Tenant {
        self.models.get_mut(who).unwrap()
    }

    fn send(&mut self, who: &str, request: &Request) -> Answer {
        self.asked = format!("{}: {request:?}", self.asked.split(": ").next().unwrap());
        self.client(who).send(request)
    }

    #[track_caller]
    fn refused(&self, answer: &Answer, status: u16) {
        assert_eq!(answer.status, status, "{}\n{}", self.asked, answer.text());
        assert!(answer.json()["error"].is_string(), "{}\n{}", self.asked, answer.text());
    }

    #[track_caller]
    fn same(&self, answer: &Answer, expected: &Value) {
        assert_eq!((answer.status, &answer.json()), (200, expected), "{}", self.asked);
    }

    #[track_caller]
    fn is_row(&self, answer: &Answer, row: &Version) {
        self.same(answer, &row.shown());
        let ends = row.ends.map(|end| end.to_string());
        let fields = (answer.field("etag"), answer.field("mesh-version"), answer.field("mesh-expires-at"));
        let version = row.version.to_string();
        assert_eq!(
            fields,
            (Some(row.tag().as_str()), Some(version.as_str()), ends.as_deref()),
            "{}",
            self.asked
        );
    }

    fn target(&mut self) -> Target {
        let kind = if self.chance.u8(..4) == 0 { Kind::Skill } else { Kind::Memory };
        let (scope, name) = (self.of(&SCOPES), self.of(&KEYS));
        match kind {
            Kind::Memory => Target::of(kind, scope, name),
            Kind::Skill => Target::of(kind, "", name.split('/').next().unwrap()),
        }
    }

    /// What must hold, as the model and as clients say it.
    fn condition(
        &mut self,
        who: &str,
        target: &Target,
    ) -> (Option<Condition>, Option<(&'static str, String)>) {
        let now = self.now;
        let known = self.model(who).row(target, now).map(|row| (row.change, row.tag()));
        match (self.chance.u8(..10), known) {
            (0, _) => (Some(Condition::Present), Some(("If-Match", "*".into()))),
            (1, _) => (Some(Condition::Absent), Some(("If-None-Match", "*".into()))),
            (2 | 3, Some((change, tag))) => (Some(Condition::Change(change)), Some(("If-Match", tag))),
            (4, _) => {
                let change = self.chance.i64(1..40);
                (Some(Condition::Change(change)), Some(("If-Match", format!("\"v1.{change}\""))))
            }
            _ => (None, None),
        }
    }

    /// What a put writes: its row, the body that says so, and when the row ends.
    fn content(&mut self, target: &Target) -> (Value, Value, Option<i64>) {
        let words = format!("{} {}", self.of(&WORDS), self.of(&WORDS));
        let node = self.of(&NODES);
        let row = match target.kind {
            Kind::Memory => {
                let deep = json!({"n": 1.5, "deep": [[words]], "deeper": [[[["hidden"]]]]});
                let value = self.of(&[0, 1, 2, 3]);
                let value = [json!(words), deep, json!(null), json!(17)][value].clone();
                json!({"scope": target.scope, "key": target.name, "value": value, "node_id": node})
            }
            Kind::Skill if self.chance.bool() => {
                json!({"name": target.name, "source_node": node, "content": words, "path": null})
            }
            Kind::Skill => json!({"name": target.name, "source_node": node, "content": null, "path": "/p"}),
        };
        let mut body = row.clone();
        let usual = (target.scope == "node").then_some(self.now + NODE_TTL);
        let ends = match self.chance.u8(..6) {
            0 => {
                let ttl = self.chance.i64(1..40);
                body["ttl"] = json!(ttl);
                Some(self.now + ttl)
            }
            1 => {
                let end = self.now + self.chance.i64(-2..20);
                body["expires_at"] = json!(end);
                Some(end)
            }
            2 => {
                body["ttl"] = json!(null);
                None
            }
            _ => usual,
        };
        (row, body, ends)
    }

    /// What stands before the database: whose scope it is, and whether a condition must be said.
    fn refusal(who: &str, target: &Target, condition: Option<&Condition>) -> Option<u16> {
        let foreign = matches!(
            (target.scope.as_str(), who),
            ("tenant:acme", "globex" | "acme-1" | "small" | "strict")
                | ("user:globex:7", "acme" | "acme-1" | "small" | "strict")
        );
        if foreign {
            Some(403)
        } else if who == "strict" && condition.is_none() {
            Some(428)
        } else {
            None
        }
    }

    fn commit(&mut self, who: &str, act: Act, condition: Option<Condition>) -> Result<Done, u16> {
        let now = self.now;
        let condition = condition.unwrap_or(Condition::Always);
        let done = self.model(who).commit(vec![(act, condition)], now);
        done.map(|mut done| done.pop().unwrap()).map_err(|(_, status)| status)
    }

    fn put(&mut self, who: &'static str) {
        let target = self.target();
        let (row, body, ends) = self.content(&target);
        let (condition, field) = self.condition(who, &target);
        let path = match target.kind {
            Kind::Memory => "/mesh/memory",
            Kind::Skill => "/mesh/skills",
        };
        let request = with(Request::put(path, body.to_string()), field);
        let answer = self.send(who, &request);
        if let Some(status) = Self::refusal(who, &target, condition.as_ref()) {
            return self.refused(&answer, status);
        }
        match self.commit(who, Act::Put { target, row, ends, sent_ms: None }, condition) {
            Ok(Done::Written(row)) => self.is_row(&answer, &row),
            Err(status) => self.refused(&answer, status),
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, who: &'static str) {
        let target = self.target();
        let now = self.now;
        let found = self.model(who).row(&target, now).cloned();
        let mut request = Request::get(&path(&target));
        let known = self.chance.bool();
        if let (true, Some(row)) = (known, &found) {
            request = request.field("If-None-Match", &row.tag());
        }
        let answer = self.send(who, &request);
        match found {
            None => self.refused(&answer, 404),
            Some(row) if known => {
                assert_eq!((answer.status, answer.field("etag")), (304, Some(row.tag().as_str())))
            }
            Some(row) => self.is_row(&answer, &row),
        }
    }

    fn delete(&mut self, who: &'static str) {
        let target = self.target();
        let purge = self.chance.u8(..3) == 0;
        let (condition, field) = self.condition(who, &target);
        let place = format!("{}{}", path(&target), if purge { "?purge=1" } else { "" });
        let answer = self.send(who, &with(Request::new("DELETE", &place), field));
        if let Some(status) = Self::refusal(who, &target, condition.as_ref()) {
            return self.refused(&answer, status);
        }
        let act = if purge { Act::Purge(target) } else { Act::Delete(target) };
        match self.commit(who, act, condition) {
            Ok(Done::Deleted(version)) => self.same(&answer, &json!({"deleted": true, "version": version})),
            Ok(Done::Purged) => self.same(&answer, &json!({"purged": true})),
            Err(status) => self.refused(&answer, status),
            other => panic!("{other:?}"),
        }
    }

    fn restore(&mut self, who: &'static str) {
        let (target, now) = (self.target(), self.now);
        let (condition, field) = self.condition(who, &target);
        let named = self.chance.bool().then(|| self.chance.i64(1..8));
        let body = named.map_or_else(String::new, |version| json!({"version": version}).to_string());
        let request = with(Request::post(&format!("{}/restore", path(&target)), body), field);
        let answer = self.send(who, &request);
        if let Some(status) = Self::refusal(who, &target, condition.as_ref()) {
            return self.refused(&answer, status);
        }
        let Some(version) = named.or_else(|| self.models[who].last_content(&target, now)) else {
            return self.refused(&answer, 404);
        };
        match self.commit(who, Act::Restore(target, version), condition) {
            Ok(Done::Written(row)) => self.is_row(&answer, &row),
            Err(status) => self.refused(&answer, status),
            other => panic!("{other:?}"),
        }
    }

    fn sweep(&mut self, who: &'static str) {
        let now = self.now;
        let feed_from = now - self.of(&[1000, 60, 20]);
        self.model(who).sweep(feed_from, now);
        self.store.sweep(&Access::upkeep(tenant(who)), feed_from, 10_000);
    }

    fn usage(&mut self, who: &'static str) {
        let told = self.store.usage(&Access::upkeep(tenant(who)));
        let model = &self.models[who];
        let skills = model.live.keys().filter(|target| target.kind == Kind::Skill).count();
        let counted = (told.memories + told.skills, told.bytes);
        assert_eq!(counted, model.counts(), "{}", self.asked);
        let others = (
            usize::try_from(told.skills).unwrap(),
            usize::try_from(told.versions).unwrap(),
            told.last_change,
        );
        assert_eq!(others, (skills, model.versions(), model.last), "{}", self.asked);
    }

    fn erase(&mut self, who: &'static str) {
        let now = self.now;
        let model = &self.models[who];
        let (rows, bytes) = model.counts();
        let skills = model.live.keys().filter(|target| target.kind == Kind::Skill).count();
        let memories = usize::try_from(rows).unwrap() - skills;
        let versions = model.versions();
        let erased =
            json!({"memories": memories, "skills": skills, "keys": 0, "bytes": bytes, "versions": versions});
        let request = Request::new("DELETE", &format!("/mesh/tenant?confirm={who}"));
        let answer = self.send(who, &request.clone());
        self.refused(&answer, 403);
        let answer = self.send(who, &request.field("X-Credential-Scopes", "mesh:write mesh:admin"));
        self.same(&answer, &json!({"erased": erased}));
        self.model(who).erase(now);
    }
}

fn with(request: Request, field: Option<(&'static str, String)>) -> Request {
    match field {
        Some((name, value)) => request.field(name, &value),
        None => request,
    }
}

fn path(target: &Target) -> String {
    match target.kind {
        Kind::Memory => format!("/mesh/memory/{}/{}", encoded(&target.scope), encoded(&target.name)),
        Kind::Skill => format!("/mesh/skills/{}", encoded(&target.name)),
    }
}

fn asked(filter: &Filter) -> String {
    let texts = [("scope", &filter.scope), ("prefix", &filter.prefix), ("node_id", &filter.node)];
    let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let since = filter.since.map(|since| ("updated_since", since.to_string()));
    let given = texts.chain(since).map(|(name, value)| format!("&{name}={}", encoded(&value)));
    given.collect::<Vec<_>>().concat()
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
