//! One count in a question to the shared server.

use crate::limits::shared::{Line, Terms};
use redis::Cmd;

/// See the script's head for what the values mean.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) terms: Terms,
    pub(super) cost: u32,
    pub(super) shadow: bool,
    pub(super) extra: u32,
    pub(super) stamp: i64,
    pub(super) id: String,
}

impl Entry {
    pub(super) fn of(line: &Line<'_>, extra: u32) -> Self {
        Self {
            key: line.key.clone(),
            terms: line.terms(),
            cost: line.cost,
            shadow: line.is_shadow(),
            extra,
            stamp: 0,
            id: String::new(),
        }
    }

    pub(super) fn write(&self, command: &mut Cmd) {
        command.arg(self.terms.kind).arg(self.terms.limit).arg(&*self.terms.span);
        command.arg(self.cost).arg(u8::from(self.shadow)).arg(self.extra).arg(self.stamp).arg(&self.id);
    }
}

/// Places of entries whose keys a cluster keeps together: those with one text in their braces.
pub(super) fn groups(entries: &[Entry]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let tag = tag(&entry.key);
        match groups.iter_mut().find(|(other, _)| *other == tag) {
            Some((_, places)) => places.push(place),
            None => groups.push((tag, vec![place])),
        }
    }
    groups.into_iter().map(|(_, places)| places).collect()
}

fn tag(key: &str) -> &str {
    key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(key, |(tag, _)| tag)
}
