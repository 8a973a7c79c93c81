//! Which number stands for which name, and which rules there are: the same in every policy.
//!
//! Numbers count up and are never given anew, so that what is counted under one cannot become
//! another's.

use super::familiar::Familiars;
use super::key::Subject;
use super::rule::{Axis, Home, Identity, Rule};
use super::strangers::Sketch;
use crate::config::checked::Limit;
use crate::ids::{CredentialId, Name, NodeId, TenantId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// One caller of a quota.
pub(super) struct Owner {
    pub(super) rule: Arc<Rule>,
    pub(super) number: u32,
    pub(super) of: String,
}

/// See the file's head.
#[derive(Default)]
pub(super) struct Names {
    pub(super) rules: HashMap<Identity, (u32, Weak<Rule>)>,
    pub(super) next_rule: u32,
    pub(super) credentials: HashMap<CredentialId, u32>,
    pub(super) tenants: HashMap<TenantId, u32>,
    pub(super) nodes: HashMap<(TenantId, NodeId), u32>,
    pub(super) routes: HashMap<Name, u32>,
    pub(super) familiar_credentials: Familiars,
    pub(super) familiar_routes: Familiars,
    /// Quotas stay known as long as the process lives: their file would remember what they forgot.
    lasting: Vec<Arc<Rule>>,
}

impl Names {
    pub(super) fn rule(&mut self, limit: &Limit, max_addresses: usize) -> Arc<Rule> {
        let identity = Identity::new(limit);
        if let Some(rule) = self.rules.get(&identity).and_then(|(_, rule)| rule.upgrade()) {
            return rule;
        }
        let number = self.next_rule;
        // Numbers are never used twice, so that a dead rule's counts cannot become another's.
        self.next_rule += 1;
        let sketch = Sketch::new(max_addresses, limit.per);
        let rule = Arc::new(Rule::new(number, &identity, sketch));
        if rule.quota.is_some() {
            self.lasting.push(rule.clone());
        }
        self.rules.insert(identity, (number, Arc::downgrade(&rule)));
        rule
    }

    /// What a number stands for.
    pub(super) fn name_of(&self, axis: Axis, number: u32) -> Option<String> {
        self.named(axis).find_map(|(name, other)| (other == number).then_some(name))
    }

    /// Everything of a kind that has a number.
    pub(super) fn named(&self, axis: Axis) -> Box<dyn Iterator<Item = (String, u32)> + '_> {
        match axis {
            Axis::Credential => Box::new(self.credentials.iter().map(|(id, n)| (id.to_string(), *n))),
            Axis::Tenant => Box::new(self.tenants.iter().map(|(id, n)| (id.to_string(), *n))),
            Axis::Route => Box::new(self.routes.iter().map(|(name, n)| (name.to_string(), *n))),
            Axis::Node => {
                Box::new(self.nodes.iter().map(|((tenant, node), n)| (format!("{tenant}/{node}"), *n)))
            }
        }
    }

    /// Everyone whom a quota counts, or the subject alone.
    pub(super) fn owners(&self, rule: &Arc<Rule>, subject: Option<&Subject>) -> Vec<Owner> {
        let (Some(_), Home::Dense(axis, _)) = (&rule.quota, &rule.home) else { return Vec::new() };
        let ours = |number: u32| subject.is_none_or(|subject| axis.of(subject) == Some(number));
        let named = self.named(*axis).filter(|(_, number)| ours(*number));
        named.map(|(of, number)| Owner { rule: rule.clone(), number, of }).collect()
    }

    pub(super) fn remove_dead_rules(&mut self) -> Vec<u32> {
        let mut gone = Vec::new();
        self.rules.retain(|_, (number, rule)| {
            let alive = rule.strong_count() > 0;
            if !alive {
                gone.push(*number);
            }
            alive
        });
        gone
    }
}

/// The number of a name, given when it first comes up.
pub(super) fn number<T: Clone + Eq + Hash>(numbers: &mut HashMap<T, u32>, name: &T) -> u32 {
    if let Some(&known) = numbers.get(name) {
        return known;
    }
    // A config would have to name four thousand million things for this to saturate.
    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    numbers.insert(name.clone(), next);
    next
}
