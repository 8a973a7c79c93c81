//! The inside of JSON strings: where it needs attention, how ECMAScript spells it, what it decodes to.
//!
//! Works on bytes whose grammar the walk has checked or is checking; knows nothing of where they stand.

/// How many bytes at the front need no attention inside a string: no quote, backslash or control.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (count, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return count * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// The top bit of each byte that needs attention; above the lowest such byte there may be false ones.
const fn marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & TOPS
}

/// One `\uXXXX`, or a pair of them that makes one character: the code point, and the bytes it took.
pub(super) fn escaped_point(raw: &[u8]) -> Option<(u32, usize)> {
    let first = unit(raw)?;
    if (0xD800..0xDC00).contains(&first)
        && let Some(second @ 0xDC00..0xE000) = raw.get(6..).and_then(unit)
    {
        return Some((0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00), 12));
    }
    Some((first, 6))
}

fn unit(raw: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = raw.first_chunk::<6>()? else { return None };
    digits
        .iter()
        .try_fold(0, |value, &digit| char::from(digit).to_digit(16).map(|digit| (value << 4) | digit))
}

/// How `JSON.stringify` spells one code point inside a string.
pub(super) fn spell(point: u32, space: &mut [u8; 6]) -> &[u8] {
    let short = match point {
        0x08 => b"\\b",
        0x09 => b"\\t",
        0x0A => b"\\n",
        0x0C => b"\\f",
        0x0D => b"\\r",
        0x22 => b"\\\"",
        0x5C => b"\\\\",
        _ => {
            return match char::from_u32(point) {
                Some(c) if c >= ' ' => {
                    let length = c.encode_utf8(&mut space[..4]).len();
                    &space[..length]
                }
                _ => spell_in_hex(point, space),
            };
        }
    };
    space[..2].copy_from_slice(short);
    &space[..2]
}

fn spell_in_hex(unit: u32, space: &mut [u8; 6]) -> &[u8] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    space[..2].copy_from_slice(b"\\u");
    for (place, digit) in space[2..].iter_mut().enumerate() {
        *digit = DIGITS[(unit >> (12 - 4 * place)) as usize & 0xF];
    }
    space
}

/// A string's inside, known to be sound, as generalised UTF-8 (a lone surrogate becomes three bytes).
pub(super) fn decode(inside: &str, into: &mut Vec<u8>) {
    let bytes = inside.as_bytes();
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|&byte| byte == b'\\') {
        into.extend_from_slice(&bytes[at..at + length]);
        at += length;
        at += decode_escape(&bytes[at..], into);
    }
    into.extend_from_slice(&bytes[at..]);
}

fn decode_escape(raw: &[u8], into: &mut Vec<u8>) -> usize {
    let byte = match raw.get(1) {
        Some(b'b') => 0x08,
        Some(b't') => b'\t',
        Some(b'n') => b'\n',
        Some(b'f') => 0x0C,
        Some(b'r') => b'\r',
        Some(b'u') => {
            let (point, length) = escaped_point(raw).unwrap_or((0, raw.len()));
            push_point(point, into);
            return length;
        }
        Some(&itself) => itself,
        None => return raw.len(),
    };
    into.push(byte);
    2
}

#[allow(clippy::cast_possible_truncation, reason = "each byte is masked first")]
fn push_point(point: u32, into: &mut Vec<u8>) {
    if let Some(c) = char::from_u32(point) {
        into.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    let low = |bits: u32| 0x80 | (bits & 0x3F) as u8;
    into.extend_from_slice(&[0xE0 | (point >> 12) as u8, low(point >> 6), low(point)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn the_wide_scan_stops_where_a_narrow_one_would(bytes in any::<Vec<u8>>()) {
            let narrow = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
            assert_eq!(plain(&bytes), narrow.unwrap_or(bytes.len()));
        }
    }

    #[test]
    fn a_lone_surrogate_decodes_to_three_bytes_of_its_own() {
        let mut into = Vec::new();
        decode("a\\ud800\\ud83d\\ude00\\/\\u00e9", &mut into);
        assert_eq!(into, [b"a\xED\xA0\x80".as_slice(), "\u{1f600}/é".as_bytes()].concat());
    }
}
