//! From texts to vectors: a service that is asked over HTTP, or the vectorizer that is built in.
//!
//! Knows nothing of rows and tenants: texts in, vectors out, in the same order.

mod hashing;
mod service;
mod vector;

pub use service::{Service, Shape};
pub(crate) use vector::Vector;

use crate::config::checked::{Embeddings, EmbeddingsService};
use std::sync::Arc;
use std::time::Duration;

/// Where vectors come from.
#[derive(Debug, Clone)]
pub enum Embedder {
    /// Words and pieces of words, hashed; needs nothing.
    Builtin,
    /// A service that is asked over HTTP.
    Service(Arc<Service>),
}

/// Who waits for an answer, and so how long is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A caller: an answer or the reason why there is none, soon.
    Caller,
    /// The index: again and again, with growing pauses, before it is put off.
    Index,
}

impl Patience {
    /// Pauses between attempts, one fewer than attempts.
    fn pauses(self) -> &'static [Duration] {
        const CALLER: &[Duration] = &[Duration::from_millis(100)];
        const INDEX: &[Duration] =
            &[Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(3)];
        match self {
            Self::Caller => CALLER,
            Self::Index => INDEX,
        }
    }
}

/// Why there are no vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// Nobody listens there, or the way there broke.
    #[error("the embedding service cannot be reached")]
    Unreachable,
    /// It was silent for too long.
    #[error("the embedding service did not answer in time")]
    Silent,
    /// It does not take the text: too long, or nothing that it can read.
    #[error("the embedding service does not take the text")]
    TextRefused,
    /// It said no to the caller or the model; the status was logged.
    #[error("the embedding service refuses the key, the model or the path")]
    Refused,
    /// Its answer holds no vectors, or not one for each text.
    #[error("the embedding service answered what are no embeddings")]
    Malformed,
}

impl Embedder {
    /// The source that the config names; none where there is to be no semantic search.
    #[must_use]
    pub fn configured(embeddings: &Embeddings) -> Option<Self> {
        let service = |shape, service: &EmbeddingsService| {
            let EmbeddingsService { url, model, key, batch, timeout } = service;
            Some(Self::Service(Arc::new(Service::new(shape, url, model, key.clone(), *batch, *timeout))))
        };
        match embeddings {
            Embeddings::Builtin => Some(Self::Builtin),
            Embeddings::Ollama(one) => service(Shape::Ollama, one),
            Embeddings::OpenAi(one) => service(Shape::OpenAi, one),
            Embeddings::None => None,
        }
    }

    /// What its vectors are called; vectors of two models are never compared.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Builtin => hashing::MODEL,
            Self::Service(service) => service.name(),
        }
    }

    /// Texts in one call.
    pub(crate) fn batch(&self) -> usize {
        match self {
            Self::Builtin => 256,
            Self::Service(service) => service.batch(),
        }
    }

    /// A vector for each text, in their order.
    ///
    /// # Errors
    /// [`EmbedError`], after the attempts that `patience` allows.
    pub(crate) async fn embed(
        &self,
        texts: Vec<String>,
        patience: Patience,
    ) -> Result<Vec<Vector>, EmbedError> {
        match self {
            Self::Builtin => Ok(texts.iter().map(|text| hashing::embed(text)).collect()),
            Self::Service(service) => service.embed(texts, patience).await,
        }
    }
}
