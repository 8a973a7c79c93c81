//! `webhooks`: tries a route of the running edge with a delivery as its sender would sign it, and explains why a
//! captured delivery holds or does not.

use super::captured::Captured;
use super::{Failure, input, output, quickstart};
use crate::config::Effects;
use crate::config::checked::{Config, Route, Scheme, Sender, Speaks, Verify};
use crate::signatures::schemes::{self, SampleError};
use crate::signatures::{Delivery, delivery::Proof};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Try and explain routes for webhooks.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Webhooks {
    /// Send a well-signed sample to a route of the running edge. Exits with 1 unless it answers 2xx.
    Test(Test),
    /// Say what a captured delivery's signature is over, and where it differs. Exits with 1 when it does not hold.
    Explain(Explain),
}

impl Webhooks {
    pub(super) fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Test(test) => test.execute(),
            Self::Explain(explain) => explain.execute(),
        }
    }
}

/// Send a sample.
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// The route's name.
    route: String,
    #[command(flatten)]
    config: super::ConfigArg,
    /// Where the edge listens; the config's first one of plain HTTP without it.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<SocketAddr>,
}

impl Test {
    fn execute(self) -> Result<(), Failure> {
        let config = load(self.config)?;
        let route = route(&config, &self.route)?;
        let (policy, sender) = sender(route)?;
        let plain = || {
            let plain = config.listen.iter().find(|listen| matches!(listen.speaks, Speaks::Plain));
            plain.map(|listen| listen.address)
        };
        let address = self.to.or_else(plain).ok_or_else(|| {
            Failure::new("the sample goes over plain HTTP, and no listener speaks that: say one with --to")
        })?;
        let target = target(route);
        let host = match &route.host {
            Some(crate::config::checked::HostPattern::Exact(host)) => host.clone(),
            Some(crate::config::checked::HostPattern::Below(below)) => format!("test.{below}"),
            None => address.to_string(),
        };
        let origin = policy.public_url.clone().unwrap_or_else(|| format!("http://{host}"));
        let id = format!("test{:032x}", fastrand::u128(..));
        let sample = schemes::sample(sender, (&origin, &target), unix_now(), &id);
        let sample = sample.map_err(|error| match error {
            SampleError::NoSecret => Failure::new(format!("`{}`: {error}", self.route)),
            SampleError::Unread(_) => Failure::caused("no sample", &error),
        })?;
        let mut head = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in &sample.fields {
            // Writing to a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", sample.body.len());
        let answer = exchange(address, &[head.as_bytes(), &sample.body].concat())
            .map_err(|error| Failure::caused(&format!("{address} does not answer"), &error))?;
        let status = answer.lines().next().unwrap_or_default().to_owned();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        output(
            format!(
                "sent:   POST {target} ({} bytes, {})\nanswer: {status}\n{body}\n",
                sample.body.len(),
                policy.name
            )
            .as_bytes(),
        )?;
        let is_good = status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
        if is_good { Ok(()) } else { Err(Failure::new("the sample was not taken")) }
    }
}

fn exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Explain a delivery.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The route's name.
    route: String,
    #[command(flatten)]
    config: super::ConfigArg,
    /// When it came, in Unix seconds; now without it.
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
    /// The captured request: as it stood on the wire, `curl --trace`, or HAR; standard input without one.
    file: Option<PathBuf>,
}

impl Explain {
    fn execute(self) -> Result<(), Failure> {
        let config = load(self.config)?;
        let explained = Explained::of(route(&config, &self.route)?, self.at, &input(self.file.as_ref())?)?;
        output(explained.text.as_bytes())?;
        if explained.is_good { Ok(()) } else { Err(Failure::new("bad: it does not hold")) }
    }
}

/// What there is to say of a captured delivery.
pub(super) struct Explained {
    /// All of it.
    pub(super) text: String,
    /// `good`, or the reason.
    pub(super) verdict: &'static str,
    pub(super) is_good: bool,
}

impl Explained {
    /// Holds a captured request against what a route verifies, as of a Unix second, or of now.
    pub(super) fn of(route: &Route, at: Option<u64>, captured: &[u8]) -> Result<Self, Failure> {
        let (policy, sender) = sender(route)?;
        let captured = Captured::read(captured)?;
        Ok(explain(
            policy.name,
            sender,
            &Delivery {
                method: &captured.method,
                origin: policy.public_url.as_deref().unwrap_or(&captured.origin),
                target: &captured.target,
                fields: &captured.fields,
                body: &captured.body,
                now_unix: at.unwrap_or_else(unix_now),
            },
        ))
    }
}

fn explain(name: &str, sender: &Sender, delivery: &Delivery<'_>) -> Explained {
    let mut out = format!("scheme:  {name}\n");
    // Writing to a String cannot fail, here and below.
    match schemes::read(sender, delivery) {
        Ok(statement) => {
            for text in &statement.texts {
                let text = text.concat();
                let _ = writeln!(
                    out,
                    "signed:  {} bytes\n---\n{}\n---",
                    text.len(),
                    text.escape_ascii().to_string().replace("\\n", "\\n\n")
                );
            }
            if statement.claims.is_empty() {
                let _ = writeln!(out, "came:    no signature in this sender's spelling");
            }
            for claim in &statement.claims {
                let _ = match claim.proof {
                    Proof::Token => writeln!(out, "came:    a token of {} characters", claim.bytes.len()),
                    Proof::Mac(_) | Proof::Ed25519 => writeln!(out, "came:    {}", hex::encode(&claim.bytes)),
                };
            }
            if let Some(moment) = statement.moment {
                let ago = i128::from(delivery.now_unix) - i128::from(moment);
                let _ = writeln!(
                    out,
                    "time:    {moment}, {ago} s ago; {} s are allowed either way",
                    sender.tolerance.as_secs()
                );
            }
        }
        Err(failure) => {
            let detail = failure.detail.map(|detail| format!(": it {detail}")).unwrap_or_default();
            let _ = writeln!(out, "signed:  cannot be told{detail}");
        }
    }
    match schemes::verify(sender, delivery) {
        Ok(_) => {
            let _ = writeln!(out, "verdict: good");
            Explained { text: out, verdict: "good", is_good: true }
        }
        Err(failure) => {
            let _ = writeln!(out, "verdict: {}", failure.reason.code());
            if let Some(change) = would_hold(sender, delivery) {
                let _ = writeln!(out, "differs: it holds {change}");
            }
            Explained { text: out, verdict: failure.reason.code(), is_good: false }
        }
    }
}

/// What usually happens to a delivery on its way: with which of it undone the signature holds.
fn would_hold(sender: &Sender, delivery: &Delivery<'_>) -> Option<String> {
    let body = delivery.body;
    let holds = |body: &[u8]| schemes::verify(sender, &Delivery { body, ..*delivery }).is_ok();
    let unix: Vec<u8> = String::from_utf8_lossy(body).replace("\r\n", "\n").into_bytes();
    let compact =
        serde_json::from_slice::<serde_json::Value>(body).map(|value| value.to_string().into_bytes());
    let bodies = [
        ("without the line end behind the body", body.trim_ascii_end().to_vec()),
        ("with a line end behind the body", [body, b"\n"].concat()),
        ("with LF in place of CR LF in the body", unix),
        ("with the body's JSON written without spaces: someone wrote it anew", compact.unwrap_or_default()),
    ];
    if let Some((change, _)) = bodies.iter().find(|(_, other)| other != body && holds(other)) {
        return Some((*change).to_owned());
    }
    let statement = schemes::read(sender, delivery).ok()?;
    let then = statement.moment.filter(|&moment| moment != delivery.now_unix)?;
    let at = Delivery { now_unix: then, ..*delivery };
    schemes::verify(sender, &at)
        .is_ok()
        .then(|| format!("at its own time, {then}: it came too late or the clock is wrong"))
}

fn load(config: super::ConfigArg) -> Result<Config, Failure> {
    let loaded = quickstart::source(config.config).load(Effects::None).map_err(Failure::config)?;
    Ok(loaded.config)
}

fn route<'c>(config: &'c Config, name: &str) -> Result<&'c Route, Failure> {
    let found = config.routes.iter().find(|route| route.name.as_str() == name);
    found.ok_or_else(|| Failure::new(format!("the config has no route `{name}`")))
}

fn sender(route: &Route) -> Result<(&Verify, &Sender), Failure> {
    match route.verify.as_deref() {
        Some(policy @ Verify { scheme: Scheme::Sender(sender), .. }) => Ok((policy, sender)),
        Some(Verify { scheme: Scheme::Mesh(_), .. }) | None => {
            Err(Failure::new(format!("the route `{}` is for no sender of webhooks", route.name)))
        }
    }
}

/// A path that the route takes.
fn target(route: &Route) -> String {
    use crate::config::checked::Segment;
    let segments = route.path.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Param(_) => "/test".to_owned(),
    });
    let path: String = segments.collect();
    if path.is_empty() { "/".into() } else { path }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
