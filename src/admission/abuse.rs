//! Those who misbehave: when a request is refused because its address cools down, and who goes on all the same.
//!
//! While an address cools down, everything from it is refused but what someone vouches for: a credential, or a
//! signer of this route, that was known from there before. So a guesser does not lock out those who share the
//! address, and a right guess during the pause looks like any other.

use super::{Policy, Rejection, Trail};
use crate::config::checked::{self, Verdict};
use crate::identity::lists::Listed;
use crate::limits::{BudgetTerms, CoolDown, Familiar, Limiter, Prefix, Strike, StrikeTerms, Tick};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// What a policy says of those who misbehave.
pub struct Abuse {
    spare: Vec<IpNet>,
    strikes: Option<StrikeTerms>,
    budgets: BudgetTerms,
    /// From where each credential was known, by its number.
    familiar: Vec<Arc<Familiar>>,
}

impl Abuse {
    pub(super) fn new(config: &checked::Config, limiter: &Limiter) -> Self {
        let abuse = &config.abuse;
        let terms = |strikes: checked::Strikes| {
            StrikeTerms::new(strikes.limit, strikes.per, strikes.pause, strikes.longest)
        };
        let numbers = config.credentials.iter().map(|key| limiter.intern_credential(&key.id));
        let most = numbers.max().map_or(0, |most| most + 1);
        Self {
            spare: abuse.spare.clone(),
            strikes: abuse.strikes.map(terms),
            budgets: BudgetTerms {
                half_open: abuse.half_open,
                head_bytes: abuse.head_bytes,
                head_time: abuse.head_time,
                body_bytes: abuse.body_bytes,
            },
            familiar: (0..most).map(|number| limiter.familiar_credential(number)).collect(),
        }
    }
}

impl Policy {
    /// What a client may hold before anyone is known; none where it is spared.
    #[must_use]
    pub fn budgets(&self, client: IpAddr) -> Option<BudgetTerms> {
        (!self.spares(client, self.lists.find(client.to_canonical()))).then_some(self.abuse.budgets)
    }

    /// Whether strikes and budgets leave a client alone: a trusted proxy, a spared network, a list that lets in.
    fn spares(&self, client: IpAddr, listed: Option<Listed>) -> bool {
        let client = client.to_canonical();
        listed.is_some_and(|listed| listed.verdict == Verdict::Allow)
            || self.abuse.spare.iter().any(|network| network.contains(&client))
            || self.trusts(client)
    }

    /// Counts a strike of a client; the pause that it leads to, if it does.
    pub fn strike(&self, client: IpAddr, why: Strike, now: Tick) -> Option<CoolDown> {
        let terms = self.abuse.strikes.as_ref()?;
        if self.spares(client, self.lists.find(client.to_canonical())) {
            return None;
        }
        self.limiter.strikes().strike(Prefix::of(client), why, terms, now)
    }

    /// Seconds for which a client has to wait, if it cools down.
    #[inline]
    pub(super) fn cooling(&self, client: IpAddr, listed: Option<Listed>, now: Tick) -> Option<u32> {
        self.abuse.strikes.as_ref()?;
        let seconds = self.limiter.strikes().cooling(Prefix::of(client), now)?;
        (!self.spares(client, listed)).then_some(seconds)
    }

    /// Whether a credential was known from there before.
    pub(super) fn knows(&self, credential: u32, client: IpAddr) -> bool {
        let familiar = self.abuse.familiar.get(credential as usize);
        familiar.is_some_and(|familiar| familiar.holds(Prefix::of(client)))
    }

    /// Remembers from where a credential is known.
    #[inline]
    pub(super) fn remember(&self, credential: u32, client: IpAddr) {
        if let (Some(familiar), Some(_)) =
            (self.abuse.familiar.get(credential as usize), self.abuse.strikes.as_ref())
        {
            familiar.note(Prefix::of(client));
        }
    }

    /// Remembers from where signers of a route are known.
    pub fn remember_signer(&self, route: usize, client: IpAddr) {
        if self.abuse.strikes.is_some() {
            self.routes[route].familiar.note(Prefix::of(client));
        }
    }
}

impl Trail {
    /// The refusal of a client that cools down, unless someone vouches for it.
    pub(super) fn unless_cooling(&self, vouched: impl FnOnce() -> bool) -> Result<(), Rejection> {
        match self.cooling {
            Some(ends_in_secs) if !vouched() => Err(Rejection::CoolingDown { ends_in_secs }),
            Some(_) | None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Abuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (spare, strikes, budgets) = (&self.spare, &self.strikes, &self.budgets);
        f.debug_struct("Abuse")
            .field("spare", spare)
            .field("strikes", strikes)
            .field("budgets", budgets)
            .finish_non_exhaustive()
    }
}
