//! What one request counts for: a number, a weight for its method, or the bytes of its body.

use crate::config::checked::Cost;
use crate::openclaw::methods;
use http::Method;
use std::sync::Arc;

/// Which method, as a number: those that HTTP defines, and all others together; behind them those of
/// calls to a gateway, and all that its table does not know together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MethodCode(u16);

impl MethodCode {
    const OTHER: u16 = 9;
    const OTHER_CALL: u16 = 10;
    const FIRST_CALL: u16 = 11;

    /// The number of a call's method.
    #[must_use]
    pub fn of_call(method: Option<methods::Method>) -> Self {
        Self(method.map_or(Self::OTHER_CALL, |method| Self::FIRST_CALL.saturating_add(method.number)))
    }

    /// The number of a method.
    #[must_use]
    pub fn of(method: &Method) -> Self {
        Self(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            Method::PATCH => 5,
            Method::OPTIONS => 6,
            Method::CONNECT => 7,
            Method::TRACE => 8,
            _ => Self::OTHER,
        })
    }

    pub(super) const fn number(self) -> u16 {
        self.0
    }
}

/// A cost, ready to be asked.
#[derive(Debug, Clone)]
pub(super) enum Price {
    Flat(u32),
    /// By the method's number; one beyond it counts as the last.
    ByMethod(Arc<[u32]>),
    Body,
}

impl Price {
    pub(super) fn of(cost: &Cost) -> Self {
        match cost {
            Cost::Requests(n) => Self::Flat(*n),
            Cost::BodyBytes => Self::Body,
            Cost::Methods { weights, calls, other } => {
                let all = usize::from(MethodCode::FIRST_CALL) + methods::COUNT;
                let mut table = vec![*other; if calls.is_empty() { 10 } else { all }];
                let weights = weights.iter().map(|(method, weight)| (MethodCode::of(method), weight));
                let calls = calls.iter().map(|(method, weight)| (MethodCode::of_call(Some(*method)), weight));
                for (code, weight) in weights.chain(calls) {
                    if let Some(place) = table.get_mut(usize::from(code.0)) {
                        *place = *weight;
                    }
                }
                // The last place stays `other`'s.
                table.push(*other);
                Self::ByMethod(table.into())
            }
        }
    }

    /// What a request costs; nothing where the rule lets it pass uncounted.
    #[inline]
    pub(super) fn price(&self, method: MethodCode, body: u32) -> u32 {
        match self {
            Self::Flat(n) => *n,
            Self::ByMethod(table) => table[usize::from(method.0).min(table.len() - 1)],
            Self::Body => body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_weights_and_the_rest_another() {
        let weights = vec![(Method::GET, 0), (Method::POST, 5)];
        let calls = vec![(methods::find("chat.send").expect("a method"), 7)];
        let price = Price::of(&Cost::Methods { weights: weights.clone(), calls, other: 2 });
        let call = |name: &str| price.price(MethodCode::of_call(methods::find(name)), 9);
        assert_eq!([call("chat.send"), call("status"), call("a.plugins")], [7, 2, 2]);
        let price = Price::of(&Cost::Methods { weights, calls: vec![], other: 2 });
        assert_eq!(price.price(MethodCode::of_call(methods::find("chat.send")), 9), 2);
        let of = |method: &Method| price.price(MethodCode::of(method), 9);
        let purge = Method::from_bytes(b"PURGE").expect("a method");
        assert_eq!([of(&Method::GET), of(&Method::POST), of(&Method::PUT), of(&purge)], [0, 5, 2, 2]);
        assert_eq!(Price::of(&Cost::BodyBytes).price(MethodCode::default(), 700), 700);
        assert_eq!(Price::of(&Cost::Requests(3)).price(MethodCode::default(), 700), 3);
    }
}
