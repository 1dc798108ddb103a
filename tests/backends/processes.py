"""Starts servers on free ports, waits for them, and ends them, whatever happens. Knows nothing of what they serve."""

import os
import pathlib
import signal
import socket
import subprocess
import time

# From the start of a process to a port that accepts; a JVM that compiles its source takes seconds on a busy machine.
START_SECONDS_MAX = 60
# From SIGTERM to SIGKILL.
END_SECONDS_MAX = 5
# Somebody else may take a port between its choice and its use.
PORTS_TRIED = 3


def free_port():
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


class Server:
    """A process that listens on a port of its own; its output is in a file."""

    def __init__(self, command, folder, log, environment=None):
        """`command` makes arguments and environment for a port, given as text."""
        self.log_file = pathlib.Path(log)
        for _ in range(PORTS_TRIED):
            self.port = free_port()
            arguments, own = command(str(self.port))
            with open(log, "wb") as output:
                self.process = subprocess.Popen(
                    [str(part) for part in arguments],
                    cwd=folder,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {}), **own},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # A group of its own, so that what it starts ends with it.
                    start_new_session=True,
                )
            if self._accepts():
                return
            self.end()
        raise RuntimeError(f"{arguments[0]} does not listen:\n{self.log()[-2000:]}")

    def _accepts(self):
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.05)
        return False

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def listens_on(self):
        """The addresses on which this port is listened to, as /proc/net writes them."""
        found = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            if not os.path.exists(table):
                continue
            for line in pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                address, port = fields[1].split(":")
                if fields[3] == "0A" and int(port, 16) == self.port:
                    found.add(address)
        return found

    def end(self):
        """Ends the group; the second signal is for what the first did not end."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(END_SECONDS_MAX)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
