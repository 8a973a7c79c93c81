//! A real browser, headless, driven over its own protocol (CDP): what is on the page, what it asked for, and keys
//! pressed as a person presses them.

use super::process::Process;
use super::temp::Temp;
use super::wait::{SOON, until};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// Screenshots and lists come in one message.
const MAX_MESSAGE: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with one page, and a profile of its own that goes with it.
pub(crate) struct Browser {
    process: Process,
    socket: WebSocket<TcpStream>,
    calls: u64,
    asked: Vec<String>,
    complaints: Vec<String>,
    _profile: Temp,
}

impl Browser {
    /// Starts one, with a window of this size.
    pub(crate) fn start(program: &Path, (width, height): (u32, u32)) -> Self {
        let profile = Temp::new();
        let mut command = Command::new(program);
        command.args(["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]);
        command.arg(format!("--window-size={width},{height}"));
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let mut process = Process::start(&mut command);
        let whole = until("the browser's socket", PATIENCE, || {
            assert!(process.runs(), "the browser ended: {}", process.stderr().join("\n"));
            let lines = process.stderr();
            lines.iter().find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
        });
        let host = whole.trim_start_matches("ws://").split('/').next().expect("an address").to_owned();
        let (socket, asked, complaints) = (connect(&host, &whole), Vec::new(), Vec::new());
        let mut browser = Self { process, socket, calls: 0, asked, complaints, _profile: profile };
        let made = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let page = made["targetId"].as_str().expect("a page has an id");
        browser.socket = connect(&host, &format!("ws://{host}/devtools/page/{page}"));
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.call(domain, &json!({}));
        }
        browser.resize(width, height);
        browser
    }

    /// Makes its window another size.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Says what the system's theme is.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// Sends a command and waits for its answer; events on the way are kept.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let frame = json!({"id": self.calls, "method": method, "params": params});
        self.socket.send(Message::text(frame.to_string())).expect("the browser listens");
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(error) => panic!("{method}: {error}\n{}", self.process.stderr().join("\n")),
            };
            let Message::Text(text) = message else { continue };
            let mut frame: Value = serde_json::from_str(&text).expect("the browser speaks JSON");
            if frame["id"] == self.calls {
                assert!(frame["error"].is_null(), "{method}: {frame}");
                return frame["result"].take();
            }
            self.note(&frame);
        }
    }

    fn note(&mut self, frame: &Value) {
        let params = &frame["params"];
        match frame["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.asked.push(params["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Network.webSocketCreated") => {
                self.asked.push(params["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            // What the page's own policy forbids is told here; what the network does not give is not a complaint.
            Some("Log.entryAdded") if params["entry"]["source"] == "security" => {
                self.complaints.push(params["entry"].to_string());
            }
            Some(_) | None => {}
        }
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", &json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        self.until("the page", "document.readyState === 'complete'");
    }

    /// What an expression is worth on the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut done = self.call("Runtime.evaluate", &params);
        assert!(done["exceptionDetails"].is_null(), "{expression}: {}", done["exceptionDetails"]);
        done["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, what: &str, expression: &str) {
        self.within(what, expression, SOON);
    }

    /// The same, for what takes longer.
    pub(crate) fn within(&mut self, what: &str, expression: &str, within: Duration) {
        let deadline = std::time::Instant::now() + within;
        while self.eval(&format!("!!({expression})")) != true {
            if std::time::Instant::now() > deadline {
                let text = self.eval("document.body.innerText");
                panic!(
                    "{what}: not within {within:?}; the page says:\n{}",
                    text.as_str().unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the page shows a text.
    pub(crate) fn shows(&mut self, text: &str) {
        self.until(text, &format!("document.body.innerText.includes({})", json!(text)));
    }

    /// Clicks what a selector names, where it says a text.
    pub(crate) fn click(&mut self, selector: &str, text: &str) {
        let find = format!(
            "[...document.querySelectorAll({})].find((one) => one.textContent.includes({}))",
            json!(selector),
            json!(text)
        );
        self.until(&format!("{selector} with {text}"), &find);
        self.eval(&format!("{find}.click()"));
    }

    /// Types into what has the focus.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Presses a key and lets it go.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "ArrowDown" => (40, ""),
            "End" => (35, ""),
            other => panic!("the test presses no {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &params);
        }
    }

    /// A picture of what is seen, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        use base64::Engine as _;
        let taken = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let data = taken["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD.decode(data).expect("base64")
    }

    /// Every address that the page has asked for.
    pub(crate) fn asked(&self) -> &[String] {
        &self.asked
    }

    /// Errors of its scripts, and what its policy has kept it from.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

fn connect(host: &str, url: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(host).expect("the browser listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    client::client_with_config(url, stream, Some(config)).expect("an open socket").0
}
