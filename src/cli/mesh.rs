//! `keygen`, `sign` and `verify`: mesh messages from the command line.

use super::{Failure, input, output};
use crate::config::checked::{Canonical, Envelope, MeshRules as Policy, Mode, NodeKey, OnFailure};
use crate::ids::{NodeId, TenantId};
use crate::signatures::keys::KeyRegistry;
use crate::signatures::{self, Canonicaliser, Context, Scratch, envelope, sign};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Make a key pair.
#[derive(Debug, clap::Args)]
pub(super) struct Keygen {
    /// Where the private key goes (mode 0600); the public one goes beside it, with `.pub` behind its name.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Keygen {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let key = sign::generate().map_err(|error| Failure::caused("no key could be made", &error))?;
        let private =
            sign::private_pem(&key).map_err(|error| Failure::caused("no key could be made", &error))?;
        let public = sign::public_pem(&key.verifying_key())
            .map_err(|e| Failure::caused("no key could be made", &e))?;
        let mut beside = self.out.clone().into_os_string();
        beside.push(".pub");
        let beside = PathBuf::from(beside);
        create(&self.out, 0o600, private.as_bytes())?;
        create(&beside, 0o644, public.as_bytes())?;
        output(format!("private key: {}\npublic key:  {}\n", self.out.display(), beside.display()).as_bytes())
    }
}

/// Makes a file that was not there: keys are never written over.
fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// Sign messages.
#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// The private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The message or array; standard input without one.
    file: Option<PathBuf>,
}

impl Sign {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let pem = zeroize::Zeroizing::new(text(&self.key)?);
        let key =
            sign::read_private_pem(&pem).map_err(|e| Failure::caused(&self.key.display().to_string(), &e))?;
        let messages = input(self.file.as_ref())?;
        let mut signed =
            sign::sign(&messages, &key).map_err(|error| Failure::caused("not signed", &error))?;
        signed.push(b'\n');
        output(&signed)
    }
}

/// Where what is shown goes.
type Show = fn(&[u8]) -> Result<(), Failure>;

/// Which messages are verified.
#[derive(Debug, clap::Args)]
pub(super) struct Messages {
    /// For mesh messages: the node that they must name; any one without it.
    #[arg(long)]
    node: Option<String>,
    /// For mesh messages: where they sit.
    #[arg(long, value_enum, default_value_t = EnvelopeArg::None)]
    envelope: EnvelopeArg,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EnvelopeArg {
    None,
    Telegram,
    Discord,
    Generic,
}

impl Messages {
    /// Verifies those in a body with this key; `show` is given the text that each signature is over.
    pub(super) fn verify(&self, public_key: &Path, body: &[u8], show: Option<Show>) -> Result<(), Failure> {
        let what = public_key.display().to_string();
        let key =
            sign::read_public_pem(&text(public_key)?).map_err(|error| Failure::caused(&what, &error))?;
        let envelope = match self.envelope {
            EnvelopeArg::None => Envelope::None,
            EnvelopeArg::Telegram => Envelope::Telegram,
            EnvelopeArg::Discord => Envelope::Discord,
            EnvelopeArg::Generic => Envelope::Generic,
        };
        let policy = Policy {
            mode: Mode::Required,
            on_failure: OnFailure::Reject,
            envelope,
            freshness: None,
            canonical: Canonical::Mesh,
        };
        let tenant = TenantId::parse("cli").map_err(Failure::new)?;
        let nodes = match &self.node {
            Some(node) => vec![node.clone()],
            None => named(body),
        };
        let keys = nodes.iter().filter_map(|node| NodeId::parse(node).ok());
        let keys: Vec<NodeKey> = keys.map(|node| NodeKey::of(tenant.clone(), node, key)).collect();
        let keys = KeyRegistry::build(&keys).map_err(|error| Failure::caused(&what, &error))?;
        let context = Context {
            policy: &policy,
            tenant: &tenant,
            keys: &keys,
            query: None,
            now_unix: 0.0,
            taken: None,
        };
        if let Some(show) = show {
            show(told(body, envelope).as_bytes())?;
        }
        match signatures::verify(body, &context, &mut Scratch::default()) {
            Ok(verified) => output(format!("good: {} messages\n", verified.verified).as_bytes()),
            Err(failure) => {
                let at = failure.index.map(|index| format!(" (message {index})")).unwrap_or_default();
                let why = failure.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                Err(Failure::new(format!("bad{at}: {}{why}", failure.reason.code())))
            }
        }
    }
}

/// What each message's signature is over.
fn told(body: &[u8], envelope: Envelope) -> String {
    let (mut inner, mut picker, mut reader) =
        (Vec::new(), Canonicaliser::default(), Canonicaliser::default());
    let found = envelope::wrapping(envelope, None)
        .and_then(|wrapping| envelope::messages(body, wrapping, Mode::Required, &mut inner, &mut picker));
    let read = found.and_then(|found| {
        let document = reader.read(found)?;
        let mut out = String::new();
        for (number, (_, content)) in document.elements().enumerate() {
            // Writing to a String cannot fail.
            let _ = match content {
                Ok(message) => {
                    let text = message.canonical;
                    let shown = String::from_utf8_lossy(text);
                    writeln!(out, "message {number}: signed are {} bytes\n---\n{shown}\n---", text.len())
                }
                Err(fault) => writeln!(out, "message {number}: {fault}"),
            };
        }
        Ok(out)
    });
    read.unwrap_or_else(|fault| format!("no message can be told from the next: it {fault}\n"))
}

/// Every node that the text names anywhere: the key is tried for each of them, and it alone decides.
fn named(body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        collect(&value, &mut found);
    }
    found
}

fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match member {
                    serde_json::Value::String(node) if name == "nodeId" || name == "sourceNode" => {
                        found.push(node.clone())
                    }
                    _ => collect(member, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        // Envelopes carry messages as text.
        serde_json::Value::String(text) => {
            if let Ok(inner @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) =
                serde_json::from_str(text)
            {
                collect(&inner, found);
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
