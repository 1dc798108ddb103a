"""What the gate should reach, and what it has reached by a measurement. Less is better everywhere.

Everything is against a plain nginx, without any session, timeout or log, in the same round, unless
the row says otherwise.
"""

from harness import results
from harness.stage import GATE

# How far a figure gets.
REACHES = ("moonshot", "goal", "must", "short of must")


class Goal:
    """`figure` reads the measured value out of the results; `form` writes a value down."""

    def __init__(self, title, limits, form, figure, scene=None):
        self.title = title
        self.must, self.goal, self.moonshot = limits
        self.form = form
        self.figure = figure
        self.scene = scene

    def reach(self, value):
        for name, limit in zip(REACHES, (self.moonshot, self.goal, self.must)):
            if value <= limit:
                return name
        return REACHES[-1]


def by_nginx(title, scene, *limits):
    return Goal(
        f"{title}, by nginx", limits, "{:.2f}".format,
        lambda found: ratio(found, scene, "nginx"), scene,
    )


def ratio(found, scene, other):
    """To the digits that are shown, of which the last is not certain."""
    value = results.ratio(found, scene, GATE, other)
    return None if value is None else round(value, 2)


def thousands(value):
    return f"{value / 1000:.1f} k"


def per_cent(value):
    return f"{value * 100:.0f} %"


def unit(name):
    return lambda value: f"{float(f'{value:.3g}'):g} {name}"


GOALS = [
    by_nginx("CPU per small request, one worker", "small", 1.00, 0.90, 0.80),
    Goal(
        "the same, by HAProxy with a map of tokens", (1.00, 0.90, 0.78), "{:.2f}".format,
        lambda found: ratio(found, "small", "haproxy-map"),
    ),
    by_nginx("CPU per small request, two workers on any core", "small-2", 1.10, 1.00, 0.85),
    Goal(
        "user instructions per small request", (36_000, 28_000, 15_000), thousands,
        lambda found: found["instructions"]["small"],
    ),
    by_nginx("CPU per answer of 10 KiB", "10k", 0.90, 0.85, 0.72),
    by_nginx("CPU per answer of 1 MiB", "1m", 0.70, 0.62, 0.55),
    by_nginx("CPU per upload of 1 MiB", "upload", 0.80, 0.65, 0.40),
    by_nginx("CPU per WebSocket round trip", "websocket", 1.10, 1.05, 1.00),
    by_nginx("CPU per request with its own connection", "fresh", 1.10, 1.00, 0.95),
    by_nginx("CPU per TLS handshake and request", "handshake", 0.70, 0.62, 0.55),
    by_nginx("CPU per TLS request", "tls", 0.90, 0.80, 0.65),
    by_nginx("CPU per HTTP/2 request", "h2c", 1.15, 1.00, 0.75),
    by_nginx("CPU per HTTP/2 request by TLS", "h2", 1.15, 1.00, 0.75),
    Goal(
        "memory per idle connection", (16, 8, 2), unit("KiB"),
        lambda found: results.idle_kib(found, GATE),
    ),
    Goal(
        "memory per session, at a million", (520, 400, 300), unit("B"),
        lambda found: results.session_bytes(found, GATE),
    ),
    Goal(
        "growth of CPU per request from a thousand sessions to a million",
        (0.18, 0.15, 0.10), per_cent,
        lambda found: results.session_cpu_growth(found, GATE),
    ),
    Goal(
        "memory at rest", (10, 7, 5), unit("MiB"),
        lambda found: results.resident_mib(found, GATE),
    ),
    Goal(
        "first request served after the start", (30, 20, 12), unit("ms"),
        lambda found: results.first_request_ms(found, GATE),
    ),
]
