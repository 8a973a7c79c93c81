//! The handshake from the other side: the `connect` of a client of our own, and what `hello-ok` tells it.
//!
//! The client calls itself `gateway-client`/`backend`, the one that gateways let in from their own host
//! without a device. A device signs one text of many fields (protocol 3 of the proof); the key that signs
//! is the caller's.

use super::connect::takes_traces;
use super::scopes::{Scope, Scopes};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;
use zeroize::Zeroizing;

/// The id of the connect.
pub const CONNECT_ID: &str = "connect";
/// What a gateway knows the client by; a change has to be approved anew for a device.
const CLIENT: &str = "gateway-client";
const MODE: &str = "backend";
const PLATFORM: &str = "linux";
const TICK: Duration = Duration::from_secs(30);

/// What a gateway asks before it lets anyone in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Challenge {
    /// To be signed.
    pub nonce: String,
    /// Its time, Unix milliseconds.
    pub ts: u64,
}

/// Which secret a client shows.
#[derive(Debug, Clone, Copy)]
pub enum Shows<'a> {
    /// None: the gateway knows it otherwise.
    Nothing,
    /// The gateway's own.
    Secret(&'a str),
    /// One that the gateway gave to this device.
    DeviceToken(&'a str),
}

/// A device's proof.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Hex SHA-256 of its public key.
    pub id: String,
    /// Its public key, base64url.
    pub public_key: String,
    /// Its signature of [`signed_text`], base64url.
    pub signature: String,
}

/// The text that a device signs.
#[must_use]
pub fn signed_text(
    device: &str,
    scopes: Scopes,
    shows: Shows<'_>,
    challenge: &Challenge,
) -> Zeroizing<String> {
    let scopes = words(scopes).join(",");
    let token = match shows {
        Shows::Nothing => "",
        Shows::Secret(text) | Shows::DeviceToken(text) => text,
    };
    let Challenge { nonce, ts } = challenge;
    Zeroizing::new(format!("v3|{device}|{CLIENT}|{MODE}|operator|{scopes}|{ts}|{token}|{nonce}|{PLATFORM}|"))
}

fn words(scopes: Scopes) -> Vec<&'static str> {
    scopes.least().into_iter().map(Scope::as_str).collect()
}

/// What a client says it can do. A gateway asks nobody for a decision who does not say that it can decide.
fn caps(scopes: Scopes) -> &'static [&'static str] {
    if scopes.has(Scope::Approvals) {
        &["tool-events", "approvals", "exec-approvals", "plugin-approvals"]
    } else {
        &["tool-events"]
    }
}

/// The first frame.
#[must_use]
pub fn connect(
    scopes: Scopes,
    shows: Shows<'_>,
    proof: Option<&Proof>,
    challenge: &Challenge,
) -> Zeroizing<String> {
    let version = env!("CARGO_PKG_VERSION");
    let mut params = json!({
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": words(scopes), "caps": caps(scopes),
        "client": {"id": CLIENT, "version": version, "platform": PLATFORM, "mode": MODE,
            "displayName": "openclaw-edge"},
        "locale": "en-US", "userAgent": format!("openclaw-edge/{version}"),
    });
    match shows {
        Shows::Nothing => {}
        Shows::Secret(text) => params["auth"] = json!({"token": text}),
        Shows::DeviceToken(text) => params["auth"] = json!({"deviceToken": text}),
    }
    if let Some(Proof { id, public_key, signature }) = proof {
        params["device"] = json!({"id": id, "publicKey": public_key, "signature": signature,
            "signedAt": challenge.ts, "nonce": challenge.nonce});
    }
    let frame = json!({"type": "req", "id": CONNECT_ID, "method": "connect", "params": params});
    Zeroizing::new(frame.to_string())
}

/// What `hello-ok` says to a client of our own.
#[derive(Debug)]
pub struct Greeting {
    /// The protocol that was agreed.
    pub protocol: u64,
    /// The gateway's version.
    pub version: String,
    /// Names this start of the gateway.
    pub boot: String,
    /// What was granted.
    pub granted: Scopes,
    /// How often the gateway sends a tick.
    pub tick: Duration,
    /// The methods that it has.
    pub methods: HashSet<String>,
    /// Presence and health at this moment, as it came.
    pub snapshot: Box<RawValue>,
    /// A token for this device.
    pub device_token: Option<Zeroizing<String>>,
    /// Whether calls may carry a `traceparent`.
    pub takes_traces: bool,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    protocol: u64,
    #[serde(default)]
    server: Value,
    #[serde(default)]
    features: Features,
    #[serde(default, borrow)]
    snapshot: Option<&'a RawValue>,
    #[serde(default)]
    auth: Auth,
    #[serde(default)]
    policy: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Features {
    methods: HashSet<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Auth {
    scopes: Vec<String>,
    device_token: Option<String>,
}

impl Greeting {
    /// Reads the payload of the answer to a connect.
    #[must_use]
    pub fn read(payload: Option<&RawValue>) -> Option<Self> {
        let read: Payload<'_> = serde_json::from_str(payload?.get()).ok()?;
        if read.kind != "hello-ok" {
            return None;
        }
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tick = read.policy["tickIntervalMs"].as_u64().filter(|tick| (1000..=600_000).contains(tick));
        let version = word(&read.server["version"]);
        Some(Self {
            protocol: read.protocol,
            takes_traces: takes_traces(&version),
            version,
            boot: word(&read.server["bootId"]),
            granted: Scopes::of(read.auth.scopes.iter().map(String::as_str)),
            tick: tick.map_or(TICK, Duration::from_millis),
            methods: read.features.methods,
            snapshot: read.snapshot.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned),
            device_token: read.auth.device_token.map(Zeroizing::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge() -> Challenge {
        Challenge { nonce: "n-1".into(), ts: 1_795_463_716_982 }
    }

    #[test]
    fn a_connect_asks_for_the_least() {
        let scopes = Scopes::of(["operator.write", "operator.read", "operator.approvals"]);
        let frame: Value =
            serde_json::from_str(&connect(scopes, Shows::Secret("s"), None, &challenge())).unwrap();
        let params = &frame["params"];
        assert_eq!(params["scopes"], json!(["operator.write", "operator.approvals"]));
        assert_eq!((&params["minProtocol"], &params["maxProtocol"]), (&json!(3), &json!(4)));
        assert_eq!((&params["client"]["id"], &params["client"]["mode"]), (&json!(CLIENT), &json!(MODE)));
        assert_eq!(params["auth"], json!({"token": "s"}));
        assert!(params.get("device").is_none());
        assert!(params["caps"].to_string().contains("exec-approvals"));
        let frame: Value =
            serde_json::from_str(&connect(scopes, Shows::Nothing, None, &challenge())).unwrap();
        assert!(frame["params"].get("auth").is_none());
    }

    #[test]
    fn a_device_signs_what_the_protocol_says() {
        let text = signed_text("dev", Scopes::of(["operator.read"]), Shows::DeviceToken("t"), &challenge());
        assert_eq!(
            text.as_str(),
            "v3|dev|gateway-client|backend|operator|operator.read|1795463716982|t|n-1|linux|"
        );
    }

    #[test]
    fn a_greeting_is_read() {
        let text = r#"{"type":"hello-ok","protocol":4,"server":{"version":"2026.9.6","bootId":"b"},
            "features":{"methods":["tasks.list"],"events":[]},"snapshot":{"presence":[]},
            "auth":{"role":"operator","scopes":["operator.read"],"deviceToken":"d"},
            "policy":{"maxPayload":26214400,"tickIntervalMs":15000}}"#;
        let hello = Greeting::read(serde_json::from_str(text).ok()).unwrap();
        assert_eq!((hello.protocol, hello.version.as_str(), hello.boot.as_str()), (4, "2026.9.6", "b"));
        assert_eq!(hello.tick, Duration::from_secs(15));
        assert!(hello.takes_traces && hello.methods.contains("tasks.list"));
        assert_eq!(hello.snapshot.get(), r#"{"presence":[]}"#);
        assert_eq!(hello.device_token.unwrap().as_str(), "d");
        let old = r#"{"type":"hello-ok","protocol":3,"server":{"version":"2026.4.29"}}"#;
        let hello = Greeting::read(serde_json::from_str(old).ok()).unwrap();
        assert_eq!((hello.tick, hello.snapshot.get(), hello.takes_traces), (TICK, "null", false));
        assert!(Greeting::read(serde_json::from_str(r#"{"type":"x"}"#).ok()).is_none());
        assert!(Greeting::read(None).is_none());
    }
}
