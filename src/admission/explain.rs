//! What would become of a request, said in advance: route, caller, and how each limit stands. Spends
//! nothing, and knows callers by the names of their credentials, never by keys.

use super::{Asked, Guarded, Head, Now, Policy, Rejection, Routed};
use crate::config::checked::Access;
use crate::identity::caller::{Credential, Tenant};
use crate::identity::lists::Listed;
use crate::identity::path;
use crate::ids::CredentialId;
use crate::limits::{Decision, MethodCode, Prefix, RuleSet, Subject};
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
    /// What they would say.
    pub decision: Decision,
    /// Why it would be refused, if it would.
    pub refusal: Option<Rejection>,
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
        Explained {
            route: None,
            credential: None,
            tenant: None,
            asked: Asked::Unmatched,
            rules: &self.unmatched_rules,
            refusal: Some(if decision.is_admitted() {
                refused
            } else {
                limited(&self.unmatched_rules, &decision)
            }),
            decision,
        }
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
        let refusal = if decision.is_admitted() { refused } else { Some(limited(rules, &decision)) };
        Explained { route: Some(routed.index), credential, tenant, asked, rules, decision, refusal }
    }
}

fn limited(rules: &RuleSet, decision: &Decision) -> Rejection {
    if decision.is_crowded(rules) { Rejection::Crowded } else { Rejection::Limited }
}
