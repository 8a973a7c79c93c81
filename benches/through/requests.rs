//! What the clients send, byte for byte the same in every run: made from numbers, never from chance.

use crate::Fault;
use clap::ValueEnum;
use ed25519_dalek::SigningKey;
use openclaw_edge::signatures::sign;
use serde_json::json;
use std::fmt::Write as _;

/// How many keys there are, and over how many tenants they are spread.
pub(crate) const KEYS: usize = 1000;
pub(crate) const TENANTS: usize = 50;
/// Nodes that sign; all are the first tenant's.
pub(crate) const NODES: usize = 16;
/// Different signed messages.
const MESSAGES: usize = 512;
/// Length of a body.
const KIBIBYTE: usize = 1024;

/// The requests of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// GET with an API key.
    Get,
    /// GET by anyone on a route without gates.
    Open,
    /// GET with an API key on a route without limits.
    Unlimited,
    /// GET on a route whose limit is spent.
    Spent,
    /// POST of 1 KiB with an API key.
    Post,
    /// POST of 1 KiB, a signed message.
    Signed,
}

impl Kind {
    /// All different requests of the scenario, to be sent in turn.
    pub(crate) fn all(self) -> Result<Vec<Vec<u8>>, Fault> {
        let gets = |path: &str| (0..KEYS).map(|n| get(path, &format!("X-API-Key: {}\r\n", key(n)))).collect();
        match self {
            Self::Get => Ok(gets("/v1/items")),
            Self::Open => Ok(gets("/open/items")),
            Self::Unlimited => Ok(gets("/unlimited/items")),
            Self::Spent => Ok(gets("/spent/items")),
            Self::Post => {
                let bodies = signed()?;
                let requests = bodies.iter().enumerate();
                Ok(requests
                    .map(|(n, body)| post("/v1/items", &format!("X-API-Key: {}\r\n", key(n)), body))
                    .collect())
            }
            Self::Signed => Ok(signed()?.iter().map(|body| post("/signed", "", body)).collect()),
        }
    }

    /// The one answer that counts.
    pub(crate) const fn expected(self) -> Expected {
        match self {
            Self::Get | Self::Open | Self::Unlimited | Self::Post | Self::Signed => Expected::Ok,
            Self::Spent => Expected::TooMany,
        }
    }
}

/// An answer's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Ok,
    TooMany,
}

/// The text of the `n`th API key.
pub(crate) fn key(n: usize) -> String {
    // As long as keys that the edge makes.
    format!("bench-{n:04}-{:022}", n * 7_919)
}

/// The key that the `n`th node signs with.
pub(crate) fn signing_key(n: usize) -> SigningKey {
    let mut seed = [0x5e; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// Mesh messages of 1 KiB, signed.
pub(crate) fn signed() -> Result<Vec<Vec<u8>>, Fault> {
    (0..MESSAGES).map(|n| Ok(sign::sign(message(n).as_bytes(), &signing_key(n % NODES))?)).collect()
}

fn message(n: usize) -> String {
    // Signing adds 97 bytes: `"sig":"`, 88 of base64, `",`.
    let room = KIBIBYTE - 97;
    let of = |text: &str| {
        json!({
            "type": "memory", "scope": "mesh", "key": format!("bench/{n:04}"), "value": { "text": text },
            "nodeId": node(n % NODES), "ts": 1_764_000_000 + n,
        })
        .to_string()
    };
    let mut text = String::new();
    let spare = room.saturating_sub(of("").len());
    for word in 0.. {
        if text.len() >= spare {
            break;
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{:x} ", (n + 1) * (word + 3) * 40_503 % 65_521);
    }
    text.truncate(spare);
    of(&text)
}

/// The name of the `n`th node.
pub(crate) fn node(n: usize) -> String {
    format!("node-{n:02}")
}

/// A GET with a few fields more than it needs, as real clients have.
pub(crate) fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{USUAL}{more}\r\n").into_bytes()
}

/// A POST of JSON.
pub(crate) fn post(path: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\n{USUAL}Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"
    );
    [head.as_bytes(), body].concat()
}

const USUAL: &str = "Host: edge.example\r\nUser-Agent: through/1\r\nAccept: application/json\r\n";
