"""How each app of docs/backends is built and started, and what it needs. Knows nothing of the gate."""

import json
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = HERE / ".venv" / "bin" / "python"
MODULES = HERE / "node_modules"

# For one step of a build. A Go that has compiled nothing before compiles its library first.
BUILD_SECONDS_MAX = 300


def run(command, folder, **environment):
    """One step of a build; what it wrote is shown only when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command} failed: {done.stdout.decode(errors='replace')[-2000:]}")


class App:
    """An app server as a page has it."""

    #: Whether it has the login hook and takes phone numbers.
    told_by_the_gate = True
    #: What of the headers is in its answer to `/me`.
    knows_unionid = True
    #: Whether it has WebSockets, that say at once who is there.
    has_sockets = False

    def missing(self):
        """What must be there and is not, or None."""
        raise NotImplementedError

    def prepare(self, folder):
        """Makes what the page leaves to its reader."""

    def build(self, folder):
        """Makes what is started out of what the page has."""

    def command(self, port):
        """What starts it in its folder, and the environment it wants."""
        raise NotImplementedError


class Python(App):
    def missing(self):
        return None if PYTHON.exists() else "python3 with venv, and its registry"


class Flask(Python):
    def command(self, port):
        return [PYTHON, "-m", "flask", "--app", "app", "run", "--port", port], {}


class Django(Python):
    def prepare(self, folder):
        run([PYTHON, "-m", "django", "startproject", "config", folder], folder)

    def build(self, folder):
        (folder / "accounts" / "__init__.py").touch()
        run([PYTHON, "manage.py", "makemigrations", "accounts"], folder)
        run([PYTHON, "manage.py", "migrate"], folder)

    def command(self, port):
        return [PYTHON, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"], {}


class FastApi(Python):
    def command(self, port):
        arguments = ["--host", "127.0.0.1", "--port", port, "--forwarded-allow-ips", "127.0.0.1"]
        return [PYTHON, "-m", "uvicorn", "main:app", *arguments], {}


class Node(App):
    def missing(self):
        if not shutil.which("node") or not MODULES.exists():
            return "node, npm and its registry"
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        return None if int(version.lstrip("v").split(".")[0]) >= 20 else "node 20 or later"

    def prepare(self, folder):
        (folder / "node_modules").symlink_to(MODULES)

    def command(self, port):
        return ["node", "app.js"], {"PORT": port}


class Express(Node):
    has_sockets = True


class Nest(Node):
    def build(self, folder):
        # As Nest's own template has it.
        options = {
            "target": "es2022",
            "module": "nodenext",
            "experimentalDecorators": True,
            "emitDecoratorMetadata": True,
            "allowJs": True,
            "skipLibCheck": True,
            "types": ["node"],
            "outDir": "dist",
        }
        settings = json.dumps({"compilerOptions": options, "files": ["main.ts"]})
        (folder / "tsconfig.json").write_text(settings, encoding="utf-8")
        run(["node", MODULES / "typescript" / "bin" / "tsc"], folder)

    def command(self, port):
        return ["node", "dist/main.js"], {"PORT": port, "NO_COLOR": "1"}


class Php(App):
    def missing(self):
        if not shutil.which("php"):
            return "php"
        loaded = subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout
        return None if "pdo_sqlite" in loaded else "php's extension pdo_sqlite"

    def command(self, port):
        return ["php", "-S", f"127.0.0.1:{port}", "index.php"], {}


class Go(App):
    def missing(self):
        return None if shutil.which("go") else "go"

    def build(self, folder):
        (folder / "go.mod").write_text("module app\n\ngo 1.19\n", encoding="utf-8")
        run(["go", "build", "-o", "app", "."], folder, GOPROXY="off", GOTOOLCHAIN="local", GOFLAGS="")

    def command(self, port):
        return ["./app", "-listen", f"127.0.0.1:{port}"], {}


class Java(App):
    told_by_the_gate = False
    knows_unionid = False

    def missing(self):
        # A launcher of sources is part of a development kit only.
        return None if shutil.which("java") and shutil.which("javac") else "a JDK"

    def command(self, port):
        return ["java", "-XX:TieredStopAtLevel=1", "Main.java", port], {}


ALL = {
    "flask": Flask(),
    "django": Django(),
    "fastapi": FastApi(),
    "express": Express(),
    "koa": Node(),
    "nest": Nest(),
    "php": Php(),
    "go": Go(),
    "java": Java(),
}
