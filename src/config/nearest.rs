//! What an unknown key was probably meant to be. Knows no key by name.

/// Below this a resemblance is chance.
const ALIKE: f64 = 0.8;

/// The known path nearest to an unknown one: a neighbour with a similar name, else a similar name
/// in another table (a key that slipped into the wrong one), else the most similar path.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let (table, name) = split(unknown);
    let neighbour = |path: &&str| split(path).0 == table;
    let by_name = |path: &str| strsim::jaro_winkler(split(path).1, name);
    let neighbours = known.iter().copied().filter(neighbour);
    best(neighbours, by_name, ALIKE)
        .or_else(|| {
            // Of several keys with one name the one nearest by.
            let nearness = |path: &str| if top(path) == top(unknown) { 0.01 } else { 0.0 };
            let likeness = |path: &str| by_name(path) + nearness(path);
            best(known.iter().copied(), likeness, ALIKE)
        })
        .or_else(|| {
            let likeness = |path: &str| strsim::normalized_damerau_levenshtein(path, unknown);
            best(known.iter().copied(), likeness, 0.0)
        })
}

/// The table and the name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn top(path: &str) -> &str {
    path.split_once('.').map_or(path, |(top, _)| top)
}

fn best<'a>(
    paths: impl Iterator<Item = &'a str>,
    likeness: impl Fn(&str) -> f64,
    least: f64,
) -> Option<&'a str> {
    paths
        .map(|path| (likeness(path), path))
        .filter(|&(likeness, _)| likeness >= least)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_what_the_operator_meant() {
        let known = [
            "server",
            "server.listen",
            "server.limits.max_connections",
            "session",
            "session.ttl",
            "session.idle_ttl",
            "upstream.max_connections",
        ];
        for (unknown, expected) in [
            ("server.lisen", "server.listen"),
            ("sesion", "session"),
            ("session.TTL", "session.ttl"),
            ("session.idle", "session.idle_ttl"),
            ("server.max_connections", "server.limits.max_connections"),
            ("ttl", "session.ttl"),
        ] {
            assert_eq!(nearest(unknown, &known), Some(expected), "{unknown}");
        }
        assert!(nearest("push.forward_to", &known).is_some());
        assert_eq!(nearest("x", &[]), None);
    }
}
