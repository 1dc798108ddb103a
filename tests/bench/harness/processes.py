"""The processes of a measurement: started, pinned, accounted for, and ended.

Only what was started here is ever ended, by its own process id.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

# How long a process may take to listen; under valgrind that is seconds.
START_SECONDS = 60
# How long it may take to end, draining included, before it is killed.
STOP_SECONDS = 20


class Failed(Exception):
    """A measurement that cannot go on, with the reason for whoever started it."""


class Process:
    """One process and its children."""

    def __init__(self, name, argv, log, core=None):
        self.name = name
        self.log = log
        Path(log).write_bytes(b"")
        with open(log, "ab") as sink:  # appended to, so that it can be emptied meanwhile
            self.child = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=pin(core),
            )

    def family(self):
        """The ids of the process and all that descend from it."""
        found, queue = [], [self.child.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    queue += [int(child) for child in task.read_text().split()]
                except OSError:
                    pass  # ended meanwhile
        return found

    def cpu_seconds(self):
        """Processor time so far, user and system, as the kernel accounts for it."""
        ticks = 0
        for pid in self.family():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            fields = stat.rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_A_SECOND

    def resident_bytes(self):
        """Memory of the largest of its processes: the one that serves, where there are two."""
        return max(resident_bytes(pid) for pid in self.family())

    def said(self):
        return Path(self.log).read_text(errors="replace")

    def ended(self):
        return self.child.poll() is not None

    def stop(self):
        """Ends it in order, or after a while at once."""
        family = self.family()
        if not self.ended():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        for pid in family[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # ended with its parent


def pin(core):
    """What a child does first, to stay on this core."""
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


def resident_bytes(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0  # ended meanwhile
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def machine_busy_seconds():
    """Processor time that anything at all has used since the machine was started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split(None, 9)[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / TICKS_A_SECOND


def end_in_order_when_told():
    """Makes of SIGTERM what SIGINT is, so that whoever is told to end also ends its children."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Processes:
    """All processes of one measurement; leaving the block ends them."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.running = []
        self.started = 0

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        for process in reversed(self.running):
            process.stop()

    def start(self, name, argv, core=None):
        self.started += 1
        log = self.folder / f"{self.started}-{name}.log"
        process = Process(name, argv, log, core)
        self.running.append(process)
        return process

    def stop(self, process):
        process.stop()
        self.running.remove(process)


def free_port():
    """A port on which nobody listens, by the kernel's choice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_listening(process, port):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.ended():
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise Failed(f"{process.name} does not listen: {process.said()[-2000:].strip()}")


def wait_for_line(process, text):
    """The rest of the first line that has this text in it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for line in process.said().splitlines():
            if text in line:
                return line.split(text, 1)[1].strip()
        if process.ended():
            break
        time.sleep(0.01)
    raise Failed(f"{process.name} does not say {text!r}: {process.said()[-2000:].strip()}")
