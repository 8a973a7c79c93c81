//! `explain`: what would become of a request under a config, with nothing spent yet. The admin
//! listener's `GET /explain` says the same of a running edge.

use super::{ConfigArg, Failure, output, quickstart};
use crate::admission::{Now, Policy};
use crate::config::Effects;
use crate::edge::explain::{Request, answer};
use crate::limits::{Limiter, Tick};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Explain a request.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    config: ConfigArg,
    /// The method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The host.
    #[arg(long, default_value = "")]
    host: String,
    /// The client's address.
    #[arg(long, default_value = "127.0.0.1")]
    ip: IpAddr,
    /// The credential's id, as the config names it; never a key.
    #[arg(long)]
    credential: Option<String>,
    /// Bytes of the body.
    #[arg(long, default_value_t = 0)]
    body: u32,
    /// The value of the header field that the limits count by.
    #[arg(long)]
    header_value: Option<String>,
    /// The path, without query.
    path: String,
}

impl Explain {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let source = quickstart::source(self.config.config);
        let config = source.load(Effects::None).map_err(Failure::config)?.config;
        let limiter = Arc::new(Limiter::new(config.max_addresses));
        let policy = Policy::new(&config, limiter).map_err(|error| Failure::caused("the config", &error))?;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let request = Request {
            method: self.method,
            host: self.host,
            path: self.path,
            ip: self.ip,
            credential: self.credential,
            body: self.body,
            value: self.header_value,
        };
        let now = Now { tick: Tick::after(unix), unix: unix.as_secs() };
        let told = answer(&policy, &request, now)
            .ok_or_else(|| Failure::new(format!("`{}` is no method", request.method)))?;
        let mut text = serde_json::to_vec_pretty(&told).map_err(|e| Failure::caused("explain", &e))?;
        text.push(b'\n');
        output(&text)
    }
}
