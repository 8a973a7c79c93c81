//! The recipe: one function that walks a request's head through every gate, in the one order that
//! compiles. Each step takes what the step before it proved.
//!
//! No socket, no clock, no metric and no server framework is known here.

pub mod abuse;
pub mod explain;
mod issuers;
pub mod policy;
pub mod prices;
pub mod rejection;
pub mod route;

pub use issuers::KeysAt;
pub use policy::{GatewayEntry, Policy, RouteEntry};
pub use rejection::{Answer, Rejection};

use crate::config::checked::{Access, Target};
use crate::identity::address;
use crate::identity::caller::{CallerFault, Carrier, Credential, Recognised, Tenant};
use crate::identity::certificate::Presented;
use crate::identity::lists::Listed;
use crate::identity::path::{self, CleanPath};
use crate::identity::sessions::{Session, Wire};
use crate::limits::{Decision, MethodCode, Prefix, Receipt, RuleSet, Subject, Tick};
use crate::openclaw::surface;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use route::{Found, Params};
use std::net::IpAddr;
use std::sync::Arc;

/// A request's head, borrowed from whatever holds it.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The socket's other end.
    pub peer: IpAddr,
    /// Method.
    pub method: &'a Method,
    /// Host as the client named it; empty without one.
    pub host: &'a str,
    /// Path without query, as it came.
    pub path: &'a str,
    /// All fields.
    pub fields: &'a HeaderMap,
    /// The client's certificate, where an authority stands behind it.
    pub certificate: Option<&'a Presented>,
    /// Over what it came.
    pub wire: Wire,
}

/// The two clocks that gates need.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The limiter's clock.
    pub tick: Tick,
    /// Unix seconds, for expiry.
    pub unix: u64,
}

/// What is known of a request so far; also of one that is refused on the way.
#[derive(Debug, Default)]
pub struct Trail {
    /// Whose address it counts for.
    pub client: Option<IpAddr>,
    /// The list that the address is on.
    pub listed: Option<Listed>,
    /// Seconds for which the address cools down.
    pub cooling: Option<u32>,
    /// Index of its route.
    pub route: Option<usize>,
    /// The key it came with.
    pub credential: Option<Arc<Credential>>,
    /// The session, where it came with one.
    pub session: Option<Arc<Session>>,
    /// Whose request it is.
    pub tenant: Option<Arc<Tenant>>,
    /// Which limits were asked, and what they said.
    pub limits: Option<(Asked, Decision)>,
    /// What the limits get back when the request is over, or when its upstream fails.
    pub receipt: Option<Receipt>,
    /// What it is counted by, where some of its limits are shared with other edges: those are still to be asked.
    pub subject: Option<Subject>,
}

/// Which limits were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// All of the route's.
    Route,
    /// Those of the route's that count by address: the caller was turned away.
    Stranger,
    /// Those for requests that no route takes.
    Unmatched,
}

impl Trail {
    /// The rules that were asked, and what they said.
    #[must_use]
    pub fn limits<'a>(&'a self, policy: &'a Policy) -> Option<(&'a RuleSet, &'a Decision)> {
        let (asked, decision) = self.limits.as_ref()?;
        let rules = match (asked, self.route) {
            (Asked::Route, Some(index)) => &policy.routes[index].priced(self.tariff()).rules,
            (Asked::Stranger, Some(index)) => &policy.routes[index].stranger_rules,
            (Asked::Unmatched, _) | (_, None) => &policy.unmatched_rules,
        };
        Some((rules, decision))
    }

    /// Which numbers the caller's limits have.
    #[must_use]
    pub fn tariff(&self) -> Option<usize> {
        match &self.credential {
            Some(credential) => credential.tariff,
            None => self.tenant.as_ref().and_then(|tenant| tenant.tariff),
        }
    }

    /// Bits of the lists that free the client from limits.
    pub fn freed_by(&self) -> u32 {
        self.listed.map_or(0, Listed::bit)
    }

    /// Keeps a decision.
    ///
    /// # Errors
    /// What a decision that does not admit is refused with.
    fn keep(&mut self, asked: Asked, rules: &RuleSet, decision: Decision) -> Result<(), Rejection> {
        let result = if decision.is_admitted() {
            Ok(())
        } else if decision.is_crowded(rules) {
            Err(Rejection::Crowded)
        } else {
            Err(Rejection::Limited)
        };
        self.limits = Some((asked, decision));
        result
    }
}

/// A head that passed every gate. What its body must still prove, the route says.
#[derive(Debug)]
pub struct Admitted {
    /// Index of the route.
    pub route: usize,
    /// Which field carried the credential.
    pub carrier: Option<Carrier>,
    /// Index of the gateway, where the route leads to one.
    pub gateway: Option<usize>,
}

/// Where the request came from; the path has one reading.
struct Guarded<'a> {
    head: Head<'a>,
    client: IpAddr,
    path: CleanPath,
}

/// Which route takes it.
struct Routed<'a, 'p> {
    guarded: Guarded<'a>,
    index: usize,
    route: &'p RouteEntry,
    params: Params<'a>,
}

impl Routed<'_, '_> {
    /// Whether the caller may use this path and method of a gateway, which takes its secret for its owner's.
    fn surface(&self, credential: &Credential) -> Result<(), Rejection> {
        let Head { path, method, .. } = self.guarded.head;
        let need = surface::place(surface::below(path, self.route.depth), method).need;
        if need.is_none_or(|scope| credential.gateway.has(scope)) { Ok(()) } else { Err(Rejection::Scope) }
    }
}

/// Who calls.
struct Known<'a, 'p> {
    routed: Routed<'a, 'p>,
    caller: Caller,
}

enum Caller {
    Anyone,
    Signer,
    Holder(Arc<Credential>, Carrier),
}

/// The caller may do this.
struct Authorised<'a, 'p> {
    known: Known<'a, 'p>,
    gateway: Option<usize>,
}

impl Policy {
    /// Walks a head through every gate. `trail` is filled on the way, so that a refusal can be told too.
    ///
    /// # Errors
    /// The first gate's [`Rejection`].
    pub fn admit(&self, head: Head<'_>, now: Now, trail: &mut Trail) -> Result<Admitted, Rejection> {
        let guarded = self.guard(head, now, trail)?;
        let routed = self.route(guarded, now, trail)?;
        let route = routed.route;
        let authorised = self
            .authenticate(routed, now, trail)
            .and_then(|known| self.authorise(known, trail))
            .map_err(|refused| self.charge_stranger(route.index, head.method, refused, now, trail))?;
        self.take_limits(authorised, now, trail)
    }

    fn guard<'a>(&self, head: Head<'a>, now: Now, trail: &mut Trail) -> Result<Guarded<'a>, Rejection> {
        // Without proxies that are trusted nobody looks for what they say.
        let client = if self.trusted_proxies.is_empty() {
            head.peer.to_canonical()
        } else {
            let forwarded = head.fields.get_all("x-forwarded-for");
            address::client(head.peer, forwarded.iter(), &self.trusted_proxies)
        };
        trail.client = Some(client);
        trail.listed = self.lists.find(client);
        if let Some(denial) = trail.listed.and_then(Listed::denial) {
            return Err(Rejection::Denied(denial));
        }
        trail.cooling = self.cooling(client, trail.listed, now.tick);
        let path = path::examine(head.path.as_bytes()).map_err(Rejection::Path)?;
        Ok(Guarded { head, client, path })
    }

    fn route<'a, 'p>(
        &'p self,
        guarded: Guarded<'a>,
        now: Now,
        trail: &mut Trail,
    ) -> Result<Routed<'a, 'p>, Rejection> {
        let (method, client) = (guarded.head.method, guarded.client);
        let refused = match self.find(guarded) {
            Ok(routed) => {
                trail.route = Some(routed.index);
                path::slashes(routed.guarded.path, routed.route.encoded_slashes).map_err(Rejection::Path)?;
                return Ok(routed);
            }
            Err(refused) => refused,
        };
        trail.unless_cooling(|| false)?;
        let subject = Subject {
            method: MethodCode::of(method),
            freed_by: trail.freed_by(),
            ..Subject::stranger(client, self.unmatched_number)
        };
        let decision = self.count_stranger(&self.unmatched_rules, &subject, now, trail);
        trail.keep(Asked::Unmatched, &self.unmatched_rules, decision)?;
        Err(refused)
    }

    /// Counts someone who is turned away. Where more limits are to be asked elsewhere, what is counted here can
    /// be given back.
    fn count_stranger(&self, rules: &RuleSet, subject: &Subject, now: Now, trail: &mut Trail) -> Decision {
        if !rules.is_shared() {
            return self.limiter.decide(rules, subject, now.tick);
        }
        let (decision, receipt) = self.limiter.admit(rules, subject, now.tick);
        (trail.receipt, trail.subject) = (receipt, Some(*subject));
        decision
    }

    /// The route that takes a request.
    fn find<'a, 'p>(&'p self, guarded: Guarded<'a>) -> Result<Routed<'a, 'p>, Rejection> {
        let Head { method, host, path, .. } = guarded.head;
        match self.table.find(host, method, path) {
            Found::Route { index, params } => {
                Ok(Routed { guarded, index, route: &self.routes[index], params })
            }
            Found::OtherMethods(methods) => Err(Rejection::Method { allow: allow(&methods) }),
            Found::Nothing => Err(Rejection::NotFound),
        }
    }

    fn authenticate<'a, 'p>(
        &self,
        routed: Routed<'a, 'p>,
        now: Now,
        trail: &mut Trail,
    ) -> Result<Known<'a, 'p>, Rejection> {
        let client = routed.guarded.client;
        let caller = match &routed.route.access {
            Access::Public => {
                trail.unless_cooling(|| false)?;
                Caller::Anyone
            }
            Access::Signature(_) => {
                trail.unless_cooling(|| routed.route.familiar.holds(Prefix::of(client)))?;
                trail.tenant.clone_from(&routed.route.tenant);
                Caller::Signer
            }
            Access::Credential(_) => {
                let head = &routed.guarded.head;
                let known = self.keys.caller(head.fields, head.certificate, (head.wire, now.unix));
                let is_known = |one: &Recognised| self.knows(one.credential.number, client);
                trail.unless_cooling(|| known.as_ref().is_ok_and(is_known))?;
                let Recognised { credential, carrier, session } = known.map_err(Rejection::Caller)?;
                credential.used(now.unix);
                self.remember(credential.number, client);
                trail.tenant = Some(credential.tenant.clone());
                trail.credential = Some(credential.clone());
                trail.session = session;
                Caller::Holder(credential, carrier)
            }
        };
        Ok(Known { routed, caller })
    }

    /// Scopes first: a caller who may not ask for gateways at all does not learn which there are.
    fn authorise<'a, 'p>(
        &self,
        known: Known<'a, 'p>,
        trail: &Trail,
    ) -> Result<Authorised<'a, 'p>, Rejection> {
        if let Caller::Holder(credential, _) = &known.caller
            && !credential.scopes.covers(known.routed.route.scopes)
        {
            return Err(Rejection::Scope);
        }
        let gateway = self.gateway(&known.routed, trail.tenant.as_deref())?;
        if let (Some(_), Caller::Holder(credential, _)) = (gateway, &known.caller) {
            known.routed.surface(credential)?;
        }
        Ok(Authorised { known, gateway })
    }

    /// The gateway that the route leads to, if it is the caller's: another tenant's is not there.
    fn gateway(&self, routed: &Routed<'_, '_>, tenant: Option<&Tenant>) -> Result<Option<usize>, Rejection> {
        let index = match routed.route.target {
            Target::Upstream { .. }
            | Target::Folder(_)
            | Target::MissionControl
            | Target::Sessions
            | Target::Console
            | Target::Outbox => return Ok(None),
            Target::Gateway(index) => Some(index),
            Target::GatewayParam(place) => {
                routed.params.get(place).and_then(|id| self.gateway_ids.get(id)).copied()
            }
        };
        let index = index.ok_or(Rejection::NotFound)?;
        // A public route has no tenant to compare with: the operator opened this gateway to anyone.
        let public = routed.route.access == Access::Public;
        if public || tenant.is_some_and(|tenant| tenant.id == self.gateways[index].tenant) {
            Ok(Some(index))
        } else {
            Err(Rejection::NotFound)
        }
    }

    /// A caller who is turned away before the limits still spends what is counted by address: else keys
    /// could be guessed without end.
    fn charge_stranger(
        &self,
        route: usize,
        method: &Method,
        refused: Rejection,
        now: Now,
        trail: &mut Trail,
    ) -> Rejection {
        let Some(ip) = trail.client else { return refused };
        // It costs nothing more, and is told the same however often it comes.
        if matches!(refused, Rejection::CoolingDown { .. }) {
            return refused;
        }
        let route = &self.routes[route];
        let subject = Subject {
            method: MethodCode::of(method),
            freed_by: trail.freed_by(),
            ..Subject::stranger(ip, route.number)
        };
        let decision = self.count_stranger(&route.stranger_rules, &subject, now, trail);
        trail.keep(Asked::Stranger, &route.stranger_rules, decision).err().unwrap_or(refused)
    }

    /// What the limits count by of a field.
    fn value(&self, fields: &HeaderMap, name: &HeaderName) -> u64 {
        self.limiter.value_of(fields.get_all(name).iter().map(HeaderValue::as_bytes))
    }

    fn take_limits(
        &self,
        authorised: Authorised<'_, '_>,
        now: Now,
        trail: &mut Trail,
    ) -> Result<Admitted, Rejection> {
        let Authorised { known: Known { routed, caller }, gateway } = authorised;
        let (credential, carrier) = match &caller {
            Caller::Anyone | Caller::Signer => (None, None),
            Caller::Holder(credential, carrier) => (Some(credential.number), Some(*carrier)),
        };
        let route = routed.route;
        let rules = &route.priced(trail.tariff()).rules;
        let subject = Subject {
            ip: routed.guarded.client,
            credential,
            node: trail.credential.as_ref().and_then(|credential| credential.node_number),
            tenant: trail.tenant.as_ref().map(|tenant| tenant.number),
            route: route.number,
            method: MethodCode::of(routed.guarded.head.method),
            freed_by: trail.freed_by(),
            value: rules.header().map_or(0, |name| self.value(routed.guarded.head.fields, name)),
            body: if rules.counts_bytes() { body(routed.guarded.head.fields, route.body_max) } else { 0 },
        };
        let (decision, receipt) = self.limiter.admit(rules, &subject, now.tick);
        trail.receipt = receipt;
        trail.subject = rules.is_shared().then_some(subject);
        trail.keep(Asked::Route, rules, decision)?;
        Ok(Admitted { route: routed.index, carrier, gateway })
    }
}

/// Bytes of the body, before it comes: one without a length may become as long as the route lets it.
fn body(fields: &HeaderMap, most: usize) -> u32 {
    let declared = fields.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes = match declared {
        Some(bytes) => bytes,
        None if fields.contains_key(header::TRANSFER_ENCODING) => most,
        None => 0,
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn allow(methods: &[Method]) -> String {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

/// Whether the log should call this an attempt on a key rather than a request without one.
#[must_use]
pub fn is_key_guess(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::Caller(
            CallerFault::Unknown | CallerFault::TooEarly | CallerFault::Expired | CallerFault::Token(_)
        )
    )
}
