//! The door to the outbox for operators: a Unix socket in the data folder that only this process's user can
//! open. One line of JSON asks, one line answers; `openclaw-edge outbox` speaks it.

use super::outbox::Outbox;
use super::outbox_journal::Id;
use super::outbox_queue::Which;
use crate::ids::{MeshId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Longest question.
const MOST: u64 = 4096;
/// Time for one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    /// What waits, and what was laid aside.
    List {
        /// Of this tenant alone.
        tenant: Option<String>,
    },
    /// Put what was laid aside back into its line, and try at once.
    Retry {
        /// Whose.
        tenant: String,
        /// To which mesh.
        mesh: String,
        /// Only this one; else all that were laid aside.
        id: Option<String>,
    },
    /// Throw away.
    Drop {
        /// Whose.
        tenant: String,
        /// To which mesh.
        mesh: String,
        /// What.
        what: Dropped,
    },
}

/// What is thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// One delivery.
    One(String),
    /// All that were laid aside.
    Aside,
    /// All that wait, and all that were laid aside.
    All,
}

/// Serves until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: UnixListener, outbox: Arc<Outbox>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let outbox = outbox.clone();
        tokio::spawn(async move {
            // Who has left needs no answer.
            let _ = tokio::time::timeout(PATIENCE, converse(stream, outbox)).await;
        });
    }
}

async fn converse(stream: UnixStream, outbox: Arc<Outbox>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MOST)).read_line(&mut line).await?;
    let answer = tokio::task::spawn_blocking(move || answer(&line, &outbox)).await.unwrap_or_default();
    writer.write_all(format!("{answer}\n").as_bytes()).await
}

fn answer(line: &str, outbox: &Outbox) -> Value {
    let Ok(ask) = serde_json::from_str::<Ask>(line) else { return json!({ "error": "this is no question" }) };
    done(ask, outbox).unwrap_or_else(|why| json!({ "error": why }))
}

fn done(ask: Ask, outbox: &Outbox) -> Result<Value, String> {
    let whose = |text: &str| TenantId::parse(text).map_err(|error| format!("the tenant {error}"));
    let where_to = |text: &str| MeshId::parse(text).map_err(|error| format!("the mesh {error}"));
    let which = |text: &str| Id::parse(text).map(Which::One).ok_or("this is no id of a delivery".to_owned());
    let count = |result: io::Result<usize>| match result {
        Ok(count) => Ok(json!({ "count": count })),
        Err(error) => Err(format!("the outbox cannot be written: {error}")),
    };
    match ask {
        Ask::List { tenant } => {
            let tenant = tenant.as_deref().map(whose).transpose()?;
            let list = outbox.list(tenant.as_ref()).into_iter().map(|(tenant, one)| {
                json!({
                    "tenant": tenant.as_str(),
                    "mesh": one.mesh.as_str(),
                    "id": one.id.text(),
                    "since": one.since,
                    "bytes": one.bytes,
                    "aside": one.aside,
                })
            });
            Ok(json!({ "deliveries": list.collect::<Vec<_>>() }))
        }
        Ask::Retry { tenant, mesh, id } => {
            let which = id.as_deref().map_or(Ok(Which::Aside), which)?;
            count(outbox.again(&whose(&tenant)?, &where_to(&mesh)?, which))
        }
        Ask::Drop { tenant, mesh, what } => {
            let which = match what {
                Dropped::One(id) => which(&id)?,
                Dropped::Aside => Which::Aside,
                Dropped::All => Which::All,
            };
            count(outbox.drop_out(&whose(&tenant)?, &where_to(&mesh)?, which))
        }
    }
}
