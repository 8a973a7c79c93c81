//! What the tests of this room share: folders that go away, databases of both kinds, short rows.

use super::json::Json;
use super::model::{NewMemory, NewSkill};
use crate::ids::TenantId;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;

/// A folder of its own that goes when the test does.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let number = fastrand::u64(..);
        let path = std::env::temp_dir().join(format!("mesh-store-test-{number:016x}"));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

pub(crate) fn memory(scope: &str, key: &str, value: &str) -> NewMemory {
    NewMemory {
        scope: scope.into(),
        key: key.into(),
        value: Json::parse(value).unwrap(),
        node_id: "ceo".into(),
    }
}

pub(crate) fn skill(name: &str, content: &str) -> NewSkill {
    NewSkill { name: name.into(), source_node: "ceo".into(), content: Some(content.into()), path: None }
}

/// Starts a future and says whether it waits for something.
pub(crate) async fn is_waiting<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
}

/// An untenanted store with rows of every kind, an index that is behind, vectors whose module is not
/// loaded, and another program's tables.
pub(crate) const OLD_TABLES: &str = r#"
CREATE TABLE mesh_memory (id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, key TEXT NOT NULL,
  value TEXT NOT NULL, node_id TEXT NOT NULL, updated_at INTEGER NOT NULL, UNIQUE(scope, key));
CREATE INDEX old_by_scope ON mesh_memory (scope, key);
CREATE VIRTUAL TABLE mesh_memory_fts USING fts5(scope, key, content, tokenize='unicode61');
CREATE TABLE mesh_skills (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, source_node TEXT NOT NULL,
  content TEXT, path TEXT, updated_at INTEGER NOT NULL, CHECK (content IS NOT NULL OR path IS NOT NULL));
CREATE INDEX old_by_name ON mesh_skills (name);
CREATE TABLE army_registry (id TEXT PRIMARY KEY, gateway_id TEXT NOT NULL, rank TEXT NOT NULL);
CREATE TABLE army_orders (order_id TEXT PRIMARY KEY, payload TEXT NOT NULL, status TEXT NOT NULL);
CREATE INDEX army_orders_by_status ON army_orders (status);
INSERT INTO army_registry VALUES ('n1', 'gw', 'general');
INSERT INTO army_orders VALUES ('o1', '{"do":"it"}', 'pending');
INSERT INTO mesh_memory (scope, key, value, node_id, updated_at) VALUES
  ('mesh', 'object', '{"plan":"attack at dawn","n":[1,2.5,null]}', 'ceo', 100),
  ('mesh', 'plain', 'hello "world"', 'ceo', 900),
  ('mesh', 'looks-like-number', '42', 'unknown', 300),
  ('mesh', 'telegram-id', '12345678901234567890', 'unknown', 200),
  ('node', 'a/b c', '[]', 'cto', 400),
  ('user:bob', 'empty', '', 'external:hq:ceo', 250),
  ('tenant:acme', 'labelled', 'true', 'ceo', 500),
  ('federation', 'sigma', 'Σίσυφος', 'ceo', 500);
INSERT INTO mesh_memory_fts (scope, key, content) VALUES ('mesh', 'object', 'object something old');
INSERT INTO mesh_skills (name, source_node, content, path, updated_at) VALUES
  ('review', 'ceo', '# how to review', NULL, 100), ('deploy', 'cto', NULL, '/skills/deploy', 200);
CREATE TABLE mesh_memory_vec_chunks (chunk_id INTEGER PRIMARY KEY, size INTEGER);
PRAGMA writable_schema = ON;
INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', 'mesh_memory_vec', 'mesh_memory_vec', 0,
  'CREATE VIRTUAL TABLE mesh_memory_vec USING vec0(id integer primary key, scope text, embedding float[768] distance_metric=cosine)');
PRAGMA writable_schema = RESET;
"#;
