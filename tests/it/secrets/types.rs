//! Secrets are types that cannot be shown, written down or compared by accident: that they lack what would
//! do it is looked at while this is compiled, and the rest in the sources.

use std::fs;
use std::path::{Path, PathBuf};

use wxgate::crypto::assertion::SigningKey;
use wxgate::crypto::proof::ProofKey;
use wxgate::crypto::seal::Sealer;
use wxgate::domain::secret::{
    AccessToken, AppSecret, EncodingAesKey, LoginCode, PhoneCode, PushToken, SealKey, SealKeys,
    SessionKey,
};
use wxgate::domain::token::SessionToken;
use wxgate::egress::Token;
use wxgate::store::redis::Password;
use wxgate::telemetry::LogKey;

/// Does not compile for a type with this ability: then it is not known which `is` is meant.
macro_rules! lacks {
    ($ability:path: $($secret:ty),*) => {
        $(
            const _: fn() = || {
                trait Either<Which> {
                    fn is() {}
                }
                struct Able;
                impl<T: ?Sized> Either<()> for T {}
                impl<T: ?Sized + $ability> Either<Able> for T {}
                <$secret as Either<_>>::is();
            };
        )*
    };
}

macro_rules! secrets {
    ($($secret:ident),*) => {
        lacks!(std::fmt::Display: $($secret),*);
        lacks!(serde::Serialize: $($secret),*);
        lacks!(std::cmp::PartialEq: $($secret),*);
        lacks!(std::hash::Hash: $($secret),*);
        lacks!(std::ops::Deref: $($secret),*);
        lacks!(std::convert::AsRef<str>: $($secret),*);
        lacks!(std::convert::AsRef<[u8]>: $($secret),*);

        const SECRETS: &[&str] = &[$(stringify!($secret)),*];
    };
}

secrets! {
    AccessToken, AppSecret, EncodingAesKey, LogKey, LoginCode, Password, PhoneCode, ProofKey, PushToken, SealKey,
    SealKeys, Sealer, SessionKey, SessionToken, SigningKey, Token
}

/// The sources, without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let is_tests = stem.ends_with("tests") || stem == "model";
            if path.is_dir() && !is_tests {
                folders.push(path);
            } else if path.is_file() && !is_tests {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let path = path.strip_prefix(root).unwrap().to_owned();
                found.push((path, code.to_owned()));
            }
        }
    }
    assert!(found.len() > 100);
    found
}

/// A struct of the sources: what is derived for it, its name, its fields.
struct Struct {
    derived: String,
    name: String,
    fields: String,
}

fn structs(code: &str) -> Vec<Struct> {
    let mut found = Vec::new();
    let mut derived = "";
    let mut rest = code;
    while let Some((line, after)) = rest.split_once('\n') {
        let line = line.trim();
        let begin = ["pub struct ", "pub(super) struct ", "struct "];
        let declared = begin.iter().find_map(|begin| line.strip_prefix(begin));
        let declared = declared.or_else(|| {
            let (visibility, declared) = line.split_once(" struct ")?;
            visibility.starts_with("pub(").then_some(declared)
        });
        if let Some(declared) = declared {
            let end = if line.ends_with('{') { "\n}" } else { ";" };
            let whole = rest.split(end).next().unwrap();
            let name = declared.split(|c: char| !c.is_alphanumeric()).next();
            found.push(Struct {
                derived: derived.to_owned(),
                name: name.unwrap().to_owned(),
                fields: whole.to_owned(),
            });
        }
        if line.starts_with("#[derive(") {
            derived = line;
        } else if !line.starts_with("#[") && !line.starts_with("///") {
            derived = "";
        }
        rest = after;
    }
    found
}

#[test]
fn a_type_that_wipes_what_it_holds_shows_nothing_of_it() {
    let mut wiping = 0;
    for (path, code) in sources() {
        for one in structs(&code) {
            if one.fields.contains("Zeroizing<") {
                wiping += 1;
                let told = ["Debug", "Serialize", "PartialEq", "Hash"];
                let told = told.iter().find(|ability| one.derived.contains(**ability));
                assert!(
                    told.is_none(),
                    "{}: {} derives {told:?}",
                    path.display(),
                    one.name
                );
            }
        }
    }
    assert!(wiping > 10, "{wiping}");
}

#[test]
fn every_type_of_the_module_of_secrets_is_looked_at_here() {
    let module = Path::new("src/domain/secret.rs");
    let all = sources();
    let (_, code) = all.iter().find(|(path, _)| path == module).unwrap();
    let names: Vec<_> = structs(code).into_iter().map(|one| one.name).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(SECRETS.contains(&name.as_str()), "{name}");
    }
}

/// What proves something to the gate and comes from outside: its text, however it is called.
const PROOFS: [&str; 5] = [
    "expose()",
    "expose_bytes()",
    "signature",
    "msg_signature",
    "mac",
];

#[test]
fn nothing_that_proves_something_is_compared_in_a_time_that_tells_of_it() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let lines = code.lines().map(str::trim);
        for line in lines.filter(|line| !line.starts_with("//")) {
            let operator = line.contains(" == ") || line.contains(" != ") || line.contains(".eq(");
            let proof = PROOFS.iter().any(|proof| {
                let sides = line.split([' ', '(', '!', '&', '*', ';', ',', '|']);
                sides
                    .into_iter()
                    .any(|side| side.ends_with(proof) || side == *proof)
            });
            let exposed = line.contains("expose()") || line.contains("expose_bytes()");
            if operator && (proof || exposed) {
                wrong.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_a_panic_says_is_written_in_the_sources_and_holds_no_value() {
    let says = [
        "panic!(",
        "unreachable!(",
        "assert!(",
        "assert_eq!(",
        "assert_ne!(",
        ".expect(",
    ];
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        // The simulator is for laptops and tests, and its secrets are made up.
        if path.starts_with("src/sim") {
            continue;
        }
        for (number, line) in code.lines().enumerate() {
            let line = line.trim();
            let is_code = !line.starts_with("//") && !line.contains("debug_assert");
            let says_one = says.iter().any(|say| line.contains(say));
            let holds = line.contains('{') && line.contains('}') || line.contains("assert_eq!(");
            if is_code && says_one && holds {
                wrong.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}
