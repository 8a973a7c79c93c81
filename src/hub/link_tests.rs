//! A link and a stand-in for its gateway, over real sockets: what real gateways do is in `tests/it`.

use super::away::Why;
use super::calls::{Answers, CallError};
use super::dial::Dial;
use super::link::{Link, LinkState, Question, Signal};
use crate::config::checked::GatewayUrl;
use crate::ids::{GatewayId, TenantId};
use crate::metrics::Metrics;
use crate::openclaw::Scopes;
use crate::secret::Secret;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const LONG: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<TcpStream>;

struct Bench {
    listener: TcpListener,
    link: Link,
    metrics: Arc<Metrics>,
}

impl Bench {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = GatewayUrl { tls: false, host: "127.0.0.1".into(), port, base_path: "/claw".into() };
        let dial = Dial::at(
            GatewayId::parse("ceo").unwrap(),
            TenantId::parse("acme").unwrap(),
            url,
            Some(Secret::new(b"gateway-secret".to_vec())),
        );
        let metrics = Arc::new(Metrics::new());
        let link = Link::open(Arc::new(dial), Scopes::of(["operator.read"]), metrics.clone());
        Self { listener, link, metrics }
    }

    async fn socket(&self) -> Socket {
        let (stream, _) = self.listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap()
    }

    /// Lets the link in.
    async fn hello(&self) -> Socket {
        self.hello_of("2026.9.6").await
    }

    /// The same as a gateway of this version.
    async fn hello_of(&self, version: &str) -> Socket {
        let mut socket = self.socket().await;
        let connect = challenged(&mut socket).await;
        assert_eq!(connect["params"]["auth"], json!({"token": "gateway-secret"}));
        assert_eq!(connect["params"]["scopes"], json!(["operator.read"]));
        let payload = json!({"type": "hello-ok", "protocol": 4, "server": {"version": version},
            "auth": {"scopes": ["operator.read"], "deviceToken": "t"}, "policy": {"tickIntervalMs": 1000}});
        send(&mut socket, &json!({"type": "res", "id": connect["id"], "ok": true, "payload": payload})).await;
        socket
    }

    async fn state(&self, is: impl Fn(&LinkState) -> bool) -> LinkState {
        let mut state = self.link.state();
        let found = tokio::time::timeout(LONG, state.wait_for(|state| is(state))).await;
        found.expect("in time").expect("the link lives").clone()
    }

    async fn here(&self) {
        self.state(|state| matches!(state, LinkState::Here(_))).await;
    }

    async fn away(&self) -> Why {
        match self.state(|state| matches!(state, LinkState::Away(_))).await {
            LinkState::Away(away) => away.why,
            LinkState::Connecting | LinkState::Here(_) => unreachable!("it was waited for"),
        }
    }

    fn metrics(&self) -> String {
        String::from_utf8(self.metrics.text()).unwrap()
    }
}

async fn send(socket: &mut Socket, frame: &Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn challenged(socket: &mut Socket) -> Value {
    send(socket, &json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 5}}))
        .await;
    next(socket).await
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".into()).unwrap()
}

#[tokio::test]
async fn a_trace_goes_to_gateways_that_take_it() {
    for (version, wanted) in [("2026.9.6", json!("00-1")), ("2026.4.29", Value::Null)] {
        let bench = Bench::new().await;
        let mut socket = bench.hello_of(version).await;
        bench.here().await;
        let params = empty();
        let question =
            Question { method: "a", params: &params, trace: Some("\"00-1\""), answers: Answers::One };
        let gateway = async {
            let asked = next(&mut socket).await;
            send(&mut socket, &json!({"type": "res", "id": asked["id"], "ok": true})).await;
            asked
        };
        let (answered, asked) = tokio::join!(bench.link.ask(question, LONG), gateway);
        assert!(answered.unwrap().later.is_none());
        assert_eq!(asked["traceparent"], wanted, "{version}");
    }
}

#[tokio::test]
async fn a_second_answer_comes_when_the_first_said_so() {
    let bench = Bench::new().await;
    let mut socket = bench.hello().await;
    bench.here().await;
    let params = empty();
    let question = Question { method: "agent", params: &params, trace: None, answers: Answers::Two };
    let gateway = async {
        let id = next(&mut socket).await["id"].take();
        for status in ["accepted", "ok"] {
            send(&mut socket, &json!({"type": "res", "id": id, "ok": true, "payload": {"status": status}}))
                .await;
        }
    };
    let (first, ()) = tokio::join!(bench.link.ask(question, LONG), gateway);
    let first = first.unwrap();
    assert_eq!(first.payload.get(), r#"{"status":"accepted"}"#);
    let second = first.later.unwrap().answer(LONG).await.unwrap().unwrap();
    assert_eq!(second.get(), r#"{"status":"ok"}"#);
    // It may not come in time, and a gateway that breaks off has said all.
    let gateway = async {
        for _ in 0..2 {
            let id = next(&mut socket).await["id"].take();
            let payload = json!({"status": "accepted"});
            send(&mut socket, &json!({"type": "res", "id": id, "ok": true, "payload": payload})).await;
        }
        drop(socket);
    };
    let late = async {
        let first = bench.link.ask(question, LONG).await.unwrap();
        let late = first.later.unwrap().answer(Duration::from_millis(50)).await;
        let first = bench.link.ask(question, LONG).await.unwrap();
        (late, first.later.unwrap().answer(LONG).await)
    };
    let ((late, away), ()) = tokio::join!(late, gateway);
    assert!(matches!(late, Some(Err(CallError::TimedOut))), "{late:?}");
    assert!(matches!(away, Some(Err(CallError::Away(_)))), "{away:?}");
}

#[tokio::test]
async fn calls_are_answered_whatever_the_order() {
    let bench = Bench::new().await;
    let mut socket = bench.hello().await;
    bench.here().await;
    let (empty, link) = (empty(), &bench.link);
    let gateway = async {
        let (one, two) = (next(&mut socket).await, next(&mut socket).await);
        send(
            &mut socket,
            &json!({"type": "res", "id": two["id"], "ok": true, "payload": {"n": two["method"]}}),
        )
        .await;
        let error = json!({"code": "FORBIDDEN", "message": "no", "retryAfterMs": 7, "details": {"code": "MISSING_SCOPE"}});
        send(&mut socket, &json!({"type": "res", "id": one["id"], "ok": false, "error": error})).await;
    };
    let (one, two, ()) = tokio::join!(link.call("a", &empty, LONG), link.call("b\"", &empty, LONG), gateway);
    let Err(CallError::Refused(refusal)) = one else { panic!("{one:?}") };
    assert_eq!((refusal.fault.code.as_str(), refusal.fault.retry_after_ms), ("FORBIDDEN", Some(7)));
    assert!(refusal.error.get().contains("MISSING_SCOPE"));
    assert_eq!(two.unwrap().get(), r#"{"n":"b\""}"#);
    // Who does not wait forever is told so.
    let late = link.call("late", &empty, Duration::from_millis(50)).await;
    assert!(matches!(late, Err(CallError::TimedOut)), "{late:?}");
    let told = bench.metrics();
    assert!(told.contains(r#"openclaw_edge_gateway_links{gateway="ceo"} 1"#), "{told}");
    assert!(
        told.contains(r#"openclaw_edge_gateway_calls_total{gateway="ceo",result="timed_out"} 1"#),
        "{told}"
    );
}

#[tokio::test]
async fn a_gateway_that_goes_comes_back_by_itself() {
    let bench = Bench::new().await;
    let mut signals = bench.link.subscribe();
    let mut socket = bench.hello().await;
    bench.here().await;
    let empty = empty();
    let asked = bench.link.call("never", &empty, LONG);
    let goes = async {
        next(&mut socket).await;
        socket.close(Some(CloseFrame { code: 1012.into(), reason: "service restart".into() })).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let (outcome, ()) = tokio::join!(asked, goes);
    assert!(matches!(outcome, Err(CallError::Away(Why::Restarting))), "{outcome:?}");
    assert_eq!(bench.away().await, Why::Restarting);
    // It is told at once, without a wait.
    let outcome = bench.link.call("status", &empty, LONG).await;
    assert!(matches!(outcome, Err(CallError::Away(_))), "{outcome:?}");
    let _socket = bench.hello().await;
    bench.here().await;
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(match signals.recv().await.unwrap() {
            Signal::Connected(hello) => hello.version.clone(),
            Signal::Disconnected(why) => why.code().to_owned(),
            Signal::Event(_) | Signal::Gap => panic!("nothing has happened"),
        });
    }
    assert_eq!(told, ["2026.9.6", "restarting", "2026.9.6"]);
    drop(bench.link);
    let gauge = bench.metrics.gateways.links.with_label_values(&["ceo"]);
    tokio::time::timeout(LONG, async {
        while gauge.get() != 0 {
            tokio::task::yield_now().await
        }
    })
    .await
    .expect("a link that is gone is not counted");
}

#[tokio::test]
async fn events_come_in_order_and_gaps_are_told() {
    let bench = Bench::new().await;
    let mut signals = bench.link.subscribe();
    let mut socket = bench.hello().await;
    for (name, seq) in [("presence", 1), ("task", 2), ("task", 5), ("tick", 6)] {
        send(&mut socket, &json!({"type": "event", "event": name, "payload": {"seq": seq}, "seq": seq}))
            .await;
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "tick {\"seq\":6}") {
        told.push(match signals.recv().await.unwrap() {
            Signal::Connected(_) => "here".to_owned(),
            Signal::Event(event) => format!("{} {}", event.name, event.payload.get()),
            Signal::Gap => "gap".to_owned(),
            Signal::Disconnected(why) => panic!("{why}"),
        });
    }
    assert_eq!(
        told,
        [
            "here",
            r#"presence {"seq":1}"#,
            r#"task {"seq":2}"#,
            "gap",
            r#"task {"seq":5}"#,
            r#"tick {"seq":6}"#
        ]
    );
}

#[tokio::test]
async fn a_gateway_that_falls_silent_is_left() {
    let bench = Bench::new().await;
    // Ticks were promised every second.
    let _socket = bench.hello().await;
    bench.here().await;
    assert_eq!(bench.away().await, Why::Silent);
}

#[tokio::test]
async fn a_gateway_that_says_no_is_told_as_such() {
    let bench = Bench::new().await;
    let mut socket = bench.socket().await;
    let connect = challenged(&mut socket).await;
    let error = json!({"code": "INVALID_REQUEST", "message": "unauthorized", "details": {"code": "AUTH_TOKEN_MISMATCH"}});
    send(&mut socket, &json!({"type": "res", "id": connect["id"], "ok": false, "error": error})).await;
    assert_eq!(bench.away().await, Why::Unauthorized);
    let told = bench.metrics();
    assert!(told.contains(r#"connects_total{gateway="ceo",result="unauthorized"} 1"#), "{told}");
}
