//! A secret given as `x`, `x_file` or `x_env`: exactly one of them. Never says what it read.

use std::fs::{File, Metadata};
use std::io::Read;

use zeroize::Zeroizing;

use crate::config::key::{Given, Key, Noted};

/// Larger files hold no secret but something else.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The ways of giving a secret.
#[derive(Clone, Copy)]
enum Form {
    Value,
    File,
    Env,
}

/// Reads the secret of this name out of a table.
pub(super) fn read(table: &Key<'_>, name: &str) -> Given<Zeroizing<Vec<u8>>> {
    let forms = [
        (Form::Value, table.key(name)),
        (Form::File, table.key(&format!("{name}_file"))),
        (Form::Env, table.key(&format!("{name}_env"))),
    ];
    let mut given: Vec<_> = forms.iter().filter(|(_, key)| key.is_present()).collect();
    if given.iter().any(|(_, key)| key.is_override()) {
        // An override of one form replaces the forms of the file.
        given.retain(|(_, key)| key.is_override());
    }
    match given.as_slice() {
        [] => Ok(None),
        [(form, key)] => read_form(*form, key).map(Some),
        [(_, first), .., (_, last)] => {
            last.fault(format!(
                "given beside {} ({}), expected exactly one of {}",
                first.path(),
                first.place(),
                forms_of(name)
            ));
            Err(Noted)
        }
    }
}

/// The names of the forms, for messages.
pub(super) fn forms_of(name: &str) -> String {
    format!("{name}, {name}_file, {name}_env")
}

fn read_form(form: Form, key: &Key<'_>) -> Result<Zeroizing<Vec<u8>>, Noted> {
    let text = key.text().ok_or(Noted)?;
    let bytes = match form {
        Form::Value => Ok(Zeroizing::new(text.as_bytes().to_vec())),
        Form::File => read_file(key, text),
        Form::Env => read_variable(key, text),
    };
    match bytes {
        Ok(bytes) if bytes.is_empty() => {
            key.fault(match form {
                Form::Value => "is empty, expected the secret",
                Form::File => "names an empty file, expected one with the secret in it",
                Form::Env => "names an empty variable, expected one with the secret in it",
            });
            Err(Noted)
        }
        Ok(bytes) => Ok(bytes),
        Err(wrong) => {
            key.fault(wrong);
            Err(Noted)
        }
    }
}

fn read_variable(key: &Key<'_>, name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let value = key.context().environment.get(name);
    let secret = value.map(|value| Zeroizing::new(value.as_bytes().to_vec()));
    // The secret itself in this place is a common mistake, and must not be repeated. Nothing that
    // looks like the name of a variable can be an AppSecret: those are lower-case hexadecimal.
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    secret.ok_or_else(|| {
        if is_name {
            format!("the environment variable {name} is not set, expected it to hold the secret")
        } else {
            "names an environment variable that is not set, expected the name of one that holds \
             the secret"
                .to_owned()
        }
    })
}

fn read_file(key: &Key<'_>, name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let path = key.context().directory.join(name);
    // As above: only what is plainly a path is repeated.
    let shown = if name.starts_with(['/', '.']) || name.contains(['.', '\\']) {
        path.display().to_string()
    } else {
        match key.context().directory.display().to_string() {
            here if here.is_empty() => "the file of that name beside this one".to_owned(),
            directory => format!("the file of that name in {directory}"),
        }
    };
    let failed = |error: std::io::Error| {
        format!("cannot read {shown}: {error}, expected a file with the secret in it")
    };
    let file = File::open(&path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if others_may_write(&metadata) {
        return Err(format!(
            "{shown} can be written by its group or by everybody, so anybody might have put the \
             secret there; expected `chmod go-w`"
        ));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let mut limited = file.take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(format!(
            "{shown} is larger than 64KiB, expected only the secret in it"
        ));
    }
    drop_line_break(&mut bytes);
    Ok(bytes)
}

/// One, as editors and `echo` leave it.
fn drop_line_break(bytes: &mut Vec<u8>) {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
}

#[cfg(unix)]
pub(super) fn others_may_write(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o022 != 0
}

/// Access lists of other systems are not looked at.
#[cfg(not(unix))]
pub(super) fn others_may_write(_metadata: &Metadata) -> bool {
    false
}
