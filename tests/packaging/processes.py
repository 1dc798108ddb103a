"""Starts processes, waits until they listen, and ends them, whatever happens. Knows nothing of what they serve.

Everything runs in a network of its own, where every port is free: run.py has seen to that.
"""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

# From the start of a process to a port that accepts, on a busy machine.
START_SECONDS_MAX = 60
# From SIGTERM to SIGKILL: more than the gate drains in.
END_SECONDS_MAX = 30
# For one answer.
ANSWER_SECONDS_MAX = 20


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Server:
    """A process that listens on a port; its output is in a file."""

    def __init__(self, arguments, port, folder, environment=None, name=None):
        self.log_file = pathlib.Path(folder) / f"{name or pathlib.Path(str(arguments[0])).name}-{port}.log"
        if accepts(port):
            raise RuntimeError(f"somebody listens on {port} already")
        with open(self.log_file, "wb") as output:
            self.process = subprocess.Popen(
                [str(part) for part in arguments],
                cwd=folder,
                # Of the surroundings only what finds programs.
                env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS_MAX
        while not accepts(port):
            if time.monotonic() > end or self.process.poll() is not None:
                self.end()
                raise RuntimeError(f"{arguments} does not listen on {port}:\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def end(self):
        """Ends it, and gives its exit code."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                return self.process.wait(END_SECONDS_MAX)
            except ProcessLookupError:
                return self.process.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                continue
        return None


def wait_until_ready(server):
    """Until a gate is: it listens before, and whoever connects waits."""
    end = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            if ask(4189, "GET", "/readyz", [("Host", "localhost")])[0] == 200:
                return server
        except OSError:
            pass
        if time.monotonic() > end or server.process.poll() is not None:
            server.end()
            raise RuntimeError(f"the gate is not ready:\n{server.log()[-3000:]}")
        time.sleep(0.02)


def ask(port, method, path, headers=(), body=None, connection=None):
    """Status, headers and text of an answer. Headers go out as they are given."""
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
    try:
        given = {name.lower() for name, _ in headers}
        connection.putrequest(method, path, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if content is not None:
            if "content-type" not in given:
                connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def log_in(port, user, **more):
    """The token of a user."""
    status, _, text = ask(port, "POST", "/wx/login", body={"code": f"mock-{user}"}, **more)
    if status != 200:
        raise AssertionError(f"login: {status} {text}")
    return json.loads(text)["token"]


def bearer(token):
    return ("Authorization", f"Bearer {token}")
