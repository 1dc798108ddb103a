"""What is measured beside the load: starting, resting, idle connections, many sessions."""

import json
import socket
import subprocess
import threading
import time

from harness import peers, programs
from harness.processes import Failed, free_port, pin
from harness.stage import GATE

# A path that needs no session, so that the first request is forwarded with nobody logged in.
PUBLIC = """
[[access.rules]]
path = "/public/**"
require = "public"
"""

# How long a process may settle before its memory is looked at.
SETTLE_SECONDS = 2

# A login answer is kept for a client that lost it, and is no part of a session.
NO_KEPT_ANSWERS = """
[login]
retry_window = "0"
"""

# How long the first request may take, and holding idle connections altogether.
START_SECONDS = 10
HOLD_SECONDS = 120


def start(stage, name, times):
    """How long it takes from the start of the process until the first request is served, and how
    much memory it has while nothing has happened yet."""
    millis = []
    for _time in range(times):
        port, tokens = free_port(), peers.invent_tokens(stage.folder, 1)
        began = time.monotonic()
        if name == GATE:
            process = stage.launch_gate(port, more=PUBLIC)
        else:
            process = stage.launch(name, {"http": port}, tokens)
        wait_until_served(port, tokens.read_text().strip())
        millis.append((time.monotonic() - began) * 1000)
        stage.processes.stop(process)
    doors = stage.start(name, 0 if name == GATE else 1)
    time.sleep(SETTLE_SECONDS)
    resident = doors["http"].process.resident_bytes()
    stage.end(doors)
    return {"first_request_ms": millis, "resident_bytes": resident}


def wait_until_served(port, token):
    request = (
        f"GET /public/first HTTP/1.1\r\nHost: api.example.com\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(request.encode())
                if client.recv(65536).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            time.sleep(0.0002)
    raise Failed(f"nothing is served on port {port}")


def idle(stage, name, connections):
    """Memory with and without so many connections, each of which has asked once."""
    doors = stage.start(name, 1000)
    door = doors["http"]
    time.sleep(SETTLE_SECONDS)
    before = door.process.resident_bytes()
    command = programs.load_command(
        "idle", "--target", f"127.0.0.1:{door.port}", "--tokens", door.tokens,
        "--connections", connections,
    )
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=pin(stage.other_core),
    ) as holder:
        # A proxy that hangs must not hold this up for ever.
        overdue = threading.Timer(HOLD_SECONDS, holder.kill)
        overdue.start()
        report = json.loads(holder.stdout.readline() or "{}")
        time.sleep(SETTLE_SECONDS)
        held = door.process.resident_bytes()
        overdue.cancel()
        holder.stdin.close()
    stage.end(doors)
    if report.get("good") != connections:
        raise Failed(f"{name} does not take {connections} connections: {report}")
    return {"connections": connections, "before_bytes": before, "held_bytes": held}


def open_with_sessions(stage, name, sessions):
    """A proxy that knows so many users, its memory, and how long it took to make them known."""
    more = NO_KEPT_ANSWERS + f"\n[store]\nmax_sessions = {max(2 * sessions, 100_000)}\n"
    began = time.monotonic()
    doors = stage.start(name, sessions, more=more)
    took = time.monotonic() - began
    time.sleep(SETTLE_SECONDS)
    return doors, doors["http"].process.resident_bytes(), took
