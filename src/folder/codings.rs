//! Which compressed forms a client takes (RFC 9110 section 12.5.3).

use http::{HeaderMap, header};

/// How a file may lie beside itself in a smaller form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Brotli, in `.br`.
    Brotli,
    /// In `.gz`.
    Gzip,
}

impl Coding {
    /// Its name in fields.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What its files end in.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

/// How much each is wanted, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Codings {
    brotli: u16,
    gzip: u16,
}

impl Codings {
    /// What a request's fields say.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Self {
        let (mut brotli, mut gzip, mut other) = (None, None, None);
        let values = fields.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for part in values.flat_map(|value| value.split(',')) {
            let (word, weight) = part.split_once(';').unwrap_or((part, ""));
            let weight = Some(thousandths(weight));
            match word.trim() {
                word if word.eq_ignore_ascii_case("br") => brotli = weight,
                word if word.eq_ignore_ascii_case("gzip") || word.eq_ignore_ascii_case("x-gzip") => {
                    gzip = weight;
                }
                "*" => other = weight,
                _ => {}
            }
        }
        Self { brotli: brotli.or(other).unwrap_or(0), gzip: gzip.or(other).unwrap_or(0) }
    }

    /// Those that are taken, the most wanted first; of two that are wanted alike the smaller.
    pub fn wanted(self) -> impl Iterator<Item = Coding> {
        let both = [(self.brotli, Coding::Brotli), (self.gzip, Coding::Gzip)];
        let both = if self.gzip > self.brotli { [both[1], both[0]] } else { both };
        both.into_iter().filter(|(weight, _)| *weight > 0).map(|(_, coding)| coding)
    }
}

/// What a weight says: 1000 where there is none, 0 where it cannot be read.
fn thousandths(text: &str) -> u16 {
    let text = text.trim();
    if text.is_empty() {
        return 1000;
    }
    let number = text.strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    let Some((whole, rest)) =
        number.map(|number| number.trim().split_once('.').unwrap_or((number.trim(), "")))
    else {
        return 0;
    };
    let is_number = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, is_number) {
        ("1", true) => 1000,
        ("0", true) => format!("{rest:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(text: &'static str, want: &[Coding]) {
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
        assert_eq!(Codings::of(&fields).wanted().collect::<Vec<_>>(), want, "{text}");
    }

    #[test]
    fn the_most_wanted_comes_first() {
        let (br, gz) = (Coding::Brotli, Coding::Gzip);
        check("gzip, deflate, br, zstd", &[br, gz]);
        check("gzip", &[gz]);
        check("GZIP;q=1.0, Br;q=0.5", &[gz, br]);
        check("br;q=0, gzip", &[gz]);
        check("br;q=0.000, *", &[gz]);
        check("*;q=0.1", &[br, gz]);
        check("x-gzip", &[gz]);
        check("identity", &[]);
        check("", &[]);
        check("br;q=2, gzip;q=x", &[]);
        check("br;q=0.001", &[br]);
    }

    #[test]
    fn who_says_nothing_gets_nothing_packed() {
        assert_eq!(Codings::of(&HeaderMap::new()).wanted().count(), 0);
    }
}
