//! What stands behind the edge: upstreams, gateways and the shared server, each knocked at as the edge would, and
//! whether their clocks agree with this machine's.

use super::finding::Findings;
use super::running::agent;
use super::unix_now;
use crate::cli::Failure;
use crate::config::checked::{Config, Gateway, OperatorAccess, SharedServer, Upstream, UpstreamTarget};
use crate::edge::shared_examine;
use crate::hub::away::Why;
use crate::hub::device::Device;
use crate::hub::dial::Dial;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use tokio::runtime::Runtime;

/// Less than this is the time that the answer took, and a `Date` has whole seconds.
const CLOSE: u64 = 5;
/// From here on, signatures and tokens are refused for their time.
const FAR: u64 = 60;

pub(super) fn look(config: &Config, patience: Duration, findings: &mut Findings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("no threads", &error))?;
    for one in &config.upstreams {
        upstream(one, patience, findings);
    }
    for one in &config.gateways {
        gateway(one, config, &runtime, patience, findings);
    }
    if let Some(server) = &config.shared {
        shared(server, &runtime, findings);
    }
    Ok(())
}

fn upstream(upstream: &Upstream, patience: Duration, findings: &mut Findings) {
    match &upstream.target {
        UpstreamTarget::Servers(servers) => {
            for server in servers {
                knock(
                    &format!("{} ({server})", upstream.name),
                    server,
                    upstream.connect_timeout.min(patience),
                    patience,
                    findings,
                );
            }
        }
        // The edge says itself whether it answers: `/readyz`.
        UpstreamTarget::Embedded(store) => {
            let name = store.database.display().to_string();
            match std::fs::metadata(&store.database) {
                Ok(about) => findings.good("store", &name, format!("{} KiB", about.len() >> 10)),
                Err(error) => {
                    let advice = "nothing where the edge has not run yet; else the folder's rights, or a backup (`mesh-store restore`)";
                    findings.look("store", &name, error.to_string(), advice);
                }
            }
        }
    }
}

/// Connects, asks for nothing (`HEAD /`) and takes any answer of HTTP for one.
fn knock(name: &str, server: &str, connect: Duration, patience: Duration, findings: &mut Findings) {
    let addresses: Vec<SocketAddr> = match server.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let advice = "the name in `servers`, and DNS on this machine";
            findings.bad("upstream", name, format!("its name does not resolve: {error}"), advice);
            return;
        }
    };
    for address in addresses {
        if let Err(error) = TcpStream::connect_timeout(&address, connect) {
            let advice = "is the service running, does it listen on this address, is something between that lets nobody through?";
            findings.bad("upstream", name, format!("{address} does not take connections: {error}"), advice);
            return;
        }
    }
    match agent(patience).head(format!("http://{server}/")).call() {
        Ok(answer) => {
            findings.good("upstream", name, format!("answers HTTP ({})", answer.status().as_u16()));
            clock(name, answer.headers(), findings);
        }
        Err(error) => {
            let advice = "it takes connections and does not speak HTTP in time: is it the right port, does it hang, does it want TLS?";
            findings.bad("upstream", name, error.to_string(), advice);
        }
    }
}

/// Holds an answer's `Date` against this machine's clock.
fn clock(name: &str, fields: &http::HeaderMap, findings: &mut Findings) {
    let told = fields.get(http::header::DATE).and_then(|value| value.to_str().ok());
    let Some(told) = told.and_then(|text| httpdate::parse_http_date(text).ok()) else { return };
    let (there, here) = (told.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(), unix_now().as_secs());
    let apart = there.abs_diff(here);
    let side = if there > here { "ahead of" } else { "behind" };
    let text = format!("its clock is {apart} s {side} this machine's");
    let advice = "set both by NTP (`timedatectl set-ntp true`): signatures, tokens and certificates are judged by the time";
    if apart > FAR {
        findings.bad("clock", name, text, advice);
    } else if apart > CLOSE {
        findings.look("clock", name, text, advice);
    } else {
        findings.good("clock", name, "agrees with this machine's");
    }
}

fn gateway(
    gateway: &Gateway,
    config: &Config,
    runtime: &Runtime,
    patience: Duration,
    findings: &mut Findings,
) {
    let name = gateway.id.as_str();
    let url = &gateway.url;
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    if gateway.operator.access == OperatorAccess::Off {
        // The edge has no connection of its own there; callers' sockets need it all the same.
        knock(name, &format!("{host}:{}", url.port), patience, patience, findings);
        return;
    }
    if gateway.operator.access == OperatorAccess::Device && !Device::is_kept(&config.data, &gateway.id) {
        let advice = format!("openclaw-edge gateways pair {name}");
        findings.bad("gateway", name, "the edge has no device for it yet", advice);
        return;
    }
    if gateway.operator.access == OperatorAccess::Device && !is_ours(&config.data) {
        // A gateway may give the device a new token, and its file would come to belong to whoever asks.
        let advice = "run the doctor as the edge's user: `sudo -u openclaw-edge openclaw-edge doctor …`";
        findings.look("gateway", name, "not asked: the edge's device belongs to another user", advice);
        return;
    }
    let dial = Dial::of(gateway, &config.data);
    match runtime.block_on(dial.examine(patience)) {
        Ok(seen) => {
            let took = seen.took.as_millis();
            let text = format!("version {}, grants {}, in {took} ms", seen.version, seen.granted.join(", "));
            findings.good("gateway", name, text);
            let scheme = if url.tls { "https" } else { "http" };
            let address = format!("{scheme}://{host}:{}{}/", url.port, url.base_path);
            if let Ok(answer) = agent(patience).head(address).call() {
                clock(name, answer.headers(), findings);
            }
        }
        Err(why) => findings.bad("gateway", name, why.to_string(), advice(&why)),
    }
}

fn is_ours(data: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(data).is_ok_and(|about| about.uid() == rustix::process::geteuid().as_raw())
}

/// What to do about a gateway that cannot be had.
fn advice(why: &Why) -> &'static str {
    match why {
        Why::Untried | Why::Unreachable | Why::TimedOut | Why::Broken | Why::Silent => {
            "is it running, is `url` its address, is something between that lets nobody through?"
        }
        Why::Tls => {
            "`wss://` needs a certificate that this machine's authorities vouch for, with the name in `url`"
        }
        Why::Protocol | Why::Http(_) => {
            "is `url` a gateway's, with its base path, and is it 2026.9 or newer?"
        }
        Why::Unauthorized => {
            "`token` is not the gateway's: `openclaw config get gateway.auth.token` at the gateway"
        }
        Why::LockedOut => "too many wrong secrets came from here: mend `token`, then wait a minute",
        Why::NotPaired | Why::NoDevice => "`openclaw-edge gateways pair ID`, and approve it at the gateway",
        Why::NotGranted(_) => {
            "approve the scope for the edge's device at the gateway, or pair it anew with --scope"
        }
        Why::Starting | Why::Restarting | Why::Busy => "wait, and look again",
        Why::Revoked | Why::Closed(_) | Why::Refused => "the gateway's own log says why",
    }
}

fn shared(server: &SharedServer, runtime: &Runtime, findings: &mut Findings) {
    let nodes: Vec<String> = server.nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let name = nodes.join(", ");
    let seen = match runtime.block_on(shared_examine(server)) {
        Ok(seen) => seen,
        Err(error) => {
            let advice = "is it running, are address, user, password and certificate in `shared` right? Until then each edge decides alone";
            findings.bad("shared", &name, error.to_string(), advice);
            return;
        }
    };
    let took = format!("{:.1} ms", seen.took.as_secs_f64() * 1000.0);
    if let Some(why) = seen.unwritable {
        findings.bad(
            "shared",
            &name,
            format!("it takes no writes: {why}"),
            "a primary with room and rights: no replica, `maxmemory` not used up, `+@all` on the edge's keys",
        );
    } else if seen.took > server.deadline {
        let text = format!("it answers in {took}, and `deadline` is {} ms", server.deadline.as_millis());
        findings.bad("shared", &name, text, "a nearer server, or a longer `shared.deadline`");
    } else if seen.took * 2 > server.deadline {
        let text = format!("it answers in {took}, and `deadline` is {} ms", server.deadline.as_millis());
        findings.look("shared", &name, text, "a nearer server, or a longer `shared.deadline`");
    } else {
        findings.good("shared", &name, format!("it answers in {took} and takes writes"));
    }
    if let Some(policy) = seen.evicts {
        let text =
            format!("it throws keys away when its memory is full ({policy}): a limit starts anew then");
        findings.look("shared", &name, text, "`maxmemory-policy noeviction`");
    }
    if seen.keeps == Some(false) {
        findings.look(
            "shared",
            &name,
            "a restart of it forgets every count and delivery",
            "`appendonly yes`",
        );
    }
}
