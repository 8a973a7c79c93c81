//! What single writes do, and what is read after them.

use super::testing::{act, open_memory, put, put_content, put_skill};
use super::{changes, commit, history, ledger, list, rows, sweep};
use crate::ids::TenantId;
use crate::store::json::Json;
use crate::store::model::{
    Act, Action, Bounds, Condition, Conflict, Content, Done, Expiry, Filter, Interest, Kind, Place, Row,
    Swept, Target, Upkeep, Write,
};
use crate::store::search::Looked;
use crate::store::testing::{memory, skill, tenant};
use proptest::prelude::{prop, prop_assert_eq, proptest};
use rusqlite::{Connection, StatementStatus};
use std::collections::BTreeMap;

/// Upkeep that leaves everything but what has expired.
const KEEP: Upkeep = Upkeep {
    feed_from: 0,
    feed_entries: None,
    history: 50,
    history_from: None,
    tombstones_from: None,
    tombstones: None,
    most: 100,
};

/// One step of upkeep, as the engine does it.
fn swept(conn: &rusqlite::Connection, tenant: &TenantId, upkeep: Upkeep, now: i64) -> Swept {
    let due = sweep::due(conn, tenant, &upkeep, now).unwrap();
    sweep::sweep(conn, tenant, &due, &upkeep, now).unwrap()
}

fn get(conn: &Connection, who: &TenantId, target: &Target, now: i64) -> Option<Row> {
    rows::get(conn, who, target, now).unwrap()
}

fn value(row: &Row) -> String {
    match &row.content {
        Content::Memory(memory) => memory.value.as_str().to_owned(),
        Content::Skill(skill) => skill.content.clone().unwrap_or_default(),
        Content::Keys(keys) => keys.keys.as_str().to_owned(),
    }
}

fn list(conn: &Connection, who: &TenantId, filter: &Filter) -> Vec<Row> {
    list::page(conn, who, filter, Place::Newest, 100, 10).unwrap().rows
}

fn names(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.content.target().name).collect()
}

fn feed(conn: &Connection, who: &TenantId, after: i64) -> Vec<(i64, Action, String, i64)> {
    let stretch = changes::stretch(conn, who, &Interest::default(), after, 100, 10).unwrap();
    stretch
        .changes
        .into_iter()
        .map(|change| (change.change, change.action, change.target.name, change.version))
        .collect()
}

#[test]
fn two_tenants_with_the_same_scope_and_key_never_meet() {
    let conn = open_memory();
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let plan = Target::memory("mesh", "plan");
    put(&conn, &acme, memory("mesh", "plan", "\"dawn\""), 5);
    put(&conn, &globex, memory("mesh", "plan", "\"dusk\""), 6);
    put(&conn, &acme, memory("mesh", "plan", "\"noon\""), 7);
    put_skill(&conn, &acme, skill("plan", "ours"), 7);
    assert_eq!(value(&get(&conn, &acme, &plan, 9).unwrap()), "\"noon\"");
    assert_eq!(value(&get(&conn, &globex, &plan, 9).unwrap()), "\"dusk\"");
    assert_eq!(get(&conn, &globex, &Target::skill("plan"), 9), None);
    assert_eq!(list(&conn, &globex, &Filter::all(Kind::Memory)).len(), 1);
    assert_eq!(list(&conn, &tenant("initech"), &Filter::all(Kind::Memory)), []);
    assert_eq!(history::versions(&conn, &globex, &plan, None, 10, 9).unwrap().len(), 1);
    assert_eq!(feed(&conn, &globex, 0), [(1, Action::Put, "plan".to_owned(), 1)]);
    let erased = sweep::erase(&conn, &globex, 9).unwrap();
    assert_eq!((erased.memories, erased.versions), (1, 0));
    assert_eq!(get(&conn, &globex, &plan, 9), None);
    assert_eq!(value(&get(&conn, &acme, &plan, 9).unwrap()), "\"noon\"");
    assert_eq!(feed(&conn, &globex, 0), [(2, Action::Erase, String::new(), 0)]);
}

#[test]
fn the_list_is_newest_first_and_the_last_write_leads_within_a_second() {
    let conn = open_memory();
    let acme = tenant("acme");
    for (key, now) in [("a", 5), ("b", 9), ("c", 5), ("a", 5)] {
        put(&conn, &acme, memory("mesh", key, "1"), now);
    }
    put(&conn, &acme, memory("node", "d", "1"), 7);
    let keys = |scope: Option<&str>| {
        let filter = Filter { scope: scope.map(str::to_owned), ..Filter::all(Kind::Memory) };
        names(&list(&conn, &acme, &filter))
    };
    assert_eq!(keys(None), ["b", "d", "a", "c"]);
    assert_eq!(keys(Some("mesh")), ["b", "a", "c"]);
    assert!(keys(Some("elsewhere")).is_empty());
}

#[test]
fn filters_narrow_and_none_of_them_leaves_the_tenant() {
    let conn = open_memory();
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    for (key, now) in [("a/1", 3), ("a/2", 5), ("b/1", 7)] {
        put(&conn, &acme, memory("mesh", key, "1"), now);
        put(&conn, &globex, memory("mesh", key, "1"), now);
    }
    let mut other = memory("mesh", "a/3", "1");
    other.node_id = "cto".to_owned();
    put(&conn, &acme, other, 8);
    let all = Filter::all(Kind::Memory);
    let find = |filter: Filter| names(&list(&conn, &acme, &filter));
    assert_eq!(find(Filter { prefix: Some("a/".into()), ..all.clone() }), ["a/3", "a/2", "a/1"]);
    assert_eq!(find(Filter { node: Some("cto".into()), ..all.clone() }), ["a/3"]);
    assert_eq!(find(Filter { updated_since: Some(5), ..all.clone() }), ["a/3", "b/1", "a/2"]);
    let both = Filter { prefix: Some("a/".into()), node: Some("ceo".into()), updated_since: Some(4), ..all };
    assert_eq!(find(both), ["a/2"]);
}

#[test]
fn statements_are_prepared_once_whatever_is_bound() {
    let conn = open_memory();
    for n in 0..5 {
        put(&conn, &tenant("acme"), memory("mesh", &format!("k{n}"), "1"), 5);
    }
    // There are partial indexes on its table, by which a plan could depend on values.
    let asked = conn.prepare_cached(history::LAST).unwrap();
    let told = [StatementStatus::Run, StatementStatus::RePrepare].map(|status| asked.get_status(status));
    assert_eq!(told, [5, 0]);
}

#[test]
fn each_write_of_a_row_counts_its_version_up_and_leaves_one_index_entry() {
    let conn = open_memory();
    for expected in 1..4 {
        let row = put(&conn, &tenant("acme"), memory("mesh", "a", "1"), 5);
        assert_eq!((row.stamp.version, row.stamp.change), (expected, expected));
    }
    let entries: i64 = conn.query_row("SELECT count(*) FROM mesh_memory_fts", [], |row| row.get(0)).unwrap();
    assert_eq!(entries, 1);
}

#[test]
fn a_condition_that_does_not_hold_refuses_and_changes_nothing() {
    let conn = open_memory();
    let acme = tenant("acme");
    let target = Target::memory("mesh", "k");
    let write = |text: &str, condition| {
        let content = Content::Memory(memory("mesh", "k", text));
        let put = Act::Put { content, expiry: Expiry::Never, sent_ms: None, proof: None };
        act(&conn, &acme, put, condition, 5)
    };
    assert_eq!(write("0", Condition::Present), Err(Conflict::ConditionFailed));
    assert_eq!(write("0", Condition::Unchanged(vec![0, 1])), Err(Conflict::ConditionFailed));
    let Ok(Done::Written(first)) = write("1", Condition::Absent) else { panic!("it is not there") };
    assert_eq!(write("2", Condition::Absent), Err(Conflict::ConditionFailed));
    let Ok(Done::Written(second)) = write("2", Condition::Unchanged(vec![first.stamp.change])) else {
        panic!()
    };
    assert_eq!(write("3", Condition::Unchanged(vec![first.stamp.change])), Err(Conflict::ConditionFailed));
    let delete = |condition| act(&conn, &acme, Act::Delete(target.clone()), condition, 5);
    assert_eq!(delete(Condition::Unchanged(vec![first.stamp.change])), Err(Conflict::ConditionFailed));
    assert_eq!(value(&get(&conn, &acme, &target, 9).unwrap()), "2");
    assert!(delete(Condition::Unchanged(vec![second.stamp.change])).is_ok());
    assert_eq!(delete(Condition::Always), Err(Conflict::Missing));
}

#[test]
fn what_was_deleted_is_in_the_history_and_comes_back_with_its_count_going_on() {
    let conn = open_memory();
    let acme = tenant("acme");
    let target = Target::memory("mesh", "k");
    put(&conn, &acme, memory("mesh", "k", "1"), 5);
    put(&conn, &acme, memory("mesh", "k", "2"), 6);
    let deleted = act(&conn, &acme, Act::Delete(target.clone()), Condition::Always, 7);
    assert!(matches!(deleted, Ok(Done::Deleted(stamp)) if stamp.version == 3));
    assert_eq!(get(&conn, &acme, &target, 9), None);
    assert!(list(&conn, &acme, &Filter::all(Kind::Memory)).is_empty());
    let seen: Vec<_> = history::versions(&conn, &acme, &target, None, 10, 9)
        .unwrap()
        .into_iter()
        .map(|version| (version.stamp.version, version.action, version.content.is_some()))
        .collect();
    assert_eq!(seen, [(3, Action::Delete, false), (2, Action::Put, true), (1, Action::Put, true)]);
    let restored = act(&conn, &acme, Act::Restore(target.clone(), 1), Condition::Always, 8);
    assert!(matches!(restored, Ok(Done::Written(row)) if row.stamp.version == 4 && value(&row) == "1"));
    for nothing in [3, 4711] {
        let refused = act(&conn, &acme, Act::Restore(target.clone(), nothing), Condition::Always, 8);
        assert_eq!(refused, Err(Conflict::Missing));
    }
    let page = history::versions(&conn, &acme, &target, Some(4), 2, 9).unwrap();
    assert_eq!(page.iter().map(|version| version.stamp.version).collect::<Vec<_>>(), [3, 2]);
    let kinds: Vec<_> = feed(&conn, &acme, 0).into_iter().map(|(_, action, ..)| action).collect();
    assert_eq!(kinds, [Action::Put, Action::Put, Action::Delete, Action::Restore]);
}

#[test]
fn a_purge_leaves_nothing_but_its_own_entry_in_the_feed() {
    let conn = open_memory();
    let acme = tenant("acme");
    for text in ["\"secretword\"", "2"] {
        put(&conn, &acme, memory("mesh", "k", text), 5);
    }
    put(&conn, &acme, memory("mesh", "other", "3"), 5);
    let target = Target::memory("mesh", "k");
    assert_eq!(act(&conn, &acme, Act::Purge(target.clone()), Condition::Always, 6), Ok(Done::Purged));
    assert!(history::versions(&conn, &acme, &target, None, 10, 9).unwrap().is_empty());
    assert_eq!(
        feed(&conn, &acme, 0),
        [(3, Action::Put, "other".to_owned(), 1), (4, Action::Purge, "k".to_owned(), 0)]
    );
    assert_eq!(act(&conn, &acme, Act::Purge(target), Condition::Always, 6), Err(Conflict::Missing));
    let again = put(&conn, &acme, memory("mesh", "k", "4"), 7);
    assert_eq!((again.stamp.version, again.stamp.change), (1, 5), "no number of a change comes twice");
}

#[test]
fn what_has_expired_is_not_there_before_it_is_swept_and_gone_after() {
    let conn = open_memory();
    let acme = tenant("acme");
    let content = Content::Memory(memory("mesh", "k", "\"secretword\""));
    let target = content.target();
    put_content(&conn, &acme, content.clone(), Expiry::After(10), 5);
    put_content(&conn, &acme, content.clone(), Expiry::At(20), 6);
    assert!(get(&conn, &acme, &target, 19).is_some());
    assert_eq!(get(&conn, &acme, &target, 20), None);
    let page = |now| list::page(&conn, &acme, &Filter::all(Kind::Memory), Place::Newest, 9, now).unwrap();
    assert_eq!((page(19).rows.len(), page(20).rows.len()), (1, 0));
    let hits =
        |now| super::search::find(&conn, &acme, &Looked::anywhere("secretword"), 9, now).unwrap().len();
    assert_eq!((hits(19), hits(20)), (1, 0));
    let readable = |now| -> Vec<bool> {
        let versions = history::versions(&conn, &acme, &target, None, 9, now).unwrap();
        versions.into_iter().map(|version| version.content.is_some()).collect()
    };
    assert_eq!(
        (readable(14), readable(15), readable(20)),
        (vec![true, true], vec![true, false], vec![false])
    );
    let is_due = |now| !sweep::due(&conn, &acme, &KEEP, now).unwrap().is_nothing();
    assert!(!is_due(14) && is_due(15));
    assert_eq!(swept(&conn, &acme, KEEP, 20), Swept { rows: 1, versions: 1, changes: 0 });
    assert!(!is_due(20));
    let left: i64 = conn
        .query_row(
            "SELECT (SELECT count(*) FROM mesh_rows) + (SELECT count(*) FROM mesh_memory_fts)
               + (SELECT count(*) FROM mesh_history WHERE value IS NOT NULL)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
    assert_eq!(feed(&conn, &acme, 2), [(3, Action::Expire, "k".to_owned(), 3)]);
    assert_eq!(put_content(&conn, &acme, content, Expiry::Never, 30).stamp.version, 4);
}

#[test]
fn a_write_over_what_has_expired_finds_nothing_there() {
    let conn = open_memory();
    let acme = tenant("acme");
    let content = Content::Memory(memory("mesh", "k", "1"));
    put_content(&conn, &acme, content.clone(), Expiry::After(1), 5);
    let fresh = Act::Put { content, expiry: Expiry::Never, sent_ms: None, proof: None };
    assert!(act(&conn, &acme, fresh, Condition::Absent, 6).is_ok());
    let kinds: Vec<_> = feed(&conn, &acme, 0).into_iter().map(|(_, action, ..)| action).collect();
    assert_eq!(kinds, [Action::Put, Action::Expire, Action::Put]);
    assert_eq!(ledger::usage(&conn, &acme).unwrap().memories, 1);
}

#[test]
fn the_last_writer_by_its_own_clock_wins_and_ties_are_settled_by_the_node() {
    let conn = open_memory();
    let acme = tenant("acme");
    let target = Target::memory("mesh", "k");
    let send = |node: &str, sent_ms: i64| {
        let mut memory = memory("mesh", "k", &sent_ms.to_string());
        memory.node_id = node.to_owned();
        let put = Act::Put {
            content: Content::Memory(memory),
            expiry: Expiry::Never,
            sent_ms: Some(sent_ms),
            proof: None,
        };
        act(&conn, &acme, put, Condition::Newer { sent_ms, node: node.to_owned() }, 5).unwrap()
            != Done::Passed
    };
    assert!(send("b", 2000));
    assert!(!send("c", 1999) && !send("b", 2000) && !send("a", 2000));
    assert!(send("c", 2000) && send("a", 2001));
    act(&conn, &acme, Act::Delete(target.clone()), Condition::Always, 7).unwrap();
    assert!(!send("z", 7000), "a deletion is a write too");
    assert!(send("a", 7001));
}

#[test]
fn a_tenant_keeps_no_more_than_it_may_and_may_always_keep_less() {
    let conn = open_memory();
    let acme = tenant("acme");
    let bounds = Bounds { rows: Some(2), bytes: Some(40), history: 1 };
    let write = |key: &str, value: &str| {
        let content = Content::Memory(memory("mesh", key, value));
        let act = Act::Put { content, expiry: Expiry::Never, sent_ms: None, proof: None };
        commit::apply(&conn, &acme, Write { act, condition: Condition::Always }, bounds, 5).unwrap()
    };
    assert!(write("a", "1111111111").is_ok() && write("b", "1111111111").is_ok());
    assert_eq!(write("c", "1"), Err(Conflict::TooManyRows));
    assert_eq!(write("a", "111111111111111"), Err(Conflict::TooManyBytes));
    assert!(write("a", "1").is_ok() && write("a", "2").is_ok() && write("a", "3").is_ok());
    let usage = ledger::usage(&conn, &acme).unwrap();
    assert_eq!((usage.memories, usage.bytes, usage.versions), (2, 9 + 18, 1), "{usage:?}");
    assert!(write("b", "11111111111").is_ok());
}

#[test]
fn a_walk_by_name_sees_each_row_once_and_one_by_age_misses_none() {
    let conn = open_memory();
    let acme = tenant("acme");
    for n in 0..25 {
        put(&conn, &acme, memory("mesh", &format!("k{n:02}"), "0"), n);
    }
    let walk = |from: Place| {
        let (mut from, mut seen, mut turn) = (Some(from), Vec::new(), 0);
        while let Some(place) = from {
            let page = list::page(&conn, &acme, &Filter::all(Kind::Memory), place, 4, 100).unwrap();
            assert!(page.rows.len() <= 4);
            seen.extend(page.rows);
            from = page.next;
            // Rows not seen yet are written over during the walk, and new ones come.
            if turn < 3 {
                put(&conn, &acme, memory("mesh", &format!("k{:02}", 5 + turn), "1"), 60);
                put(&conn, &acme, memory("mesh", &format!("new{turn}"), "1"), 60);
            }
            turn += 1;
        }
        seen
    };
    let old = |rows: &[Row]| {
        let mut names: Vec<_> = names(rows).into_iter().filter(|name| name.starts_with('k')).collect();
        names.sort();
        names
    };
    let all: Vec<String> = (0..25).map(|n| format!("k{n:02}")).collect();
    let by_age = walk(Place::Newest);
    assert_eq!(old(&by_age), all);
    assert!(by_age.iter().filter(|row| row.stamp.updated_at == 60).all(|row| value(row) == "1"));
    assert_eq!(old(&walk(Place::Name { scope: String::new(), name: String::new() })), all);
}

#[test]
fn the_feed_is_in_order_narrowed_and_says_where_it_starts() {
    let conn = open_memory();
    let acme = tenant("acme");
    for (n, (scope, key)) in
        [("mesh", "a/1"), ("node", "a/2"), ("mesh", "b"), ("mesh", "a/3")].iter().enumerate()
    {
        put(&conn, &acme, memory(scope, key, "1"), i64::try_from(n).unwrap());
    }
    put_skill(&conn, &acme, skill("a/s", "x"), 5);
    let ask = |interest: Interest, after, limit| {
        changes::stretch(&conn, &acme, &interest, after, limit, 10).unwrap()
    };
    let interest =
        Interest { scope: Some("mesh".into()), prefix: Some("a/".into()), kind: Some(Kind::Memory) };
    let found = ask(interest.clone(), 0, 10);
    let numbers = |found: &crate::store::model::Stretch| -> Vec<i64> {
        found.changes.iter().map(|change| change.change).collect()
    };
    assert_eq!((numbers(&found), found.seen, found.last), (vec![1, 4], 5, 5));
    let part = ask(interest, 0, 1);
    assert_eq!((numbers(&part), part.seen), (vec![1], 1));
    let sweep = swept(&conn, &acme, Upkeep { feed_from: 2, ..KEEP }, 9);
    assert_eq!(sweep, Swept { rows: 0, versions: 0, changes: 2 });
    let rest = ask(Interest::default(), 0, 10);
    assert_eq!((numbers(&rest), rest.start), (vec![3, 4, 5], 2));
}

#[test]
fn a_proof_stays_with_the_version_that_it_came_with() {
    let conn = open_memory();
    let acme = tenant("acme");
    let content = Content::Memory(memory("mesh", "k", "1"));
    let proof = Json::parse(r#"{"sig":"x"}"#);
    let signed =
        Act::Put { content: content.clone(), expiry: Expiry::Never, sent_ms: None, proof: proof.clone() };
    act(&conn, &acme, signed, Condition::Always, 5).unwrap();
    assert_eq!(get(&conn, &acme, &content.target(), 9).unwrap().proof, proof);
    put(&conn, &acme, memory("mesh", "k", "2"), 6);
    assert_eq!(get(&conn, &acme, &content.target(), 9).unwrap().proof, None);
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_map_for_each_tenant(
        writes in prop::collection::vec(("[ab]", "[mn]", "[xyz]", 0_u8..9), 0..40)
    ) {
        let conn = open_memory();
        let mut maps: BTreeMap<String, BTreeMap<(String, String), String>> = BTreeMap::new();
        for (who, scope, key, value) in writes {
            put(&conn, &tenant(&who), memory(&scope, &key, &value.to_string()), 5);
            maps.entry(who).or_default().insert((scope, key), value.to_string());
        }
        for who in ["a", "b"] {
            let rows = list(&conn, &tenant(who), &Filter::all(Kind::Memory));
            let found: BTreeMap<_, _> = rows
                .iter()
                .map(|row| (row.content.target(), value(row)))
                .map(|(target, value)| ((target.scope, target.name), value))
                .collect();
            prop_assert_eq!(found, maps.remove(who).unwrap_or_default());
        }
    }
}

#[test]
fn upkeep_takes_so_much_at_a_time_and_comes_to_an_end() {
    let conn = open_memory();
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    for n in 0..5 {
        let content = |value: &str| Content::Memory(memory("mesh", &format!("k{n}"), value));
        put_content(&conn, &acme, content("1"), Expiry::Never, 10);
        put_content(&conn, &acme, content("2"), Expiry::At(20), 11);
        put_content(&conn, &globex, content("3"), Expiry::At(20), 11);
    }
    let upkeep = Upkeep { most: 2, ..KEEP };
    let rows: Vec<u32> = (0..4).map(|_| swept(&conn, &acme, upkeep, 20).rows).collect();
    assert_eq!(rows, [2, 2, 1, 0]);
    assert_eq!(ledger::usage(&conn, &acme).unwrap().rows(), 0);
    assert_eq!(ledger::usage(&conn, &globex).unwrap().rows(), 5);
    let expired = |change: &(i64, Action, String, i64)| change.1 == Action::Expire;
    assert_eq!(feed(&conn, &acme, 0).iter().filter(|change| expired(change)).count(), 5);
}

#[test]
fn the_feed_keeps_its_newest_entries_and_says_from_where_on() {
    let conn = open_memory();
    let acme = tenant("acme");
    for n in 0..6 {
        put(&conn, &acme, memory("mesh", &format!("k{n}"), "1"), n);
    }
    let upkeep = Upkeep { feed_entries: Some(2), most: 3, ..KEEP };
    assert_eq!(swept(&conn, &acme, upkeep, 9).changes, 3);
    assert_eq!(swept(&conn, &acme, upkeep, 9).changes, 1);
    assert_eq!(swept(&conn, &acme, upkeep, 9), Swept::default());
    let stretch = changes::stretch(&conn, &acme, &Interest::default(), 0, 9, 9).unwrap();
    let numbers: Vec<i64> = stretch.changes.iter().map(|change| change.change).collect();
    assert_eq!((numbers, stretch.start, stretch.last), (vec![5, 6], 4, 6));
    assert_eq!(ledger::usage(&conn, &acme).unwrap().feed_start, 4);
}

#[test]
fn a_version_is_forgotten_so_long_after_it_ended_and_a_tombstone_with_all_before_it() {
    let conn = open_memory();
    let acme = tenant("acme");
    let write = |key: &str, now| put(&conn, &acme, memory("mesh", key, "1"), now).stamp.version;
    // Old, and written over a moment ago; old, and written over long ago; gone long ago.
    for (key, times) in [("late", [1, 90]), ("early", [1, 10]), ("gone", [1, 2])] {
        for now in times {
            write(key, now);
        }
    }
    act(&conn, &acme, Act::Delete(Target::memory("mesh", "gone")), Condition::Always, 10).unwrap();
    let left = |key: &str| {
        let versions = history::versions(&conn, &acme, &Target::memory("mesh", key), None, 9, 100).unwrap();
        versions.iter().map(|version| version.stamp.version).collect::<Vec<_>>()
    };
    let history_alone = Upkeep { history_from: Some(50), ..KEEP };
    assert_eq!(swept(&conn, &acme, history_alone, 100).versions, 3);
    assert_eq!((left("late"), left("early"), left("gone")), (vec![2, 1], vec![2], vec![3]));
    assert_eq!(swept(&conn, &acme, history_alone, 100), Swept::default());
    assert_eq!(swept(&conn, &acme, Upkeep { tombstones_from: Some(10), ..KEEP }, 100), Swept::default());
    assert_eq!(swept(&conn, &acme, Upkeep { tombstones_from: Some(11), ..KEEP }, 100).versions, 1);
    assert_eq!((left("late"), left("gone")), (vec![2, 1], vec![]));
    assert_eq!(write("gone", 100), 1);
}

#[test]
fn of_too_many_rows_that_went_those_that_went_first_are_forgotten() {
    let conn = open_memory();
    let acme = tenant("acme");
    let delete = |key: &str, now| {
        act(&conn, &acme, Act::Delete(Target::memory("mesh", key)), Condition::Always, now).unwrap();
    };
    for key in ["a", "b", "c", "d", "back"] {
        put(&conn, &acme, memory("mesh", key, "1"), 1);
    }
    // In this order; the last is there again, and its tombstone is but a version of its past.
    for (now, key) in (2..).zip(["c", "back", "a", "d", "b"]) {
        delete(key, now);
    }
    put(&conn, &acme, memory("mesh", "back", "2"), 9);
    put(&conn, &tenant("globex"), memory("mesh", "k", "1"), 9);
    let left = |key: &str| {
        history::versions(&conn, &acme, &Target::memory("mesh", key), None, 9, 100).unwrap().len()
    };
    let bound = |most| Upkeep { tombstones: Some(most), ..KEEP };
    assert_eq!(swept(&conn, &acme, bound(4), 100), Swept::default());
    // A deletion and what was there before it, of each.
    assert_eq!(swept(&conn, &acme, bound(2), 100).versions, 4);
    assert_eq!(["a", "b", "c", "d", "back"].map(left), [0, 2, 0, 2, 3]);
    assert_eq!(swept(&conn, &acme, Upkeep { most: 1, ..bound(0) }, 100).versions, 2);
    assert_eq!(swept(&conn, &acme, bound(0), 100).versions, 2);
    assert_eq!((swept(&conn, &acme, bound(0), 100), left("back")), (Swept::default(), 3));
}

#[test]
fn a_message_that_came_with_a_row_counts_and_skills_are_told_apart() {
    let conn = open_memory();
    let acme = tenant("acme");
    put_skill(&conn, &acme, skill("s", "héllo"), 1);
    let content = Content::Memory(memory("mesh", "k", "1"));
    let size = content.bytes();
    let proof = Json::parse(r#"{"sig":"x"}"#);
    let signed = Act::Put { content: content.clone(), expiry: Expiry::Never, sent_ms: None, proof };
    act(&conn, &acme, signed, Condition::Always, 2).unwrap();
    let usage = ledger::usage(&conn, &acme).unwrap();
    assert_eq!(usage.skill_bytes, Content::Skill(skill("s", "héllo")).bytes());
    assert_eq!(usage.bytes, usage.skill_bytes + size + 11);
    put_content(&conn, &acme, content, Expiry::Never, 3);
    assert_eq!(ledger::usage(&conn, &acme).unwrap().bytes, usage.skill_bytes + size);
}
