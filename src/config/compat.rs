//! `[compat]`: habits of clients that were there before the gate.

use crate::config::key::Key;
use crate::config::value;
use crate::gateway::{Field, FieldNames};

/// Reads `[compat]`.
pub(super) fn read(table: &Key<'_>) -> FieldNames {
    let table = table.table("field_names");
    let mut names = FieldNames::default();
    for field in Field::ALL {
        for item in table.key(field.name()).texts().unwrap_or_default() {
            let shown = value::quoted(&item.text);
            if item.text.is_empty() {
                item.key.fault("is empty, expected the name of a field");
            } else if let Err(taken) = names.add(item.text, field) {
                let name = taken.name();
                item.key.fault(format!(
                    "is {shown}, which is a name of {name} already, expected another one"
                ));
            }
        }
    }
    names
}
