//! Skills in the database: read one, list, write. Every statement filters by the tenant.

use super::model::{NewSkill, SkillRow};
use crate::ids::TenantId;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The skill of this name.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn get(conn: &Connection, tenant: &TenantId, name: &str) -> rusqlite::Result<Option<SkillRow>> {
    conn.prepare_cached(
        "SELECT name, source_node, content, path, updated_at FROM mesh_skills WHERE tenant_id = ?1 AND name = ?2",
    )?
    .query_row(params![tenant.as_str(), name], from_row)
    .optional()
}

/// All skills, newest first.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn list(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<Vec<SkillRow>> {
    conn.prepare_cached(
        "SELECT name, source_node, content, path, updated_at FROM mesh_skills
         WHERE tenant_id = ?1 ORDER BY updated_at DESC, seq DESC",
    )?
    .query_map(params![tenant.as_str()], from_row)?
    .collect()
}

/// Writes a skill, new or over the one of its name.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn put(
    conn: &Connection,
    tenant: &TenantId,
    skill: NewSkill,
    now: i64,
) -> rusqlite::Result<SkillRow> {
    let row = SkillRow { skill, updated_at: now };
    write(conn, tenant, &row)?;
    Ok(row)
}

/// Writes a row with the time that it has.
///
/// # Errors
/// What `SQLite` says.
pub(crate) fn write(conn: &Connection, tenant: &TenantId, row: &SkillRow) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO mesh_skills (tenant_id, name, source_node, content, path, updated_at, version, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, (SELECT coalesce(max(seq), 0) + 1 FROM mesh_skills WHERE tenant_id = ?1))
         ON CONFLICT (tenant_id, name) DO UPDATE SET source_node = excluded.source_node, content = excluded.content,
           path = excluded.path, updated_at = excluded.updated_at, version = version + 1, seq = excluded.seq",
    )?
    .execute(params![
        tenant.as_str(),
        row.skill.name,
        row.skill.source_node,
        row.skill.content,
        row.skill.path,
        row.updated_at
    ])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<SkillRow> {
    let skill =
        NewSkill { name: row.get(0)?, source_node: row.get(1)?, content: row.get(2)?, path: row.get(3)? };
    Ok(SkillRow { skill, updated_at: row.get(4)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{open_memory, skill, tenant};

    #[test]
    fn two_tenants_with_the_same_skill_never_meet() {
        let conn = open_memory();
        put(&conn, &tenant("acme"), skill("deploy", "ours"), 5).unwrap();
        put(&conn, &tenant("globex"), skill("deploy", "theirs"), 6).unwrap();
        let row = get(&conn, &tenant("acme"), "deploy").unwrap().unwrap();
        assert_eq!(row.skill.content.as_deref(), Some("ours"));
        assert_eq!(list(&conn, &tenant("globex")).unwrap().len(), 1);
        assert_eq!(get(&conn, &tenant("initech"), "deploy").unwrap(), None);
    }

    #[test]
    fn a_skill_that_is_put_again_is_replaced_and_leads_the_list() {
        let conn = open_memory();
        let acme = tenant("acme");
        for name in ["a", "b"] {
            put(&conn, &acme, skill(name, "x"), 5).unwrap();
        }
        let moved = NewSkill { content: None, path: Some("/new".into()), ..skill("a", "") };
        put(&conn, &acme, moved, 5).unwrap();
        let rows = list(&conn, &acme).unwrap();
        assert_eq!(rows.iter().map(|row| row.skill.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((rows[0].skill.content.as_deref(), rows[0].skill.path.as_deref()), (None, Some("/new")));
    }
}
