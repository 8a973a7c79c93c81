//! What one request counts for: a number, a weight for its method, or the bytes of its body.

use crate::config::checked::Cost;
use http::Method;

/// Which method, as a number: those that HTTP defines, and all others together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MethodCode(u8);

impl MethodCode {
    const OTHER: u8 = 9;

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

    pub(super) const fn number(self) -> u8 {
        self.0
    }
}

/// A cost, ready to be asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Price {
    Flat(u32),
    ByMethod([u32; 10]),
    Body,
}

impl Price {
    pub(super) fn of(cost: &Cost) -> Self {
        match cost {
            Cost::Requests(n) => Self::Flat(*n),
            Cost::BodyBytes => Self::Body,
            Cost::Methods { weights, other } => {
                let mut table = [*other; 10];
                for (method, weight) in weights {
                    table[usize::from(MethodCode::of(method).0)] = *weight;
                }
                Self::ByMethod(table)
            }
        }
    }

    /// What a request costs; nothing where the rule lets it pass uncounted.
    #[inline]
    pub(super) fn price(&self, method: MethodCode, body: u32) -> u32 {
        match self {
            Self::Flat(n) => *n,
            Self::ByMethod(table) => table[usize::from(method.0)],
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
        let price = Price::of(&Cost::Methods { weights, other: 2 });
        let of = |method: &Method| price.price(MethodCode::of(method), 9);
        let purge = Method::from_bytes(b"PURGE").expect("a method");
        assert_eq!([of(&Method::GET), of(&Method::POST), of(&Method::PUT), of(&purge)], [0, 5, 2, 2]);
        assert_eq!(Price::of(&Cost::BodyBytes).price(MethodCode::default(), 700), 700);
        assert_eq!(Price::of(&Cost::Requests(3)).price(MethodCode::default(), 700), 3);
    }
}
