//! The first request of a socket, `connect`, and its answer: the two frames that are read whole.
//!
//! A device signs its role, scopes and `auth.token` (not `auth.password`), so a signed connect keeps them
//! and takes the gateway's secret as password; one without a device may be rewritten freely. What came
//! in is written anew from what was read, so that the gateway reads the same.

use super::frame::Call;
use super::methods::Role;
use super::scopes::{Scope, Scopes};
use serde_json::{Map, Value};

/// Most bytes of a connect: gateways close at more.
pub const MAX_BYTES: usize = 65_536;

/// Fields of `auth` that a gateway takes as credentials.
const CREDENTIALS: [&str; 7] = [
    "token",
    "password",
    "deviceToken",
    "bootstrapToken",
    "approvalRuntimeToken",
    "agentRuntimeIdentityToken",
    "pluginToken",
];

/// Why a connect does not go on. The text is what the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFault {
    /// Another method came first.
    #[error("invalid handshake: first request must be connect")]
    NotFirst,
    /// Its parameters are no object, or not as they must be.
    #[error("invalid connect params")]
    Params,
    /// A role that nobody has.
    #[error("invalid connect params: at /role: must be operator, node or worker")]
    Role,
    /// A device's proof covers the edge's key, which no gateway knows.
    #[error("the device's proof covers this edge's key as auth.token: send the key as auth.password instead")]
    SignedKey,
    /// Another caller's key.
    #[error("unauthorized: this key is not the one that the socket was opened with")]
    OtherKey,
}

/// Whose key a text is, as the edge knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The caller's own.
    Callers,
    /// Another caller's.
    Others,
    /// None of the edge's.
    Nobodys,
}

/// A connect that is about to go on.
pub struct Connect {
    frame: Map<String, Value>,
    /// The role that it asks for.
    pub role: Role,
    /// Whether a device signed it.
    pub is_signed: bool,
}

impl Connect {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConnectFault`].
    pub fn read(call: &Call<'_>, text: &[u8]) -> Result<Self, ConnectFault> {
        if call.method != "connect" {
            return Err(ConnectFault::NotFirst);
        }
        let frame: Map<String, Value> = serde_json::from_slice(text).map_err(|_| ConnectFault::Params)?;
        let params = frame.get("params").and_then(Value::as_object).ok_or(ConnectFault::Params)?;
        let role = match params.get("role") {
            None => Role::Operator,
            Some(role) => role.as_str().and_then(Role::parse).ok_or(ConnectFault::Role)?,
        };
        let is_signed = params.contains_key("device");
        Ok(Self { frame, role, is_signed })
    }

    /// Leaves of the scopes that it asks for those that the caller has. A signed one keeps what it signed.
    pub fn narrow(&mut self, scopes: Scopes) {
        if self.is_signed {
            return;
        }
        let asked = self.params().and_then(|params| params.get_mut("scopes")).and_then(Value::as_array_mut);
        if let Some(asked) = asked {
            let has =
                |word: &Value| word.as_str().and_then(Scope::parse).is_some_and(|scope| scopes.has(scope));
            asked.retain(has);
        }
    }

    /// Takes keys of the edge out, and puts the gateway's secret in for a caller that brought no
    /// credential of the gateway's.
    ///
    /// # Errors
    /// [`ConnectFault::SignedKey`], [`ConnectFault::OtherKey`].
    pub fn settle(
        &mut self,
        whose: impl Fn(&str) -> Whose,
        secret: Option<&str>,
    ) -> Result<(), ConnectFault> {
        let is_signed = self.is_signed;
        let Some(params) = self.params() else { return Ok(()) };
        if params.get("auth").is_some_and(|auth| !auth.is_object()) {
            return Err(ConnectFault::Params);
        }
        let mut auth = match params.remove("auth") {
            Some(Value::Object(auth)) => auth,
            Some(_) | None => Map::new(),
        };
        let mut has_own = false;
        for (name, value) in &mut auth {
            let Some(text) = value.as_str().filter(|text| !text.is_empty()) else { continue };
            match whose(text) {
                Whose::Callers if is_signed && name != "password" => return Err(ConnectFault::SignedKey),
                Whose::Callers => *value = Value::Null,
                Whose::Others => return Err(ConnectFault::OtherKey),
                Whose::Nobodys => has_own |= CREDENTIALS.contains(&name.as_str()),
            }
        }
        auth.retain(|_, value| !value.is_null());
        if let Some(secret) = secret.filter(|_| !has_own) {
            let field = if is_signed { "password" } else { "token" };
            auth.insert(field.to_owned(), secret.into());
        }
        if !auth.is_empty() {
            params.insert("auth".to_owned(), auth.into());
        }
        Ok(())
    }

    /// The frame to be sent on.
    #[must_use]
    pub fn text(&self) -> String {
        // Values that were parsed can be written.
        serde_json::to_string(&self.frame).unwrap_or_default()
    }

    fn params(&mut self) -> Option<&mut Map<String, Value>> {
        self.frame.get_mut("params").and_then(Value::as_object_mut)
    }

    /// Whether a frame of the gateway's is the answer to it.
    #[must_use]
    pub fn answer(&self, text: &str) -> Answer {
        let Ok(mut frame) = serde_json::from_str::<Map<String, Value>>(text) else { return Answer::Another };
        if frame.get("type").and_then(Value::as_str) != Some("res") || frame.get("id") != self.frame.get("id")
        {
            return Answer::Another;
        }
        if frame.get("ok") != Some(&Value::Bool(true)) {
            let word = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            let error = frame.get("error").and_then(Value::as_object);
            let detail = error.and_then(|error| word(error.get("details")?.get("code")));
            let code = detail.or_else(|| word(error?.get("code")));
            return Answer::Refused { code: code.unwrap_or_default() };
        }
        let Some(payload) = frame.get_mut("payload").and_then(Value::as_object_mut) else {
            return Answer::Another;
        };
        let mut hello = Hello::of(payload);
        if let Some(auth) = payload.get_mut("auth").and_then(Value::as_object_mut) {
            let before = auth.len();
            auth.retain(|name, _| {
                !matches!(name.as_str(), "deviceToken" | "deviceTokens" | "token" | "password")
            });
            if auth.len() < before {
                hello.rewritten = serde_json::to_string(&frame).ok();
            }
        }
        Answer::Hello(hello)
    }
}

/// What a gateway's frame says to a connect.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: it is another frame.
    Another,
    /// No.
    Refused {
        /// OpenClaw's code for it.
        code: String,
    },
    /// Yes.
    Hello(Hello),
}

/// What `hello-ok` says, as far as the edge needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct Hello {
    /// The scopes that were granted.
    pub granted: Scopes,
    /// The protocol that was agreed.
    pub protocol: u64,
    /// Whether requests may carry a `traceparent`: from 2026.9, older ones refuse the whole frame.
    pub takes_traces: bool,
    /// The frame without the tokens that are no client's, where it had some.
    pub rewritten: Option<String>,
}

impl Hello {
    fn of(payload: &Map<String, Value>) -> Self {
        let words = payload.get("auth").and_then(|auth| auth.get("scopes")).and_then(Value::as_array);
        let words = words.into_iter().flatten().filter_map(Value::as_str);
        let version = payload.get("server").and_then(|server| server.get("version")).and_then(Value::as_str);
        Self {
            granted: Scopes::of(words),
            protocol: payload.get("protocol").and_then(Value::as_u64).unwrap_or(0),
            takes_traces: takes_traces(version.unwrap_or_default()),
            rewritten: None,
        }
    }
}

/// Whether a gateway of this version takes a `traceparent` in its calls.
pub(super) fn takes_traces(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2026, 9)
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;
    use serde_json::json;

    const SECRET: Option<&str> = Some("gateway-secret");

    fn whose(text: &str) -> Whose {
        match text {
            "my-key" => Whose::Callers,
            "other-key" => Whose::Others,
            _ => Whose::Nobodys,
        }
    }

    fn connect(params: &Value) -> Result<Connect, ConnectFault> {
        let text = json!({"type": "req", "id": "c", "method": "connect", "params": params}).to_string();
        Connect::read(&frame::read(text.as_bytes()).unwrap(), text.as_bytes())
    }

    fn settled(params: &Value) -> Result<Value, ConnectFault> {
        let mut connect = connect(params)?;
        connect.settle(whose, SECRET)?;
        let frame: Value = serde_json::from_str(&connect.text()).unwrap();
        Ok(frame["params"]["auth"].clone())
    }

    #[test]
    fn the_secret_is_put_in_for_those_who_have_none() {
        assert_eq!(settled(&json!({})), Ok(json!({"token": "gateway-secret"})));
        assert_eq!(settled(&json!({"auth": {"token": "my-key"}})), Ok(json!({"token": "gateway-secret"})));
        assert_eq!(settled(&json!({"auth": {"token": "theirs"}})), Ok(json!({"token": "theirs"})));
        let signed = |auth: Value| settled(&json!({"device": {"id": "d"}, "auth": auth}));
        assert_eq!(signed(json!({})), Ok(json!({"password": "gateway-secret"})));
        assert_eq!(signed(json!({"password": "my-key"})), Ok(json!({"password": "gateway-secret"})));
        assert_eq!(signed(json!({"deviceToken": "d"})), Ok(json!({"deviceToken": "d"})));
    }

    #[test]
    fn no_key_of_the_edge_goes_on() {
        assert_eq!(
            settled(&json!({"device": {}, "auth": {"token": "my-key"}})),
            Err(ConnectFault::SignedKey)
        );
        assert_eq!(settled(&json!({"auth": {"token": "other-key"}})), Err(ConnectFault::OtherKey));
        assert_eq!(settled(&json!({"auth": "x"})), Err(ConnectFault::Params));
        assert_eq!(
            settled(&json!({"auth": {"token": "theirs", "password": "my-key"}})),
            Ok(json!({"token": "theirs"}))
        );
    }

    #[test]
    fn scopes_are_narrowed_where_nobody_signed_them() {
        let narrowed = |params: Value| {
            let mut connect = connect(&params).unwrap();
            connect.narrow(Scopes::of(["operator.read"]));
            serde_json::from_str::<Value>(&connect.text()).unwrap()["params"]["scopes"].clone()
        };
        let asked = json!(["operator.read", "operator.admin", "strange"]);
        assert_eq!(narrowed(json!({"scopes": asked})), json!(["operator.read"]));
        assert_eq!(narrowed(json!({"scopes": asked, "device": {}})), asked);
    }

    #[test]
    fn only_a_connect_connects() {
        let read = |text: &str| Connect::read(&frame::read(text.as_bytes()).unwrap(), text.as_bytes()).err();
        assert_eq!(read(r#"{"type":"req","id":"a","method":"status"}"#), Some(ConnectFault::NotFirst));
        assert_eq!(read(r#"{"type":"req","id":"a","method":"connect"}"#), Some(ConnectFault::Params));
        assert_eq!(connect(&json!({"role": "king"})).err(), Some(ConnectFault::Role));
        assert_eq!(connect(&json!({"role": "node"})).map(|c| c.role).ok(), Some(Role::Node));
    }

    #[test]
    fn no_device_token_is_handed_on() {
        let connect = connect(&json!({})).unwrap();
        let hello = json!({"type": "res", "id": "c", "ok": true, "payload": {"type": "hello-ok", "protocol": 4,
            "server": {"version": "2026.9.6"}, "auth": {"scopes": ["operator.read"], "deviceToken": "secret",
            "deviceTokens": [{"deviceToken": "secret"}]}}});
        let Answer::Hello(hello) = connect.answer(&hello.to_string()) else { panic!("no hello") };
        assert!(!hello.rewritten.unwrap().contains("secret"));
        assert_eq!(
            (hello.granted, hello.protocol, hello.takes_traces),
            (Scopes::of(["operator.read"]), 4, true)
        );
        let old =
            json!({"type": "res", "id": "c", "ok": true, "payload": {"server": {"version": "2026.4.29"}}});
        let Answer::Hello(old) = connect.answer(&old.to_string()) else { panic!("no hello") };
        assert!(!old.takes_traces && old.rewritten.is_none());
        assert_eq!(connect.answer(r#"{"type":"event","event":"x"}"#), Answer::Another);
        assert_eq!(connect.answer(r#"{"type":"res","id":"d","ok":true,"payload":{}}"#), Answer::Another);
        let no = r#"{"type":"res","id":"c","ok":false,"error":{"code":"NOT_PAIRED","message":"m"}}"#;
        assert_eq!(connect.answer(no), Answer::Refused { code: "NOT_PAIRED".into() });
    }
}
