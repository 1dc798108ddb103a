//! Header names as servers fold them. CGI, WSGI, PHP and others turn `X-WX-OPENID`, `x_wx_openid`
//! and `X.Wx.OpenId` into one variable; so what protects a header must compare what the server
//! will see. Knows no header by name.

/// One byte of a name as servers fold it: letters lower-cased, all but letters and digits a dash.
const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// Whether servers fold both names onto one.
pub fn is_alike(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(&a, &b)| fold(a) == fold(b))
}

/// First bytes of names as servers fold them, a bit for each: most names of a request are told to be
/// in no set by their first letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Firsts(u128);

impl Firsts {
    /// Of an empty prefix, with which every name begins.
    const ALL: Self = Self(u128::MAX);

    /// That of a folded byte, which is always ASCII.
    const fn of(folded: u8) -> Self {
        Self(1 << (folded & 0x7f))
    }

    /// These and those.
    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether the name begins with one of them.
    pub fn has(self, name: &[u8]) -> bool {
        let first = name.first().map(|&byte| Self::of(fold(byte)));
        first.is_some_and(|first| self.0 & first.0 != 0)
    }
}

/// A name or prefix, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded(Box<[u8]>);

impl Folded {
    /// Folds a name.
    pub fn new(name: &str) -> Self {
        Self(name.bytes().map(fold).collect())
    }

    fn first(&self) -> Firsts {
        self.0.first().map_or(Firsts::ALL, |&byte| Firsts::of(byte))
    }

    /// Whether the name folds onto this one.
    pub fn is(&self, name: &[u8]) -> bool {
        name.len() == self.0.len() && self.begins(name)
    }

    /// Whether the name folds onto something that begins with this.
    pub fn begins(&self, name: &[u8]) -> bool {
        name.len() >= self.0.len() && self.0.iter().zip(name).all(|(&f, &b)| f == fold(b))
    }
}

/// A set of header names, by whole name and by prefix, with exceptions.
#[derive(Clone, Debug, Default)]
pub struct NameSet {
    names: Vec<Folded>,
    prefixes: Vec<Folded>,
    kept: Vec<Folded>,
    /// Of all names and prefixes.
    firsts: Firsts,
}

impl NameSet {
    /// The set of these names, everything under these prefixes, and nothing that `kept` names
    /// under a prefix. A whole name is in the set even when `kept` names it.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        prefixes: impl IntoIterator<Item = &'a str>,
        kept: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let fold_all =
            |names: &mut dyn Iterator<Item = &'a str>| names.map(Folded::new).collect::<Vec<_>>();
        let names = fold_all(&mut names.into_iter());
        let prefixes = fold_all(&mut prefixes.into_iter());
        let firsts = names.iter().chain(&prefixes).map(Folded::first);
        Self {
            firsts: firsts.fold(Firsts::default(), Firsts::or),
            names,
            prefixes,
            kept: fold_all(&mut kept.into_iter()),
        }
    }

    /// Whether the name is in the set, in any spelling that folds onto it.
    #[inline]
    pub fn has(&self, name: &[u8]) -> bool {
        self.firsts.has(name) && self.has_whole(name)
    }

    /// What the names in the set begin with.
    pub fn firsts(&self) -> Firsts {
        self.firsts
    }

    fn has_whole(&self, name: &[u8]) -> bool {
        self.names.iter().any(|folded| folded.is(name))
            || (self.prefixes.iter().any(|folded| folded.begins(name))
                && !self.kept.iter().any(|folded| folded.is(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(set: &NameSet, name: &str) -> bool {
        set.has(name.as_bytes())
    }

    #[test]
    fn every_spelling_that_a_server_folds_onto_a_name_is_that_name() {
        let set = NameSet::new(["X-WX-OPENID"], [], []);
        for spelling in [
            "x-wx-openid",
            "X_WX_OPENID",
            "x.wx.openid",
            "x-wx_openid",
            "x!wx~openid",
            "x|wx`openid",
        ] {
            assert!(has(&set, spelling), "{spelling}");
        }
        for other in [
            "xwxopenid",
            "x-wx-openid2",
            "x-wx-openi",
            "y-wx-openid",
            "x--wx-openid",
        ] {
            assert!(!has(&set, other), "{other}");
        }
    }

    #[test]
    fn a_prefix_takes_all_below_it_but_what_is_kept() {
        let set = NameSet::new(["X-WX-OPENID"], ["x-wx-"], ["X-WX-Service", "X-WX-OPENID"]);
        assert!(has(&set, "x-wx-anything"));
        assert!(has(&set, "x_wx_anything"));
        assert!(has(&set, "x-wx-"));
        assert!(!has(&set, "x-wx"));
        assert!(!has(&set, "x-wx-service"));
        assert!(has(&set, "x-wx-openid"), "a whole name cannot be kept");
    }
}
