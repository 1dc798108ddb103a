"""What is measured under load: what is asked for, and how a round of it is taken."""

import json
import os
import resource
import time

from harness import programs
from harness.processes import Failed, machine_busy_seconds
from harness.stage import DIRECT, PROXIES


class Scene:
    """`door` is the one that the load comes through, `asked` what the load generator is told."""

    def __init__(self, title, door, *asked, direct=False):
        self.title = title
        self.door = door
        self.asked = asked
        self.proxies = (*PROXIES, DIRECT) if direct else PROXIES


MIB = 1024 * 1024

SCENES = {
    "small": Scene("100 bytes", "http", "--connections", 32, direct=True),
    "10k": Scene(
        "10 KiB", "http", "--connections", 32, "--path", "/10k", "--expect", 10 * 1024, direct=True
    ),
    "1m": Scene(
        "1 MiB", "http", "--connections", 8, "--path", "/1m", "--expect", MIB, direct=True
    ),
    "upload": Scene(
        "1 MiB upload", "http", "--connections", 8, "--upload", MIB, direct=True
    ),
    "fresh": Scene(
        "one connection per request", "http", "--connections", 32, "--manner", "fresh"
    ),
    "websocket": Scene(
        "WebSocket round trip", "http", "--connections", 32, "--manner", "websocket", direct=True
    ),
    "h2c": Scene(
        "HTTP/2", "h2c", "--connections", 8, "--manner", "http2", "--streams", 8
    ),
    "h2": Scene(
        "HTTP/2 by TLS", "tls", "--connections", 8, "--manner", "http2", "--streams", 8
    ),
    "tls": Scene("TLS request", "tls", "--connections", 32),
    "handshake": Scene(
        "TLS handshake per request", "tls", "--connections", 32, "--manner", "fresh"
    ),
}


def measure(stage, door, scene, seconds, warm):
    """One round: what the load generator found out, and what the proxy used for it."""
    clock = Clocks(stage, door)
    said = programs.load(
        "ask", "--target", f"127.0.0.1:{door.port}", "--tokens", door.tokens,
        "--seconds", seconds, "--warm", warm, *(["--tls"] if door.tls else []), *scene.asked,
        core=stage.other_core,
    )
    used = clock.since()
    # The access log has been paid for, and nobody reads it.
    os.truncate(door.process.log, 0)
    report = json.loads(said)
    requests = report["good"] + report["wrong"] + report["failed"]
    if requests == 0 or report["seconds"] == 0:
        raise Failed(f"nothing was answered on port {door.port}: {said}")
    return {
        "requests": requests,
        "bad": report["wrong"] + report["failed"],
        "cpu_us": used["proxy"] / requests * 1e6,
        "per_second": report["measured"] / report["seconds"],
        "p50_us": report["p50_us"],
        "p99_us": report["p99_us"],
        "resident_mib": door.process.resident_bytes() / MIB,
        "busy": used["proxy"] / used["wall"],
        "others": used["others"] / used["wall"],
    }


class Clocks:
    """Processor time of everybody, from one moment to another."""

    def __init__(self, stage, door):
        self.stage = stage
        self.door = door
        self.began = self.read()

    def read(self):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        proxy = self.door.process.cpu_seconds()
        upstream = self.stage.upstream
        beside = 0 if self.door.process is upstream else upstream.cpu_seconds()
        return {
            "wall": time.monotonic(),
            "proxy": proxy,
            "ours": proxy + beside + children.ru_utime + children.ru_stime,
            "machine": machine_busy_seconds(),
        }

    def since(self):
        ended = self.read()
        used = {name: ended[name] - self.began[name] for name in ended}
        # What the machine did that was no part of this.
        used["others"] = max(used["machine"] - used["ours"], 0)
        return used
