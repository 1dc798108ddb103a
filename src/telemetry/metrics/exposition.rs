//! Prometheus' text format, version 0.0.4. A writer of its own: the format is three kinds of lines,
//! and libraries for it want to keep the numbers too, behind locks and by labels that are hashed.

use std::fmt::{Display, Write as _};

use crate::telemetry::metrics::count::Distribution;

/// The `Content-Type` of what is written here.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the numbers of a family mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All series of one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// A scrape under way.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// The labels of a series: names and values.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family. Its samples follow at once.
    pub(super) fn family(&mut self, family: &Family) -> Samples<'_> {
        let Family { name, kind, help } = *family;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail, here and below.
        let _written = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Samples {
            text: &mut self.0,
            name,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// The samples of one family.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Samples<'_> {
    /// One number.
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// The lines of a histogram.
    pub(super) fn histogram(&mut self, labels: &Labels<'_>, distribution: &Distribution) {
        for (end, count) in distribution.cumulative() {
            self.line("_bucket", labels, Some(("le", end)), count);
        }
        let (seconds, micros) = distribution.sum();
        let sum = format_args!("{seconds}.{micros:06}");
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, distribution.count());
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &Labels<'_>,
        last: Option<(&str, &str)>,
        value: impl Display,
    ) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _written = writeln!(self.text, " {value}");
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::metrics::count::Histogram;

    fn family(kind: Kind) -> Family {
        Family {
            name: "a_total",
            kind,
            help: "A \\ and\na \"line\".",
        }
    }

    #[test]
    fn no_value_of_a_label_ends_its_line_or_its_quotes() {
        let mut text = Exposition::default();
        let mut samples = text.family(&family(Kind::Counter));
        samples.sample(&[("a", "1\"} 2\n# x"), ("b", "\\n")], 3);
        samples.sample(&[], -4);
        assert_eq!(
            text.into_text(),
            "# HELP a_total A \\\\ and\\na \"line\".\n# TYPE a_total counter\n\
             a_total{a=\"1\\\"} 2\\n# x\",b=\"\\\\n\"} 3\na_total -4\n"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_the_last_is_the_count() {
        let histogram = Histogram::default();
        for millis in [1, 2, 70_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut sum = Distribution::default();
        sum.add(&histogram);
        let mut text = Exposition::default();
        let mut samples = text.family(&family(Kind::Histogram));
        samples.histogram(&[("r", "x")], &sum);
        let text = text.into_text();
        for line in [
            "a_total_bucket{r=\"x\",le=\"0.0005\"} 0\n",
            "a_total_bucket{r=\"x\",le=\"0.001\"} 1\n",
            "a_total_bucket{r=\"x\",le=\"0.0025\"} 2\n",
            "a_total_bucket{r=\"x\",le=\"60\"} 2\n",
            "a_total_bucket{r=\"x\",le=\"+Inf\"} 3\n",
            "a_total_sum{r=\"x\"} 70.003000\na_total_count{r=\"x\"} 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
