//! The floor under every edge that is built on Pingora: a proxy with no filter, no log and no metric.
//!
//! It knows one upstream and nothing of the edge. Started by `through` its server settings and its allocator are
//! the edge's own, so that the two differ in what is done for a request and in nothing else; started as `stock`
//! both are as they come.

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;

/// As the edge has it.
const UPSTREAM_POOL: usize = 512;

#[derive(Debug, clap::Args)]
pub(crate) struct Bare {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    upstream: SocketAddr,
    /// Tokio's runtime with many threads that take each other's tasks, instead of one that keeps its own.
    #[arg(long)]
    stealing: bool,
}

impl Bare {
    pub(crate) fn run(self) {
        let conf = ServerConf {
            threads: 1,
            work_stealing: self.stealing,
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            ..ServerConf::default()
        };
        let mut server = Server::new_with_opt_and_conf(None, conf);
        server.bootstrap();
        let mut service = http_proxy_service(&server.configuration, PassOn { upstream: self.upstream });
        service.add_tcp(&self.listen.to_string());
        server.add_service(service);
        server.run(RunArgs::default());
    }
}

struct PassOn {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for PassOn {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}
