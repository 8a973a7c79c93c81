//! The admin socket, threads, bounds on heads, logs, trusted proxies.

use super::checked::{AccessLogTarget, Head, Level, Listen, Log, LogFormat, Server};
use super::checker::{Checker, shown};
use super::tree::{Document, Spot};
use super::{Surroundings, check_listen, raw};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// What this file makes; `None` where it could not.
pub(super) struct Basics {
    pub(super) listen: Vec<Listen>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) data: PathBuf,
    pub(super) server: Option<Server>,
    pub(super) head: Option<Head>,
    pub(super) log: Log,
    pub(super) access_log: AccessLogTarget,
    pub(super) trusted_proxies: Vec<ipnet::IpNet>,
}

pub(super) fn check(
    raw: &raw::Config,
    document: &Document,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Basics {
    let top = document.top();
    let listen = check_listen::check(&raw.listen, document, around, checker);
    let admin_spot = top.key("admin");
    let admin = address(&raw.admin, admin_spot, checker);
    if let Some(admin) =
        admin.filter(|admin| admin.port() != 0 && listen.iter().any(|one| one.address == *admin))
    {
        checker.problem(admin_spot.at, format!("`{admin}` is also among the addresses for clients"));
    }
    if raw.data.is_empty() {
        checker.problem(top.key("data").at, "the folder's name is empty");
    }
    Basics {
        listen,
        admin,
        data: PathBuf::from(&raw.data),
        server: server(&raw.server, top.key("server"), checker),
        head: head(&raw.head, top.key("head"), checker),
        log: Log {
            level: raw.log.level.unwrap_or(Level::Info),
            format: raw.log.format.unwrap_or(LogFormat::Json),
        },
        access_log: access_log(&raw.access_log, top.key("access_log"), checker),
        trusted_proxies: networks(&raw.client_address, top.key("client_address"), checker),
    }
}

pub(super) fn address(text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let hint = "an IP address and a port: `0.0.0.0:8080`, `127.0.0.1:8080`, `\"[::]:8080\"`";
        let message = shown(spot, "this is no address", text);
        checker.hinted(spot.at, message, hint);
    }
    parsed
}

fn server(raw: &raw::Server, spot: Spot<'_>, checker: &mut Checker) -> Option<Server> {
    let own = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = checker.number(spot.key("threads"), raw.threads, own.min(1024), (1, 1024));
    let (drain, keepalive) = (raw.drain.as_deref(), raw.keepalive.as_deref());
    let drain = checker.duration(spot.key("drain"), drain, 30 * SECOND, (Duration::ZERO, HOUR));
    let keepalive = checker.duration(spot.key("keepalive"), keepalive, 60 * SECOND, (SECOND, HOUR));
    let sockets = spot.key("max_websockets");
    let sockets = checker.number(sockets, raw.max_websockets, 10_000, (0, 10_000_000));
    let bodies = spot.key("max_held_bodies");
    let bodies = checker.size(bodies, raw.max_held_bodies.as_ref(), 256 << 20, (1 << 20, 1 << 40));
    Some(Server {
        threads: threads?,
        drain: drain?,
        keepalive: keepalive?,
        max_websockets: sockets?,
        max_held_bodies: bodies?,
    })
}

fn head(raw: &raw::Head, spot: Spot<'_>, checker: &mut Checker) -> Option<Head> {
    let bytes = spot.key("max_bytes");
    let bytes = checker.size(bytes, raw.max_bytes.as_ref(), 16 << 10, (1 << 10, 1 << 20));
    let fields = checker.number(spot.key("max_fields"), raw.max_fields, 64, (8, 4096));
    let timeout = raw.timeout.as_deref();
    let timeout = checker.duration(spot.key("timeout"), timeout, 10 * SECOND, (100 * MS, HOUR));
    Some(Head { max_bytes: bytes?, max_fields: fields?, timeout: timeout? })
}

fn access_log(raw: &raw::AccessLog, spot: Spot<'_>, checker: &mut Checker) -> AccessLogTarget {
    match raw.to.as_deref() {
        None | Some("stdout") => AccessLogTarget::Stdout,
        Some("stderr") => AccessLogTarget::Stderr,
        Some("off") => AccessLogTarget::Off,
        Some(path) => {
            let spot = spot.key("to");
            // A slip in one of the words must not become a file of that name.
            if !path.contains(['/', '\\', '.']) {
                let hint = "one of `stdout`, `stderr`, `off`; a file's path has a `/` or a `.` in it";
                checker.hinted(spot.at, shown(spot, "this is no target", path), hint);
            }
            AccessLogTarget::File(PathBuf::from(path))
        }
    }
}

fn networks(raw: &raw::ClientAddress, spot: Spot<'_>, checker: &mut Checker) -> Vec<ipnet::IpNet> {
    let spot = spot.key("trusted_proxies");
    let networks = cidrs(&raw.trusted_proxies, spot, checker);
    for (at, _) in networks.iter().filter(|(_, network)| network.prefix_len() == 0) {
        checker.warn(spot.item(*at).at, "every client may say what its address is");
    }
    networks.into_iter().map(|(_, network)| network).collect()
}

/// Networks with their places in the list.
pub(super) fn cidrs(raw: &[String], spot: Spot<'_>, checker: &mut Checker) -> Vec<(usize, ipnet::IpNet)> {
    let mut networks = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let spot = spot.item(index);
        let one: Option<ipnet::IpNet> =
            text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into));
        match one {
            None => {
                let hint = "write CIDR: `10.0.0.0/8`, `fd00::/8`";
                checker.hinted(spot.at, shown(spot, "this is no network", text), hint);
            }
            Some(net) if net.trunc() != net => {
                let hint = format!("did you mean `{}`?", net.trunc());
                checker.hinted(spot.at, "this network has bits set beyond its prefix", hint);
            }
            Some(net) => networks.push((index, net)),
        }
    }
    networks
}
