//! `gateways`: what an operator does once at a gateway, so that the edge may connect to it.

use super::{ConfigArg, Failure, output, quickstart};
use crate::config::Effects;
use crate::config::checked::OperatorAccess;
use crate::hub::device::Device;
use crate::hub::dial::Dial;
use crate::hub::pairing::Step;
use crate::openclaw::{Scope, Scopes};
use clap::Subcommand;
use std::time::Duration;

/// The edge's own connections to gateways.
#[derive(Debug, Subcommand)]
pub(super) enum Gateways {
    /// Make the edge known at a gateway with `operator: { access: device }`: shows the request, waits until
    /// somebody approves it, and keeps the token that the gateway gives.
    Pair(Pair),
}

/// Pair.
#[derive(Debug, clap::Args)]
pub(super) struct Pair {
    #[command(flatten)]
    config: ConfigArg,
    /// The gateway's id.
    gateway: String,
    /// What the edge asks for. Those who call through it get no more than this and their own key have.
    #[arg(long = "scope", value_name = "SCOPE", default_values = ["operator.read"])]
    scopes: Vec<String>,
    /// How long to wait for the approval, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

impl Gateways {
    pub(super) fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Pair(pair) => pair.execute(),
        }
    }
}

impl Pair {
    fn execute(self) -> Result<(), Failure> {
        let scopes = self.scopes()?;
        let source = quickstart::source(self.config.config);
        let config = source.load(Effects::None).map_err(Failure::config)?.config;
        let gateway = config.gateways.iter().find(|gateway| gateway.id.as_str() == self.gateway);
        let gateway = gateway
            .ok_or_else(|| Failure::new(format!("the config has no enabled gateway `{}`", self.gateway)))?;
        if gateway.operator.access != OperatorAccess::Device {
            let text = format!("gateway `{}` has no `operator: {{ access: device }}`", self.gateway);
            return Err(Failure::new(text));
        }
        let device = Device::open(&config.data, &gateway.id)
            .map_err(|error| Failure::caused("the edge's device", &error))?;
        output(format!("device   {}\n", device.id()).as_bytes())?;
        let dial = Dial::of(gateway, &config.data);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::caused("no threads", &error))?;
        let paired = dial.pair(scopes, |step| {
            // Whoever reads it may be gone; the pairing is worth as much without.
            let _ = output(told(step).as_bytes());
        });
        let within = Duration::from_secs(self.timeout);
        match runtime.block_on(async { tokio::time::timeout(within, paired).await }) {
            Ok(Ok(())) => {
                let words: Vec<&str> = scopes.least().into_iter().map(Scope::as_str).collect();
                output(format!("paired   the gateway grants {}\n", words.join(", ")).as_bytes())
            }
            Ok(Err(why)) => Err(Failure::new(format!("gateway `{}`: {why}", self.gateway))),
            Err(_) => Err(Failure::new("nobody has approved it in time; run this again to go on waiting")),
        }
    }

    fn scopes(&self) -> Result<Scopes, Failure> {
        let unknown = self.scopes.iter().find(|word| Scope::parse(word).is_none());
        match unknown {
            Some(word) => Err(Failure::new(format!("`{word}` is no scope of OpenClaw's"))),
            None => Ok(Scopes::of(self.scopes.iter().map(String::as_str))),
        }
    }
}

fn told(step: &Step) -> String {
    match step {
        Step::Waits(request) => {
            format!("request  {request}\napprove  openclaw devices approve {request}\nwaiting\n")
        }
        Step::Away(why) => format!("waiting  {why}\n"),
    }
}
