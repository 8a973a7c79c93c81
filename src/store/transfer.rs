//! Everything that is kept of a row, as it is kept: for moving stores between engines and to files.
//!
//! A dossier is a row with its past; it has what the row's columns hold, so that nothing of it changes on
//! the way: numbers of changes, times, texts to the byte. Knows no engine.

use super::json::Json;
use super::model::{Content, Kind, NewMemory, NewSkill, NodeKeys, Row, Stamp, Target};
use crate::signatures::registered;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Everything that is kept of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dossier {
    /// `memory`, `skill` or `key`.
    pub kind: String,
    /// The scope of a memory; empty for all else.
    pub scope: String,
    /// The key of a memory, the name of a skill, the node whose keys they are.
    pub name: String,
    /// By version, the live one last when the row is there.
    pub versions: Vec<KeptVersion>,
}

/// One version of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptVersion {
    /// Whether it is the row as it is now.
    pub live: bool,
    /// Which of the row's versions.
    pub version: i64,
    /// The tenant's counter when it was written.
    pub change: i64,
    /// How it came to be; `put` for a live one.
    pub action: String,
    /// Unix seconds.
    pub updated_at: i64,
    /// Unix seconds.
    pub expires_at: Option<i64>,
    /// Unix milliseconds, as its sender said.
    pub sent_ms: Option<i64>,
    /// Who wrote it.
    pub node: Option<String>,
    /// A memory's value or a node's keys as JSON text, a skill's content.
    pub value: Option<String>,
    /// A skill's path.
    pub path: Option<String>,
    /// The signed message that it came with, as JSON text.
    pub proof: Option<String>,
}

/// A stretch of a tenant's log of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// In order.
    pub entries: Vec<LogEntry>,
    /// Changes up to here were swept away.
    pub swept: i64,
    /// The tenant's counter.
    pub last: i64,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// Its number.
    pub change: i64,
    /// What happened.
    pub action: String,
    /// To a row of this kind.
    pub kind: String,
    /// Its scope.
    pub scope: String,
    /// Its key or name.
    pub name: String,
    /// Its version after it.
    pub version: i64,
    /// Unix seconds.
    pub at: i64,
}

impl Dossier {
    /// Whose it is; nothing for a kind that there is not.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        let kind = Kind::parse(&self.kind)?;
        Some(Target { kind, scope: self.scope.clone(), name: self.name.clone() })
    }

    /// The row as it is now, and when its sender says it was written; nothing when it is gone.
    #[must_use]
    pub fn row(&self) -> Option<(Row, Option<i64>)> {
        let live = self.versions.iter().find(|version| version.live)?;
        let node = live.node.clone().unwrap_or_default();
        let content = match Kind::parse(&self.kind)? {
            Kind::Memory => Content::Memory(NewMemory {
                scope: self.scope.clone(),
                key: self.name.clone(),
                value: Json::parse(live.value.as_deref()?)?,
                node_id: node,
            }),
            Kind::Skill => Content::Skill(NewSkill {
                name: self.name.clone(),
                source_node: node,
                content: live.value.clone(),
                path: live.path.clone(),
            }),
            Kind::Key => {
                let keys = registered::read(live.value.as_deref()?).ok()?;
                let keys = Json::parse(&registered::write(&keys))?;
                Content::Keys(NodeKeys { node: self.name.clone(), keys, updated_by: node })
            }
        };
        let stamp = Stamp {
            version: live.version,
            change: live.change,
            updated_at: live.updated_at,
            expires_at: live.expires_at,
        };
        let proof = live.proof.as_deref().and_then(Json::parse);
        Some((Row { content, stamp, sent_ms: live.sent_ms, proof }, live.sent_ms))
    }

    /// The largest number of a change in it.
    #[must_use]
    pub fn last_change(&self) -> i64 {
        self.versions.iter().map(|version| version.change).max().unwrap_or(0)
    }
}

/// How much was gone over, and a sum over all of it that is the same for the same content in any engine.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    /// Rows that are there.
    pub rows: u64,
    /// Versions of the past.
    pub versions: u64,
    /// The largest number of a change.
    pub last_change: i64,
    hash: Sha256,
}

impl Sum {
    /// Adds a dossier; they come in their order.
    pub fn add(&mut self, dossier: &Dossier) {
        self.last_change = self.last_change.max(dossier.last_change());
        for version in &dossier.versions {
            if version.live {
                self.rows += 1;
            } else {
                self.versions += 1;
            }
        }
        // Text of one form, and its length before it: no two sequences of dossiers look alike.
        let text = serde_json::to_vec(dossier).unwrap_or_default();
        self.hash.update(text.len().to_be_bytes());
        self.hash.update(&text);
    }

    /// The sum, in hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::with_capacity(64);
        for byte in self.hash.clone().finalize() {
            // Writing to a String has no way to fail.
            let _ = write!(out, "{byte:02x}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dossier(value: &str) -> Dossier {
        let version = KeptVersion {
            live: true,
            version: 2,
            change: 9,
            action: "put".into(),
            updated_at: 5,
            expires_at: None,
            sent_ms: Some(7),
            node: Some("ceo".into()),
            value: Some(value.into()),
            path: None,
            proof: None,
        };
        let past = KeptVersion { live: false, version: 1, change: 3, ..version.clone() };
        Dossier {
            kind: "memory".into(),
            scope: "mesh".into(),
            name: "k".into(),
            versions: vec![past, version],
        }
    }

    #[test]
    fn a_dossier_says_what_the_row_is_now_and_comes_back_from_its_text() {
        let one = dossier("{\"a\": 1.0}");
        let (row, sent) = one.row().unwrap();
        assert_eq!((row.stamp.version, row.stamp.change, sent), (2, 9, Some(7)));
        assert_eq!(one.last_change(), 9);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Dossier>(&text).unwrap(), one);
        assert_eq!(dossier("no json").row(), None);
    }

    #[test]
    fn the_sum_is_the_same_for_the_same_content_alone() {
        let sum = |values: &[&str]| {
            let mut sum = Sum::default();
            for value in values {
                sum.add(&dossier(value));
            }
            (sum.rows, sum.versions, sum.hex())
        };
        assert_eq!(sum(&["1", "2"]), sum(&["1", "2"]));
        assert_ne!(sum(&["1", "2"]).2, sum(&["2", "1"]).2);
        assert_eq!((sum(&["1"]).0, sum(&["1"]).1, sum(&["1"]).2.len()), (1, 1, 64));
    }
}
