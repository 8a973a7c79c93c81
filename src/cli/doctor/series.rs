//! Reads what the admin listener tells as metrics, as far as the doctor needs it.

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<'a> {
    /// The labels as they came, without braces; empty for none.
    pub(super) labels: &'a str,
    pub(super) value: f64,
}

impl Sample<'_> {
    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> &str {
        let rest = self.labels.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\""));
        rest.map_or("", |value| value.trim_end_matches('"'))
    }
}

/// All samples of one name.
pub(super) fn samples<'a>(text: &'a str, name: &str) -> Vec<Sample<'a>> {
    let of_name = |line: &'a str| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some(Sample { labels, value: value.trim().parse().ok()? })
    };
    text.lines().filter_map(of_name).collect()
}

/// Their sum; 0 where there are none.
pub(super) fn sum(text: &str, name: &str) -> f64 {
    samples(text, name).iter().map(|sample| sample.value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_whole_name() {
        let text = "# HELP a b\na 1\na_b 2\na{x=\"y\",z=\"w v\"} 3\na{x=\"o\"} 4e2\n";
        let found = samples(text, "a");
        assert_eq!(found.iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.0, 3.0, 400.0]);
        assert_eq!((found[1].label("x"), found[1].label("z"), found[1].label("q")), ("y", "w v", ""));
        assert!((sum(text, "a_b") - 2.0).abs() < f64::EPSILON);
    }
}
