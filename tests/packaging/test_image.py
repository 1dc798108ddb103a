"""What docker/Dockerfile makes: one file, run by nobody in particular, that needs nothing beside it."""

import os
import pathlib
import struct
import unittest

from image import instructions
from processes import ask, bearer, log_in
from world import DOCKER, ROOT, SECRET, WXGATE, Case, image

# Of what docker/build-static makes, so that an image is drawn in no time.
SIZE_MAX = 14 * 1024 * 1024
PT_INTERP = 3

CONFIG = f"""
[upstream]
url = "http://127.0.0.1:3000"
[[apps]]
appid = "wx0123456789abcdef"
secret = "{SECRET}"
[wechat]
base_url = "http://127.0.0.1:4182"
"""


def program_headers(binary):
    """Their kinds, of a 64-bit ELF file."""
    data = pathlib.Path(binary).read_bytes()
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    return {struct.unpack_from("<I", data, start + number * size)[0] for number in range(count)}


class TheImage(Case):
    def gate(self, **more):
        config = self.write("wxgate.toml", CONFIG)
        return self.container("gate", mounts=[(config, "/etc/wxgate/wxgate.toml", False)], **more)

    def test_it_holds_one_file(self):
        self.assertEqual(image().files(), ["/usr/local/bin/wxgate"])

    def test_that_file_needs_no_other(self):
        self.assertNotIn(PT_INTERP, program_headers(WXGATE))

    @unittest.skipUnless("/dist/" in WXGATE, "without --image: the size of what docker/Dockerfile builds")
    def test_that_file_is_small(self):
        self.assertLess(os.path.getsize(WXGATE), SIZE_MAX)

    def test_what_it_is_built_from_is_not_kept_from_the_builder(self):
        kept = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
        text = (DOCKER / "Dockerfile").read_text()
        copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
        self.assertEqual(sorted(kept), sorted({name for names in copied for name in names}))
        for name in kept:
            self.assertTrue((ROOT / name).exists(), name)

    def test_its_versions_are_those_of_the_gate(self):
        text = (ROOT / "Cargo.toml").read_text()
        version = text.split('version = "', 1)[1].split('"', 1)[0]
        rust = text.split('rust-version = "', 1)[1].split('"', 1)[0]
        labels = " ".join(rest for name, rest in instructions() if name == "LABEL")
        self.assertIn(f'image.version="{version}"', labels)
        self.assertIn(f"FROM rust:{rust}.", (DOCKER / "Dockerfile").read_text())

    def test_it_runs_as_nobody_in_particular_who_can_write_nothing(self):
        server = self.gate().start(4180)
        self.addCleanup(server.end)
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        self.assertEqual((fields["Uid"], fields["Gid"]), ("\t".join(["65532"] * 4),) * 2)
        self.assertEqual(fields["Groups"].strip(), "")
        self.assertEqual((int(fields["CapEff"], 16), fields["NoNewPrivs"]), (0, "1"))
        mounts = pathlib.Path(f"/proc/{server.process.pid}/mounts").read_text()
        root = [line.split() for line in mounts.splitlines() if line.split()[1] == "/"]
        self.assertTrue(root[-1][3].startswith("ro,"), root)
        self.assertEqual(server.end(), 0, server.log())

    def test_the_health_check_fails_until_the_gate_is_there(self):
        gate = self.gate()
        self.assertEqual(gate.run(image().healthcheck)[0], 1)
        server = gate.start(4180)
        self.addCleanup(server.end)
        self.assertEqual(gate.run(image().healthcheck), (0, ""))
        server.end()
        self.assertEqual(gate.run(image().healthcheck)[0], 1)

    def test_the_health_check_goes_on_when_the_environment_opens_the_admin_listener(self):
        gate = self.gate(environment={"WXGATE_ADMIN__LISTEN": "0.0.0.0:4189"})
        server = gate.start(4180)
        self.addCleanup(server.end)
        self.assertEqual(gate.run(image().healthcheck), (0, ""))
        # From another container: the Host is not a loopback name there.
        self.assertEqual(ask(4189, "GET", "/readyz", [("Host", "wxgate:4189")])[0], 200)

    def test_without_configuration_it_says_so_and_is_not_to_be_started_again(self):
        gate = self.container("gate")
        code, said = gate.run([*image().entrypoint, *image().command])
        self.assertEqual(code, 78, said)
        self.assertIn("/etc/wxgate/wxgate.toml", said)

    def test_a_name_is_looked_up_without_any_file_of_the_system(self):
        from names import Names

        names = Names({"wechat.test"})
        self.addCleanup(names.end)
        self.mock_wechat()
        # The health check is a client like any other.
        gate = self.gate()
        code, said = gate.run([*image().entrypoint, "healthcheck", "--url", "http://wechat.test:4182/_mock/"])
        self.assertEqual((code, said), (0, ""))
        self.assertIn("wechat.test", names.asked)
        code, said = gate.run([*image().entrypoint, "healthcheck", "--url", "http://unknown.test:4182/_mock/"])
        self.assertEqual(code, 1)
        self.assertIn("unknown.test", said)
        # And by /etc/hosts.
        self.assertEqual(gate.run([*image().entrypoint, "healthcheck", "--url", "http://localhost:4182/_mock/"])[0], 0)
        self.assertNotIn("localhost", names.asked)

    def test_a_user_logs_in_and_out(self):
        self.mock_wechat()
        server = self.gate().start(4180)
        self.addCleanup(server.end)
        token = log_in(4180, "alice")
        self.assertEqual(ask(4180, "GET", "/wx/session", [bearer(token)])[0], 200)
        self.assertEqual(ask(4180, "POST", "/wx/logout", [bearer(token)])[0], 204)
        self.assertEqual(ask(4180, "GET", "/wx/session", [bearer(token)])[0], 401)
