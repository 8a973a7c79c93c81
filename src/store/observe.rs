//! What the store tells whoever counts. Closed sets, so that a count can never have endless labels.

use super::model::Swept;

/// What was asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// One memory.
    MemoryGet,
    /// All memory, or a scope's.
    MemoryList,
    /// A search.
    MemorySearch,
    /// A memory was put.
    MemoryPut,
    /// A memory was deleted or purged.
    MemoryDelete,
    /// One skill.
    SkillGet,
    /// All skills.
    SkillList,
    /// A skill was put.
    SkillPut,
    /// A skill was deleted or purged.
    SkillDelete,
    /// The keys of one node.
    KeyGet,
    /// The keys of all nodes.
    KeyList,
    /// The keys of a node were put.
    KeyPut,
    /// The keys of a node were deleted or purged.
    KeyDelete,
    /// A row's past.
    History,
    /// A row's past was brought back.
    Restore,
    /// Several writes at once.
    Batch,
    /// Everything of a tenant.
    Erase,
    /// The feed was asked, or its stream begun.
    Changes,
    /// Messages of the mesh's own synchronisation.
    Sync,
    /// What a tenant keeps.
    Usage,
}

impl Op {
    /// Every operation, for whoever wants to start all counts at nought.
    pub const ALL: [Self; 20] = [
        Self::MemoryGet,
        Self::MemoryList,
        Self::MemorySearch,
        Self::MemoryPut,
        Self::MemoryDelete,
        Self::SkillGet,
        Self::SkillList,
        Self::SkillPut,
        Self::SkillDelete,
        Self::KeyGet,
        Self::KeyList,
        Self::KeyPut,
        Self::KeyDelete,
        Self::History,
        Self::Restore,
        Self::Batch,
        Self::Erase,
        Self::Changes,
        Self::Sync,
        Self::Usage,
    ];

    /// A label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryGet => "memory_get",
            Self::MemoryList => "memory_list",
            Self::MemorySearch => "memory_search",
            Self::MemoryPut => "memory_put",
            Self::MemoryDelete => "memory_delete",
            Self::SkillGet => "skill_get",
            Self::SkillList => "skill_list",
            Self::SkillPut => "skill_put",
            Self::SkillDelete => "skill_delete",
            Self::KeyGet => "key_get",
            Self::KeyList => "key_list",
            Self::KeyPut => "key_put",
            Self::KeyDelete => "key_delete",
            Self::History => "history",
            Self::Restore => "restore",
            Self::Batch => "batch",
            Self::Erase => "erase",
            Self::Changes => "changes",
            Self::Sync => "sync",
            Self::Usage => "usage",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// As asked.
    Done,
    /// There is no such row.
    Missing,
    /// The request was not one that the store understands.
    Invalid,
    /// The caller may not.
    Forbidden,
    /// The row was not as the request said.
    Conflict,
    /// The tenant may keep no more.
    Full,
    /// Too much was waiting.
    Busy,
    /// The database failed.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Missing,
        Self::Invalid,
        Self::Forbidden,
        Self::Conflict,
        Self::Full,
        Self::Busy,
        Self::Failed,
    ];

    /// A label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::Conflict => "conflict",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// Whoever counts.
pub trait Observe: Send + Sync {
    /// One operation ended.
    fn operation(&self, op: Op, outcome: Outcome, seconds: f64);

    /// So many changes have no vectors yet.
    fn embedding_lag(&self, changes: i64);

    /// A step of upkeep took this away.
    fn swept(&self, _: Swept) {}

    /// A round of upkeep failed.
    fn sweep_failed(&self) {}

    /// A write was refused because it fits this pattern of secrets.
    fn secret_refused(&self, _: &'static str) {}

    /// How the store learns what other stores write.
    fn hearing(&self, _: Hearing) {}

    /// Another store told that a feed has grown.
    fn heard(&self) {}
}

/// How a store learns what other stores on its database write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It looks, a few times a second.
    Looks,
    /// It is told.
    IsTold,
}

/// Nobody counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observe for Unobserved {
    fn operation(&self, _: Op, _: Outcome, _: f64) {}

    fn embedding_lag(&self, _: i64) {}
}
