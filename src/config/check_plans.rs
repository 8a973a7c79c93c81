//! Who has other numbers of limits: tenants by their plan, credentials by their own.
//!
//! A number takes the place of the limit's own; what is counted, and over which span, stays the limit's.
//! What a tariff costs to decide by is not known here.

use super::check_limits::{Limits, pace, positive};
use super::checked::{Cost, Limit, LimitKind, Tariff, Tariffs};
use super::checker::{Checker, Known};
use super::raw::{self, Number};
use super::tree::{Document, Spot};
use crate::ids::{CredentialId, Name, TenantId};
use std::collections::{BTreeMap, HashMap};

pub(super) fn check(
    raw: &raw::Config,
    document: &Document,
    limits: &Limits<'_>,
    checker: &mut Checker,
) -> Tariffs {
    let top = document.top();
    let mut tariffs = Tariffs::default();
    let mut plans = HashMap::new();
    for (name, plan) in &raw.plans {
        let spot = top.key("plans").key(name);
        if let Err(error) = Name::parse(name) {
            checker.problem(top.key("plans").key_at(name), format!("the plan's name {error}"));
        }
        plans.insert(name.as_str(), tariffs.all.len());
        tariffs.all.push(tariff(&plan.limits, spot.key("limits"), limits, checker));
    }
    tenants(raw, document, &plans, &mut tariffs, checker);
    for (index, one) in raw.credentials.iter().enumerate().filter(|(_, one)| !one.limits.is_empty()) {
        let spot = top.key("credentials").item(index).key("limits");
        let own = tariff(&one.limits, spot, limits, checker);
        // What is wrong with their names was told where they are checked.
        let (Ok(id), Ok(tenant)) = (CredentialId::parse(&one.id), TenantId::parse(&one.tenant)) else {
            continue;
        };
        let mut whole =
            tariffs.tenants.get(&tenant).map(|&plan| tariffs.all[plan].clone()).unwrap_or_default();
        whole.0.extend(own.0);
        tariffs.credentials.insert(id, tariffs.all.len());
        tariffs.all.push(whole);
    }
    tariffs
}

fn tenants(
    raw: &raw::Config,
    document: &Document,
    plans: &HashMap<&str, usize>,
    tariffs: &mut Tariffs,
    checker: &mut Checker,
) {
    let known = Known {
        names: raw.plans.keys().map(String::as_str).collect(),
        broken: document.written().key("plans").keys().collect(),
    };
    let mut used = Vec::new();
    for (name, tenant) in &raw.tenants {
        let Some(plan) = &tenant.plan else { continue };
        let spot = document.top().key("tenants").key(name).key("plan");
        used.push(plan.as_str());
        let there = checker.known(spot, "plan", plan, &known).and_then(|()| plans.get(plan.as_str()));
        if let (Some(&index), Ok(tenant)) = (there, TenantId::parse(name)) {
            tariffs.tenants.insert(tenant, index);
        }
    }
    for plan in raw.plans.keys().filter(|plan| !used.contains(&plan.as_str())) {
        let at = document.top().key("plans").key_at(plan);
        checker.warn(at, format!("no tenant is on the plan `{plan}`"));
    }
}

fn tariff(
    numbers: &BTreeMap<String, Number>,
    spot: Spot<'_>,
    limits: &Limits<'_>,
    checker: &mut Checker,
) -> Tariff {
    let mut tariff = Tariff::default();
    for (name, number) in numbers {
        if checker.known(spot.key(name), "limit", name, &limits.known).is_none() {
            continue;
        }
        let found = limits.all.iter().position(|limit| limit.name.as_str() == name);
        let Some(index) = found else { continue };
        if let Some(limit) = with_number(&limits.all[index], number, spot.key(name), checker) {
            tariff.0.insert(index, limit);
        }
    }
    tariff
}

/// The limit with another number.
fn with_number(limit: &Limit, number: &Number, spot: Spot<'_>, checker: &mut Checker) -> Option<Limit> {
    let changed = match (number, limit.kind) {
        (Number::Limit(most), LimitKind::Window | LimitKind::Quota | LimitKind::Concurrency) => {
            positive(*most, spot, checker);
            Limit { limit: *most, ..limit.clone() }
        }
        (Number::Rate(rate), LimitKind::Rate { .. }) => {
            let amount = pace(rate, spot, checker)?;
            Limit { kind: amount.kind, limit: amount.limit, per: amount.per, ..limit.clone() }
        }
        (Number::Limit(_), LimitKind::Rate { .. }) => {
            let hint = "`{ per_second: 20, burst: 40 }`";
            checker.hinted(spot.at, "this limit is a rate, which is two numbers", hint);
            return None;
        }
        (Number::Rate(_), LimitKind::Window | LimitKind::Quota | LimitKind::Concurrency) => {
            checker.hinted(spot.at, "this limit is no rate", "write one number, such as `600`");
            return None;
        }
    };
    if changed.limit > 0 && dearest(&changed.cost) > changed.limit {
        checker.problem(spot.at, "one request would cost more than the limit lets through");
    }
    Some(changed)
}

/// Most that one request is said to cost.
fn dearest(cost: &Cost) -> u32 {
    match cost {
        Cost::Requests(n) => *n,
        Cost::Methods { weights, calls, other } => {
            let weights = weights.iter().map(|(_, weight)| *weight);
            weights.chain(calls.iter().map(|(_, weight)| *weight)).max().unwrap_or(0).max(*other)
        }
        Cost::BodyBytes => 0,
    }
}
