//! A direction in a space of some hundred dimensions, kept as one byte a dimension.
//!
//! Only directions are compared, so a vector is stretched until its largest part fits a byte. The angle
//! between two such vectors is within half a degree of the angle between what they were made from.

/// Most dimensions that are taken: larger than any model in use.
const MOST_DIMENSIONS: usize = 8192;

/// A direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vector(Vec<i8>);

/// Why numbers are no direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoVector {
    /// None, too many, or one that is no number.
    #[error("these numbers are no vector")]
    Malformed,
}

impl Vector {
    /// The direction of these numbers. All zeros is a direction too: one that is near to nothing.
    ///
    /// # Errors
    /// [`NoVector`].
    pub(crate) fn from_numbers(numbers: &[f32]) -> Result<Self, NoVector> {
        if numbers.is_empty() || numbers.len() > MOST_DIMENSIONS || !numbers.iter().all(|n| n.is_finite()) {
            return Err(NoVector::Malformed);
        }
        let largest = numbers.iter().fold(0.0_f32, |most, n| most.max(n.abs()));
        if largest == 0.0 {
            return Ok(Self(vec![0; numbers.len()]));
        }
        #[allow(clippy::cast_possible_truncation, reason = "between -127 and 127")]
        let byte = |n: &f32| (n / largest * 127.0).round() as i8;
        Ok(Self(numbers.iter().map(byte).collect()))
    }

    /// As bytes, for a column.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(|part| part.cast_unsigned()).collect()
    }

    /// A vector ready to be compared with many.
    pub(crate) fn probe(&self) -> Probe<'_> {
        Probe { parts: &self.0, length: length(self.0.iter().copied()) }
    }
}

/// One vector that is compared with many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe<'a> {
    parts: &'a [i8],
    length: f32,
}

impl Probe<'_> {
    /// Cosine distance to a vector in a column: 0 is the same direction, 1 has nothing in common, 2 is
    /// opposite. Nothing when it has another number of dimensions.
    pub(crate) fn distance(&self, column: &[u8]) -> Option<f32> {
        if column.len() != self.parts.len() {
            return None;
        }
        let (mut dot, mut square) = (0_i32, 0_i32);
        for (&a, &b) in self.parts.iter().zip(column) {
            let (a, b) = (i32::from(a), i32::from(b.cast_signed()));
            dot += a * b;
            square += b * b;
        }
        #[allow(clippy::cast_precision_loss, reason = "below 2^28; distances need no more than six digits")]
        let (dot, square) = (dot as f32, square as f32);
        let lengths = self.length * square.sqrt();
        Some(if lengths == 0.0 { 1.0 } else { (1.0 - dot / lengths).clamp(0.0, 2.0) })
    }
}

fn length(parts: impl Iterator<Item = i8>) -> f32 {
    let square: i32 = parts.map(|part| i32::from(part) * i32::from(part)).sum();
    #[allow(clippy::cast_precision_loss, reason = "below 2^28; distances need no more than six digits")]
    let square = square as f32;
    square.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, prop_assert, proptest};

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        let (a, b) = (Vector::from_numbers(a).unwrap(), Vector::from_numbers(b).unwrap());
        a.probe().distance(&b.to_bytes()).unwrap()
    }

    #[test]
    fn distance_is_nought_one_and_two_for_the_same_none_and_the_opposite() {
        assert!(distance(&[3.0, 4.0], &[6.0, 8.0]) < 1e-6);
        assert!((distance(&[1.0, 0.0], &[0.0, 5.0]) - 1.0).abs() < 1e-6);
        assert!((distance(&[1.0, 2.0], &[-1.0, -2.0]) - 2.0).abs() < 1e-6);
        assert!((distance(&[0.0, 0.0], &[1.0, 2.0]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn numbers_that_are_no_direction_are_refused_and_other_lengths_are_not_compared() {
        let many = vec![0.5; MOST_DIMENSIONS + 1];
        for bad in [&[][..], &[f32::NAN], &[1.0, f32::INFINITY], &many] {
            assert_eq!(Vector::from_numbers(bad), Err(NoVector::Malformed));
        }
        let vector = Vector::from_numbers(&[1.0, 2.0]).unwrap();
        assert_eq!(vector.probe().distance(&[1, 2, 3]), None);
    }

    proptest! {
        #[test]
        fn a_byte_a_dimension_is_near_enough(
            pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 32..256)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let dot: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            let norm = |v: &[f32]| v.iter().map(|n| n * n).sum::<f32>().sqrt();
            let exact = 1.0 - dot / (norm(&a) * norm(&b)).max(f32::MIN_POSITIVE);
            prop_assert!((distance(&a, &b) - exact).abs() < 0.02, "{} {exact}", distance(&a, &b));
        }
    }
}
