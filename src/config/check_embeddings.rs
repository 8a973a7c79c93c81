//! Where a mesh store's vectors come from: the `embeddings` of a store inside the edge or alone.

use super::Surroundings;
use super::checked::{Embeddings, EmbeddingsService};
use super::checker::Checker;
use super::raw::{self, EmbeddingsSource};
use super::secrets;
use super::tree::Spot;
use super::urls::check_control_ui;
use std::time::Duration;

const MOST_BATCH: usize = 2048;
const SECOND: Duration = Duration::from_secs(1);
const MOST_TIMEOUT: Duration = Duration::from_mins(10);

/// What the operator means.
pub(crate) fn embeddings(
    raw: &raw::Embeddings,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Embeddings> {
    let kind = match raw.source {
        EmbeddingsSource::Builtin | EmbeddingsSource::None => {
            let given = ["url", "model", "api_key", "batch", "timeout"].into_iter();
            for key in given.filter(|key| spot.keys().any(|known| known == *key)) {
                checker.problem(spot.key_at(key), format!("`{key}` is for a `source` that is a service"));
            }
            return Some(match raw.source {
                EmbeddingsSource::None => Embeddings::None,
                EmbeddingsSource::Builtin | EmbeddingsSource::Ollama | EmbeddingsSource::Openai => {
                    Embeddings::Builtin
                }
            });
        }
        EmbeddingsSource::Ollama => Embeddings::Ollama as fn(_) -> _,
        EmbeddingsSource::Openai => Embeddings::OpenAi,
    };
    let url = if let Some(url) = &raw.url {
        checker.take(spot.key("url").at, check_control_ui(url)).map(|()| url.clone())
    } else {
        checker.lacks(spot, "a service needs `url`", "such as `http://127.0.0.1:11434`");
        None
    };
    let model = raw.model.clone().filter(|model| !model.is_empty());
    if model.is_none() {
        checker.lacks(spot, "a service needs `model`", "such as `nomic-embed-text`");
    }
    let key = match &raw.api_key {
        Some(source) => {
            let secret = secrets::resolve(source, spot.key("api_key"), around, checker)?;
            if !secret.expose().iter().all(u8::is_ascii_graphic) {
                checker.problem(spot.key("api_key").at, "this key has characters that cannot be sent");
                return None;
            }
            Some(secret)
        }
        None => None,
    };
    let batch = checker.number(spot.key("batch"), raw.batch, 32, (1, MOST_BATCH));
    let timeout =
        checker.duration(spot.key("timeout"), raw.timeout.as_deref(), 30 * SECOND, (SECOND, MOST_TIMEOUT));
    Some(kind(EmbeddingsService { url: url?, model: model?, key, batch: batch?, timeout: timeout? }))
}
