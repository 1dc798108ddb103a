//! What one run of the reader starts from and what it notes: faults, warnings, and every key that
//! was asked for, so that the others are unknown keys. Knows no key by name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::document::{Node, Value};
use crate::config::fault::Finding;
use crate::config::nearest::nearest;
use crate::config::planned;

/// What one run of the reader starts from and what it notes.
pub(super) struct Context {
    /// What relative paths of files are relative to.
    pub(super) directory: PathBuf,
    /// What `_env` names are looked up in.
    pub(super) environment: BTreeMap<String, String>,
    faults: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Finding>>,
    asked: RefCell<BTreeMap<String, Asked>>,
}

/// A path that was asked for.
struct Asked {
    pattern: String,
    table: bool,
}

impl Context {
    pub(super) fn new(directory: PathBuf, environment: BTreeMap<String, String>) -> Self {
        Self {
            directory,
            environment,
            faults: RefCell::default(),
            warnings: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// Notes faults that were found elsewhere.
    pub(super) fn add_faults(&self, findings: Vec<Finding>) {
        self.faults.borrow_mut().extend(findings);
    }

    /// Notes a fault.
    pub(super) fn fault(&self, finding: Finding) {
        self.faults.borrow_mut().push(finding);
    }

    /// Notes a warning.
    pub(super) fn warn(&self, finding: Finding) {
        self.warnings.borrow_mut().push(finding);
    }

    /// Notes that a path was asked for. `pattern` is the path without the numbers of list items and
    /// the names that operators give.
    pub(super) fn asked(&self, path: &str, pattern: &str, table: bool) {
        let asked = Asked {
            pattern: pattern.to_owned(),
            table,
        };
        self.asked.borrow_mut().insert(path.to_owned(), asked);
    }

    /// Faults and warnings.
    pub(super) fn into_findings(self) -> (Vec<Finding>, Vec<Finding>) {
        (self.faults.into_inner(), self.warnings.into_inner())
    }

    /// The patterns of all keys that were asked for, tables apart.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        let asked = self.asked.borrow();
        let keys = asked.values().filter(|asked| !asked.table);
        keys.map(|asked| asked.pattern.clone())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Notes every key of the tree that nobody asked for.
    pub(super) fn refuse_unknown(&self, root: &Node) {
        self.refuse_unknown_below(root, "");
    }

    fn refuse_unknown_below(&self, node: &Node, path: &str) {
        match &node.value {
            Value::Table(entries) => {
                for (name, child) in entries {
                    self.refuse_unknown_entry(child, join(path, name));
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.refuse_unknown_below(item, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    fn refuse_unknown_entry(&self, node: &Node, path: String) {
        let asked = self.asked.borrow();
        match asked.get(&path) {
            Some(asked) if asked.table => self.refuse_unknown_below(node, &path),
            Some(_) => {}
            None => {
                let known: Vec<&str> = asked.keys().map(String::as_str).collect();
                let text = if planned::is_planned(&path) {
                    "is not in this version; take it out".to_owned()
                } else {
                    let nearest = nearest(&path, &known).unwrap_or_default();
                    format!("unknown key, the nearest known one is {nearest}")
                };
                self.faults.borrow_mut().push(Finding {
                    place: node.place.clone(),
                    path,
                    text,
                });
            }
        }
    }
}

/// A path with one more level.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
