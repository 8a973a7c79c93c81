//! How shared counts stand, for those who ask why: nothing is spent, and nothing is waited for beyond the
//! deadline.

use super::Shared;
use super::entry::Entry;
use crate::admission::Policy;
use crate::admission::explain::Explained;
use crate::admission::policy::Owner;
use crate::edge::live::Site;
use crate::limits::shared::{Line, Who, standing};
use crate::limits::{QuotaStanding, RuleSet, Standing, Tick};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Keys in one question.
const SOME: usize = 64;

impl Shared {
    /// How these stand now; none while nobody answers.
    async fn look(&self, lines: &[Line<'_>]) -> Option<Vec<Standing>> {
        let link = self.link.load_full()?;
        let mut standings = Vec::with_capacity(lines.len());
        for some in lines.chunks(SOME) {
            let entries: Vec<Entry> = some.iter().map(|line| Entry::of(line, 0)).collect();
            match self.ask(&link, "look", &entries).await {
                Ok(answers) => standings.extend(
                    some.iter()
                        .zip(answers)
                        .map(|(line, answer)| standing(line, answer.room, answer.until, answer.short)),
                ),
                Err(error) => {
                    self.broke(&link, &error);
                    return None;
                }
            }
        }
        Some(standings)
    }
}

/// Puts into an explanation how the shared limits stand, or what this edge would decide alone.
pub(in crate::edge) async fn explained(
    site: &Site,
    policy: &Policy,
    explained: &mut Explained<'_>,
    now: Tick,
) {
    if !explained.rules.is_shared() {
        return;
    }
    let standings = match &site.shared {
        Some(shared) => {
            let who = explained.who(policy);
            let lines = explained.rules.lines(&shared.server.prefix, &who, &explained.subject);
            shared.look(&lines).await
        }
        None => None,
    };
    match standings {
        Some(standings) => explained.join(&standings),
        None => explained.alone(policy, now),
    }
}

/// How the shared quotas stand: all, or a caller's own. Of those that nobody knows now, what this edge may let
/// through alone.
pub(in crate::edge) async fn quotas(
    site: &Site,
    policy: &Policy,
    owners: Vec<QuotaStanding>,
) -> Vec<(QuotaStanding, bool)> {
    let (shared_ones, own): (Vec<_>, Vec<_>) = owners.into_iter().partition(|one| one.is_shared);
    let mut told: Vec<(QuotaStanding, bool)> = own.into_iter().map(|one| (one, true)).collect();
    let known = shared_quotas(site, policy, &shared_ones).await;
    for (nth, mut one) in shared_ones.into_iter().enumerate() {
        match known.as_ref().and_then(|known| known.iter().find(|(place, ..)| *place == nth)) {
            Some((_, limit, standing)) => {
                (one.limit, one.remaining) = (*limit, standing.remaining);
                one.more_in_secs = standing.effective_secs;
                told.push((one, true));
            }
            None => told.push((one, false)),
        }
    }
    told.retain(|(one, _)| one.remaining < one.limit);
    told.sort_by(|(one, _), (other, _)| (&one.quota, &one.of).cmp(&(&other.quota, &other.of)));
    told
}

/// Place among `owners`, limit and standing of each that is still in the config.
async fn shared_quotas(
    site: &Site,
    policy: &Policy,
    owners: &[QuotaStanding],
) -> Option<Vec<(usize, u32, Standing)>> {
    let shared: &Arc<Shared> = site.shared.as_ref()?;
    let mut lines = Vec::new();
    let mut places = Vec::new();
    for (nth, owner) in owners.iter().enumerate() {
        let Some(named) = policy.owner(owner.by, &owner.of) else { continue };
        let rules = policy.routes.iter().map(|route| &route.priced(named.tariff).rules);
        let found =
            rules.filter(|rules| rules.is_shared()).find_map(|rules| line(shared, rules, owner, &named));
        if let Some(line) = found {
            lines.push(line);
            places.push(nth);
        }
    }
    let standings = shared.look(&lines).await?;
    let told = places.into_iter().zip(&lines).zip(standings);
    Some(told.map(|((nth, line), standing)| (nth, line.rule.limit(), standing)).collect())
}

fn line<'p>(shared: &Shared, rules: &'p RuleSet, owner: &QuotaStanding, named: &Owner) -> Option<Line<'p>> {
    let who = Who {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        method: crate::limits::MethodCode::default(),
        tenant: named.tenant.as_ref(),
        credential: named.credential.as_ref(),
        node: named.node.as_ref(),
        route: named.route.as_ref(),
    };
    let lines = rules.quota_lines(&shared.server.prefix, &who);
    lines.into_iter().find(|line| *line.rule.name() == owner.quota)
}
