//! Other paths under which some servers serve the same as under a given one, by the way in which they
//! route: by what follows a dot, by the script that a path leads through, by the file that stands for
//! a directory. Unlike `readings` these are choices that an app server made on purpose, and most have
//! made none of them. Knows no rule and no route.

use std::borrow::Cow;

/// Another path that may lead to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias<'a> {
    /// The other path.
    pub path: Cow<'a, [u8]>,
    /// How the given path begins, up to where it has what the other one lacks. A rule that names this
    /// was written by somebody who knows.
    pub named: &'a [u8],
}

/// What a file is called that is run with the rest of the path (`PATH_INFO`), as of a front controller.
const SCRIPTS: &[&[u8]] = &[
    b"php", b"php5", b"php7", b"php8", b"phtml", b"asp", b"aspx", b"ashx", b"asmx", b"cgi",
    b"fcgi", b"pl", b"py", b"rb",
];

/// What a file is called that stands for its directory.
const INDEXES: &[&[u8]] = &[b"index", b"default"];

/// Scripts that a path may lead through. Each costs a copy of the path, and no honest one has two.
const MAX_SCRIPTS: usize = 4;

/// Dots of a name at which its extension may begin. What is guarded has fewer in its name.
const MAX_DOTS: usize = 8;

/// Shows every alias of the path until `agrees` says no. Gives whether all agreed; none do of a path
/// that leads through too many scripts. The path comes without its query. One without a dot has no
/// alias, which costs a look for it.
pub fn all(path: &[u8], mut agrees: impl FnMut(&Alias<'_>) -> bool) -> bool {
    if memchr::memchr(b'.', path).is_none() {
        return true;
    }
    let mut from = 0;
    let mut scripts = 0;
    for end in memchr::memchr_iter(b'/', path).skip(1) {
        if is_script(path.get(from + 1..end).unwrap_or_default()) {
            scripts += 1;
            if scripts > MAX_SCRIPTS || !through_script(path, from, end, &mut agrees) {
                return false;
            }
        }
        from = end;
    }
    // A slash at the end makes no other path of it.
    let end = path.iter().rposition(|&byte| byte != b'/');
    let whole = end.and_then(|end| path.get(..=end)).unwrap_or_default();
    without_extension(whole).all(|alias| agrees(&alias))
}

fn is_script(name: &[u8]) -> bool {
    let dot = memchr::memrchr(b'.', name);
    let extension = dot.and_then(|dot| name.get(dot + 1..));
    extension.is_some_and(|extension| is_one_of(SCRIPTS, extension))
}

/// `/admin.php/x` is `/admin.php` to a server that runs the file, and `/index.php/admin` is `/admin` to
/// what that file does.
fn through_script(
    path: &[u8],
    from: usize,
    end: usize,
    agrees: &mut impl FnMut(&Alias<'_>) -> bool,
) -> bool {
    let [before, named] = [from, end].map(|end| path.get(..end).unwrap_or_default());
    let behind = path.get(end..).unwrap_or_default();
    let without = [before, behind].concat();
    let led_to = |path| Alias { path, named };
    let script = [Cow::Borrowed(named), Cow::Borrowed(&*without)];
    let files = without_extension(named).chain(without_extension(&without));
    let paths = script.into_iter().chain(files.map(|file| file.path));
    paths.map(led_to).all(|alias| agrees(&alias))
}

/// `/a.json` is `/a` in another format, and `/a/index.html` is `/a/`.
fn without_extension(path: &[u8]) -> impl Iterator<Item = Alias<'_>> {
    let from = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
    let name = path.get(from..).unwrap_or_default();
    // A name that begins with a dot is hidden, and has no other beginning.
    let dots = memchr::memchr_iter(b'.', name).filter(|&dot| dot > 0);
    let stem = memchr::memchr(b'.', name).and_then(|dot| name.get(..dot));
    let directory = is_one_of(INDEXES, stem.unwrap_or_default()).then_some(0);
    let ends = dots.take(MAX_DOTS).chain(directory);
    ends.map(move |end| Alias {
        path: Cow::Borrowed(path.get(..from + end).unwrap_or_default()),
        named: path,
    })
}

fn is_one_of(words: &[&[u8]], word: &[u8]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path and name of every alias.
    fn aliases(path: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = Vec::new();
        all(path.as_bytes(), |alias| {
            found.push((text(&alias.path), text(alias.named)));
            true
        });
        found
    }

    #[track_caller]
    fn check(path: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(path, named)| ((*path).to_owned(), (*named).to_owned()))
            .collect();
        assert_eq!(aliases(path), expected, "{path}");
    }

    #[test]
    fn most_paths_have_no_alias() {
        for path in [
            "/",
            "",
            "*",
            "/a",
            "/a/",
            "/a/b",
            "/.well-known/x",
            "/v1.0/users",
            "/a.b/c",
            "/.hidden",
            "/a/.",
        ] {
            check(path, &[]);
        }
    }

    #[test]
    fn what_follows_a_dot_is_left_out() {
        check("/a.json", &[("/a", "/a.json")]);
        check("/x.y/a.json/", &[("/x.y/a", "/x.y/a.json")]);
        check("/a.tar.gz", &[("/a", "/a.tar.gz"), ("/a.tar", "/a.tar.gz")]);
        check("/a.", &[("/a", "/a.")]);
    }

    #[test]
    fn the_file_that_stands_for_a_directory_is_the_directory() {
        let named = "/a/Index.html";
        check(named, &[("/a/Index", named), ("/a/", named)]);
        check(
            "/default.aspx",
            &[("/default", "/default.aspx"), ("/", "/default.aspx")],
        );
    }

    #[test]
    fn a_path_that_leads_through_a_script_is_the_script_and_the_rest() {
        let named = "/a.php";
        check(
            "/a.php/x/y",
            &[("/a.php", named), ("/x/y", named), ("/a", named)],
        );
        check(
            "/s/A.PHP/x",
            &[
                ("/s/A.PHP", "/s/A.PHP"),
                ("/s/x", "/s/A.PHP"),
                ("/s/A", "/s/A.PHP"),
            ],
        );
        let found = aliases("/s/index.php/admin.json");
        for path in ["/s/index.php", "/s/", "/s/admin.json", "/s/admin"] {
            assert!(
                found.contains(&(path.to_owned(), "/s/index.php".to_owned())),
                "{path} {found:?}"
            );
        }
    }

    #[test]
    fn nobody_agrees_on_a_path_through_many_scripts() {
        let through = |scripts| {
            all(format!("/{}", "a.php/".repeat(scripts)).as_bytes(), |_| {
                true
            })
        };
        assert!(through(MAX_SCRIPTS));
        assert!(!through(MAX_SCRIPTS + 1));
    }

    #[test]
    fn the_first_alias_that_disagrees_ends_the_search() {
        let mut shown = 0;
        let agreed = all(b"/a.b.c", |_| {
            shown += 1;
            false
        });
        assert_eq!((agreed, shown), (false, 1));
    }
}
