//! Stand-ins for the services behind the edge: small HTTP servers that record all they are sent.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

/// A request as the upstream got it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The method.
    pub(crate) method: String,
    /// Path and query, byte for byte.
    pub(crate) target: String,
    /// All fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Seen {
    /// The value of a field that stands at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} stands more than once: {self:?}");
        values.first().copied()
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a name in the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// What an upstream answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    fields: Vec<(String, String)>,
    body: Bytes,
    gate: Option<Gate>,
}

impl Reply {
    /// JSON with a status.
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::text(status, body.to_string()).field("content-type", "application/json")
    }

    /// Bytes with a status.
    pub(crate) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, fields: Vec::new(), body: body.into(), gate: None }
    }

    /// One more field.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Not before the gate opens.
    pub(crate) fn after(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

/// Holds answers back until it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets all through, now and later.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        let mut state = self.0.subscribe();
        let _ = state.wait_for(|open| *open).await;
    }
}

/// A running stand-in.
#[derive(Debug)]
pub(crate) struct Double {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Double {
    /// Starts one that answers as told.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), answer)
    }

    /// One that says which tenant and caller it was told of, whatever it is asked.
    pub(crate) fn mirror() -> Self {
        Self::start(|seen| {
            let told = serde_json::json!({
                "target": seen.target,
                "tenant": seen.field("x-tenant-id"),
                "bytes": seen.body.len(),
            });
            Reply::json(200, &told)
        })
    }

    /// The same at an address, for a service that comes back.
    pub(crate) fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (stop, stopped) = oneshot::channel();
        let book = Arc::clone(&seen);
        let thread = std::thread::spawn(move || run(listener, book, Arc::new(answer), stopped));
        Self { address, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no handler panics with the book open").clone()
    }

    /// How many requests so far.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("no handler panics with the book open").len()
    }

    /// The one request that came since the last call.
    #[track_caller]
    pub(crate) fn only(&self) -> Seen {
        let mut seen = std::mem::take(&mut *self.seen.lock().expect("no handler panics with the book open"));
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Forgets what came.
    pub(crate) fn forget(&self) {
        self.seen.lock().expect("no handler panics with the book open").clear();
    }

    /// Asserts that nothing came since the last look.
    #[track_caller]
    pub(crate) fn untouched(&self) {
        let seen = self.seen();
        assert!(seen.is_empty(), "the upstream was reached: {seen:?}");
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

fn run(
    listener: std::net::TcpListener,
    book: Arc<Mutex<Vec<Seen>>>,
    answer: Handler,
    stopped: oneshot::Receiver<()>,
) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async move {
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime takes the socket");
        let router = axum::Router::new()
            .fallback(move |request| handle(request, Arc::clone(&book), Arc::clone(&answer)));
        tokio::select! {
            ended = axum::serve(listener, router) => ended.expect("the stand-in serves"),
            _ = stopped => {}
        }
    });
}

async fn handle(request: Request, book: Arc<Mutex<Vec<Seen>>>, answer: Handler) -> Response {
    let (head, body) = request.into_parts();
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    // A body that breaks off is a request that never was.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return Response::new(Body::empty());
    };
    let target = head.uri.to_string();
    let seen = Seen { method: head.method.to_string(), target, fields, body };
    book.lock().expect("no handler panics with the book open").push(seen.clone());
    let reply = answer(&seen);
    if let Some(gate) = &reply.gate {
        gate.passed().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.fields {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).expect("a test's reply is well formed")
}
