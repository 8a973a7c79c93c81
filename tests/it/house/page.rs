//! A page as existing dashboards are: one socket on `/ws` for all gateways, frames with `gatewayId`.

use super::edge::Edge;
use super::keys::Key;
use super::sockets::{Socket, next_text, open};
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio_tungstenite::tungstenite::Message;

/// An open page. What came and was not asked for is kept until someone looks.
#[derive(Debug)]
pub(crate) struct Page {
    /// The socket itself.
    pub(crate) socket: Socket,
    kept: VecDeque<Value>,
    calls: u32,
}

impl Page {
    /// Opens one.
    pub(crate) fn open(edge: &Edge, key: Key) -> Self {
        let socket = open(edge.address(), "/ws", &[("X-API-Key", key.text)]).expect("an open socket");
        Self { socket, kept: VecDeque::new(), calls: 0 }
    }

    /// Opens one, and waits until a gateway can be asked.
    pub(crate) fn at(edge: &Edge, key: Key, gateway: &str) -> Self {
        let mut page = Self::open(edge, key);
        page.event(gateway, "proxy.connected");
        page
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).expect("the socket is open");
    }

    /// Sends a call under an id of its own.
    pub(crate) fn ask(&mut self, gateway: &str, id: &str, method: &str, params: &Value) {
        self.send(
            &json!({"gatewayId": gateway, "type": "req", "id": id, "method": method, "params": params}),
        );
    }

    /// Calls, and waits for the answer.
    pub(crate) fn call(&mut self, gateway: &str, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.ask(gateway, &id, method, params);
        self.answer(&id)
    }

    /// The payload of a call that goes well.
    pub(crate) fn payload(&mut self, gateway: &str, method: &str, params: &Value) -> Value {
        let mut answer = self.call(gateway, method, params);
        assert_eq!((&answer["ok"], &answer["gatewayId"]), (&json!(true), &json!(gateway)), "{answer}");
        answer["payload"].take()
    }

    /// The answer of this id; what comes before it is kept.
    pub(crate) fn answer(&mut self, id: &str) -> Value {
        self.first(|frame| frame["type"] == "res" && frame["id"] == id)
    }

    /// The next event of a gateway by this name, among what was kept too.
    pub(crate) fn event(&mut self, gateway: &str, name: &str) -> Value {
        self.event_where(gateway, name, |_| true)
    }

    /// The next of them whose payload is right.
    pub(crate) fn event_where(&mut self, gateway: &str, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.first(|frame| frame["gatewayId"] == gateway && frame["event"] == name && is(&frame["payload"]))
    }

    /// The first frame that is right, among those that were kept and those that come.
    fn first(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&is) {
            return self.kept.remove(at).expect("it was found there");
        }
        loop {
            let frame: Value = serde_json::from_str(&next_text(&mut self.socket)).expect("a frame");
            if is(&frame) {
                return frame;
            }
            self.kept.push_back(frame);
        }
    }

    /// What came and nobody has looked at.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Value> {
        self.kept.iter()
    }
}
