//! Multiples of points that are used again and again, so that a signature under a key that is known costs sums
//! alone: no doublings, and no root for its `R`.
//!
//! What is decided is what `VerifyingKey::verify_strict` of ed25519-dalek 3 decides, and by the same equation: it
//! computes `X = s·B − k·A` and compares the encoding of `X` with the bytes of `R`. Here `X` is that very point,
//! put together another way: the digits of `s` and `k` say which stored multiples are added up, integer by
//! integer, so parts of small order come out the same as well. Nothing is drawn at random and nothing is checked
//! together with anything else, so there is no chance by which verdicts could differ. Time depends on the digits,
//! which are public. This file knows points and bytes, and nothing of messages.

use curve25519_dalek::Scalar;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::traits::{Identity as _, IsIdentity as _};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha512};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Bits of a digit for the base point: 32 sums, 640 KiB, once.
const BASE_BITS: usize = 8;
/// Bits of a digit for a key: 43 sums, 215 KiB a key.
const KEY_BITS: usize = 6;
/// Most keys of one registry that get a table: 14 MiB.
const MOST_TABLES: usize = 64;
/// Making a table costs as much as some twenty verifications: a key that is hardly used gets none.
const WARM: u32 = 8;
/// A scalar is below 2^253.
const SCALAR_BITS: usize = 256;

/// `d · 2^(bits·w) · P` for each window `w` and each digit `d` from 1 to `2^(bits-1)`.
struct Table {
    bits: usize,
    points: Box<[EdwardsPoint]>,
}

impl Table {
    fn new(point: EdwardsPoint, bits: usize) -> Self {
        let mut points = Vec::with_capacity(SCALAR_BITS.div_ceil(bits) << (bits - 1));
        let mut first = point;
        for _ in 0..SCALAR_BITS.div_ceil(bits) {
            let mut multiple = first;
            for _ in 0..1_usize << (bits - 1) {
                points.push(multiple);
                multiple += first;
            }
            // The last one stored is half of the next window's first.
            first = points.last().map_or(first, |half| half + half);
        }
        Self { bits, points: points.into() }
    }

    /// `sum + scalar · P`, the scalar as the integer that it is.
    fn add(&self, mut sum: EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
        let (half, whole) = (1_usize << (self.bits - 1), 1_usize << self.bits);
        let mut carry = 0;
        for (window, points) in self.points.chunks_exact(half).enumerate() {
            let digit = digit(scalar.as_bytes(), window * self.bits, self.bits) + carry;
            carry = usize::from(digit > half);
            // Digits above a half are those below nothing, and one more of the next.
            sum = match (digit > half, digit) {
                (_, 0) => sum,
                (false, digit) => sum + points[digit - 1],
                (true, digit) if digit == whole => sum,
                (true, digit) => sum - points[whole - digit - 1],
            };
        }
        sum
    }
}

/// `bits` bits from bit `at` on; those behind the end are nought.
fn digit(bytes: &[u8; 32], at: usize, bits: usize) -> usize {
    let byte = |place: usize| usize::from(bytes.get(place).copied().unwrap_or(0));
    ((byte(at / 8) | byte(at / 8 + 1) << 8) >> (at % 8)) & ((1 << bits) - 1)
}

/// What the keys of one registry share.
#[derive(Default)]
pub(super) struct Shared {
    base: OnceLock<Table>,
    tables: AtomicUsize,
}

/// One key, with the multiples of its negative once it has been used a few times.
pub(super) struct Multiples {
    shared: Arc<Shared>,
    uses: AtomicU32,
    own: OnceLock<Option<Table>>,
}

impl std::fmt::Debug for Multiples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Multiples").field("uses", &self.uses).finish_non_exhaustive()
    }
}

impl Multiples {
    /// None yet.
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), uses: AtomicU32::new(0), own: OnceLock::new() }
    }

    /// Whether a signature over a text holds for the key, by the strict rules.
    pub(super) fn hold(&self, key: &VerifyingKey, text: &[u8], sig: &Signature) -> bool {
        match self.expected(key, text, sig) {
            Expected::Point(point) => is_it(&point, &point.compress(), sig),
            Expected::Nothing => false,
            Expected::Unknown => key.verify_strict(text, sig).is_ok(),
        }
    }

    /// The point that `R` must be.
    pub(super) fn expected(&self, key: &VerifyingKey, text: &[u8], sig: &Signature) -> Expected {
        let Some(own) = self.table(key) else { return Expected::Unknown };
        let base = self.shared.base.get_or_init(|| Table::new(ED25519_BASEPOINT_POINT, BASE_BITS));
        expected((base, own), key, text, sig)
    }

    fn table(&self, key: &VerifyingKey) -> Option<&Table> {
        if let Some(table) = self.own.get() {
            return table.as_ref();
        }
        if self.uses.fetch_add(1, Ordering::Relaxed) < WARM {
            return None;
        }
        let make = || {
            let place = self.shared.tables.fetch_add(1, Ordering::Relaxed);
            (place < MOST_TABLES).then(|| Table::new(-key.to_edwards(), KEY_BITS))
        };
        self.own.get_or_init(make).as_ref()
    }
}

/// What is known of a signature before its `R` is looked at.
pub(super) enum Expected {
    /// It holds if `R` is this point.
    Point(EdwardsPoint),
    /// It cannot hold.
    Nothing,
    /// The key has no table.
    Unknown,
}

/// RFC 8032 section 5.1.7 with the strict rules: `s` below the order, and the key not of small order.
fn expected((base, own): (&Table, &Table), key: &VerifyingKey, text: &[u8], sig: &Signature) -> Expected {
    let s = Scalar::from_canonical_bytes(*sig.s_bytes()).into_option();
    let Some(s) = s.filter(|_| !key.is_weak()) else { return Expected::Nothing };
    let hash = Sha512::new().chain_update(sig.r_bytes()).chain_update(key.as_bytes()).chain_update(text);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    Expected::Point(base.add(own.add(EdwardsPoint::identity(), &k), &s))
}

/// Whether `R` is the one encoding of this point, which is not of small order: where the bytes are the same, `R`
/// is this point, and it is this point's order that counts.
fn is_it(point: &EdwardsPoint, encoded: &CompressedEdwardsY, sig: &Signature) -> bool {
    encoded.as_bytes() == sig.r_bytes() && !point.mul_by_cofactor().is_identity()
}

/// Whether each of several points is its signature's `R`. One inversion does for all of them; that is all that
/// they have in common.
pub(super) fn are_they(points: &[EdwardsPoint], sigs: &[Signature]) -> Vec<bool> {
    let encoded = EdwardsPoint::compress_batch_alloc(points);
    points.iter().zip(&encoded).zip(sigs).map(|((point, encoded), sig)| is_it(point, encoded, sig)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    /// All ways, which must say the same: alone, among others, and as the library does it.
    fn holds(base: &Table, key: &VerifyingKey, text: &[u8], sig: &Signature) -> bool {
        let expected = expected((base, &Table::new(-key.to_edwards(), KEY_BITS)), key, text, sig);
        let held = match expected {
            Expected::Point(point) => {
                let held = is_it(&point, &point.compress(), sig);
                let other = EdwardsPoint::mul_base(&Scalar::from(3_u64));
                assert_eq!(are_they(&[other, point, other], &[*sig; 3])[1], held);
                held
            }
            Expected::Nothing | Expected::Unknown => false,
        };
        assert_eq!(held, key.verify_strict(text, sig).is_ok(), "{key:?} {text:?} {sig}");
        held
    }

    /// A signature by anyone who knows `a` and chooses `r`, with parts of small order in the key and in `R`.
    fn crafted(a: Scalar, r: Scalar, parts: [&EdwardsPoint; 2], text: &[u8]) -> ([u8; 32], Signature) {
        let key = (EdwardsPoint::mul_base(&a) + parts[0]).compress();
        let point = (EdwardsPoint::mul_base(&r) + parts[1]).compress();
        let hash =
            Sha512::new().chain_update(point.as_bytes()).chain_update(key.as_bytes()).chain_update(text);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        (key.to_bytes(), Signature::from_components(point.to_bytes(), (r + k * a).to_bytes()))
    }

    #[test]
    fn every_part_of_small_order_has_the_verdict_that_it_has_alone() {
        let base = Table::new(ED25519_BASEPOINT_POINT, BASE_BITS);
        let mut held = 0;
        for of_key in EIGHT_TORSION {
            for of_point in EIGHT_TORSION {
                for n in 0_u8..6 {
                    let (a, r) = (Scalar::from(77 + u64::from(n)), Scalar::from(5 + u64::from(n)));
                    let (key, sig) = crafted(a, r, [&of_key, &of_point], &[n]);
                    let Ok(key) = VerifyingKey::from_bytes(&key) else { continue };
                    held += usize::from(holds(&base, &key, &[n], &sig));
                }
            }
        }
        // Some of them cancel out: those hold, here as there.
        assert!((6..200).contains(&held), "{held}");
    }

    #[test]
    fn points_and_keys_of_small_order_never_hold() {
        let base = Table::new(ED25519_BASEPOINT_POINT, BASE_BITS);
        for point in EIGHT_TORSION {
            for (a, r) in
                [(Scalar::ZERO, Scalar::ONE), (Scalar::ONE, Scalar::ZERO), (Scalar::ZERO, Scalar::ZERO)]
            {
                let (key, sig) = crafted(a, r, [&point, &point], b"x");
                let Ok(key) = VerifyingKey::from_bytes(&key) else { continue };
                let held = holds(&base, &key, b"x", &sig);
                assert!(!held || (a == Scalar::ONE && r != Scalar::ZERO), "{a:?} {r:?}");
            }
        }
    }

    #[test]
    fn project_wycheproof_gets_the_same_verdicts_both_ways() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/wycheproof_ed25519.json")).unwrap();
        let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
        let base = Table::new(ED25519_BASEPOINT_POINT, BASE_BITS);
        let (mut seen, mut held) = (0, 0);
        for case in vectors["tests"].as_array().unwrap() {
            let Ok(key) = VerifyingKey::try_from(&*bytes(&case["pk"])) else { continue };
            let Ok(sig) = Signature::from_slice(&bytes(&case["sig"])) else { continue };
            seen += 1;
            held += usize::from(holds(&base, &key, &bytes(&case["msg"]), &sig));
        }
        assert!(seen > 100 && held > 50, "{seen} {held}");
    }

    #[test]
    fn a_key_gets_its_table_once_it_is_warm_and_beyond_the_bound_none() {
        let shared = Arc::new(Shared::default());
        let key = SigningKey::from_bytes(&[7; 32]);
        let (public, sig) = (key.verifying_key(), key.sign(b"text"));
        let one = Multiples::of(&shared);
        for _ in 0..WARM + 2 {
            assert!(one.hold(&public, b"text", &sig) && !one.hold(&public, b"other", &sig));
        }
        assert!(matches!(one.own.get(), Some(Some(_))));
        shared.tables.store(MOST_TABLES, Ordering::Relaxed);
        let late = Multiples::of(&shared);
        for _ in 0..WARM + 2 {
            assert!(late.hold(&public, b"text", &sig) && !late.hold(&public, b"other", &sig));
        }
        assert!(matches!(late.own.get(), Some(None)));
    }

    proptest! {
        #[test]
        fn a_sum_of_multiples_is_the_multiple(bytes in any::<[u8; 32]>(), bits in 2_usize..=8) {
            let scalar = Scalar::from_bytes_mod_order(bytes);
            let point = EdwardsPoint::mul_base(&Scalar::from(12_345_u64));
            let sum = Table::new(point, bits).add(EdwardsPoint::identity(), &scalar);
            prop_assert_eq!(sum, point * scalar);
        }

        #[test]
        fn what_is_signed_holds_and_with_any_bit_changed_it_does_not(
            seed in any::<[u8; 32]>(), text in any::<Vec<u8>>(), bit in 0_usize..512,
        ) {
            let base = Table::new(ED25519_BASEPOINT_POINT, BASE_BITS);
            let key = SigningKey::from_bytes(&seed);
            let sig = key.sign(&text);
            prop_assert!(holds(&base, &key.verifying_key(), &text, &sig));
            let mut bytes = sig.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!holds(&base, &key.verifying_key(), &text, &Signature::from_bytes(&bytes)));
        }

        #[test]
        fn any_bytes_at_all_have_the_same_verdict(
            point in any::<[u8; 32]>(), s in any::<[u8; 32]>(), key in any::<[u8; 32]>(), text in any::<Vec<u8>>(),
        ) {
            let base = Table::new(ED25519_BASEPOINT_POINT, BASE_BITS);
            if CompressedEdwardsY(key).decompress().is_some()
                && let Ok(key) = VerifyingKey::from_bytes(&key)
            {
                holds(&base, &key, &text, &Signature::from_components(point, s));
            }
        }
    }
}
