//! What stores on one server tell each other: that a tenant's feed has grown, and never what is in it.
//!
//! A store tells it beside its writes and not within them: PostgreSQL takes one lock of the whole server for each
//! commit that notifies, which writers would wait for. So what is told comes a moment after the write, several
//! tenants at once, and is lost when the store dies in between; whoever follows looks now and then all the same.
//! Behind a pooler that hands connections out for a transaction nobody can listen, which is found out by trying.

use super::link::{Link, failed};
use crate::ids::TenantId;
use crate::store::error::StoreError;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection, Error};

/// Where it is told.
const CHANNEL: &str = "mesh_store_changes";

/// How long a listener waits to hear itself; behind a pooler it never does.
const PROOF: Duration = Duration::from_secs(2);

/// Longest silence after which a listener tries whether it still hears.
const SILENCE: Duration = Duration::from_mins(1);

/// Most that waits to be heard; what is more is dropped, and seen by who looks.
const MOST_WAITING: usize = 1024;

/// A connection of its own that hears what other stores tell.
pub(crate) struct Ears {
    heard: mpsc::Receiver<String>,
    /// Listening ends with it.
    _client: Client,
}

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// That this tenant's feed has grown.
    Grown(TenantId),
    /// By this store itself.
    Own,
    /// Nothing that a store says.
    Nothing,
}

/// How a store is told from others in what it tells.
#[derive(Debug)]
pub(super) struct Voice(String);

impl Voice {
    pub(super) fn new() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)))
    }

    /// Tells that these have grown; `""` for none, to be heard by oneself.
    pub(super) async fn tell(&self, link: &Link, names: &[&str]) -> Result<(), StoreError> {
        let connection = link.connection().await?;
        let told: Vec<String> = names.iter().map(|name| format!("{} {name}", self.0)).collect();
        connection
            .query_typed(
                "SELECT pg_notify($1, told) FROM unnest($2::text[]) AS told",
                &[(&CHANNEL, Type::TEXT), (&told, Type::TEXT_ARRAY)],
            )
            .await
            .map(drop)
            .map_err(|error| failed(&error))
    }

    fn read(&self, payload: &str) -> Told {
        match payload.split_once(' ') {
            Some((who, _)) if who == self.0 => Told::Own,
            Some((_, name)) => TenantId::parse(name).map_or(Told::Nothing, Told::Grown),
            None => Told::Nothing,
        }
    }
}

impl Ears {
    /// Listens, and makes sure that it hears; nothing where a pooler stands between.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn open(link: &Link, voice: &Voice) -> Result<Option<Self>, StoreError> {
        let (client, heard) = link.apart().await.map_err(|error| failed(&error))?;
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await.map_err(|error| failed(&error))?;
        let mut ears = Self { heard, _client: client };
        Ok(ears.hears(link, voice).await?.then_some(ears))
    }

    /// The next tenant whose feed has grown; none when nothing is heard any more.
    pub(super) async fn next(&mut self, link: &Link, voice: &Voice) -> Option<TenantId> {
        loop {
            match tokio::time::timeout(SILENCE, self.heard.recv()).await {
                Ok(payload) => {
                    if let Told::Grown(tenant) = voice.read(&payload?) {
                        return Some(tenant);
                    }
                }
                // The way there may have been cut without a word.
                Err(_) if self.hears(link, voice).await.unwrap_or(false) => {}
                Err(_) => return None,
            }
        }
    }

    /// Whether what is told on another connection comes here. What others tell meanwhile is left to who looks: that is
    /// done after each beginning, and a silence of a minute had nothing to tell.
    async fn hears(&mut self, link: &Link, voice: &Voice) -> Result<bool, StoreError> {
        voice.tell(link, &[""]).await?;
        let own = async {
            while let Some(payload) = self.heard.recv().await {
                if voice.read(&payload) == Told::Own {
                    return true;
                }
            }
            false
        };
        Ok(tokio::time::timeout(PROOF, own).await.unwrap_or(false))
    }
}

/// Reads a connection to its end, and hands on what is told there.
pub(super) fn drive<S, T>(mut connection: Connection<S, T>) -> mpsc::Receiver<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (tell, heard) = mpsc::channel(MOST_WAITING);
    tokio::spawn(async move {
        let next = |cx: &mut std::task::Context<'_>| connection.poll_message(cx);
        let mut messages = futures_util::stream::poll_fn(next);
        while let Some(message) = futures_util::StreamExt::next(&mut messages).await {
            match message {
                Ok(AsyncMessage::Notification(told)) => drop(tell.try_send(told.payload().to_owned())),
                Ok(_) => {}
                Err(error) => return ended(&error),
            }
        }
    });
    heard
}

fn ended(error: &Error) {
    tracing::info!(%error, "the connection that listens for other stores has ended");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_tell_is_told_from_what_one_says_oneself() {
        let (one, other) = (Voice::new(), Voice::new());
        let said = |voice: &Voice, name: &str| format!("{} {name}", voice.0);
        let acme = TenantId::parse("acme").unwrap();
        assert_eq!(one.read(&said(&other, "acme")), Told::Grown(acme));
        assert_eq!(one.read(&said(&one, "acme")), Told::Own);
        for odd in [said(&other, ""), said(&other, "Not A Tenant"), String::new(), "x".repeat(8000)] {
            assert_eq!(one.read(&odd), Told::Nothing);
        }
    }
}
