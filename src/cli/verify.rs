//! `verify`: whether signatures hold, of mesh messages or of a captured delivery of any sender, without a config.

use super::webhooks::Explained;
use super::{Failure, input, mesh, output};
use crate::config::{self, Effects};
use clap::builder::PossibleValuesParser;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The scheme of mesh messages.
const MESH: &str = "mesh";

/// Senders whose rules need no more than their secrets or keys; the others want a route of a config
/// (`webhooks explain`).
const SCHEMES: [&str; 10] = [
    MESH,
    "standard-webhooks",
    "github",
    "slack",
    "stripe",
    "discord",
    "telegram",
    "shopify",
    "twilio",
    "http-signatures",
];

/// Verify mesh messages, or a sender's delivery.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Who signed: a node of a mesh, or a sender of webhooks.
    #[arg(long, default_value = MESH, value_parser = PossibleValuesParser::new(SCHEMES))]
    scheme: String,
    /// Show what was signed and, where it does not hold, what differs.
    #[arg(long)]
    explain: bool,
    /// File with the signer's public key, as the signer shows it: PEM (SPKI; for `mesh` it must be given), 64 hex digits
    /// for `discord`, `whpk_…` for `standard-webhooks`.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// The environment variable that holds the sender's secret: an argument would show it to everyone on the machine.
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// Scheme, host and port as the sender saw them, where the URL is signed; what was captured says without it.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// When the delivery came, in Unix seconds; now without it.
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
    #[command(flatten)]
    messages: mesh::Messages,
    /// The message, array or envelope; for senders the captured request, as it stood on the wire, as `curl --trace`
    /// wrote it down or HAR. Standard input without one.
    file: Option<PathBuf>,
}

impl Verify {
    pub(super) fn execute(self) -> Result<(), Failure> {
        if self.scheme == MESH {
            let key = self.public_key.as_deref().ok_or_else(|| Failure::new("--public-key is needed"))?;
            return self.messages.verify(key, &input(self.file.as_ref())?, self.explain.then_some(output));
        }
        let text = self.as_config()?;
        let loaded = config::parse("(flags)", &text, Effects::None).map_err(Failure::config)?;
        let explained = Explained::of(&loaded.config.routes[0], self.at, &input(self.file.as_ref())?)?;
        let verdict = format!("{}\n", explained.verdict);
        output(if self.explain { explained.text.as_bytes() } else { verdict.as_bytes() })?;
        if explained.is_good { Ok(()) } else { Err(Failure::new("bad: it does not hold")) }
    }

    /// A config whose one route verifies as the flags say: senders have one set of rules. Texts are quoted as JSON,
    /// which is YAML.
    fn as_config(&self) -> Result<String, Failure> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut verify = format!("scheme: {}", self.scheme);
        // Writing to a String cannot fail.
        if let Some(name) = &self.secret_env {
            let secret = format!("{{ env: {} }}", quoted(name));
            let _ = match self.scheme.as_str() {
                "http-signatures" => write!(verify, ", signers: [{{ id: secret, secret: {secret} }}]"),
                _ => write!(verify, ", secret: {secret}"),
            };
        }
        if let Some(path) = &self.public_key {
            let path = std::path::absolute(path).map_err(Failure::new)?;
            let key = format!("{{ file: {} }}", quoted(&path.display().to_string()));
            let _ = match self.scheme.as_str() {
                "http-signatures" => write!(verify, ", signers: [{{ public_key: {key} }}]"),
                _ => write!(verify, ", public_keys: [{key}]"),
            };
        }
        if let Some(url) = &self.public_url {
            let _ = write!(verify, ", public_url: {}", quoted(url));
        }
        Ok(format!(
            "listen: [{{ address: \"127.0.0.1:1\" }}]\ntenants: {{ flags: {{}} }}\nupstreams: {{ none: {{ servers: [\"127.0.0.1:1\"] }} }}\n\
             routes: [{{ name: flags, path: /**, methods: [POST], tenant: flags, verify: {{ {verify} }}, upstream: none }}]\n"
        ))
    }
}
