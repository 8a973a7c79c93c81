//! What would become of a request, said in advance: route, caller, and how each limit stands. Spends
//! nothing, and knows callers by the names of their credentials, never by keys.

use super::{Asked, Guarded, Head, Now, Policy, Rejection, Routed};
use crate::config::checked::Access;
use crate::identity::caller::{Credential, Tenant};
use crate::identity::lists::Listed;
use crate::identity::path;
use crate::identity::sessions::Wire;
use crate::ids::CredentialId;
use crate::limits::shared::{Line, Who};
use crate::limits::{Decision, MethodCode, Prefix, RuleSet, Standing, Subject, Tick};
use http::{HeaderMap, Method};
use std::net::IpAddr;
use std::sync::Arc;

/// A request as someone describes it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Method.
    pub method: &'a Method,
    /// Host; empty without one.
    pub host: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// Whose address it counts for.
    pub client: IpAddr,
    /// The credential's name, where the request has one.
    pub credential: Option<&'a str>,
    /// Bytes of the body.
    pub body: u32,
    /// The value of the field that the limits count by.
    pub value: Option<&'a str>,
}

/// What would become of it.
#[derive(Debug)]
pub struct Explained<'p> {
    /// Index of the route.
    pub route: Option<usize>,
    /// The caller.
    pub credential: Option<Arc<Credential>>,
    /// Whose request it would be.
    pub tenant: Option<Arc<Tenant>>,
    /// Which of the route's limits would be asked.
    pub asked: Asked,
    /// The limits that would be asked.
    pub rules: &'p RuleSet,
    /// What they would say. Of those that several edges share it is not known here: see [`Self::join`].
    pub decision: Decision,
    /// Why it would be refused, if it would.
    pub refusal: Option<Rejection>,
    /// What it is counted by.
    pub subject: Subject,
    /// What the limits that are counted here would say.
    local: Decision,
    /// Why it would be refused whatever the limits say.
    turned_away: Option<Rejection>,
}

impl<'p> Explained<'p> {
    fn new(
        (asked, rules): (Asked, &'p RuleSet),
        subject: Subject,
        local: Decision,
        turned_away: Option<Rejection>,
    ) -> Self {
        let refusal = if local.is_admitted() { turned_away.clone() } else { Some(limited(rules, &local)) };
        Self {
            route: None,
            credential: None,
            tenant: None,
            asked,
            rules,
            decision: local,
            refusal,
            subject,
            local,
            turned_away,
        }
    }

    /// Who is counted, in names.
    #[must_use]
    pub fn who<'a>(&'a self, policy: &'a Policy) -> Who<'a> {
        let known = self.asked == Asked::Route;
        let credential = self.credential.as_deref().filter(|_| known);
        Who {
            ip: self.subject.ip,
            method: self.subject.method,
            tenant: self.tenant.as_ref().filter(|_| known).map(|tenant| &tenant.id),
            credential: credential.map(|credential| &credential.id),
            node: credential.and_then(|credential| credential.node.as_ref()),
            route: self.route.map(|index| &policy.routes[index].name),
        }
    }

    /// Puts in how the limits stand that several edges share.
    pub fn join(&mut self, standings: &[Standing]) {
        self.decision = self.local.joined(self.rules, standings);
        let admitted = self.decision.is_admitted();
        let refused = || Some(limited(self.rules, &self.decision));
        self.refusal = if admitted { self.turned_away.clone() } else { refused() };
    }

    /// Puts in what this edge decides alone while the others' counts cannot be asked.
    pub fn alone(&mut self, policy: &Policy, now: Tick) {
        if self.rules.closes(&self.who(policy), &self.subject) {
            self.decision = self.local;
            self.refusal = Some(Rejection::LimitsUnreachable);
            return;
        }
        let Some((rules, places)) = self.rules.alone() else { return };
        let decision = policy.limiter.look(rules, &self.subject, now);
        let standings = decision.standings().as_slice().iter();
        let standings: Vec<Standing> =
            standings.map(|one| Standing { rule: places[one.rule], ..*one }).collect();
        self.join(&standings);
    }

    /// Shared limits as nobody had used them yet.
    fn untouched(mut self, policy: &Policy) -> Self {
        if self.rules.is_shared() {
            let lines = self.rules.lines("", &self.who(policy), &self.subject);
            let standings: Vec<Standing> = lines.iter().map(Line::untouched).collect();
            self.join(&standings);
        }
        self
    }
}

impl Policy {
    /// Says what would become of a request.
    ///
    /// # Errors
    /// [`Rejection`] where no limit would be asked: its address is kept out or cools down, or its path has no single reading.
    pub fn explain(&self, question: &Question<'_>, now: Now) -> Result<Explained<'_>, Rejection> {
        let fields = HeaderMap::new();
        let head = Head {
            peer: question.client,
            method: question.method,
            host: question.host,
            path: question.path,
            fields: &fields,
            certificate: None,
            wire: Wire::Clear,
        };
        let client = question.client.to_canonical();
        if let Some(denial) = self.lists.find(client).and_then(Listed::denial) {
            return Err(Rejection::Denied(denial));
        }
        let path = path::examine(head.path.as_bytes()).map_err(Rejection::Path)?;
        let guarded = Guarded { head, client, path };
        let routed = match self.find(guarded) {
            Ok(routed) => routed,
            Err(refused) => return Ok(self.unmatched(question, refused, now)),
        };
        path::slashes(routed.guarded.path, routed.route.encoded_slashes).map_err(Rejection::Path)?;
        let credential =
            question.credential.and_then(|id| self.named.get(&CredentialId::parse(id).ok()?).cloned());
        let tenant = match &routed.route.access {
            Access::Public => None,
            Access::Signature(_) => routed.route.tenant.clone(),
            Access::Credential(_) => credential.as_ref().map(|credential| credential.tenant.clone()),
        };
        let vouched = match &routed.route.access {
            Access::Public => false,
            Access::Signature(_) => routed.route.familiar.holds(Prefix::of(client)),
            Access::Credential(_) => credential.as_ref().is_some_and(|one| self.knows(one.number, client)),
        };
        match self.cooling(client, self.lists.find(client), now.tick) {
            Some(ends_in_secs) if !vouched => Err(Rejection::CoolingDown { ends_in_secs }),
            Some(_) | None => Ok(self.matched(question, &routed, credential, tenant, now)),
        }
    }

    fn unmatched(&self, question: &Question<'_>, refused: Rejection, now: Now) -> Explained<'_> {
        let subject = Subject {
            method: MethodCode::of(question.method),
            freed_by: self.freed_by(question),
            ..Subject::stranger(question.client, self.unmatched_number)
        };
        let decision = self.limiter.look(&self.unmatched_rules, &subject, now.tick);
        let asked = (Asked::Unmatched, &self.unmatched_rules);
        Explained::new(asked, subject, decision, Some(refused)).untouched(self)
    }

    fn freed_by(&self, question: &Question<'_>) -> u32 {
        self.lists.find(question.client.to_canonical()).map_or(0, Listed::bit)
    }

    fn matched<'p>(
        &'p self,
        question: &Question<'_>,
        routed: &Routed<'_, 'p>,
        credential: Option<Arc<Credential>>,
        tenant: Option<Arc<Tenant>>,
        now: Now,
    ) -> Explained<'p> {
        let route = routed.route;
        let refused = match (&route.access, &credential) {
            (Access::Credential(_), None) => {
                let why = match question.credential {
                    Some(_) => crate::identity::caller::CallerFault::Unknown,
                    None => crate::identity::caller::CallerFault::Missing,
                };
                Some(Rejection::Caller(why))
            }
            (Access::Credential(_), Some(known)) if known.begins.is_some_and(|begin| now.unix < begin) => {
                Some(Rejection::Caller(crate::identity::caller::CallerFault::TooEarly))
            }
            (Access::Credential(_), Some(known)) if known.expires.is_some_and(|end| end <= now.unix) => {
                Some(Rejection::Caller(crate::identity::caller::CallerFault::Expired))
            }
            (Access::Credential(_), Some(known)) if !known.scopes.covers(route.scopes) => {
                Some(Rejection::Scope)
            }
            (Access::Credential(_) | Access::Public | Access::Signature(_), _) => {
                let gateway = self.gateway(routed, tenant.as_deref());
                let may = match (&gateway, &credential) {
                    (Ok(Some(_)), Some(credential)) if route.access != Access::Public => {
                        routed.surface(credential)
                    }
                    (Ok(_) | Err(_), _) => Ok(()),
                };
                gateway.and(may).err()
            }
        };
        let tariff = match &credential {
            Some(credential) => credential.tariff,
            None => tenant.as_ref().and_then(|tenant| tenant.tariff),
        };
        let (asked, rules, caller) = match refused {
            Some(_) => (Asked::Stranger, &route.stranger_rules, None),
            None => (Asked::Route, &route.priced(tariff).rules, credential.as_ref()),
        };
        let subject = Subject {
            credential: caller.map(|credential| credential.number),
            node: caller.and_then(|credential| credential.node_number),
            tenant: tenant.as_ref().map(|tenant| tenant.number),
            method: MethodCode::of(question.method),
            body: question.body,
            value: self.limiter.value_of(question.value.map(str::as_bytes).into_iter()),
            freed_by: self.freed_by(question),
            ..Subject::stranger(question.client, route.number)
        };
        let decision = self.limiter.look(rules, &subject, now.tick);
        let explained = Explained::new((asked, rules), subject, decision, refused);
        Explained { route: Some(routed.index), credential, tenant, ..explained }.untouched(self)
    }
}

fn limited(rules: &RuleSet, decision: &Decision) -> Rejection {
    if decision.is_crowded(rules) { Rejection::Crowded } else { Rejection::Limited }
}
