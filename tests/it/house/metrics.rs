//! Reads Prometheus' text format, as far as tests need it.

/// All series at one moment.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Metrics {
    /// Reads the text.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(' '));
        Self(lines.filter_map(sample).collect())
    }

    /// The sum over all series of this name that have all these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.contains(&format!("{label}=\"{value}\""));
            sample.name == name && labels.iter().all(has)
        };
        self.0.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// Whether that sum is so many.
    pub(crate) fn is(&self, name: &str, labels: &[(&str, &str)], many: u32) -> bool {
        (self.sum(name, labels) - f64::from(many)).abs() < f64::EPSILON
    }

    /// All names.
    pub(crate) fn names(&self) -> std::collections::BTreeSet<&str> {
        self.0.iter().map(|sample| sample.name.as_str()).collect()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some(Sample {
        name: name.into(),
        labels: labels.trim_end_matches('}').into(),
        value: value.parse().ok()?,
    })
}
