//! Ways through the tree: a key or table by its name, there or not, with the place that a fault in it
//! is noted at. What a value means is read in `reader`. Knows no key by name.

use crate::config::context::{Context, join};
use crate::config::document::{Node, Value};
use crate::config::fault::{Finding, Place};

/// There is a fault, and it is noted.
pub(super) struct Noted;

/// What was found: nothing when it was not written.
pub(super) type Given<T> = Result<Option<T>, Noted>;

/// A key or table of the configuration, there or not.
#[derive(Clone)]
pub(super) struct Key<'a> {
    context: &'a Context,
    node: Option<&'a Node>,
    /// Where it was written; for one that was not, where its table was.
    place: Place,
    path: String,
    pattern: String,
    /// Below something that is no table, which is noted: what is missing in it is no further fault.
    lost: bool,
}

impl<'a> Key<'a> {
    /// The whole configuration.
    pub(super) fn root(context: &'a Context, node: &'a Node) -> Self {
        Self {
            context,
            node: Some(node),
            place: node.place.clone(),
            path: String::new(),
            pattern: String::new(),
            lost: false,
        }
    }

    /// A key of this table.
    pub(super) fn key(&self, name: &str) -> Self {
        self.child(name, name, false)
    }

    /// A table of this table.
    pub(super) fn table(&self, name: &str) -> Self {
        self.child(name, name, true).expect_table()
    }

    /// The tables of this table of tables, in the order of the file.
    pub(super) fn tables(&self) -> Vec<(&'a str, Self)> {
        let Some(Value::Table(entries)) = self.value() else {
            return Vec::new();
        };
        let table = |(name, _): &'a (String, Node)| {
            let table = self.child(name, "NAME", true).expect_table();
            (name.as_str(), table)
        };
        entries.iter().map(table).collect()
    }

    /// A list of tables, and the tables in it; `None` when it is no list, which is noted.
    pub(super) fn table_list(&self, name: &str) -> (Self, Option<Vec<Self>>) {
        let list = self.child(name, name, true);
        let tables = match list.value() {
            None => Some(Vec::new()),
            Some(Value::List(items)) => {
                let item = |(index, node)| list.item(index, node).expect_table();
                Some(items.iter().enumerate().map(item).collect())
            }
            Some(_) => {
                list.fault(format!(
                    "is one value, expected tables under [[{}]]",
                    list.path
                ));
                None
            }
        };
        (list, tables)
    }

    fn child(&self, name: &str, shown: &str, table: bool) -> Self {
        let path = join(&self.path, name);
        let pattern = join(&self.pattern, shown);
        self.context.asked(&path, &pattern, table);
        let overridden = self.override_of(name);
        if overridden.is_some() {
            let path = join(&self.path, &name.to_ascii_lowercase());
            self.context.asked(&path, &pattern, table);
        }
        let node = overridden.or_else(|| self.node.and_then(|node| node.child(name)));
        Self {
            context: self.context,
            node,
            place: node.map_or_else(|| self.place.clone(), |node| node.place.clone()),
            path,
            pattern,
            lost: self.lost,
        }
    }

    /// What the environment, whose names have no letter case, says of a key with capital letters.
    fn override_of(&self, name: &str) -> Option<&'a Node> {
        let lower = name.to_ascii_lowercase();
        let node = self.node.filter(|_| lower != name)?.child(&lower)?;
        matches!(node.value, Value::Environment(_)).then_some(node)
    }

    /// An item of this list.
    pub(super) fn item(&self, index: usize, node: &'a Node) -> Self {
        Self {
            context: self.context,
            node: Some(node),
            place: node.place.clone(),
            path: format!("{}[{index}]", self.path),
            pattern: format!("{}[]", self.pattern),
            lost: self.lost,
        }
    }

    fn expect_table(self) -> Self {
        match self.value() {
            None | Some(Value::Table(_)) => self,
            Some(other) => {
                self.fault(format!("is {}, expected a table", other.kind()));
                Self {
                    node: None,
                    lost: true,
                    ..self
                }
            }
        }
    }

    /// What was written.
    pub(super) fn value(&self) -> Option<&'a Value> {
        self.node.map(|node| &node.value)
    }

    /// What the run starts from.
    pub(super) fn context(&self) -> &'a Context {
        self.context
    }

    /// The key with its tables.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where it was written; for one that was not, where its table was.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it was written.
    pub(super) fn is_present(&self) -> bool {
        self.node.is_some()
    }

    /// Whether the environment gave it.
    pub(super) fn is_override(&self) -> bool {
        matches!(self.value(), Some(Value::Environment(_)))
    }

    /// Notes a fault here.
    pub(super) fn fault(&self, text: impl Into<String>) {
        if !self.lost {
            self.context.fault(self.finding(text.into()));
        }
    }

    /// Notes a warning here.
    pub(super) fn warn(&self, text: impl Into<String>) {
        self.context.warn(self.finding(text.into()));
    }

    fn finding(&self, text: String) -> Finding {
        Finding {
            place: self.place.clone(),
            path: self.path.clone(),
            text,
        }
    }
}
