//! What the tests of this engine share: our tables in memory, and single writes.

use super::{commit, schema};
use crate::ids::TenantId;
use crate::store::model::{
    Act, Bounds, Condition, Conflict, Content, Done, Expiry, NewMemory, NewSkill, Row, Write,
};
use rusqlite::Connection;

/// Our tables in memory, for tests of single statements.
pub(in crate::store) fn open_memory() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    schema::settle(&conn).unwrap();
    schema::create(&conn).unwrap();
    conn
}

/// Does one write, as the engine would.
pub(in crate::store) fn act(
    conn: &Connection,
    tenant: &TenantId,
    act: Act,
    condition: Condition,
    now: i64,
) -> Result<Done, Conflict> {
    let write = Write { act, condition };
    commit::apply(conn, tenant, write, Bounds::default(), now).unwrap()
}

/// Writes a memory.
pub(in crate::store) fn put(conn: &Connection, tenant: &TenantId, memory: NewMemory, now: i64) -> Row {
    put_content(conn, tenant, Content::Memory(memory), Expiry::Never, now)
}

/// Writes a skill.
pub(in crate::store) fn put_skill(conn: &Connection, tenant: &TenantId, skill: NewSkill, now: i64) -> Row {
    put_content(conn, tenant, Content::Skill(skill), Expiry::Never, now)
}

/// Writes anything, with an end.
pub(in crate::store) fn put_content(
    conn: &Connection,
    tenant: &TenantId,
    content: Content,
    expiry: Expiry,
    now: i64,
) -> Row {
    let put = Act::Put { content, expiry, sent_ms: None, proof: None };
    match act(conn, tenant, put, Condition::Always, now) {
        Ok(Done::Written(row)) => *row,
        other => panic!("{other:?}"),
    }
}
