"""A stage: an app server, a simulated WeChat, and proxies under measurement between them and the
load. Each proxy has doors, and behind each door a process and the tokens that it knows.
"""

import http.client
import ssl
import subprocess

from harness import peers, programs
from harness.processes import Failed, free_port, wait_until_listening

GATE = "wxgate"
DIRECT = "app server alone"
PROXIES = (GATE, "nginx", "haproxy", "haproxy-map", "nginx-lua")

# Those that look the token of each request up.
WITH_SESSIONS = (GATE, "haproxy-map", "nginx-lua")

# HTTP/1.1 in clear text, HTTP/2 in clear text, and either by TLS.
DOORS = ("http", "h2c", "tls")

TLS = """
[server.tls]
cert_file = "{}"
key_file = "{}"
"""


class Door:
    """A way into a proxy."""

    def __init__(self, port, process, tokens, tls=False):
        self.port = port
        self.process = process
        self.tokens = tokens
        self.tls = tls


class Stage:
    """`cores` are that of the proxies and that of everything else, or None for any."""

    def __init__(self, processes, gate, cores, workers):
        self.processes = processes
        self.folder = processes.folder
        self.gate = gate
        self.workers = workers
        self.core, self.other_core = cores or (None, None)
        self.upstream, self.upstream_port = programs.start_upstream(processes, self.other_core)
        self.wechat = programs.start_wechat(processes, gate, self.other_core)
        self.certificate = programs.make_certificate(self.folder)
        self.gate_without_tls = self.refusal_of_tls()

    def refusal_of_tls(self):
        """What the gate has against a configuration with TLS; None if nothing."""
        config = self.configuration(free_port(), TLS.format(*self.certificate[:2]), "")
        checked = subprocess.run(
            [self.gate, "check", "-c", config], capture_output=True, text=True, check=False
        )
        return None if checked.returncode == 0 else checked.stderr.strip()

    def configuration(self, port, tls, more):
        return programs.write_configuration(
            self.folder, port, self.upstream_port, self.wechat, self.workers, tls, more
        )

    def start(self, name, users, doors=("http",), more=""):
        """Starts a proxy and has it know so many users. Gives its doors by name. `more` is for the
        gate's configuration."""
        if name == DIRECT:
            tokens = peers.invent_tokens(self.folder, 1)
            return {"http": Door(self.upstream_port, self.upstream, tokens)}
        if name == GATE:
            return self.start_gate(users, doors, more)
        tokens = peers.invent_tokens(self.folder, users)
        ports = {door: free_port() for door in doors}
        process = self.launch(name, ports, tokens)
        for port in ports.values():
            wait_until_listening(process, port)
        return {door: Door(ports[door], process, tokens, door == "tls") for door in doors}

    def launch(self, name, ports, tokens):
        """Starts another proxy, without waiting for it."""
        site = peers.Site(self.folder, self.upstream_port, tokens, self.workers, self.certificate)
        return self.processes.start(name, site.command(name, ports), self.core)

    def start_gate(self, users, doors, more):
        found = {}
        if "http" in doors:
            door = self.open_gate(users, "", more)
            found.update(http=door, h2c=door)
        if "tls" in doors and self.gate_without_tls is None:
            found["tls"] = self.open_gate(users, TLS.format(*self.certificate[:2]), more)
        return found

    def open_gate(self, users, tls, more):
        port = free_port()
        process = self.launch_gate(port, tls, more)
        wait_until_listening(process, port)
        door = Door(port, process, None, bool(tls))
        if users:
            core = self.other_core
            door.tokens = programs.log_in(self.folder, port, users, core=core, tls=door.tls)
        return door

    def launch_gate(self, port, tls="", more=""):
        """Starts a gate, without waiting for it."""
        config = self.configuration(port, tls, more)
        return self.processes.start(GATE, [self.gate, "run", "-c", config], self.core)

    def end(self, doors):
        """Ends the processes behind these doors, but never the app server."""
        for process in {door.process for door in doors.values()} - {self.upstream}:
            self.processes.stop(process)


def check(name, door):
    """Makes sure that a proxy does what it is measured for: one that looks tokens up puts one
    identity in, takes the client's out, and answers 401 to a token that nobody has."""
    token = door.tokens.read_text().split()[0]
    status, seen = ask(door, token)
    identities = [line for line in seen.lower().splitlines() if line.startswith("x-wx-openid:")]
    stranger, _seen = ask(door, "wxg_" + "0" * 43)
    right = status == 200
    if name in WITH_SESSIONS:
        forged = any("forged" in line for line in identities)
        right = right and len(identities) == 1 and not forged and stranger == 401
    if not right:
        raise Failed(f"{name} does not do its work: {status}, {identities}, {stranger}")


def ask(door, token):
    """Status and text of the app server's account of what it was sent."""
    if door.tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = http.client.HTTPSConnection("127.0.0.1", door.port, timeout=10, context=context)
    else:
        client = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    fields = {"Authorization": f"Bearer {token}", "X-WX-OPENID": "forged"}
    client.request("GET", "/echo", headers=fields)
    answer = client.getresponse()
    seen = answer.read().decode("latin-1")
    client.close()
    return answer.status, seen
