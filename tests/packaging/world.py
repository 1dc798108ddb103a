"""What the tests of this folder share: the binaries, the image, and a folder for each test."""

import functools
import os
import pathlib
import tempfile
import unittest

from image import Container, Image
from processes import Server, wait_until_ready

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
WXGATE = os.environ.get("WXGATE", str(ROOT / "target" / "debug" / "wxgate"))
SECRET = "0123456789abcdef0123456789abcdef"
SEAL_KEY = "c2l4dGVlbiBieXRlcyBvbmNlIGFuZCBvbmNlIG1vcmU="

_KEPT = tempfile.TemporaryDirectory(prefix="wxgate-image-")


@functools.cache
def image():
    os.chmod(_KEPT.name, 0o755)
    return Image(WXGATE, _KEPT.name)


class Case(unittest.TestCase):
    """A test with a folder of its own, whose processes end with it."""

    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="wxgate-packaging-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # The gate in its image is nobody in particular.
        os.chmod(self.folder, 0o755)

    def server(self, arguments, port, environment=None, name=None):
        server = Server(arguments, port, self.folder, environment, name)
        self.addCleanup(server.end)
        return server

    def gate(self, config, environment=None):
        """Without an image, on its usual ports."""
        server = self.server([WXGATE, "run", "-c", config], 4180, environment, "gate")
        return wait_until_ready(server)

    def mock_wechat(self, port=4182):
        return self.server([WXGATE, "mock-wechat", "--listen", f"127.0.0.1:{port}"], port)

    def container(self, name, **more):
        container = Container(image(), self.folder, name, **more)
        self.addCleanup(container.end)
        return container

    def write(self, name, text, mode=0o444):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path
