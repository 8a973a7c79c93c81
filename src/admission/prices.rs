//! A route's limits for each tariff: tenants on a plan and credentials with numbers of their own meet the same
//! limits, with other numbers.
//!
//! All variants of a limit share one count. They are made once a policy, and only where a tariff changes
//! something, so a request finds its own by a number.

use super::policy::field;
use crate::config::checked::{Config, Dimension, Limit, LimitKind, Tariff};
use crate::limits::headers::write_rate_limit_policy;
use crate::limits::{Decision, Limiter, LimitsError, RuleSet};
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::OnceLock;

/// A route's rules, by tariff.
#[derive(Debug)]
pub(super) struct Prices {
    /// With the limits' own numbers.
    own: Priced,
    /// With other numbers, in the order of the tariffs.
    others: Vec<(usize, Priced)>,
}

/// A route's rules with one tariff's numbers.
#[derive(Debug)]
pub struct Priced {
    /// In the route's order.
    pub rules: RuleSet,
    policy_text: OnceLock<HeaderValue>,
}

impl Prices {
    pub(super) fn new(places: &[usize], config: &Config, limiter: &Limiter) -> Result<Self, LimitsError> {
        let compiled = |limits: Vec<&Limit>| {
            limiter.compile(limits).map(|rules| Priced { rules, policy_text: OnceLock::new() })
        };
        let mut others = Vec::new();
        for (number, tariff) in config.tariffs.all.iter().enumerate() {
            if places.iter().any(|place| tariff.0.contains_key(place)) {
                let limits = places.iter().map(|place| of(config, tariff, *place));
                others.push((number, compiled(limits.collect())?));
            }
        }
        let own = compiled(places.iter().map(|&place| &config.limits[place]).collect())?;
        Ok(Self { own, others })
    }

    #[inline]
    pub(super) fn of(&self, tariff: Option<usize>) -> &Priced {
        match tariff {
            Some(tariff) if !self.others.is_empty() => {
                let found = self.others.binary_search_by_key(&tariff, |(number, _)| *number);
                found.map_or(&self.own, |place| &self.others[place].1)
            }
            Some(_) | None => &self.own,
        }
    }
}

impl Priced {
    /// The text of `RateLimit-Policy`, made once: it is the same for every request that all of the
    /// limits applied to and admitted.
    pub fn policy_text(&self, decision: &Decision) -> Option<&HeaderValue> {
        let applied = decision.standings().as_slice().len();
        let all = applied > 0 && applied == self.rules.rules().len();
        (all && decision.is_admitted()).then(|| {
            self.policy_text.get_or_init(|| {
                let mut text = String::new();
                write_rate_limit_policy(&mut text, &self.rules, decision);
                field(&text)
            })
        })
    }
}

fn of<'a>(config: &'a Config, tariff: &'a Tariff, place: usize) -> &'a Limit {
    tariff.0.get(&place).unwrap_or(&config.limits[place])
}

/// Tells the limiter what quotas let through for whom, for those who ask how they stand.
pub(super) fn name_quotas(config: &Config, limiter: &Limiter) {
    let quotas = config.limits.iter().enumerate().filter(|(_, limit)| limit.kind == LimitKind::Quota);
    for (place, limit) in quotas {
        let number = |tariff: usize| config.tariffs.all[tariff].0.get(&place).map(|limit| limit.limit);
        let tariffs = &config.tariffs;
        // A quota counts by one thing: the config's check holds that.
        let others: HashMap<u32, u32> = match limit.by.as_slice() {
            [Dimension::Tenant] => {
                let with = tariffs.tenants.iter().filter_map(|(id, plan)| Some((id, number(*plan)?)));
                with.map(|(id, most)| (limiter.intern_tenant(id), most)).collect()
            }
            [Dimension::Credential] => {
                let tariff = |id, tenant| tariffs.credentials.get(id).or_else(|| tariffs.tenants.get(tenant));
                let with = config
                    .credentials
                    .iter()
                    .filter_map(|key| Some((&key.id, number(*tariff(&key.id, &key.tenant)?)?)));
                with.map(|(id, most)| (limiter.intern_credential(id), most)).collect()
            }
            [Dimension::Node] => {
                let with = config.credentials.iter().filter_map(|key| {
                    Some((&key.tenant, key.node.as_ref()?, number(*tariffs.tenants.get(&key.tenant)?)?))
                });
                with.map(|(tenant, node, most)| (limiter.intern_node(tenant, node), most)).collect()
            }
            _ => HashMap::new(),
        };
        limiter.name_quota(limit, others);
    }
}
