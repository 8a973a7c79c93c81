//! Spans of time and numbers of bytes, as people write them.
//!
//! Pure functions; what is too long or too much is for the caller to say.

use super::raw::Size;
use std::time::Duration;

/// How a span of time is written.
pub const DURATION_HINT: &str = "write a whole number and its unit: `500ms`, `10s`, `5m`, `2h`, `7d`";
/// How a number of bytes is written.
pub const SIZE_HINT: &str = "write a whole number, or one with a unit: `4096`, `64KiB`, `1MiB`, `2GiB`";

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a whole number.
    #[error("does not begin with a whole number")]
    Number,
    /// The unit is missing.
    #[error("has no unit")]
    NoUnit,
    /// The unit is none that is known.
    #[error("has a unit that is not known")]
    Unit,
    /// The amount does not fit.
    #[error("is too large")]
    TooLarge,
}

/// `500ms`, `10s`, `1m`, `1h`, `1d`.
///
/// # Errors
/// [`UnitError`] says what is wrong.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(UnitError::NoUnit),
        _ => return Err(UnitError::Unit),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or(UnitError::TooLarge)
}

/// Bytes: a bare number, or one with `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`.
///
/// # Errors
/// [`UnitError`] says what is wrong.
pub fn size(size: &Size) -> Result<u64, UnitError> {
    let text = match size {
        Size::Bytes(bytes) => return Ok(*bytes),
        Size::Text(text) => text,
    };
    let (number, unit) = split(text)?;
    let unit: u64 = match unit {
        "B" | "" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(UnitError::Unit),
    };
    number.checked_mul(unit).ok_or(UnitError::TooLarge)
}

fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(UnitError::Number);
    }
    let number = digits.parse().map_err(|_| UnitError::TooLarge)?;
    Ok((number, unit.trim_start_matches(' ')))
}

/// The largest unit that is exact.
#[must_use]
pub fn write_duration(span: Duration) -> String {
    let ms = span.as_millis();
    for (unit_ms, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if ms > 0 && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_time_has_a_whole_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m"), Ok(Duration::from_mins(1)));
        assert_eq!(duration("31d"), Ok(Duration::from_hours(31 * 24)));
        assert_eq!(duration("60"), Err(UnitError::NoUnit));
        assert_eq!(duration("1.5h"), Err(UnitError::Unit));
        assert_eq!(duration("-1s"), Err(UnitError::Number));
        assert_eq!(duration("99999999999999999999s"), Err(UnitError::TooLarge));
        assert_eq!(duration("9999999999999999999d"), Err(UnitError::TooLarge));
    }

    #[test]
    fn a_size_may_be_bare_or_have_a_unit() {
        assert_eq!(size(&Size::Bytes(7)), Ok(7));
        assert_eq!(size(&Size::Text("64KiB".into())), Ok(65_536));
        assert_eq!(size(&Size::Text("1 MB".into())), Ok(1_000_000));
        assert_eq!(size(&Size::Text("1mb".into())), Err(UnitError::Unit));
    }

    proptest! {
        #[test]
        fn any_time_reads_back_as_it_was_written(ms in 0u64..10_000_000_000) {
            let span = Duration::from_millis(ms);
            assert_eq!(duration(&write_duration(span)), Ok(span));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in any::<String>()) {
            let _ = duration(&text);
            let _ = size(&Size::Text(text));
        }
    }
}
