//! An embedding that needs no service: words and pieces of words, hashed into a fixed number of
//! dimensions.
//!
//! What it is: texts that share words, stems or spellings come near to each other, in any language, with
//! typing mistakes too. What it is not: a model. It does not know that "car" and "automobile" are one
//! thing; for that a service must be configured.

use super::vector::Vector;
use crate::store::words::words;
use std::borrow::Cow;
use std::collections::HashMap;

/// What vectors of this kind are called. A change to anything below needs another name, since vectors of
/// two kinds cannot be compared.
pub(crate) const MODEL: &str = "builtin:hashing-1";

const DIMENSIONS: usize = 384;

/// Lengths of the pieces that words are cut into, in characters.
const PIECES: [usize; 3] = [3, 4, 5];

/// Weight of a whole word beside that of all its pieces together.
const WORD: f32 = 1.0;
const WORD_PIECES: f32 = 0.8;

/// Letters from which on a word counts fully: short words are mostly those that every text has.
const FULL_LENGTH: usize = 6;

/// The vector of a text.
pub(crate) fn embed(text: &str) -> Vector {
    let mut counts: HashMap<Cow<'_, str>, f32> = HashMap::new();
    for word in words(text) {
        *counts.entry(word.text).or_default() += 1.0;
    }
    let mut parts = [0.0_f32; DIMENSIONS];
    // Sums of floats depend on their order, and the order of a map is random.
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (word, count) in counts {
        add_word(&mut parts, &word, count);
    }
    Vector::from_numbers(&parts).expect("a fixed number of finite parts is a vector")
}

fn add_word(parts: &mut [f32; DIMENSIONS], word: &str, count: f32) {
    let letters: Vec<char> = word.chars().collect();
    #[allow(clippy::cast_precision_loss, reason = "a few letters")]
    let share = letters.len().min(FULL_LENGTH) as f32 / FULL_LENGTH as f32;
    // A word that stands ten times says more than one that stands once, but not ten times more.
    let weight = share * (1.0 + count.ln());
    add(parts, hash(0, &letters), WORD * weight);
    // The ends are marked, so that a beginning is not taken for a middle.
    let marked: Vec<char> = std::iter::once('^').chain(letters).chain(['$']).collect();
    let number: usize = PIECES.iter().map(|&length| (marked.len() + 1).saturating_sub(length)).sum();
    if number == 0 {
        return;
    }
    #[allow(clippy::cast_precision_loss, reason = "a few pieces")]
    let each = WORD_PIECES * weight / (number as f32).sqrt();
    for (kind, length) in (1_u64..).zip(PIECES) {
        for piece in marked.windows(length) {
            add(parts, hash(kind, piece), each);
        }
    }
}

/// One bit of the hash is the sign, so that what falls together by chance cancels out on average.
fn add(parts: &mut [f32; DIMENSIONS], hash: u64, weight: f32) {
    let at = usize::try_from(hash % DIMENSIONS as u64).expect("less than the dimensions");
    parts[at] += if hash >> 63 == 0 { weight } else { -weight };
}

/// FNV-1a, stirred once more at the end. Written out because vectors on disks depend on it.
fn hash(kind: u64, letters: &[char]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ kind;
    for letter in letters {
        for byte in u32::from(*letter).to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &str, b: &str) -> f32 {
        embed(a).probe().distance(&embed(b).to_bytes()).unwrap()
    }

    #[test]
    fn texts_that_share_words_or_stems_are_nearer_than_others() {
        let about = "deploy the billing service to the staging cluster";
        let near = ["deploying billing services", "staging clusters", "bilingl service depoy"];
        for text in near {
            assert!(distance(about, text) < distance(about, "recipe for lemon cake with sugar"), "{text}");
        }
        assert!(distance("Zürich", "zurich") < 1e-6);
        assert!(distance(about, about) < 1e-6);
    }

    #[test]
    fn the_same_text_is_the_same_vector_on_every_run_and_machine() {
        let bytes = embed("attack at dawn").to_bytes();
        let sum = bytes.iter().fold(0_u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        assert_eq!((bytes.len(), sum), (DIMENSIONS, EXPECTED));
    }

    /// Written down once. When it changes, vectors that were stored before no longer fit: change `MODEL`.
    const EXPECTED: u64 = 8_489_791_437_745_296_912;

    #[test]
    fn a_text_without_words_is_near_to_nothing() {
        assert!((distance("", "🚀") - 1.0).abs() < 1e-6);
        assert!((distance("--", "attack") - 1.0).abs() < 1e-6);
    }
}
