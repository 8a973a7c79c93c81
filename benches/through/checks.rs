//! Before anything is measured: the edge really decides, and the bare Pingora really does not.
//!
//! A gate that is open by mistake is a fast one; a figure without these checks would say nothing.

use crate::Fault;
use crate::house::House;
use crate::load::exchange;
use crate::requests::{Kind, get, key, post, signed};
use crate::upstream::ECHO;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// The access log's lines are on their way for a twentieth of a second.
const TOLD: Duration = Duration::from_millis(500);

/// Checks both, and says what failed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn all(bare: SocketAddr, edge: SocketAddr, house: &House) -> Result<(), Fault> {
    expect(bare, "the bare Pingora passes on", &get("/v1/items", ""), 200).await?;
    keys(edge).await?;
    signatures(edge).await?;
    limits(edge).await?;
    observed(house).await
}

async fn keys(edge: SocketAddr) -> Result<(), Fault> {
    let with = |key: &str, more: &str| get("/v1/items", &format!("X-API-Key: {key}\r\n{more}"));
    expect(edge, "no key is refused", &get("/v1/items", ""), 401).await?;
    expect(edge, "a wrong key is refused", &with("bench-0007-wrong", ""), 401).await?;
    let echo = with(&key(57), &format!("{ECHO}: 1\r\nX-Tenant-Id: other\r\n"));
    let seen = expect(edge, "a key is taken", &echo, 200).await?.to_ascii_lowercase();
    let (_, seen) = seen.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    for (what, holds) in [
        ("the tenant is told", seen.contains("\r\nx-tenant-id: tenant-07\r\n")),
        ("no tenant is believed", !seen.contains("other")),
        ("the key goes no further", !seen.contains(&key(57))),
        ("the client is told", seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n")),
    ] {
        holds.then_some(()).ok_or_else(|| format!("not so: {what}; the upstream saw\n{seen}"))?;
    }
    Ok(())
}

async fn signatures(edge: SocketAddr) -> Result<(), Fault> {
    let bodies = signed()?;
    let body = std::str::from_utf8(&bodies[0])?;
    let send = |body: &str| post("/signed", "", body.as_bytes());
    expect(edge, "a signed message is taken", &send(body), 200).await?;
    expect(edge, "a changed message is refused", &send(&body.replace("bench/0000", "bench/0001")), 401)
        .await?;
    expect(edge, "another node's signature is refused", &send(&body.replace("node-00", "node-01")), 401)
        .await?;
    expect(edge, "an unsigned message is refused", &send(r#"{"nodeId":"node-00"}"#), 401).await?;
    Ok(())
}

async fn limits(edge: SocketAddr) -> Result<(), Fault> {
    let requests = Kind::Get.all()?;
    let answer = expect(edge, "limits are told", &requests[0], 200).await?.to_ascii_lowercase();
    if !(answer.contains("per-ip") && answer.contains("per-credential")) {
        return Err(format!("not so: both limits are counted; the answer was\n{answer}").into());
    }
    let requests = Kind::Spent.all()?;
    expect(edge, "the first is within the limit", &requests[0], 200).await?;
    expect(edge, "the second is not", &requests[1], 429).await?;
    Ok(())
}

async fn observed(house: &House) -> Result<(), Fault> {
    let metrics = expect(house.admin, "there are metrics", &get("/metrics", ""), 200).await?;
    if !metrics.contains(r#"openclaw_edge_requests_total{route="items",status="401"} 2"#) {
        return Err("not so: requests are counted".into());
    }
    tokio::time::sleep(TOLD).await;
    let log = std::fs::read_to_string(house.access_log())?;
    if !(log.contains(r#""credential":"key-0057""#) && log.contains(r#""status":429"#)) {
        return Err(format!("not so: requests are logged; the log is\n{log}").into());
    }
    Ok(())
}

/// Sends one request on a connection of its own; the whole answer, if its status is this one.
async fn expect(to: SocketAddr, what: &str, request: &[u8], status: u16) -> Result<String, Fault> {
    let mut stream = TcpStream::connect(to).await?;
    let mut answer = Vec::new();
    let got = exchange(&mut stream, request, &mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if got == status { Ok(answer) } else { Err(format!("not so: {what}; the answer was\n{answer}").into()) }
}
