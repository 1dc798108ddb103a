//! Targets of requests: those that somebody thought of, and many that are put together of pieces.

use std::collections::BTreeSet;

/// What is written before a path, and is nothing, or should not be.
const BEFORE: &[&str] = &[
    "/",
    "//",
    "///",
    "/./",
    "/.//",
    "/x/../",
    "/../",
    "/%2e/",
    "/%2e%2e/",
    "/x/%2e%2e/",
    "/x/.%2E/",
    "/\\",
    "/%5c",
    "/%2f",
    "/%252f",
    "/;a/",
    "/;/",
    "/x/..;/",
    "/x/..;a=b/",
    "/x/..%3b/",
    "/x;/../",
    "/host/",
    "//host/",
    "/\\host/",
    "/\\\\host\\",
    "///host/",
    "//host:80/",
    "//user@host//",
    "/%2fhost/",
    "/x/%252e%252e/",
    "/x/%2e%2e%2f",
    "/x%2f..%2f",
    "/x/..%5c",
    "/x\\..\\",
    "/%c0%ae/",
    "/x/%c0%ae%c0%ae/",
    "/x/..%c0%af",
    "/%u002e/",
    "/%u002f",
    "/x/%uff0e%uff0e/",
    "/%e2%88%95",
    "/%ef%bc%8f",
    "/x/%ef%bc%8e%ef%bc%8e/",
    "/index.php/",
    "/x/index.php/../../",
    "/%20/",
    "/x/..%20/",
    "/x/.../",
    "/.;/",
    "/x/./../",
    "/open/../",
    "/open/..;/",
    "/open/..%2f",
    "/open/%2e%2e/",
    "/open/x/../../",
    "/api/../",
    "/api/..%2f",
    "/api/..;/",
    "/admin/../",
    "/index.php//",
];

/// How the letters of a word can be written.
const SPELLINGS: &[fn(&str) -> String] = &[
    str::to_owned,
    str::to_uppercase,
    |word| first(word, |letter| letter.to_ascii_uppercase().to_string()),
    |word| first(word, |letter| format!("%{:02x}", u32::from(letter))),
    |word| first(word, |letter| format!("%25{:02x}", u32::from(letter))),
    |word| first(word, |letter| format!("%2525{:02x}", u32::from(letter))),
    |word| first(word, |letter| format!("%u00{:02X}", u32::from(letter))),
    |word| first(word, |letter| format!("%25u00{:02x}", u32::from(letter))),
    |word| {
        first(word, |letter| {
            format!("%c1%{:02X}", u32::from(letter) | 0x80)
        })
    },
    |word| {
        first(word, |letter| {
            format!("%E0%81%{:02x}", u32::from(letter) | 0x80)
        })
    },
    |word| {
        first(word, |letter| {
            format!("%ef%bd%{:02x}", u32::from(letter) + 0x20)
        })
    },
    |word| word.bytes().map(|byte| format!("%{byte:02X}")).collect(),
    |word| {
        word.replace('k', "%e2%84%aa")
            .replace('s', "%c5%bf")
            .replace('i', "%C4%B1")
    },
    |word| format!("{word};x"),
    |word| format!("{word}%3bx"),
    |word| format!("{word}."),
    |word| format!("{word}%20"),
    |word| format!("%20{word}"),
    |word| format!("{word}%2e"),
    |word| format!("{word}::$DATA"),
    |word| format!("{word}:$I30:$INDEX_ALLOCATION"),
    |word| format!("{word}/."),
    |word| format!("x/../{word}"),
];

/// What stands between two segments.
const BETWEEN: &[&str] = &[
    "/",
    "//",
    "/./",
    "/x/../",
    "%2f",
    "%2F",
    "%252f",
    "\\",
    "%5c",
    "%255c",
    "/%2e/",
    "/;/",
    ";a/",
    "/.;/",
    "%c0%af",
    "%c1%9c",
    "%u002f",
    "%u2215",
    "%ef%bc%8f",
    "/%20/",
    "./",
    "%20/",
    "//host/../",
    "/..;/../",
    ".php/",
    "%3b/",
];

/// What is written behind a path.
const BEHIND: &[&str] = &[
    "",
    "/",
    "//",
    "/.",
    "/./",
    ";",
    ";v=1",
    ";v=1/x",
    ";/x",
    "%3b",
    "%3bv/x",
    "?x",
    "?/../x",
    "%3fx",
    "%23x",
    "%253fx",
    "%253f",
    ".json",
    ".do",
    ".a.b",
    ".json/",
    ".json;x",
    "/x",
    "/x.json",
    "/..",
    "/../x",
    "/..;/x",
    "/%2e%2e/x",
    "/..%2fx",
    "/x/..",
    "%20",
    ".",
    "..",
    "...",
    "%2e",
    "%2e/",
    "%2f",
    "%5c",
    "\\",
    "%00",
    "%0a",
    "%c0%80",
    "%u0000",
    "::$DATA",
    "/index.html",
    "/index.php",
    "/Default.aspx",
    "/index.php/x",
    ".php",
    ".php/x",
    ".php.",
    ".php%20",
    ".PHP/x",
    "%ef%bc%8f",
    "%ef%bc%9b",
    "%e2%80%a5",
    "%c2%a0",
    "+",
    "%2b",
    "~",
    "%25",
    "%zz",
    "%",
    "%2",
    "!",
    "@",
    ":",
    "%09",
    "&x=1",
    "=",
    ",x",
];

/// What is guarded under some rules or other, as words.
const GUARDED: &[&[&str]] = &[
    &["admin"],
    &["admin", "x"],
    &["exact"],
    &["team", "a", "keys"],
    &["report.php"],
    &["open", "secret"],
    &["open", "x"],
    &["api", "x"],
    &["hooks", "login"],
    &["profile"],
    &["wx", "login"],
    &[""],
];

/// Whole targets that have opened something, somewhere.
const PICKED: &[&str] = &[
    // Tomcat, Jetty, Spring behind proxies.
    "/x/..;/admin",
    "/open/..;/admin/x",
    "/;/admin",
    "/admin;a=b/x",
    "/.;/admin",
    "/;a=b;c/admin",
    "/%3b/admin",
    "/exact;jsessionid=1",
    "/exact;/x",
    "/exact%3b",
    "/open/.;/../admin",
    "/exact.json",
    "/exact.",
    "/exact/.",
    // IIS, ASP, Windows.
    "/%u0061dmin",
    "/adm%u0131n",
    "/%25u0061dmin",
    "/admin.",
    "/admin%20",
    "/admin::$DATA",
    "/admin:$i30:$INDEX_ALLOCATION/x",
    "/x/..%c0%afadmin",
    "/x/..%c1%9cadmin",
    "/x/..%255cadmin",
    "/x/..%5c..%5cadmin",
    "/\\admin",
    "/ADMIN/X",
    "/exact%20/",
    "/x/..%u2215admin",
    "/x/..%u2216admin",
    "/report.php::$DATA",
    "/report.php.",
    "/report.php%20",
    "/report.php/x",
    // Who resolves a reference.
    "//host/admin",
    "///host/admin/x",
    "/\\host/admin",
    "/\\/host/exact",
    "//host/open/../admin",
    "//host//exact",
    "//host\\admin",
    "/%2fhost/admin",
    "//host/",
    "//",
    "//x?/..",
    "//exact",
    "//user:pass@host/exact",
    // Front controllers and files of PHP.
    "/index.php/admin",
    "/index.php/exact?s=x",
    "/open/index.php/x",
    "/admin.php/x",
    "/admin/index.php",
    "/index.php",
    "/report.php/",
    "/report.php/a/b",
    "/report.PHP",
    "/open/secret.php/x",
    "/index.html",
    "/exact/index.php/x",
    // Decoding twice, in parts, and not at all.
    "/%2561dmin",
    "/x/%252e%252e/admin",
    "/team/x%2fy/%6beys",
    "/team/a%2fkeys",
    "/team/a/b/../keys",
    "/team/%2e%2e/keys",
    "/team/a/%e2%84%aaeys",
    "/team/a/key%c5%bf",
    "/team/a%5cb/..%5ckeys",
    "/team/a%252fkeys",
    "/team//keys",
    "/team/a;b/keys;c",
    "/%EF%BD%81dmin",
    "/%ef%bc%a1dmin",
    "/exact%ef%bc%9b",
    "/x/%e2%80%a5/admin",
    "/adm%C4%B1n",
    "/adm%c4%b0n",
    "/exact%3f",
    "/exact%253f",
    "/exact%23/x",
    "/exact?/../x",
    "/x?/admin",
    "/x?a=/../admin",
    "/exact??",
    "/?/exact",
    // The gate's own.
    "/hooks/login.json",
    "/hooks/login/",
    "/hooks%2flogin",
    "/index.php/hooks/login",
    "/hooks/login;x",
    "/Hooks/Login",
    "/profile.json",
    "/profile/",
    "/PROFILE",
    "/%70rofile",
    "/profile;x",
    "/wx/login.json",
    "/wx/login/",
    "/wx//login",
    "/api",
    "/API/x",
    "/api/..",
    "/api/../x",
    "/x/../api",
    "//host/api/x",
    "/api;x/y",
    "/api%2fx",
    // Whole URLs.
    "http://gate.example/exact",
    "http://gate.example//host/admin",
    "http://gate.example",
    "http://gate.example/x/../admin",
];

fn first(word: &str, spelled: impl Fn(char) -> String) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(spelled).unwrap_or_default();
    first + letters.as_str()
}

/// Numbers that are the same every time.
struct Numbers(u64);

impl Numbers {
    /// One of these. Marsaglia's xorshift64.
    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let at = usize::try_from(self.0 % u64::try_from(all.len()).unwrap()).unwrap();
        &all[at]
    }
}

fn spelled(
    words: &[&str],
    [before, between, behind]: [&str; 3],
    spelling: fn(&str) -> String,
) -> String {
    // One word is enough to be written oddly, and the last is the one that most rules end in.
    let (last, rest) = words.split_last().unwrap();
    let words: Vec<_> = rest
        .iter()
        .map(|word| (*word).to_owned())
        .chain([spelling(last)])
        .collect();
    format!("{before}{}{behind}", words.join(between))
}

/// Those that somebody thought of.
pub(super) fn picked() -> Vec<String> {
    PICKED.iter().map(|target| (*target).to_owned()).collect()
}

/// All of them: those, every pair of oddities around some guarded path, and some of more.
pub(super) fn many() -> Vec<String> {
    let mut all = BTreeSet::from_iter(picked());
    let plain = SPELLINGS[0];
    // Each pair is put around the next of the guarded paths.
    let mut words = GUARDED.iter().cycle();
    let mut add = |parts, spelling| {
        let words = words.next().unwrap();
        all.insert(spelled(words, parts, spelling));
    };
    for before in BEFORE {
        for &spelling in SPELLINGS {
            add([before, "/", ""], spelling);
        }
        for between in BETWEEN {
            add([before, between, ""], plain);
        }
        for behind in BEHIND {
            add([before, "/", behind], plain);
        }
    }
    for behind in BEHIND {
        for &spelling in SPELLINGS {
            add(["/", "/", behind], spelling);
        }
        for between in BETWEEN {
            add(["/", between, behind], plain);
        }
    }
    // One oddity alone is put around all of them.
    for words in GUARDED {
        let befores = BEFORE.iter().map(|before| ([*before, "/", ""], plain));
        let betweens = BETWEEN.iter().map(|between| (["/", *between, ""], plain));
        let behinds = BEHIND.iter().map(|behind| (["/", "/", *behind], plain));
        let spellings = SPELLINGS.iter().map(|&spelling| (["/", "/", ""], spelling));
        let alone = befores.chain(betweens).chain(behinds).chain(spellings);
        all.extend(alone.map(|(parts, spelling)| spelled(words, parts, spelling)));
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let words = numbers.one_of(GUARDED);
        let parts = [BEFORE, BETWEEN, BEHIND].map(|pieces| *numbers.one_of(pieces));
        let spelling = *numbers.one_of(SPELLINGS);
        let target = spelled(words, parts, spelling);
        // A second beginning in front of the first.
        let more = numbers.one_of(BEFORE).trim_end_matches('/');
        all.insert(if numbers.0 & 1 == 0 {
            format!("{more}{target}")
        } else {
            target
        });
    }
    all.into_iter().collect()
}

/// A part of them that is soon asked about: all that somebody thought of, and every so many-th of the rest.
pub(super) fn some() -> Vec<String> {
    let rest = many().into_iter().step_by(5);
    let some: BTreeSet<_> = picked().into_iter().chain(rest).collect();
    some.into_iter().collect()
}
