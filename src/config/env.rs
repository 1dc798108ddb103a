//! The environment laid over the file: `WXGATE_SERVER__LISTEN` stands for `server.listen`. Knows no
//! key by name; an override of an unknown key is found where unknown keys of the file are.

use std::sync::Arc;

use crate::config::document::{Node, Value};
use crate::config::fault::{Finding, Place};

const PREFIX: &str = "WXGATE_";
/// Between levels. Names without it are left alone: Kubernetes sets `WXGATE_PORT` and the like for
/// a service of that name.
const LEVEL: &str = "__";

/// Whether a variable is meant for the configuration.
fn levels(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(PREFIX)?;
    let levels = rest.split(LEVEL).map(str::to_ascii_lowercase);
    rest.contains(LEVEL).then(|| levels.collect())
}

/// Puts every override into the tree. Gives those that have no place there.
pub(super) fn overlay<'a>(
    root: &mut Node,
    variables: impl Iterator<Item = (&'a String, &'a String)>,
) -> Vec<Finding> {
    let mut overrides: Vec<_> = variables
        .filter_map(|(name, text)| Some((levels(name)?, name, text)))
        .collect();
    // So that the tenth item of a list comes after the ninth.
    overrides.sort_by_key(|(levels, ..)| levels.iter().map(padded).collect::<Vec<_>>());
    let mut faults = Vec::new();
    for (levels, name, text) in overrides {
        let place = Place::Environment(Arc::from(name.as_str()));
        if let Err(wrong) = put(root, &levels, text, &place) {
            faults.push(Finding {
                path: path_of(&levels),
                place,
                text: wrong,
            });
        }
    }
    faults
}

/// The levels as a key with its tables.
fn path_of(levels: &[String]) -> String {
    let mut path = String::new();
    for level in levels {
        if level.parse::<usize>().is_ok() {
            path.extend(["[", level, "]"]);
        } else {
            path.extend([if path.is_empty() { "" } else { "." }, level]);
        }
    }
    path
}

fn padded(level: &String) -> String {
    format!("{level:0>8}")
}

fn put(root: &mut Node, levels: &[String], text: &str, place: &Place) -> Result<(), String> {
    let mut node = root;
    for (depth, level) in levels.iter().enumerate() {
        let inner = levels.get(depth + 1);
        let fresh = || Node {
            place: place.clone(),
            value: container_for(inner),
        };
        node = descend(node, level, fresh)?;
    }
    *node = Node {
        place: place.clone(),
        value: Value::Environment(text.to_owned()),
    };
    Ok(())
}

/// What holds a level: a list when the level is a number.
fn container_for(level: Option<&String>) -> Value {
    match level {
        Some(level) if level.parse::<usize>().is_ok() => Value::List(Vec::new()),
        _ => Value::Table(Vec::new()),
    }
}

fn descend<'a>(
    node: &'a mut Node,
    level: &str,
    fresh: impl FnOnce() -> Node,
) -> Result<&'a mut Node, String> {
    if level.is_empty() {
        return Err("a level has no name, expected names with __ between them".to_owned());
    }
    let lost = || format!("{level} leads nowhere");
    match &mut node.value {
        Value::Table(entries) => {
            let index = entries.iter().position(|(key, _)| key == level);
            let index = index.unwrap_or_else(|| {
                entries.push((level.to_owned(), fresh()));
                entries.len() - 1
            });
            entries
                .get_mut(index)
                .map(|(_, node)| node)
                .ok_or_else(lost)
        }
        Value::List(items) => {
            let count = items.len();
            let index: usize = level
                .parse()
                .map_err(|_not_a_number| format!("{level} is not a number, and this is a list"))?;
            if index == count {
                items.push(fresh());
            }
            items
                .get_mut(index)
                .ok_or_else(|| format!("{level} is too far, expected a number from 0 to {count}"))
        }
        other => Err(format!(
            "{level} is below {}, which has no keys",
            other.kind()
        )),
    }
}
