//! What the running edge says of itself, by its admin listener, and whether it takes clients.

use super::finding::Findings;
use super::series::{samples, sum};
use super::{date, unix_now};
use crate::config::checked::Config;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;
use ureq::Agent;

/// Most bytes of an answer.
const MOST: u64 = 16 << 20;
/// Age from which a source of keys, or what waits for another mesh, is old.
const OLD: f64 = 3600.0;
/// Descriptors beside those of sockets: files, pools, the listeners.
const BESIDE: f64 = 1024.0;

/// Counts that stand at 0 while all is well, what they mean and what to do.
const SHOULD_BE_ZERO: &[(&str, &str, &str)] = &[
    (
        "openclaw_edge_quota_unwritten",
        "requests were refused since its start because their quota could not be written down",
        "room on the disk with `data`",
    ),
    (
        "openclaw_edge_replay_write_failures_total",
        "marks of deliveries could not be written down",
        "room on the disk with `data`, before the next restart",
    ),
    (
        "openclaw_edge_access_log_dropped_total",
        "lines of the access log were lost",
        "a faster disk or reader for `access_log.to`",
    ),
    (
        "openclaw_edge_shared_lost_total",
        "counts could not be kept for the shared server",
        "look why the shared server was away",
    ),
    (
        "openclaw_edge_outbox_aside",
        "deliveries to other meshes were laid aside",
        "`openclaw-edge outbox list`, then `outbox retry` or `outbox drop`",
    ),
    ("mesh_store_sweep_failures_total", "rounds of the store's upkeep failed", "the log says why"),
];

pub(super) fn look(config: &Config, patience: Duration, findings: &mut Findings) {
    let admin = config.admin.to_string();
    let agent = agent(patience);
    let get = |path: &str| get(&agent, reachable(config.admin), path);
    if let Err(why) = get("/healthz") {
        let advice = "start the edge (`systemctl status openclaw-edge`), or run the doctor on its machine with its config";
        findings.bad("edge", &admin, format!("no edge answers at `admin`: {why}"), advice);
        return;
    }
    match get("/readyz") {
        Ok((200, _)) => findings.good("edge", &admin, "it runs and is ready"),
        Ok((_, body)) => {
            let advice = "`draining`: it goes down; `starting`: wait; `store`: its log says why the store does not answer";
            findings.bad("edge", &admin, format!("it runs and is not ready: {}", body.trim()), advice);
        }
        Err(why) => {
            findings.bad("edge", &admin, format!("it does not say whether it is ready: {why}"), "its log")
        }
    }
    listeners(config, patience, findings);
    match get("/metrics") {
        Ok((200, text)) => {
            config_in_force(&text, &admin, findings);
            open_files(config, &text, findings);
            certificates(config, &text, findings);
            told(&text, findings);
        }
        Ok((status, _)) => {
            findings.look("edge", &admin, format!("/metrics answers {status}"), "its log says why")
        }
        Err(why) => findings.look("edge", &admin, format!("/metrics: {why}"), "its log says why"),
    }
}

/// Asks without a proxy and without following anyone.
pub(super) fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

fn get(agent: &Agent, admin: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let mut answer = agent.get(format!("http://{admin}{path}")).call().map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(MOST).read_to_string();
    Ok((answer.status().as_u16(), body.map_err(|error| error.to_string())?))
}

/// An address that is bound on all of them is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, address.port()).into()
}

fn listeners(config: &Config, patience: Duration, findings: &mut Findings) {
    for one in &config.listen {
        let name = format!("{}://{}", one.scheme(), one.address);
        match TcpStream::connect_timeout(&reachable(one.address), patience) {
            Ok(_) => findings.good("listen", &name, "takes connections"),
            Err(error) => {
                let advice = "addresses of `listen` come into force with the next start: was the edge started with this config?";
                findings.bad("listen", &name, format!("nobody listens: {error}"), advice);
            }
        }
    }
}

fn config_in_force(text: &str, admin: &str, findings: &mut Findings) {
    if sum(text, "openclaw_edge_config_stale") > 0.0 {
        let advice =
            "`openclaw-edge check` tells each mistake; what is right by now is taken within a second";
        findings.bad("edge", admin, "it runs on an older config, since the newest was refused", advice);
    }
    let own = env!("CARGO_PKG_VERSION");
    for sample in samples(text, "openclaw_edge_build_info") {
        let runs = sample.label("version");
        if runs != own {
            let text = format!("it is version {runs}, and the program here is {own}");
            findings.look("edge", admin, text, "restart it to run the new one");
        }
    }
}

fn open_files(config: &Config, text: &str, findings: &mut Findings) {
    let (open, most) = (sum(text, "process_open_fds"), sum(text, "process_max_fds"));
    if most == 0.0 {
        return;
    }
    #[expect(clippy::cast_precision_loss, reason = "sockets are counted in thousands")]
    let wanted = 2.0 * config.server.max_websockets as f64 + BESIDE;
    let said = format!("{open} of {most} are open");
    if open > 0.8 * most {
        let advice = "raise `LimitNOFILE=` in the unit (`systemctl edit openclaw-edge`) or the container's `nofile`, and restart";
        findings.bad("open files", "the edge", said, advice);
    } else if most < wanted {
        let text = format!("{said}, and `server.max_websockets` may need {wanted}");
        let advice = format!("`LimitNOFILE={wanted}` in the unit, or a lower `server.max_websockets`");
        findings.look("open files", "the edge", text, advice);
    } else {
        findings.good("open files", "the edge", said);
    }
}

/// Whether it serves what lies in the files.
fn certificates(config: &Config, text: &str, findings: &mut Findings) {
    let serving = samples(text, "openclaw_edge_tls_certificate_expiry_timestamp_seconds");
    for one in config.certificates() {
        let served = serving.iter().find(|sample| sample.label("certificate") == one.file);
        #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact")]
        let differs = served.filter(|sample| (sample.value - one.not_after as f64).abs() >= 1.0);
        if let Some(sample) = differs {
            #[expect(clippy::cast_possible_truncation, reason = "seconds of this age are exact")]
            let text = format!(
                "the running edge serves one that ends on {}, not the file's",
                date(sample.value as i64)
            );
            findings.bad("certificate", &one.file, text, "the edge's log says why it refuses the new one");
        }
    }
}

/// What it has counted that should not be.
fn told(text: &str, findings: &mut Findings) {
    for (name, meaning, advice) in SHOULD_BE_ZERO {
        let count = sum(text, name);
        if count > 0.0 {
            findings.look("edge", name, format!("{count} {meaning}"), *advice);
        }
    }
    let unaudited = samples(text, "openclaw_edge_mux_calls_total");
    if unaudited.iter().any(|sample| sample.label("result") == "unaudited" && sample.value > 0.0) {
        let text = "decisions on approvals were refused since they could not be written down";
        findings.look(
            "edge",
            "openclaw_edge_mux_calls_total",
            text,
            "room on the disk, rights of `data/audit`",
        );
    }
    let now = unix_now().as_secs_f64();
    for sample in samples(text, "openclaw_edge_key_source_refreshed_timestamp_seconds") {
        if now - sample.value > OLD {
            let text = format!("told no keys since {:.0} minutes", (now - sample.value) / 60.0);
            findings.look(
                "keys",
                sample.label("source"),
                text,
                "its address in the config; the log says what it answers",
            );
        }
    }
    for sample in samples(text, "openclaw_edge_outbox_oldest_seconds") {
        if sample.value > OLD {
            let mesh = format!("{} to {}", sample.label("tenant"), sample.label("mesh"));
            let text = format!("a message waits since {:.0} minutes", sample.value / 60.0);
            findings.look(
                "mesh",
                &mesh,
                text,
                "`openclaw-edge outbox list` says what the other mesh answers",
            );
        }
    }
}
