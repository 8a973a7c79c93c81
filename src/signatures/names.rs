//! Member names: their order in ECMAScript, which of them count as array indexes, which are the same.
//!
//! A name is held decoded, as UTF-8 in which a lone surrogate takes the three bytes that UTF-8 would give
//! it if it could ("generalised UTF-8"). Two names are the same exactly when these bytes are. This file
//! knows nothing of values.

use crate::config::checked::Canonical;
use std::cmp::Ordering;
use std::ops::Range;

/// Up to this many members are compared with each other as they come; beyond, sorting finds doubles.
pub(super) const COMPARED_ONE_BY_ONE: usize = 16;

/// What orders a name that is no array index behind all that are: the largest index is one less.
pub(super) const NO_INDEX: u32 = u32::MAX;

/// A piece of text that lies either in the body as it came, or decoded beside it.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// In the body.
    Body(Range<usize>),
    /// Among the decoded texts.
    Decoded(Range<usize>),
}

impl Piece {
    /// The bytes.
    pub(super) fn bytes<'a>(&self, body: &'a str, decoded: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Body(range) => &body.as_bytes()[range.clone()],
            Self::Decoded(range) => &decoded[range.clone()],
        }
    }
}

/// One member of an object that is being read.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The decoded name.
    pub(super) name: Piece,
    /// [`hint`] of the name, so that most comparisons never leave this struct.
    pub(super) hint: u64,
    /// The array index that the name spells, or [`NO_INDEX`].
    pub(super) index: u32,
    /// Where `"name":value` stands in the canonical output.
    pub(super) written: Range<usize>,
    /// Where the value stands in the body.
    pub(super) value: Range<usize>,
}

impl Member {
    /// Whether two members have the same name.
    #[inline]
    pub(super) fn same_name(&self, other: &Self, body: &str, decoded: &[u8]) -> bool {
        self.hint == other.hint && self.name.bytes(body, decoded) == other.name.bytes(body, decoded)
    }

    /// The order in which a canonical form lists members at its top level.
    pub(super) fn order(&self, other: &Self, form: Canonical, body: &str, decoded: &[u8]) -> Ordering {
        match form {
            Canonical::Mesh => self.sorted_order(other, body, decoded),
            Canonical::Jcs => utf16_order(self.name.bytes(body, decoded), other.name.bytes(body, decoded)),
        }
    }

    /// The order in which ECMAScript lists a sorted object: indexes by value, then names by UTF-16 unit.
    fn sorted_order(&self, other: &Self, body: &str, decoded: &[u8]) -> Ordering {
        self.index
            .cmp(&other.index)
            .then_with(|| utf16_order(self.name.bytes(body, decoded), other.name.bytes(body, decoded)))
    }
}

/// Whether two of many members share a name. Leaves the members in another order.
///
/// Sorting compares at most the bytes that there are, some `log n` times: close to linear, with no hash
/// whose collisions a sender could prepare.
pub(super) fn any_repeated(members: &mut [Member], body: &str, decoded: &[u8]) -> bool {
    members.sort_unstable_by(|a, b| {
        a.hint.cmp(&b.hint).then_with(|| a.name.bytes(body, decoded).cmp(b.name.bytes(body, decoded)))
    });
    members.windows(2).any(|pair| pair[0].same_name(&pair[1], body, decoded))
}

/// A word that is the same for equal names and differs for most that differ. It orders nothing and
/// proves nothing: equal words are followed by a look at the names themselves.
pub(super) fn hint(name: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        return u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29);
    }
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    match *name {
        [first, .., last] => u64::from(first) << 16 | u64::from(name[name.len() / 2]) << 8 | u64::from(last),
        [only] => u64::from(only),
        [] => 0,
    }
}

/// The array index that a name spells: `"0"` to `"4294967294"` without leading zeros; else [`NO_INDEX`].
pub(super) fn array_index(name: &[u8]) -> u32 {
    match name {
        [b'0'] => 0,
        [b'1'..=b'9', ..] if name.len() <= 10 => name
            .iter()
            .try_fold(0_u64, |value, &byte| {
                byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'))
            })
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or(NO_INDEX),
        _ => NO_INDEX,
    }
}

/// Compares by UTF-16 code unit, as ECMAScript's `sort` does.
pub(super) fn utf16_order(a: &[u8], b: &[u8]) -> Ordering {
    let shared = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (Some(&x), Some(&y)) = (a.get(shared), b.get(shared)) else {
        return a.len().cmp(&b.len());
    };
    // Below U+D000 (lead byte 0xED) the bytes of UTF-8 stand in the order of the units.
    if x < 0xED && y < 0xED {
        return x.cmp(&y);
    }
    let mut start = shared;
    while start > 0 && a[start] & 0xC0 == 0x80 {
        start -= 1;
    }
    units(&a[start..]).cmp(units(&b[start..]))
}

/// The UTF-16 units of generalised UTF-8 that begins at a character.
fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let mut at = 0;
    let mut low = None;
    std::iter::from_fn(move || {
        if let Some(unit) = low.take() {
            return Some(unit);
        }
        let lead = *bytes.get(at)?;
        let (length, bits) = match lead {
            0..0x80 => (1, u32::from(lead)),
            0x80..0xE0 => (2, u32::from(lead & 0x1F)),
            0xE0..0xF0 => (3, u32::from(lead & 0x0F)),
            0xF0.. => (4, u32::from(lead & 0x07)),
        };
        let rest = bytes.get(at + 1..at + length).unwrap_or_default();
        let point = rest.iter().fold(bits, |point, &byte| (point << 6) | u32::from(byte & 0x3F));
        at += length;
        let (first, second) = split(point);
        low = second;
        Some(first)
    })
}

/// A code point as one unit or two.
#[allow(clippy::cast_possible_truncation, reason = "each part is masked to 16 bits or fewer")]
fn split(point: u32) -> (u16, Option<u16>) {
    match point.checked_sub(0x1_0000) {
        None => (point as u16, None),
        Some(above) => (0xD800 | ((above >> 10) & 0x3FF) as u16, Some(0xDC00 | (above & 0x3FF) as u16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn only_canonical_array_indexes_are_indexes() {
        for (name, index) in [("0", 0), ("7", 7), ("4294967294", 4_294_967_294)] {
            assert_eq!(array_index(name.as_bytes()), index, "{name}");
        }
        for name in ["", "00", "01", "-1", "1.0", "1a", "4294967295", "9999999999", "99999999999", "+1", "é"]
        {
            assert_eq!(array_index(name.as_bytes()), NO_INDEX, "{name}");
        }
    }

    #[test]
    fn a_lone_surrogate_sorts_by_its_unit() {
        // U+D900 alone, beside U+10000 whose first unit is D800.
        assert_eq!(utf16_order(&[0xED, 0xA4, 0x80], "\u{10000}".as_bytes()), Ordering::Greater);
        assert_eq!(utf16_order(&[0xED, 0xA0, 0x80], "\u{10000}".as_bytes()), Ordering::Less);
        assert_eq!(utf16_order("\u{ff61}".as_bytes(), "\u{1f600}".as_bytes()), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn names_sort_as_their_utf16_units_do(a in any::<String>(), b in any::<String>(), shared in any::<String>()) {
            let (a, b) = (format!("{shared}{a}"), format!("{shared}{b}"));
            let expected = a.encode_utf16().cmp(b.encode_utf16());
            assert_eq!(utf16_order(a.as_bytes(), b.as_bytes()), expected);
        }

        #[test]
        fn equal_names_have_equal_hints(name in any::<Vec<u8>>()) {
            assert_eq!(hint(&name), hint(&name.clone()));
        }
    }
}
