#!/usr/bin/env python3
"""Runs the code of docs/backends behind a real gate and a simulated WeChat, with forged headers in many spellings.

Usage: run.py [APP …]. WXGATE names the gate's binary. Says aloud which apps are skipped, and for want of what.
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import socket
import sys
import tempfile
import time
import unittest

import apps
import pages
from processes import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
WXGATE = os.environ.get("WXGATE", str(ROOT / "target" / "debug" / "wxgate"))
APPID = "wx0123456789abcdef"
# For one answer.
ANSWER_SECONDS_MAX = 20
# From an answer to its line in the log of an app.
LOG_SECONDS_MAX = 5

# Names under which a client may try to say who it is: `{}` is OPENID, APPID, UNIONID.
SPELLINGS = [
    "X-WX-{}",
    "X_WX_{}",
    "X-WX_{}",
    "X_WX-{}",
    "X.WX.{}",
    "HTTP_X_WX_{}",
]


def forgeries(values):
    """Sets of headers that claim these values: each spelling alone, in two cases, then all at once and twice."""
    every = []
    for spelling in SPELLINGS:
        for case in (str.upper, str.lower):
            claims = [(case(spelling.format(name)), value) for name, value in values.items()]
            every += claims
            yield claims
    yield every + every
    # Connection lists what a proxy has to take out: not the gate's own word.
    yield every + [("Connection", "close, X-WX-OPENID, X-WX-APPID")]


def ask(port, method, path, headers=(), body=None):
    """Status, headers and text of an answer. Headers go out as they are given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
    try:
        given = {name.lower() for name, _ in headers}
        connection.putrequest(method, path, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


class World:
    """Everything that runs during the tests."""

    def __init__(self, wanted):
        self.folder = tempfile.TemporaryDirectory(prefix="wxgate-backends-")
        self.path = pathlib.Path(self.folder.name)
        self.files = pages.files()
        self.ends = []
        self.running = {}
        self.skipped = {name: apps.ALL[name].missing() for name in wanted}
        (self.path / "wxgate.toml").write_text(self.files["wxgate.toml"], encoding="utf-8")

    def start(self):
        self.wechat = self._server(
            lambda port: ([WXGATE, "mock-wechat", "--listen", f"127.0.0.1:{port}"], {}), self.path, "wechat"
        )
        able = [name for name, missing in self.skipped.items() if not missing]
        # Two at once: most of a start is waiting for an interpreter.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for name, started in [(name, pool.submit(self._start_app, name)) for name in able]:
                try:
                    self.running[name] = started.result()
                except Exception as error:  # said by the tests of that app
                    self.running[name] = error

    def _server(self, command, folder, log):
        server = Server(command, folder, self.path / f"{log}.log")
        self.ends.append(server)
        return server

    def _start_app(self, name):
        app, folder = apps.ALL[name], self.path / name
        folder.mkdir()
        app.prepare(folder)
        pages.write(self.files, name, folder)
        app.build(folder)
        server = self._server(app.command, folder, name)
        settings = {
            "WX_APP_SECRET": "0123456789abcdef0123456789abcdef",
            "WXGATE_UPSTREAM__URL": f"http://127.0.0.1:{server.port}",
            "WXGATE_WECHAT__BASE_URL": f"http://127.0.0.1:{self.wechat.port}",
            "WXGATE_ADMIN__LISTEN": "",
            "WXGATE_LOGIN__EXPOSE": "openid,unionid",
            # The tests play the part of nginx.
            "WXGATE_SERVER__TRUSTED_PROXIES": "127.0.0.1/32",
        }
        if not app.told_by_the_gate:
            settings |= {"WXGATE_LOGIN__HOOK": "", "WXGATE_PHONE__DELIVER": "client", "WXGATE_PHONE__DELIVER_TO": ""}

        def gate(port):
            own = {"WXGATE_SERVER__LISTEN": f"127.0.0.1:{port}"}
            return [WXGATE, "run", "-c", "wxgate.toml"], {**settings, **own}

        return app, server, self._server(gate, self.path, f"{name}-gate")

    def end(self):
        for server in reversed(self.ends):
            server.end()
        self.folder.cleanup()


WORLD = None


class Promises:
    """What every app of the pages does behind the gate."""

    name = ""

    @classmethod
    def setUpClass(cls):
        missing = WORLD.skipped[cls.name]
        if missing:
            raise unittest.SkipTest(f"without {missing}")
        started = WORLD.running[cls.name]
        if isinstance(started, Exception):
            raise started
        cls.app, cls.server, cls.gate = started
        cls.alice, cls.bob = cls.log_in("alice"), cls.log_in("bob")

    @classmethod
    def log_in(cls, user):
        status, _, text = ask(cls.gate.port, "POST", "/wx/login", body={"code": f"mock-{user}", "agreed": True})
        if status != 200:
            raise AssertionError(f"login: {status} {text}\n{cls.server.log()[-3000:]}")
        return json.loads(text)

    def me(self, login, headers=()):
        """What the app says of a user who asks, with these headers beside the token."""
        bearer = ("Authorization", f"Bearer {login['token']}")
        status, _, text = ask(self.gate.port, "GET", "/me", [*headers, bearer])
        self.assertEqual(status, 200, text + self.server.log()[-3000:])
        return json.loads(text)

    def told(self, login):
        """The identity that the gate knows, as far as the app tells it."""
        known = {"openid": login["openid"], "appid": APPID}
        return known | {"unionid": login["unionid"]} if self.app.knows_unionid else known

    def bobs(self):
        return {"OPENID": self.bob["openid"], "APPID": "wxffffffffffffffff", "UNIONID": self.bob["unionid"]}

    def test_a_user_is_who_the_gate_says_whatever_else_is_claimed(self):
        alone = self.me(self.alice)
        self.assertEqual(alone, alone | self.told(self.alice))
        for claims in forgeries(self.bobs()):
            with self.subTest(claims):
                self.assertEqual(self.me(self.alice, claims), alone)

    def test_without_a_session_the_app_says_401_whatever_is_claimed(self):
        for claims in [[], *forgeries(self.bobs())]:
            with self.subTest(claims):
                status, headers, text = ask(self.gate.port, "GET", "/me", claims)
                self.assertEqual(status, 401, text)
                self.assertNotIn("problem", headers.get("Content-Type", ""), "the gate's own 401")
                self.assertNotIn("urn:wxgate", text)

    def test_around_the_gate_anybody_is_believed(self):
        """What the others would see, were the gate to let a name through."""
        claims = [("X-WX-OPENID", "forged"), ("X-WX-APPID", APPID), *NGINX, ("X-Request-Id", "r"), ("X-Real-IP", "::1")]
        status, _, text = ask(self.server.port, "GET", "/me", claims)
        self.assertEqual((status, json.loads(text)["openid"]), (200, "forged"))

    def test_the_app_listens_on_loopback_only(self):
        loopback = {"0100007F", "0000000000000000FFFF00000100007F"}   # the latter as IPv6 has it
        self.assertEqual(self.server.listens_on() | loopback, loopback)
        self.assertTrue(self.server.listens_on())

    def test_another_user_has_another_account(self):
        alice, bob = self.me(self.alice), self.me(self.bob)
        self.assertEqual(bob, bob | self.told(self.bob))
        self.assertNotEqual(alice["id"], bob["id"])

    def test_a_user_who_logs_in_again_has_the_same_account(self):
        self.assertEqual(self.me(self.log_in("alice")), self.me(self.alice))

    def test_many_first_requests_at_once_make_one_account(self):
        carol = self.log_in("carol")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(lambda _: self.me(carol)["id"], range(16)))
        self.assertEqual(len(set(seen)), 1, seen)

    def test_the_log_has_the_request_and_who_sent_it(self):
        headers = [*NGINX, ("Host", "app.example.com"), ("Authorization", f"Bearer {self.alice['token']}")]
        status, answer, text = ask(self.gate.port, "GET", "/me?secret=1", headers)
        self.assertEqual(status, 200, text)
        request_id = answer["X-Request-Id"]
        end = time.monotonic() + LOG_SECONDS_MAX
        while request_id not in self.server.log() and time.monotonic() < end:
            time.sleep(0.02)
        lines = [line for line in self.server.log().splitlines() if request_id in line]
        self.assertEqual(len(lines), 1, self.server.log()[-3000:])
        self.assertIn(" 203.0.113.7 https://app.example.com/me", lines[0])
        self.assertNotIn("198.51.100.66", lines[0])
        self.assertNotIn("secret", lines[0])


# What nginx in front of the gate says: a list whose left end is the client's own invention.
NGINX = [("X-Forwarded-For", "198.51.100.66, 203.0.113.7"), ("X-Forwarded-Proto", "https")]


class ToldByTheGate:
    """What those apps do besides that the gate asks and tells."""

    def test_the_hook_answers_a_login_with_the_account(self):
        self.assertEqual(self.alice["data"], {"id": self.me(self.alice)["id"]})

    def test_a_login_that_the_hook_refuses_makes_no_session(self):
        for agreed in ({}, {"agreed": False}, {"agreed": "true"}):
            status, _, text = ask(self.gate.port, "POST", "/wx/login", body={"code": "mock-dave", **agreed})
            self.assertEqual((status, json.loads(text)["code"]), (403, "login_refused"), text)

    def test_a_phone_number_goes_from_wechat_to_the_account(self):
        erin = self.log_in("erin")
        tap = {"appid": APPID, "user": "erin"}
        code = json.loads(ask(WORLD.wechat.port, "POST", "/_mock/phone_code", body=tap)[2])
        bearer = [("Authorization", f"Bearer {erin['token']}")]
        status, _, text = ask(self.gate.port, "POST", "/wx/phone", bearer, code)
        self.assertEqual((status, json.loads(text)), (200, {"phone": "13580006666"}), self.server.log()[-3000:])
        self.assertEqual(self.me(erin)["phone"], "13580006666")

    def test_no_client_says_what_only_the_gate_may(self):
        bearer = [("Authorization", f"Bearer {self.bob['token']}")]
        for path in ("/hooks/login", "/internal/phone", "/internal//phone", "/internal/%70hone"):
            status, _, text = ask(self.gate.port, "POST", path, bearer, {"phoneNumber": "1", "client": {"agreed": True}})
            self.assertEqual((status, json.loads(text)["code"]), (404, "not_found"), path)
        self.assertNotEqual(self.me(self.bob).get("phone"), "1")


class Sockets:
    """What an app does that has WebSockets."""

    def shake_hands(self, port, headers):
        """Status and what follows the head of the answer to a handshake, up to a first frame or the end."""
        head = [
            "GET /ws HTTP/1.1",
            "Host: app.example.com",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *(f"{name}: {value}" for name, value in headers),
        ]
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            answer = connection.makefile("rb")
            status = int(answer.readline().split()[1])
            while answer.readline() not in (b"\r\n", b""):
                pass
            if status != 101:
                return status, b""
            # One frame of text, not masked; below 126 bytes its length is one byte, else two more follow.
            length = answer.read(2)[1]
            return status, answer.read(int.from_bytes(answer.read(2), "big") if length == 126 else length)

    def test_a_socket_is_of_whom_the_gate_says_whatever_is_claimed(self):
        bearer = ("Authorization", f"Bearer {self.alice['token']}")
        for claims in [[], *list(forgeries(self.bobs()))[:-1]]:
            with self.subTest(claims):
                status, frame = self.shake_hands(self.gate.port, [*claims, bearer])
                self.assertEqual((status, json.loads(frame)["openid"]), (101, self.alice["openid"]))

    def test_a_socket_of_nobody_is_refused(self):
        self.assertEqual(self.shake_hands(self.server.port, []), (401, b""))
        self.assertEqual(self.shake_hands(self.gate.port, [("X-WX-OPENID", self.bob["openid"])]), (401, b""))


def suite(wanted):
    loader, every = unittest.TestLoader(), unittest.TestSuite()
    for name in wanted:
        app = apps.ALL[name]
        parts = (ToldByTheGate,) * app.told_by_the_gate + (Sockets,) * app.has_sockets
        case = type(name, (Promises, *parts, unittest.TestCase), {"name": name, "__module__": "backends"})
        every.addTests(loader.loadTestsFromTestCase(case))
    return every


def main():
    global WORLD
    wanted = sys.argv[1:] or list(apps.ALL)
    unknown = set(wanted) - set(apps.ALL)
    if unknown:
        sys.exit(f"run.py: unknown: {' '.join(sorted(unknown))}; known: {' '.join(apps.ALL)}")
    begin = time.monotonic()
    WORLD = World(wanted)
    try:
        for name, missing in WORLD.skipped.items():
            if missing:
                print(f"tests/run: SKIPPED without {missing}: {name} of docs/backends", file=sys.stderr)
        WORLD.start()
        good = unittest.TextTestRunner(verbosity=1).run(suite(wanted)).wasSuccessful()
    finally:
        WORLD.end()
    run = [name for name in wanted if not WORLD.skipped[name]]
    print(f"docs/backends: {', '.join(run) or 'nothing'} behind the gate, {time.monotonic() - begin:.0f} s")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
