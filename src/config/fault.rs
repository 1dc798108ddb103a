//! What is wrong with a configuration, and where it was written. Knows no key by name.

use std::fmt;
use std::sync::Arc;

/// Where something was written. In the order in which an operator reads: the file from its top,
/// then the environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The file as a whole.
    File(Arc<str>),
    /// A line of the file, from 1.
    Line(Arc<str>, usize),
    /// A variable of the environment.
    Environment(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// Something to say about one place of a configuration. Its text never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) place: Place,
    /// The key with its tables; empty when it is about no key.
    pub(super) path: String,
    /// What is wrong, what is expected.
    pub(super) text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Everything that is wrong with a configuration: one line each, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Finding>);

impl Faults {
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| a.place.cmp(&b.place));
        Self(findings)
    }

    /// How many there are; never none.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Something in a valid configuration that is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(Finding);

impl Warning {
    pub(super) fn all(mut findings: Vec<Finding>) -> Vec<Self> {
        findings.sort_by(|a, b| a.place.cmp(&b.place));
        findings.into_iter().map(Self).collect()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
