"""An image as docker/Dockerfile describes it, put together without Docker, and containers of it: a root of their own,
read-only, in which a user without rights runs one program.

Reads the last stage of the Dockerfile and understands what stands there; anything else is an error. The stage before
it is what docker/build-static does.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

from processes import Server, wait_until_ready

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def instructions():
    """Those of the last stage: names and the rest of the line."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    parts = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    last = max(index for index, (name, _) in enumerate(parts) if name == "FROM")
    if parts[last][1].strip() != "scratch":
        raise AssertionError("the image is not empty to begin with")
    return [(name, rest.strip()) for name, rest in parts[last + 1 :]]


class Image:
    """The files, and how they are run."""

    def __init__(self, binary, folder):
        self.root = pathlib.Path(folder) / "image"
        self.root.mkdir()
        self.user = self.healthcheck = self.entrypoint = self.command = None
        self.environment = {}
        made = pathlib.Path(folder) / "out"
        (made / "state").mkdir(parents=True)
        shutil.copy(binary, made / "wxgate")
        for name, rest in instructions():
            self._apply(name, rest, made)

    def _apply(self, name, rest, made):
        if name == "COPY":
            words = shlex.split(rest)
            options = dict(word[2:].split("=") for word in words if word.startswith("--"))
            source, to = [word for word in words if not word.startswith("--")]
            if options.pop("from") != "build" or not source.startswith("/out/"):
                raise AssertionError(f"COPY {rest}: only what was built")
            owner = [int(part) for part in options.pop("chown", "0:0").split(":")]
            if options:
                raise AssertionError(f"COPY {rest}: not understood")
            source, to = made / source.removeprefix("/out/"), self.root / to.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, to) if source.is_dir() else shutil.copy(source, to)
            os.chown(to, *owner)
        elif name == "ENV":
            self.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
        elif name == "USER":
            self.user = rest
        elif name == "HEALTHCHECK":
            self.healthcheck = json.loads(rest.split("CMD", 1)[1])
        elif name == "ENTRYPOINT":
            self.entrypoint = json.loads(rest)
        elif name == "CMD":
            self.command = json.loads(rest)
        elif name not in ("LABEL", "EXPOSE"):
            raise AssertionError(f"{name} {rest}: not understood")

    def files(self):
        """All that is in it."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return sorted("/" + str(path.relative_to(self.root)) for path in found)


class Container:
    """An image at work. Its root is read-only but for what is mounted into it."""

    def __init__(self, image, folder, name, mounts=(), environment=None, resolver="127.0.0.1"):
        """`mounts`: files and folders of this machine, where they are in the container, and whether it may write."""
        self.image, self.folder = image, pathlib.Path(folder)
        self.root = self.folder / f"root-{name}"
        shutil.copytree(image.root, self.root)
        for path in image.root.rglob("*"):
            owner = path.stat()
            os.chown(self.root / path.relative_to(image.root), owner.st_uid, owner.st_gid)
        self.environment = {**image.environment, **(environment or {})}
        self.name = name
        etc = self.folder / f"etc-{name}"
        etc.mkdir()
        # What Docker writes into every container.
        (etc / "hosts").write_text("127.0.0.1\tlocalhost\n", encoding="ascii")
        (etc / "resolv.conf").write_text(f"nameserver {resolver}\n", encoding="ascii")
        all_mounts = [
            (etc / "hosts", "/etc/hosts", False),
            (etc / "resolv.conf", "/etc/resolv.conf", False),
            (pathlib.Path("/proc"), "/proc", False),
            # Of what every container has under /dev; a static binary draws randomness from there.
            *((pathlib.Path(device), device, True) for device in ("/dev/null", "/dev/random", "/dev/urandom")),
            *mounts,
        ]
        self.mounted = []
        for source, to, _ in all_mounts:
            at = self.root / to.lstrip("/")
            if source.is_dir():
                at.mkdir(parents=True, exist_ok=True)
            else:
                at.parent.mkdir(parents=True, exist_ok=True)
                at.touch()
        self._mount("--bind", self.root, self.root)
        self._mount("-o", "remount,bind,ro", self.root)
        for source, to, may_write in all_mounts:
            at = self.root / to.lstrip("/")
            self._mount("--rbind" if to == "/proc" else "--bind", source, at)
            if not may_write and to != "/proc":
                subprocess.run(["mount", "-o", "remount,bind,ro", at], check=True)

    def _mount(self, *arguments):
        subprocess.run(["mount", *arguments], check=True)
        if arguments[0] != "-o":
            self.mounted.append(arguments[-1])

    def arguments(self, command):
        """As the image's user, who cannot become anybody else."""
        # The environment is the container's, and finds no programs out here.
        setpriv, chroot = shutil.which("setpriv"), shutil.which("chroot")
        user = [setpriv, "--no-new-privs", chroot, f"--userspec={self.image.user}", "--groups=", str(self.root)]
        return [*user, *command]

    def start(self, port, command=None):
        server = Server(
            self.arguments([*self.image.entrypoint, *(command or self.image.command)]),
            port,
            self.folder,
            self.environment,
            self.name,
        )
        return wait_until_ready(server) if command is None else server

    def run(self, command):
        """Exit code and what was said."""
        done = subprocess.run(
            self.arguments(command),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def end(self):
        for at in reversed(self.mounted):
            subprocess.run(["umount", "-l", at], check=True)
        self.mounted.clear()
        shutil.rmtree(self.root)
