//! The gate after admission: what of a request's limits several edges count together. Local limits were taken
//! before, since they cost nothing to ask; what is refused here is given back to them.

use super::take::{self, Request, Taken, Verdict};
use crate::admission::{Admitted, Asked, Rejection};
use crate::edge::exchange::Exchange;
use crate::edge::live::{Live, Site};
use crate::limits::Subject;
use crate::limits::shared::Who;

/// Takes the shared limits of a request that passed all gates, or was turned away at one. Nothing is asked for a
/// request that a local limit has refused.
pub(in crate::edge) async fn pass(
    site: &Site,
    live: &Live,
    exchange: &mut Exchange,
    passed: Result<Admitted, Rejection>,
) -> Result<Admitted, Rejection> {
    let Some(subject) = exchange.trail.subject.take() else { return passed };
    let Some((asked, decision)) = exchange.trail.limits else { return passed };
    let Some((rules, _)) = exchange.trail.limits(&live.policy) else { return passed };
    if !decision.is_admitted() {
        return passed;
    }
    let who = who(live, exchange, asked, &subject);
    let request = Request { rules, who, subject, now: site.tick(exchange.started) };
    let Taken { verdict, is_admitted, standings, spent } = match &site.shared {
        Some(shared) => shared.take(&request).await,
        // The server was added to the config by a reload, and comes into force with the next start.
        None => take::without_server(&site.limiter, &request),
    };
    let decision = decision.joined(rules, &standings);
    let refusal = if decision.is_crowded(rules) { Rejection::Crowded } else { Rejection::Limited };
    exchange.trail.limits = Some((asked, decision));
    match (verdict, is_admitted) {
        (Verdict::Asked, true) => {
            exchange.shared = spent;
            passed
        }
        (Verdict::Asked, false) => {
            undo(exchange);
            Err(refusal)
        }
        (Verdict::Closed, _) => {
            undo(exchange);
            Err(Rejection::LimitsUnreachable)
        }
    }
}

fn undo(exchange: &mut Exchange) {
    if let Some(receipt) = exchange.trail.receipt.take() {
        receipt.undo();
    }
}

/// Who is counted, in names. Of a caller who was turned away only the address counts, and nothing is said of
/// tenant and credential.
fn who<'a>(live: &'a Live, exchange: &'a Exchange, asked: Asked, subject: &Subject) -> Who<'a> {
    let trail = &exchange.trail;
    let known = asked == Asked::Route;
    let credential = trail.credential.as_deref().filter(|_| known);
    Who {
        ip: subject.ip,
        method: subject.method,
        tenant: trail.tenant.as_ref().filter(|_| known).map(|tenant| &tenant.id),
        credential: credential.map(|credential| &credential.id),
        node: credential.and_then(|credential| credential.node.as_ref()),
        route: match asked {
            Asked::Route | Asked::Stranger => trail.route.map(|index| &live.policy.routes[index].name),
            Asked::Unmatched => None,
        },
    }
}
