"""The proxies under measurement, running: each has doors, for clear text, for HTTP/2 in clear text
and for TLS, and behind each door a process and the tokens that it knows.
"""

import http.client
import ssl
import time

from harness import peers, programs
from harness.processes import Failed, free_port, wait_until_listening

GATE = "wxgate"
PEERS = ("nginx", "haproxy", "haproxy-map", "nginx-lua")
DIRECT = "direct"

# Those that look the token of each request up.
WITH_SESSIONS = (GATE, "haproxy-map", "nginx-lua")

TLS = """
[server.tls]
cert_file = "{}"
key_file = "{}"
"""

# Refused the feature, as opposed to having failed.
BAD_CONFIGURATION = 78


class Door:
    def __init__(self, port, process, tokens):
        self.port = port
        self.process = process
        self.tokens = tokens


class Place:
    """Where everything runs: the processes, what stands beside the proxies, the cores."""

    def __init__(self, processes, gate, cores):
        self.processes = processes
        self.gate = gate
        self.core, self.other_core = cores
        self.upstream = processes.start_upstream = None
