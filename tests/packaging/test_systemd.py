"""docker/systemd: units that systemd takes, and the gate started as they say."""

import os
import re
import shutil
import socket
import subprocess
import unittest

from processes import ask, log_in
from world import DOCKER, SEAL_KEY, SECRET, WXGATE, Case

UNITS = DOCKER / "systemd"
# systemd's own measure, from 0 (shut in) to 100; a service without any of it has 96.
EXPOSURE_MAX = 20
LISTEN_FD = 3


def settings(name):
    """Of all sections: names, and all their values in turn."""
    found = {}
    for line in (UNITS / name).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


class Units(Case):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "without systemd-analyze (Debian: systemd)")
    def test_systemd_takes_them_and_the_service_is_shut_in(self):
        for name in ("wxgate.service", "wxgate.socket"):
            text = (UNITS / name).read_text(encoding="utf-8")
            # It looks whether the program is there.
            self.write(name, text.replace("/usr/local/bin/wxgate", WXGATE))
        environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{self.folder}:"}

        def analyze(*arguments):
            command = ["systemd-analyze", *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
            return done.returncode, done.stdout + done.stderr

        units = [str(self.folder / name) for name in ("wxgate.service", "wxgate.socket")]
        code, said = analyze("verify", "--man=no", *units)
        ours = [line for line in said.splitlines() if "wxgate" in line]
        self.assertEqual((code, ours), (0, []), said)
        code, said = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", units[0])
        self.assertEqual(code, 0, said)
        # That it can fail.
        (self.folder / "wxgate.service").chmod(0o644)
        broken = (self.folder / "wxgate.service").read_text().replace("Type=notify", "Type=whenever")
        (self.folder / "wxgate.service").write_text(broken)
        self.assertIn("wxgate.service:", analyze("verify", "--man=no", units[0])[1])

    def test_a_wrong_configuration_is_not_started_again(self):
        service = settings("wxgate.service")
        code = subprocess.run([WXGATE, "run", "-c", "/nowhere"], capture_output=True, check=False).returncode
        self.assertEqual(service["RestartPreventExitStatus"], [str(code)])
        self.assertEqual(service["Restart"], ["on-failure"])

    def test_the_gate_runs_on_the_socket_with_these_settings_and_says_when_it_is_ready(self):
        service = settings("wxgate.service")
        (self.folder / "credentials").mkdir()
        loaded = {}
        for entry in service["LoadCredential"]:
            name, path = entry.split(":")
            loaded[os.path.basename(path)] = name
        for name, text in (("wx_app_secret", SECRET), ("seal_key", SEAL_KEY)):
            self.write(f"credentials/{loaded[name]}", text, 0o400)
        state = self.folder / "state" / service["StateDirectory"][0]
        state.mkdir(parents=True, mode=0o700)
        places = {"%d": str(self.folder / "credentials"), "%S": str(self.folder / "state")}
        environment = dict(
            re.sub("%.", lambda found: places[found.group()], entry).split("=", 1) for entry in service["Environment"]
        )
        environment["WXGATE_WECHAT__BASE_URL"] = "http://127.0.0.1:4182"
        self.mock_wechat()
        config = '[upstream]\nurl = "http://127.0.0.1:3000"\n[[apps]]\nappid = "wx0123456789abcdef"\n'
        config = self.write("wxgate.toml", config)
        host, port = settings("wxgate.socket")["ListenStream"][0].rsplit(":", 1)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(str(self.folder / "notify"))
        manager.settimeout(60)
        self.addCleanup(manager.close)
        command = service["ExecStart"][0].replace("/usr/local/bin/wxgate", WXGATE)
        command = command.replace("/etc/wxgate/wxgate.toml", str(config))
        with socket.create_server((host, int(port))) as listening, open(self.folder / "log", "wb") as log:
            os.set_inheritable(listening.fileno(), True)
            shell = f"exec {LISTEN_FD}<&{listening.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec {command}"
            gate = subprocess.Popen(
                ["bash", "-c", shell],
                env={**environment, "PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self.folder / "notify")},
                pass_fds=[listening.fileno()],
                stdout=log,
                stderr=log,
            )
            self.addCleanup(gate.kill)
            told = manager.recv(100)
            self.assertEqual(told, b"READY=1", (self.folder / "log").read_text())
            log_in(int(port), "alice")
            self.assertEqual(ask(4189, "GET", "/readyz")[0], 200)
            gate.terminate()
            self.assertEqual(manager.recv(100), b"STOPPING=1")
            self.assertEqual(gate.wait(60), 0, (self.folder / "log").read_text())
        # The sessions are where the next one finds them.
        self.assertTrue((state / "sessions").is_file())
