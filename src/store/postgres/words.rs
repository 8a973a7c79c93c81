//! Full-text search: which memories have all words of a query, read off a table of words.

use super::question::Question;
use super::rows::{COLUMNS, from_columns};
use crate::ids::TenantId;
use crate::store::model::{Content, NewMemory};
use crate::store::ranking::{Candidate, MOST_CANDIDATES};
use crate::store::search::{Looked, searched_text};
use crate::store::words::words;
use std::borrow::Cow;
use std::collections::BTreeSet;
use tokio_postgres::{Error, Transaction};

/// Most different words of a memory that are in the index.
const MOST_WORDS: usize = 20_000;

/// Longest word that is in the index, in bytes; longer ones are cut.
const LONGEST_WORD: usize = 200;

/// Candidates fetched at a time.
const STRETCH: i64 = 50;

/// Most candidates that are looked at for the order of their words.
const MOST_LOOKED_AT: usize = 2_000;

/// The words of a memory, each once.
pub(super) fn words_of(memory: &NewMemory) -> Vec<String> {
    let mut found = BTreeSet::new();
    for text in [memory.scope.as_str(), searched_text(memory).as_str()] {
        for word in words(text) {
            if found.len() == MOST_WORDS {
                break;
            }
            found.insert(cut(word.text.into_owned()));
        }
    }
    found.into_iter().collect()
}

fn cut(mut word: String) -> String {
    word.truncate(word.floor_char_boundary(LONGEST_WORD));
    word
}

/// The newest memories that have all words of the query, parts of one word in their order.
pub(super) async fn candidates(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    looked: &Looked,
    now: i64,
) -> Result<Vec<Candidate>, Error> {
    let phrases = looked.phrases();
    let wanted: BTreeSet<String> = phrases.iter().flatten().cloned().map(cut).collect();
    let wanted: Vec<String> = wanted.into_iter().collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (mut found, mut before, mut seen) = (Vec::new(), i64::MAX, 0);
    loop {
        let rows = stretch(tx, tenant, looked, &wanted, before, now).await?;
        let full = i64::try_from(rows.len()) == Ok(STRETCH);
        for columns in &rows {
            let row = from_columns(columns)?;
            (before, seen) = (row.stamp.change, seen + 1);
            let Content::Memory(memory) = row.content else { continue };
            let text = searched_text(&memory);
            let has = |phrase: &Vec<String>| {
                phrase.len() == 1 || [memory.scope.as_str(), &text].iter().any(|text| stands_in(phrase, text))
            };
            if phrases.iter().all(has) {
                found.push(Candidate::new(memory.scope, memory.key, text));
            }
            if found.len() == MOST_CANDIDATES as usize {
                return Ok(found);
            }
        }
        if !full || seen >= MOST_LOOKED_AT {
            return Ok(found);
        }
    }
}

fn stands_in(phrase: &[String], text: &str) -> bool {
    let all: Vec<Cow<'_, str>> = words(text).map(|word| word.text).collect();
    all.windows(phrase.len()).any(|stretch| stretch == phrase)
}

async fn stretch(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    looked: &Looked,
    wanted: &[String],
    before: i64,
    now: i64,
) -> Result<Vec<tokio_postgres::Row>, Error> {
    let text = format!("SELECT {COLUMNS} FROM mesh_rows r WHERE r.tenant_id = $1 AND r.kind = 'memory'");
    let mut question = Question::new(text, tenant);
    question.number(" AND r.change < ", before, "");
    question.number(" AND (r.expires_at IS NULL OR r.expires_at > ", now, ")");
    for word in wanted {
        question.text(
            " AND r.change IN (SELECT change FROM mesh_words WHERE tenant_id = $1 AND change < $2 AND word = ",
            word,
            ")",
        );
    }
    if let Some(scope) = &looked.scope {
        question.text(" AND r.scope = ", scope, "");
    }
    if let Some(prefix) = &looked.prefix {
        question.starts("r.name", prefix);
    }
    question.number(" ORDER BY r.change DESC LIMIT ", STRETCH, "");
    question.ask(tx).await
}
