//! Headers by which a request asks to be taken for another method, in any spelling that a server
//! folds onto them. Knows nothing of which methods are allowed.

use std::sync::LazyLock;

use crate::domain::fold::NameSet;

static METHOD_OVERRIDES: LazyLock<NameSet> = LazyLock::new(|| {
    let names = [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    NameSet::new(names, [], [])
});

/// All of them.
pub(in crate::domain::identity) fn all() -> &'static NameSet {
    &METHOD_OVERRIDES
}

/// Whether a header asks for another method than the request's own.
pub fn is_method_override(name: &[u8]) -> bool {
    METHOD_OVERRIDES.has(name)
}
