//! Reads a scrape as Prometheus does, and more strictly: every line, and what the lines promise each
//! other.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::support::raw::{Answer, Request};
use crate::support::{STUCK, World};

/// Name and value of every label.
type Labels = BTreeMap<String, String>;

/// A scrape that keeps to the format.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// The kinds of the families.
    pub(crate) families: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl World {
    /// Asks the admin listener.
    pub(crate) async fn ask_admin(&self, method: &str, target: &str) -> Answer {
        let request = Request::new(self.gate.admin.unwrap(), method, target);
        request.header("Host", "localhost").send().await
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        Scrape::read(&self.ask_admin("GET", "/metrics").await.text())
    }

    /// Scrapes until the series with these labels are that many together: what is counted when an
    /// answer is gone may come a moment after it has arrived.
    pub(crate) async fn counts(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let begun = Instant::now();
        loop {
            let scrape = self.scrape().await;
            let found = scrape.sum(name, labels);
            if found == Some(expected) {
                return;
            }
            assert!(
                begun.elapsed() < STUCK,
                "{name} {labels:?} is {found:?} and not {expected}: {:#?}",
                scrape.samples
            );
            tokio::task::yield_now().await;
        }
    }
}

impl Scrape {
    /// Reads a scrape, and checks that it is one.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut scrape = Self::default();
        let mut family = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, about) = help.split_once(' ').expect(line);
                assert!(!about.is_empty(), "{line}");
                let kind = lines.next().unwrap();
                let kind = kind.strip_prefix(&format!("# TYPE {name} ")).expect(kind);
                scrape.begin(name, kind);
                name.clone_into(&mut family);
            } else {
                scrape.add(&family, line);
            }
        }
        for (name, kind) in &scrape.families {
            if kind == "histogram" {
                scrape.check_histogram(name);
            }
        }
        scrape
    }

    fn begin(&mut self, name: &str, kind: &str) {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(is_name), "{name}");
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        let before = self.families.insert(name.to_owned(), kind.to_owned());
        assert_eq!(before, None, "{name} begins twice");
    }

    fn add(&mut self, family: &str, line: &str) {
        let name: String = line
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let (labels, value) = labels(&line[name.len()..]);
        let suffixes: &[&str] = match self.families[family].as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let suffix = name.strip_prefix(family).expect(line);
        assert!(suffixes.contains(&suffix), "{line} in {family}");
        let value: f64 = value.parse().expect(line);
        let before = self.samples.insert((name, labels), value);
        assert_eq!(before, None, "twice: {line}");
    }

    /// Buckets are cumulative, in order, and end with the count.
    fn check_histogram(&self, name: &str) {
        let bucket = format!("{name}_bucket");
        let of = |what: &str| {
            let full = format!("{name}_{what}");
            let samples = self.samples.iter();
            samples
                .filter(move |((name, _), _)| *name == full)
                .map(|((_, labels), value)| (labels.clone(), *value))
                .collect::<BTreeMap<_, _>>()
        };
        let (counts, sums) = (of("count"), of("sum"));
        assert!(counts.keys().eq(sums.keys()), "{name}");
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for ((_, labels), value) in self.samples.iter().filter(|((n, _), _)| *n == bucket) {
            let mut labels = labels.clone();
            let end = labels.remove("le").expect("a bucket without le");
            let end = end.replace("+Inf", "inf").parse().unwrap();
            series.entry(labels).or_default().push((end, *value));
        }
        assert!(series.keys().eq(counts.keys()), "{name}");
        for (labels, mut buckets) in series {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, next| one.1 <= next.1));
            let last = buckets.last().copied().unwrap();
            assert_eq!(last, (f64::INFINITY, counts[&labels]), "{name}{labels:?}");
        }
    }

    /// All series of this name with these labels together; `None` when there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |of: &Labels| {
            let mut labels = labels.iter();
            labels.all(|(name, value)| of.get(*name).is_some_and(|it| it == value))
        };
        let found = self.samples.iter();
        let found = found.filter(|((known, of), _)| known == name && fits(of));
        found
            .map(|(_, value)| *value)
            .reduce(|one, other| one + other)
    }

    /// What a label has for values.
    pub(crate) fn values(&self, label: &str) -> BTreeSet<String> {
        let labels = self.samples.keys();
        labels
            .filter_map(|(_, labels)| labels.get(label).cloned())
            .collect()
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }
}

/// `{name="value",…} ` or a blank, and what is behind.
fn labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return (labels, text.strip_prefix(' ').expect(text));
    };
    loop {
        let (name, after) = rest.split_once("=\"").expect(text);
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect(text) {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect(text).1 {
                    'n' => '\n',
                    plain @ ('\\' | '"') => plain,
                    other => panic!("\\{other} in {text}"),
                }),
                (_, plain) => value.push(plain),
            }
        };
        let before = labels.insert(name.to_owned(), value);
        assert_eq!(before, None, "{name} twice in {text}");
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix("} ").expect(text)),
        }
    }
}
