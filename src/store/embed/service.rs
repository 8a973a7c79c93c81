//! An embedding service asked over HTTP: Ollama's shape or OpenAI's.
//!
//! Batched; tried again with growing pauses when the cause may pass (no connection, silence, 429, 5xx) and
//! not when it will not (other 4xx). The key is shown to the service alone.

use super::vector::Vector;
use super::{EmbedError, Patience};
use crate::secret::Secret;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Most bytes of an answer.
const MOST_ANSWER: u64 = 64 * 1024 * 1024;

/// Calls at the same time; more wait.
const CALLS: usize = 4;

/// What a service's requests and answers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `POST …/api/embed`, answered with `embeddings`.
    Ollama,
    /// `POST …/v1/embeddings`, answered with `data[].embedding`.
    OpenAi,
}

impl Shape {
    fn path(self) -> &'static str {
        match self {
            Self::Ollama => "/api/embed",
            Self::OpenAi => "/v1/embeddings",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
        }
    }
}

/// A service and how it is asked.
pub struct Service {
    shape: Shape,
    url: String,
    model: String,
    name: String,
    key: Option<Secret>,
    batch: usize,
    timeout: Duration,
    agent: Agent,
    calls: Arc<Semaphore>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Service {
    /// A service at this base address (`http://host:port`, with or without the shape's path), asked for this
    /// model, with at most `batch` texts a call and this long for each call.
    #[must_use]
    pub fn new(
        shape: Shape,
        base: &str,
        model: &str,
        key: Option<Secret>,
        batch: usize,
        timeout: Duration,
    ) -> Self {
        let base = base.trim_end_matches('/');
        let url = if base.ends_with(shape.path()) {
            base.to_owned()
        } else {
            // `https://api.openai.com/v1` is how that shape's base is written elsewhere.
            let version = if shape == Shape::OpenAi { "/v1" } else { "/api" };
            format!("{}{}", base.strip_suffix(version).unwrap_or(base), shape.path())
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(timeout.min(Duration::from_secs(5))))
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("mesh-store/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(system_roots()).build())
            .build()
            .new_agent();
        Self {
            shape,
            url,
            model: model.to_owned(),
            name: format!("{}:{model}", shape.name()),
            key,
            batch: batch.max(1),
            timeout,
            agent,
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// A vector for each text, in their order.
    ///
    /// # Errors
    /// [`EmbedError`], after the attempts that `patience` allows.
    pub(super) async fn embed(
        self: &Arc<Self>,
        texts: Vec<String>,
        patience: Patience,
    ) -> Result<Vec<Vector>, EmbedError> {
        let texts = Arc::new(texts);
        let mut pauses = patience.pauses().iter();
        loop {
            let problem = match self.one_call(&texts).await {
                Ok(vectors) => return Ok(vectors),
                Err(Problem::Lasting(error)) => return Err(error),
                Err(Problem::Passing(error)) => error,
            };
            let Some(pause) = pauses.next() else { return Err(problem) };
            // Spread, so that several stores do not come back at the same moment.
            tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    async fn one_call(self: &Arc<Self>, texts: &Arc<Vec<String>>) -> Result<Vec<Vector>, Problem> {
        let permit = tokio::time::timeout(self.timeout, Arc::clone(&self.calls).acquire_owned());
        let Ok(Ok(permit)) = permit.await else { return Err(Problem::Passing(EmbedError::Silent)) };
        let (service, texts) = (Arc::clone(self), Arc::clone(texts));
        let call = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            service.call(&texts)
        });
        call.await.unwrap_or(Err(Problem::Lasting(EmbedError::Malformed)))
    }

    fn call(&self, texts: &[String]) -> Result<Vec<Vector>, Problem> {
        let body = serde_json::json!({ "model": self.model, "input": texts }).to_string();
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(key) = self.key.as_ref().and_then(|key| std::str::from_utf8(key.expose()).ok()) {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let mut answer = request.send(body.as_bytes()).map_err(|error| self.broken(&error))?;
        let status = answer.status();
        if status.is_server_error() || status.as_u16() == 429 {
            tracing::warn!(url = self.url, status = status.as_u16(), "the embedding service is not well");
            return Err(Problem::Passing(EmbedError::Unreachable));
        }
        if !status.is_success() {
            tracing::error!(url = self.url, status = status.as_u16(), "the embedding service said no");
            let of_the_text = matches!(status.as_u16(), 400 | 413 | 422);
            return Err(Problem::Lasting(if of_the_text {
                EmbedError::TextRefused
            } else {
                EmbedError::Refused
            }));
        }
        let bytes = answer
            .body_mut()
            .with_config()
            .limit(MOST_ANSWER)
            .read_to_vec()
            .map_err(|error| self.broken(&error))?;
        let vectors = self.vectors(&bytes).filter(|vectors| vectors.len() == texts.len());
        vectors.ok_or_else(|| {
            tracing::error!(
                url = self.url,
                "the embedding service's answer holds no embedding for each text"
            );
            Problem::Lasting(EmbedError::Malformed)
        })
    }

    fn broken(&self, error: &ureq::Error) -> Problem {
        tracing::warn!(url = self.url, %error, "the embedding service was asked in vain");
        let timed_out = match error {
            ureq::Error::Timeout(_) => true,
            ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::TimedOut,
            _ => false,
        };
        Problem::Passing(if timed_out { EmbedError::Silent } else { EmbedError::Unreachable })
    }

    fn vectors(&self, bytes: &[u8]) -> Option<Vec<Vector>> {
        #[derive(Deserialize)]
        struct Ollama {
            embeddings: Vec<Vec<f32>>,
        }
        #[derive(Deserialize)]
        struct OpenAi {
            data: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            index: Option<usize>,
            embedding: Vec<f32>,
        }
        let numbers = match self.shape {
            Shape::Ollama => serde_json::from_slice::<Ollama>(bytes).ok()?.embeddings,
            Shape::OpenAi => {
                let mut data = serde_json::from_slice::<OpenAi>(bytes).ok()?.data;
                // The order is not promised; the index is.
                data.sort_by_key(|item| item.index);
                data.into_iter().map(|item| item.embedding).collect()
            }
        };
        numbers.iter().map(|numbers| Vector::from_numbers(numbers).ok()).collect()
    }
}

enum Problem {
    /// May be over soon.
    Passing(EmbedError),
    /// Asking again will not help.
    Lasting(EmbedError),
}

/// The machine's own authorities, which may include a company's; the usual ones where there are none.
fn system_roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates: Vec<_> =
        found.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    RootCerts::from(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Json;
    use axum::Router;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode, Uri};
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    type Shared = (Arc<Mutex<Vec<(u16, Value)>>>, Seen);
    type Seen = Arc<Mutex<Vec<(String, Option<String>, Value)>>>;

    /// A service that answers with these, one after another, and then with the last for ever.
    async fn start(answers: Vec<(u16, Value)>) -> (String, Seen) {
        let seen = Seen::default();
        let state = (Arc::new(Mutex::new(answers)), Arc::clone(&seen));
        let answer = |State((answers, seen)): State<Shared>,
                      uri: Uri,
                      headers: HeaderMap,
                      Json(body): Json<Value>| async move {
            let key = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            seen.lock().push((uri.path().to_owned(), key, body));
            let mut answers = answers.lock();
            let (status, body) = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            (StatusCode::from_u16(status).unwrap(), Json(body))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}"), seen)
    }

    fn service(shape: Shape, base: &str) -> Arc<Service> {
        let key = Some(Secret::new(b"the-key".to_vec()));
        Arc::new(Service::new(shape, base, "m", key, 2, Duration::from_secs(5)))
    }

    async fn ask(service: &Arc<Service>) -> Result<Vec<Vector>, EmbedError> {
        service.embed(vec!["a".into(), "b".into()], Patience::Caller).await
    }

    fn expected() -> Vec<Vector> {
        [[1.0, 0.0], [0.0, 1.0]].iter().map(|numbers| Vector::from_numbers(numbers).unwrap()).collect()
    }

    #[tokio::test]
    async fn both_shapes_are_asked_in_one_call_with_the_key_and_the_model() {
        let ollama = json!({"embeddings": [[1.0, 0.0], [0.0, 1.0]]});
        let (base, seen) = start(vec![(200, ollama)]).await;
        assert_eq!(ask(&service(Shape::Ollama, &base)).await, Ok(expected()));
        let request = (Some("Bearer the-key".to_owned()), json!({"model": "m", "input": ["a", "b"]}));
        assert_eq!(*seen.lock(), [("/api/embed".to_owned(), request.0.clone(), request.1.clone())]);
        let openai =
            json!({"data": [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]});
        let (base, seen) = start(vec![(200, openai)]).await;
        for base in [format!("{base}/v1"), format!("{base}/v1/embeddings"), format!("{base}/")] {
            assert_eq!(ask(&service(Shape::OpenAi, &base)).await, Ok(expected()));
            assert_eq!(
                seen.lock().pop(),
                Some(("/v1/embeddings".to_owned(), request.0.clone(), request.1.clone()))
            );
        }
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        let good = json!({"embeddings": [[1.0, 0.0], [0.0, 1.0]]});
        let (base, seen) = start(vec![(503, json!({})), (200, good)]).await;
        assert_eq!(ask(&service(Shape::Ollama, &base)).await, Ok(expected()));
        assert_eq!(seen.lock().len(), 2);
        let (base, seen) = start(vec![(404, json!({"error": "model not found"}))]).await;
        assert_eq!(ask(&service(Shape::Ollama, &base)).await, Err(EmbedError::Refused));
        assert_eq!(seen.lock().len(), 1);
        let (base, seen) = start(vec![(500, json!({}))]).await;
        assert_eq!(ask(&service(Shape::Ollama, &base)).await, Err(EmbedError::Unreachable));
        assert_eq!(seen.lock().len(), 2);
    }

    #[tokio::test]
    async fn answers_that_hold_no_vectors_and_services_that_are_gone_are_told_apart() {
        for bad in [
            json!({}),
            json!({"embeddings": [[1.0, 0.0]]}),
            json!({"embeddings": [[], []]}),
            json!({"embeddings": [["a"], ["b"]]}),
            json!([1]),
        ] {
            let (base, _) = start(vec![(200, bad.clone())]).await;
            assert_eq!(ask(&service(Shape::Ollama, &base)).await, Err(EmbedError::Malformed), "{bad}");
        }
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let gone = service(Shape::Ollama, &format!("http://{gone}"));
        assert_eq!(ask(&gone).await, Err(EmbedError::Unreachable));
        assert!(!format!("{gone:?}").contains("the-key"));
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", silent.local_addr().unwrap());
        let silent_service =
            Arc::new(Service::new(Shape::Ollama, &base, "m", None, 1, Duration::from_millis(50)));
        assert_eq!(ask(&silent_service).await, Err(EmbedError::Silent));
    }
}
