//! README, the guides and the Chinese pages: what stands there can be pasted. Each block of code is run, checked,
//! compared with a file, or named in a table here with the reason why not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::process::Program;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wxgate");

/// What runs an example of docs/migrate.
const EXAMPLE: &str = "run.js";

/// Languages of blocks that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("", "drawings, and what programs print"),
    (
        "ini",
        "units of systemd: activation.rs passes sockets as systemd does",
    ),
    (
        "java",
        "a line to show where the header is; tests/backends runs whole programs",
    ),
    (
        "js",
        "the mini program's side needs WeChat; clients/miniprogram/test runs it against a stand-in",
    ),
    ("nginx", "a part of a configuration of nginx"),
    (
        "php",
        "a line to show where the header is; tests/backends runs whole programs",
    ),
    (
        "python",
        "a line to show where the header is; tests/backends runs whole programs",
    ),
    ("sql", "a database is the app server's"),
    (
        "xml",
        "a page of the mini program, which only WeChat can draw",
    ),
];

/// Commands that are not run, by how they begin, and why.
const COMMANDS_NOT_RUN: &[(&str, &str)] = &[
    ("./tests/run", "it runs this"),
    (
        "wxgate healthcheck",
        "needs a gate with an admin listener on its port; process.rs asks one",
    ),
];

/// What a command has to say, by how it begins. The others need not say anything.
const SAYS: &[(&str, &str)] = &[
    ("TOKEN=$(curl", "\"openid\""),
    (
        "curl -s http://127.0.0.1:4180/me -H 'X-WX-OPENID",
        "session_required",
    ),
    ("cargo run --release -- dev", "Stop with Ctrl-C"),
    ("wxgate check", "wxgate.toml: good"),
    ("wxgate run", "listening"),
    ("wxgate --version", "wxgate "),
];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README in both languages, the guides, and everything in Chinese.
pub(crate) fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "README.zh-CN.md".to_owned()];
    for folder in ["docs/migrate", "docs/zh", "docs/zh/migrate"] {
        let files = fs::read_dir(root().join(folder)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let pages = names.filter(|name| Path::new(name).extension().is_some_and(|ext| ext == "md"));
        found.extend(pages.map(|name| format!("{folder}/{name}")));
    }
    found.sort();
    assert!(found.len() >= 14, "{found:?}");
    found
}

/// For each line whether it belongs to a block of code, fences included.
pub(crate) fn fenced(text: &str) -> Vec<bool> {
    let mut inside = false;
    let lines = text.lines().map(|line| {
        let fence = line.trim_start().starts_with("```");
        let code = inside || fence;
        inside ^= fence;
        code
    });
    lines.collect()
}

#[derive(Clone, Debug)]
struct Block {
    page: String,
    /// From 1.
    line: usize,
    language: String,
    text: String,
    /// The file that it is a part of.
    part_of: Option<String>,
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let (mut found, mut open) = (Vec::new(), None::<Block>);
    let mut before = "";
    for (line, number) in text.lines().zip(1..) {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let part_of = before.strip_prefix("<!-- part of: ");
                open = Some(Block {
                    page: page.to_owned(),
                    line: number,
                    language: language.to_owned(),
                    text: String::new(),
                    part_of: part_of
                        .and_then(|rest| rest.strip_suffix(" -->"))
                        .map(str::to_owned),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
        before = line;
    }
    assert!(open.is_none(), "{page}: a block without an end");
    found
}

fn all_blocks() -> Vec<Block> {
    pages().iter().flat_map(|page| blocks(page)).collect()
}

/// A folder with what blocks name: certificates, keys, a configuration, the examples.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair = Authority::new().vouch();
    let readme = blocks("README.md");
    let whole =
        |block: &&Block| block.text.contains("[upstream]") && block.text.contains("[[apps]]");
    let config = &readme.iter().find(whole).unwrap().text;
    for (name, text) in [
        ("cert.pem", pair.cert.as_str()),
        ("key.pem", &pair.key),
        ("seal.key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
        (
            "wxgate_seal_key",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        ),
        ("wxgate.toml", config),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink(root().join("docs"), folder.path().join("docs")).unwrap();
    folder
}

fn with_surroundings(command: &mut Command, folder: &TempDir) {
    command
        .current_dir(folder.path())
        .env("WX_APP_SECRET", "0123456789abcdef0123456789abcdef")
        .env("WX_PUSH_TOKEN", "letters0and0digits")
        .env(
            "WX_PUSH_AES_KEY",
            "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
        )
        .env("NO_PROXY", "*");
}

#[test]
fn every_block_is_run_or_has_a_reason() {
    let mut unknown = Vec::new();
    for block in all_blocks() {
        let run = ["toml", "sh", "text", "json"].contains(&block.language.as_str());
        let excused = NOT_RUN
            .iter()
            .any(|(language, _)| *language == block.language);
        if !run && !excused && block.part_of.is_none() {
            unknown.push(format!("{}: {:?}", block.place(), block.language));
        }
    }
    assert!(unknown.is_empty(), "neither run nor excused: {unknown:#?}");
    for (command, reason) in COMMANDS_NOT_RUN {
        let used = all_blocks()
            .iter()
            .any(|block| block.text.starts_with(command));
        assert!(used, "{command} is excused ({reason}), and stands nowhere");
    }
}

#[test]
fn blocks_that_are_part_of_an_example_are_what_is_run() {
    let mut seen = 0;
    for block in all_blocks() {
        if let Some(file) = &block.part_of {
            seen += 1;
            let text = fs::read_to_string(root().join("docs/migrate").join(file)).unwrap();
            assert!(
                text.contains(&block.text),
                "{}: not in {file}",
                block.place()
            );
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn json_is_json() {
    for block in all_blocks().iter().filter(|block| block.language == "json") {
        for value in
            serde_json::Deserializer::from_str(&block.text).into_iter::<serde_json::Value>()
        {
            assert!(value.is_ok(), "{}: {value:?}", block.place());
        }
    }
}

/// The configuration that a block is, or is a part of, with files that are there.
fn whole(part: &str, folder: &Path) -> String {
    let upstream = "[upstream]\nurl = \"http://127.0.0.1:3000\"\n";
    let app = "[[apps]]\nappid = \"wx0123456789abcdef\"\nsecret_env = \"WX_APP_SECRET\"\n";
    let bases = [("[upstream]", upstream), ("[[apps]]", app)];
    let lacking = bases.iter().filter(|(table, _)| !part.contains(table));
    let text: String = lacking.map(|(_, base)| *base).chain([part]).collect();
    let folders = [
        "/etc/wxgate/tls",
        "/etc/wxgate",
        "/var/lib/wxgate",
        "/run/secrets",
    ];
    let here = folder.display().to_string();
    folders
        .iter()
        .fold(text, |text, away| text.replace(away, &here))
}

#[tokio::test]
async fn every_configuration_checks_good() {
    let folder = folder();
    let mut seen = 0;
    for block in all_blocks().iter().filter(|block| block.language == "toml") {
        seen += 1;
        let text = whole(&block.text, folder.path());
        fs::write(folder.path().join("block.toml"), text).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .args(["check", "-c", "block.toml"])
            .stderr(Stdio::piped());
        with_surroundings(&mut command, &folder);
        let mut program = Program::spawn(&mut command);
        let code = program.ended().await;
        assert_eq!(code, 0, "{}: {}", block.place(), program.said());
    }
    assert!(seen >= 20, "{seen}");
}

/// What stands for the reader's machine: `cargo` and `wxgate` are the program that is tested, on free ports, and it
/// takes the place of the shell where it would go on.
const SHIMS: &str = r#"set -e
wxgate() {
  case "$1" in
    dev) shift; exec "$PROGRAM" dev --listen 127.0.0.1:0 "$@" ;;
    run) WXGATE_SERVER__LISTEN=127.0.0.1:0 WXGATE_ADMIN__LISTEN= exec "$PROGRAM" "$@" ;;
    *) "$PROGRAM" "$@" ;;
  esac
}
cargo() {
  case "$1" in
    run) shift 3; wxgate "$@" ;;
    install) ;;
    *) echo "cargo $1?" >&2; return 1 ;;
  esac
}
"#;

fn shell(lines: &str, folder: &TempDir) -> Program {
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{SHIMS}{lines}")])
        .env("PROGRAM", PROGRAM)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    with_surroundings(&mut bash, folder);
    Program::spawn(&mut bash)
}

/// Whether it goes on until it is stopped.
fn serves(lines: &str) -> bool {
    let mut commands = lines.lines();
    commands.any(|line| line.starts_with("cargo run") || line.starts_with("wxgate run"))
}

/// Pastes a block at a machine where `wxgate dev` has said how to log in, and holds it to what it has to say.
async fn paste(block: &Block, gate: &str, log_in: &str, folder: &TempDir) {
    let lines = &block.text;
    let needs_token = lines.contains("$TOKEN") && !lines.contains("TOKEN=");
    let before = if needs_token { log_in } else { "" };
    let secret = "WX_APP_SECRET=0123456789abcdef0123456789abcdef";
    let here = lines
        .replace("http://127.0.0.1:4180", gate)
        .replace("WX_APP_SECRET=…", secret);
    let mut program = shell(&format!("{before}\n{here}"), folder);
    let begins = |begin: &str| lines.lines().any(|line| line.starts_with(begin));
    let wanted = SAYS
        .iter()
        .filter(|(begin, _)| begins(begin))
        .map(|(_, says)| *says);
    if serves(lines) {
        for says in wanted {
            program.line(says).await;
        }
        return;
    }
    let code = program.ended().await;
    let said = program.said();
    assert_eq!(code, 0, "{}: {said}", block.place());
    for says in wanted {
        assert!(said.contains(says), "{}: {says:?} in {said}", block.place());
    }
    let refused = said.is_empty() || said.contains("urn:wxgate");
    assert!(!(needs_token && refused), "{}: {said}", block.place());
}

#[tokio::test]
async fn commands_do_what_the_page_says_when_pasted() {
    let folder = folder();
    let dev = Program::start(&["dev", "--listen", "127.0.0.1:0"]);
    let line = dev.line("  gate ").await;
    let gate = line.trim_start().trim_start_matches("gate").trim();
    let log_in = dev.line("TOKEN=").await;
    let excused = |text: &str| {
        COMMANDS_NOT_RUN
            .iter()
            .any(|(begin, _)| text.starts_with(begin))
    };
    let mut run = 0;
    for block in all_blocks().iter().filter(|block| block.language == "sh") {
        if !excused(&block.text) && !block.text.contains(EXAMPLE) {
            run += 1;
            paste(block, gate, log_in.trim(), &folder).await;
        }
    }
    assert!(run >= 12, "{run}");
}

/// The guides end in a command and what it prints.
#[tokio::test]
async fn examples_of_the_guides_print_what_stands_there() {
    let folder = folder();
    // By the command, and once: the same example stands in both languages.
    let mut shown = BTreeMap::<String, Vec<Block>>::new();
    for page in pages() {
        let blocks = blocks(&page);
        let pairs = blocks.iter().zip(blocks.iter().skip(1));
        for (command, output) in pairs.filter(|(command, _)| command.text.contains(EXAMPLE)) {
            assert_eq!(output.language, "text", "{}: no output", command.place());
            let outputs = shown.entry(command.text.clone()).or_default();
            outputs.push(output.clone());
        }
    }
    for (command, outputs) in &shown {
        assert_eq!(outputs.len(), 2, "{command}: in both languages");
        let mut program = shell(&command.replace("target/debug/wxgate", PROGRAM), &folder);
        let code = program.ended().await;
        assert_eq!(code, 0, "{command}: {}", program.said());
        for output in outputs {
            assert_eq!(program.said(), output.text, "{}", output.place());
        }
    }
    assert_eq!(shown.len(), 3, "three guides");
}
