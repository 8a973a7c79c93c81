//! The connection: plain, with TLS, or to a cluster; and the script, loaded where it is not yet.
//!
//! Knows what scripts are called and how answers are shaped, not what they count.

use super::claims::CLAIM;
use super::entry::{Entry, groups};
use crate::config::checked::SharedServer;
use crate::limits::shared::SCRIPT;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, TlsCertificates,
    TlsMode,
};
use sha1::{Digest as _, Sha1};
use std::time::Duration;

/// Longest wait for a connection, and for what is asked beside requests.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// A cluster's own retries must fit into a request's deadline.
const CLUSTER_RETRIES: u32 = 2;

/// A script and the name that it has once it is loaded.
pub(super) struct Script {
    text: &'static str,
    sha: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, sha: hex::encode(Sha1::digest(text.as_bytes())) }
    }
}

/// A connection that many may ask at once.
pub(super) struct Link {
    wire: Wire,
    /// Decides on limits.
    decide: Script,
    /// Claims and marks deliveries.
    pub(super) claim: Script,
}

#[derive(Clone)]
enum Wire {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Connects and logs in.
    pub(super) async fn open(server: &SharedServer) -> RedisResult<Self> {
        let wire = if server.cluster { cluster(server).await? } else { single(server).await? };
        let link = Self { wire, decide: Script::new(SCRIPT), claim: Script::new(CLAIM) };
        link.ask::<String>(&redis::cmd("PING")).await?;
        Ok(link)
    }

    /// Whether it is asked a slot at a time.
    const fn is_cluster(&self) -> bool {
        matches!(self.wire, Wire::Cluster(_))
    }

    /// Asks one command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self.wire.clone() {
            Wire::Single(mut wire) => command.query_async(&mut wire).await,
            Wire::Cluster(mut wire) => command.query_async(&mut wire).await,
        }
    }

    /// Runs a script; where the server does not have it, it gets it along with the question.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let question = |name: &str, body: &str| {
            let mut command = redis::cmd(name);
            command.arg(body).arg(keys.len()).arg(keys);
            args(&mut command);
            command
        };
        match self.ask(&question("EVALSHA", &script.sha)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(&question("EVAL", script.text)).await
            }
            answer => answer,
        }
    }

    /// Runs the deciding script over entries whose keys lie in one slot.
    async fn decide(&self, op: &str, entries: &[&Entry]) -> RedisResult<Vec<i64>> {
        let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        self.run(&self.decide, &keys, |command| {
            command.arg(op).arg(entries.len());
            for entry in entries {
                entry.write(command);
            }
        })
        .await
    }

    /// Asks about entries: of one server in one call, of a cluster in one for each slot, all at once. The
    /// places of each group's entries come with its answer.
    pub(super) async fn decide_all(
        &self,
        op: &str,
        entries: &[Entry],
    ) -> Vec<(Vec<usize>, RedisResult<Vec<i64>>)> {
        let groups = if self.is_cluster() { groups(entries) } else { vec![(0..entries.len()).collect()] };
        let asked = groups.into_iter().map(|places: Vec<usize>| async move {
            let group: Vec<&Entry> = places.iter().map(|&place| &entries[place]).collect();
            let answer = self.decide(op, &group).await;
            (places, answer)
        });
        futures_util::future::join_all(asked).await
    }

    /// As [`Self::decide_all`], of what has no answer, a bounded number at a time.
    pub(super) async fn tell(&self, op: &str, entries: &[Entry]) -> RedisResult<()> {
        for some in entries.chunks(64) {
            for (_, answer) in self.decide_all(op, some).await {
                answer?;
            }
        }
        Ok(())
    }
}

fn info(server: &SharedServer, host: &str, port: u16) -> RedisResult<ConnectionInfo> {
    let mut login = RedisConnectionInfo::default().set_db(server.database);
    if let Some(username) = &server.username {
        login = login.set_username(username);
    }
    if let Some(password) = &server.password {
        let text = std::str::from_utf8(password.expose()).map_err(|_| {
            RedisError::from((ErrorKind::InvalidClientConfig, "the shared server's password is not text"))
        })?;
        login = login.set_password(text);
    }
    let address = if server.tls {
        ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host.to_owned(), port)
    };
    Ok(address.into_connection_info()?.set_redis_settings(login))
}

fn certificates(server: &SharedServer) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: server.ca.as_ref().map(|pem| pem.clone().into_bytes()) }
}

async fn single(server: &SharedServer) -> RedisResult<Wire> {
    let (host, port) = server.nodes.first().map_or(("", 0), |(host, port)| (host.as_str(), *port));
    let info = info(server, host, port)?;
    let client =
        if server.tls { Client::build_with_tls(info, certificates(server))? } else { Client::open(info)? };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE.max(server.deadline)));
    Ok(Wire::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
}

async fn cluster(server: &SharedServer) -> RedisResult<Wire> {
    let nodes: RedisResult<Vec<ConnectionInfo>> =
        server.nodes.iter().map(|(host, port)| info(server, host, *port)).collect();
    let mut builder = ClusterClientBuilder::new(nodes?)
        .retries(CLUSTER_RETRIES)
        .connection_timeout(PATIENCE)
        .response_timeout(PATIENCE.max(server.deadline));
    if server.tls {
        builder = builder.tls(TlsMode::Secure).certs(certificates(server));
    }
    Ok(Wire::Cluster(builder.build()?.get_async_connection().await?))
}
