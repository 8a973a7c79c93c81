//! The house's own parts, tested without the edge: what they say about it must be true.

use crate::house::client::{Client, Request};
use crate::house::double::{Double, Gate, Reply};
use crate::house::doubles::{self, HUB_KEY};
use crate::house::messages::{Node, SPELLINGS, enveloped};
use crate::house::metrics::Metrics;
use crate::house::sockets::EchoGateway;
use crate::house::wait::{SOON, until};
use serde_json::{Value, json};

#[test]
fn a_double_records_what_it_was_sent_and_answers_as_told() {
    let double =
        Double::start(|seen| Reply::text(201, seen.body.clone()).field("x-a", "1").field("x-a", "2"));
    let client = Client::past_the_edge(double.address()).with("X-Twice", "one").with("X-Twice", "two");
    let answer = client.send(&Request::new("POST", "/a%2Fb?c=%20").chunks(&[b"chunk", b"ed"]));
    assert_eq!((answer.status, answer.text().as_str()), (201, "chunked"));
    assert_eq!(answer.fields.iter().filter(|(name, _)| name == "x-a").count(), 2);
    let seen = double.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/a%2Fb?c=%20"));
    assert_eq!(seen.all("x-twice"), ["one", "two"]);
    double.untouched();
}

#[test]
fn a_gate_holds_an_answer_back() {
    let gate = Gate::closed();
    let held = gate.clone();
    let double = Double::start(move |_| Reply::text(200, "at last").after(&held));
    let request = Request::get("/");
    let mut connection = Client::past_the_edge(double.address()).connection();
    connection.begin(&request);
    until("the arrival", SOON, || (double.count() == 1).then_some(()));
    gate.open();
    assert_eq!(connection.finish(&request).text(), "at last");
    assert_eq!(connection.send(&request).text(), "at last");
}

#[test]
fn the_doubles_speak_the_contract() {
    let bridge = doubles::bridge();
    let client = Client::past_the_edge(bridge.address());
    let message = r#"{"type":"memory"}"#;
    for kind in ["telegram", "discord", "generic"] {
        let answer = client.post(&format!("/bridge?unwrap={kind}"), enveloped(kind, message)).expect(200);
        assert_eq!(answer.json(), json!({"ingested": 1, "memory": 1, "skill": 0}));
    }
    client.send(&Request::new("PUT", "/ingest")).expect(405);
    let hub = doubles::hub();
    let mesh = Client::past_the_edge(hub.address()).with("X-Mesh-Id", "hq");
    mesh.post("/federation/in", message).expect(401);
    mesh.with("X-API-Key", HUB_KEY).post("/federation/in", message).expect(200);
}

#[test]
fn the_echo_gateway_sends_back_and_closes_to_order() {
    use tokio_tungstenite::tungstenite::{Message, connect};
    let gateway = EchoGateway::start();
    let url = format!("ws://{}/path?query", gateway.address());
    let (mut socket, _) = connect(&url).unwrap();
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    socket.send(Message::text("close 4001 device removed")).unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("no close") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "device removed"));
    assert_eq!(gateway.upgrades()[0].target, "/path?query");
}

#[test]
fn both_spellings_of_a_value_are_the_same_value() {
    let numbers_alike = |value: &Value| value.as_f64();
    for (signed, sent) in SPELLINGS {
        let (signed, sent): (Value, Value) =
            (serde_json::from_str(signed).unwrap(), serde_json::from_str(sent).unwrap());
        let alike = signed == sent || (signed.is_number() && numbers_alike(&signed) == numbers_alike(&sent));
        assert!(alike, "{signed} {sent}");
    }
    let message = Node::new("ceo", 7).memory("k", "1", "1.0");
    assert_eq!(serde_json::from_str::<Value>(&message).unwrap()["nodeId"], "ceo");
}

#[test]
fn series_are_summed_by_their_labels() {
    let text = "# HELP a b\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na{x=\"2\",y=\"2\"} 5\nb 1.5\n";
    let metrics = Metrics::parse(text);
    assert!((metrics.sum("a", &[("x", "1")]) - 7.0).abs() < f64::EPSILON);
    assert!((metrics.sum("b", &[]) - 1.5).abs() < f64::EPSILON);
    assert_eq!(metrics.names().len(), 2);
}

#[test]
#[should_panic(expected = "leaks")]
fn an_answer_with_an_internal_field_fails_the_test_that_got_it() {
    let double =
        Double::start(|_| Reply::text(200, "").field("x-request-id", "1").field("x-tenant-id", "acme"));
    Client::new(double.address()).get("/");
}

#[test]
#[should_panic(expected = "no X-Request-Id")]
fn an_answer_without_a_request_id_fails_the_test_that_got_it() {
    let double = Double::start(|_| Reply::text(200, ""));
    Client::new(double.address()).get("/");
}

#[test]
#[should_panic(expected = "is in no table")]
fn a_refusal_with_an_unknown_code_fails_the_test_that_got_it() {
    let double = Double::start(|_| {
        Reply::json(400, &json!({"error": "x", "code": "made_up", "request_id": "1"}))
            .field("x-request-id", "1")
    });
    Client::new(double.address()).get("/");
}
