"""The programs of a measurement: built here, or found installed. And what a gate is told."""

import os
import shutil
import subprocess
from pathlib import Path

from harness.processes import Failed, free_port, pin, wait_for_line, wait_until_listening

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent.parent
TOOLS = ROOT / "target" / "bench"

# How long the load generator may take: a million logins are minutes on a slow machine.
LOAD_SECONDS = 1200

APPID = "wx0123456789abcdef"

# Two keys differ from what they are by default, for what is measured and not for speed: more
# connections than anybody has by default are opened; and as many are kept to the app server as the
# other proxies keep.
CONFIGURATION = """
[server]
listen = "127.0.0.1:{port}"
workers = {workers}
{tls}
[server.limits]
max_connections = 20000

[upstream]
url = "http://127.0.0.1:{upstream}"
max_idle = 256

[[apps]]
appid = "{appid}"
secret = "0123456789abcdef0123456789abcdef"

[wechat]
base_url = "{wechat}"

[admin]
listen = ""
{more}"""


def cargo_build(*arguments, environment=None):
    command = ["cargo", "build", "--release", "--locked", "--quiet", *map(str, arguments)]
    built = subprocess.run(command, env={**os.environ, **(environment or {})}, cwd=ROOT)
    if built.returncode != 0:
        raise Failed(f"{' '.join(command)} failed")


def build_tools():
    """The app server and the load generator."""
    manifest = BENCH / "Cargo.toml"
    cargo_build("--manifest-path", manifest, "--target-dir", TOOLS)


def build_gate():
    """The gate as it is released."""
    cargo_build()
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return Path(target) / "release" / "wxgate"


def tool(name):
    return TOOLS / "release" / name


def find(name):
    """An installed program, or None."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    return path and Path(path)


def first_line(*argv):
    """What a program says first when asked for its version."""
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).strip().splitlines()[0]


def start_upstream(processes, core=None):
    """Gives the process and its port."""
    port = free_port()
    upstream = processes.start(
        "upstream", [tool("bench-upstream"), "--listen", f"127.0.0.1:{port}"], core
    )
    wait_until_listening(upstream, port)
    return upstream, port


def start_wechat(processes, gate, core=None):
    """A simulated WeChat; gives its URL."""
    wechat = processes.start("wechat", [gate, "mock-wechat", "--listen", "127.0.0.1:0"], core)
    return wait_for_line(wechat, "simulated WeChat on ")


def write_configuration(folder, port, upstream, wechat, workers=1, tls="", more=""):
    """Gives the file."""
    file = Path(folder) / f"gate-{port}.toml"
    file.write_text(
        CONFIGURATION.format(
            port=port,
            workers=workers,
            tls=tls,
            upstream=upstream,
            appid=APPID,
            wechat=wechat,
            more=more,
        )
    )
    return file


def load_command(*arguments):
    return [str(word) for word in (tool("bench-load"), *arguments)]


def load(*arguments, core=None):
    """Runs the load generator to its end, and gives what it found out."""
    argv = load_command(*arguments)
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, preexec_fn=pin(core),
            timeout=LOAD_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{' '.join(argv)}: not done after {LOAD_SECONDS} s") from late
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def log_in(folder, port, users, connections=32, core=None, tls=False):
    """Logs users in at a gate, and gives the file of their tokens."""
    said = load(
        "login", "--target", f"127.0.0.1:{port}", "--connections", connections,
        "--users", users, *(["--tls"] if tls else []), core=core,
    )
    tokens = Path(folder) / f"tokens-{port}"
    tokens.write_text(said)
    return tokens


def make_certificate(folder):
    """A key and a certificate of its own, as P-256, which all proxies are fast with. Gives the
    files of both, and of the two together."""
    key, certificate, both = (Path(folder) / name for name in ("key.pem", "cert.pem", "both.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    both.write_text(certificate.read_text() + key.read_text())
    return certificate, key, both
