//! A statement in the making: its text, and the values of its numbered places.

use super::text::kept;
use crate::ids::TenantId;
use crate::store::model::past_prefix;
use std::fmt::Write as _;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row, RowStream, Transaction};

/// A value of a numbered place.
#[derive(Debug)]
enum Value {
    Text(String),
    Number(i64),
}

impl Value {
    fn place(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Text(text) => (text, Type::TEXT),
            Self::Number(number) => (number, Type::INT8),
        }
    }
}

/// A statement in the making.
#[derive(Debug)]
pub(super) struct Question {
    text: String,
    values: Vec<Value>,
}

impl Question {
    /// Begins with a text whose `$1` is the tenant.
    pub(super) fn new(text: String, tenant: &TenantId) -> Self {
        Self { text, values: vec![Value::Text(tenant.as_str().to_owned())] }
    }

    /// Adds text as it stands.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds `before`, a place for the number, and `after`.
    pub(super) fn number(&mut self, before: &str, number: i64, after: &str) {
        self.values.push(Value::Number(number));
        self.place(before, after);
    }

    /// Adds `before`, a place for the text as it is kept, and `after`.
    pub(super) fn text(&mut self, before: &str, text: &str, after: &str) {
        self.values.push(Value::Text(kept(text).into_owned()));
        self.place(before, after);
    }

    /// That this column's text starts so.
    pub(super) fn starts(&mut self, column: &str, prefix: &str) {
        self.text(&format!(" AND {column} >= "), prefix, "");
        if let Some(end) = past_prefix(&kept(prefix)) {
            // Kept already.
            self.values.push(Value::Text(end));
            self.place(&format!(" AND {column} < "), "");
        }
    }

    fn place(&mut self, before: &str, after: &str) {
        // Writing to a String has no way to fail.
        let _ = write!(self.text, "{before}${}{after}", self.values.len());
    }

    /// Asks it.
    pub(super) async fn ask(&self, tx: &Transaction<'_>) -> Result<Vec<Row>, Error> {
        tx.query_typed(&self.text, &self.values()).await
    }

    /// Asks it; rows come one by one.
    pub(super) async fn stream(&self, tx: &Transaction<'_>) -> Result<RowStream, Error> {
        tx.query_typed_raw(&self.text, self.values()).await
    }

    fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(Value::place).collect()
    }
}
