//! Names of members of JSON objects, as app servers may take them for one another. Knows none by name.

/// Whether some app server takes the one name for the other: frameworks make `open_data`, `open-data`
/// and `OpenData` one with `openData`, and others end a name at a NUL.
pub(in crate::gateway) fn is_taken_for(name: &str, other: &str) -> bool {
    folded(name).eq(folded(other))
}

fn folded(name: &str) -> impl Iterator<Item = char> {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase)
}
