//! Pages of live rows, in three orders, each read off an index.

use super::rows::{COLUMNS, from_row};
use crate::ids::TenantId;
use crate::store::model::{Filter, MOST_PAGE_BYTES, Page, Place, Row, past_prefix};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

/// A page from a place on.
///
/// # Errors
/// What `SQLite` says.
pub(super) fn page(
    conn: &Connection,
    tenant: &TenantId,
    filter: &Filter,
    from: Place,
    limit: u32,
    now: i64,
) -> rusqlite::Result<Page> {
    // A walk that begins fixes where it ends; what is written meanwhile comes after that end.
    let (from, snapshot) = match from {
        Place::Newest => {
            let snapshot = last_change(conn, tenant)?;
            (Place::Newest, snapshot)
        }
        Place::After { snapshot, .. } => (from, snapshot),
        Place::Late { change } => (from, change),
        Place::Name { .. } => (from, 0),
    };
    let mut query = Query::new(tenant, filter, now);
    query.place(&from, snapshot);
    let (rows, more) = query.rows(conn, &from, limit)?;
    let next = match (&from, rows.last()) {
        (Place::Newest | Place::After { .. }, Some(row)) if more => {
            Some(Place::After { updated_at: row.stamp.updated_at, change: row.stamp.change, snapshot })
        }
        // The end of the walk: what was written since it began is still to come.
        (Place::Newest | Place::After { .. }, _) => {
            (last_change(conn, tenant)? > snapshot).then_some(Place::Late { change: snapshot })
        }
        (Place::Late { .. }, Some(row)) if more => Some(Place::Late { change: row.stamp.change }),
        (Place::Name { .. }, Some(row)) if more => {
            let target = row.content.target();
            Some(Place::Name { scope: target.scope, name: target.name })
        }
        (Place::Late { .. } | Place::Name { .. }, _) => None,
    };
    Ok(Page { rows, next })
}

fn last_change(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<i64> {
    let last = conn
        .prepare_cached("SELECT last_change FROM mesh_tenants WHERE tenant_id = ?1")?
        .query_row(params![tenant.as_str()], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// A statement in the making; its texts are few, so that each is prepared once a connection.
struct Query {
    text: String,
    values: Vec<Value>,
}

impl Query {
    fn new(tenant: &TenantId, filter: &Filter, now: i64) -> Self {
        let text = format!("SELECT {COLUMNS} FROM mesh_rows WHERE tenant_id = ?");
        let mut query = Self { text, values: vec![Value::from(tenant.as_str().to_owned())] };
        query.and(" AND kind = ?", [filter.kind.as_str().to_owned().into()]);
        if let Some(scope) = &filter.scope {
            query.and(" AND scope = ?", [scope.clone().into()]);
        }
        if let Some(prefix) = &filter.prefix {
            query.and(" AND name >= ?", [prefix.clone().into()]);
            if let Some(end) = past_prefix(prefix) {
                query.and(" AND name < ?", [end.into()]);
            }
        }
        if let Some(node) = &filter.node {
            query.and(" AND node_id = ?", [node.clone().into()]);
        }
        if let Some(since) = filter.updated_since {
            query.and(" AND updated_at >= ?", [since.into()]);
        }
        query.and(" AND (expires_at IS NULL OR expires_at > ?)", [now.into()]);
        query
    }

    fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.text.push_str(condition);
        self.values.extend(values);
    }

    fn place(&mut self, from: &Place, snapshot: i64) {
        match from {
            // With the sign no index can answer this: nearly all rows are from before the walk, and the index by
            // change would have all of them read and sorted for one page.
            Place::Newest => self.and(" AND +change <= ?", [snapshot.into()]),
            Place::After { updated_at, change, .. } => {
                self.and(" AND +change <= ?", [snapshot.into()]);
                self.and(" AND (updated_at, change) < (?, ?)", [(*updated_at).into(), (*change).into()]);
            }
            Place::Late { change } => self.and(" AND change > ?", [(*change).into()]),
            Place::Name { scope, name } if scope.is_empty() && name.is_empty() => {}
            Place::Name { scope, name } => {
                self.and(" AND (scope, name) > (?, ?)", [scope.clone().into(), name.clone().into()]);
            }
        }
    }

    fn order(&mut self, from: &Place, limit: u32) {
        self.text.push_str(match from {
            Place::Newest | Place::After { .. } => " ORDER BY updated_at DESC, change DESC LIMIT ?",
            Place::Late { .. } => " ORDER BY change LIMIT ?",
            Place::Name { .. } => " ORDER BY scope, name LIMIT ?",
        });
        // One more than asked for tells whether there is a next page.
        self.values.push((i64::from(limit) + 1).into());
    }

    /// The rows of a page, and whether there are more.
    fn rows(mut self, conn: &Connection, from: &Place, limit: u32) -> rusqlite::Result<(Vec<Row>, bool)> {
        self.order(from, limit);
        let mut statement = conn.prepare_cached(&self.text)?;
        let mut found = statement.query(params_from_iter(self.values))?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            if rows.len() >= limit as usize || bytes >= MOST_PAGE_BYTES {
                return Ok((rows, true));
            }
            let row = from_row(row)?;
            bytes += row.bytes();
            rows.push(row);
        }
        Ok((rows, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::Kind;
    use crate::store::sqlite::testing::open_memory;
    use crate::store::testing::tenant;

    fn plan(conn: &Connection, filter: &Filter, from: &Place) -> String {
        let mut query = Query::new(&tenant("acme"), filter, 5);
        query.place(from, 7);
        query.order(from, 100);
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", query.text)).unwrap();
        let lines =
            statement.query_map(params_from_iter(query.values), |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_page_is_read_off_an_index_in_its_order_and_nothing_is_sorted() {
        let conn = open_memory();
        let all = Filter::all(Kind::Memory);
        let scope = Filter { scope: Some("mesh".into()), ..all.clone() };
        let node = Filter { node: Some("ceo".into()), ..all.clone() };
        let since = Filter { updated_since: Some(3), ..all.clone() };
        let prefix = Filter { prefix: Some("a/".into()), ..all.clone() };
        let both = Filter { prefix: Some("a/".into()), ..scope.clone() };
        let after = Place::After { updated_at: 5, change: 6, snapshot: 7 };
        let late = Place::Late { change: 7 };
        let first = Place::Name { scope: String::new(), name: String::new() };
        let name = Place::Name { scope: "mesh".into(), name: "k".into() };
        for (filter, from, index) in [
            (&all, &Place::Newest, "by_age"),
            (&all, &after, "by_age"),
            (&since, &Place::Newest, "by_age"),
            (&since, &after, "by_age"),
            (&prefix, &Place::Newest, "by_age"),
            (&scope, &Place::Newest, "by_scope"),
            (&scope, &after, "by_scope"),
            (&node, &Place::Newest, "by_node"),
            (&node, &after, "by_node"),
            (&all, &late, "by_change"),
            (&scope, &late, "by_change"),
            (&all, &first, "autoindex"),
            (&all, &name, "autoindex"),
            (&both, &first, "autoindex"),
            (&both, &name, "autoindex"),
        ] {
            let plan = plan(&conn, filter, from);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?} {from:?}: {plan}");
        }
    }
}
