"""docs/hosting.md: the files of the page, at work between a mini program's requests and an app server."""

import glob
import http.client
import json
import re
import shutil
import ssl
import socket
import subprocess
import time
import unittest

import kubernetes_validate
import yaml

from processes import ANSWER_SECONDS_MAX, ask, bearer, log_in
from world import DOCKER, ROOT, SECRET, Case

PAGE = ROOT / "docs" / "hosting.md"
BLOCK = re.compile(r"^<!-- file: ([^>]+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOMAIN = "app.example.com"
# An address of the network's own, from which clients come.
CLIENT = "203.0.113.7"
PHP_FPM = next(iter(sorted(glob.glob("/usr/sbin/php-fpm*"))), None)


def files():
    return dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))


def run(*command, **more):
    subprocess.run([str(part) for part in command], check=True, capture_output=True, **more)


class Form(unittest.TestCase):
    def test_every_file_of_the_page_is_one_that_is_run(self):
        used = {"wxgate.toml", "nginx/app.conf", "nginx/php.conf", "Caddyfile", "ingress.yaml"}
        self.assertEqual(set(files()), used)
        self.assertEqual(PAGE.read_text(encoding="utf-8").count("<!-- file:"), len(used))

    def test_the_ingress_has_the_form_of_its_kind_and_leads_to_the_service(self):
        ingress = yaml.safe_load(files()["ingress.yaml"])
        kubernetes_validate.validate(ingress, "1.30", strict=True)
        service = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        for manifest in (DOCKER / "kubernetes").glob("*.yaml"):
            found = {entry["kind"]: entry for entry in yaml.safe_load_all(manifest.read_text())}["Service"]
            self.assertEqual(found["metadata"]["name"], service["name"])
            self.assertIn(service["port"]["name"], [port["name"] for port in found["spec"]["ports"]])


class Hosted(Case):
    """A gate with the page's configuration, behind something."""

    def setUp(self):
        super().setUp()
        subprocess.run(["ip", "address", "add", f"{CLIENT}/32", "dev", "lo"], check=False, capture_output=True)
        self.mock_wechat()
        self.start_app()
        environment = {"WX_APP_SECRET": SECRET, "WXGATE_WECHAT__BASE_URL": "http://127.0.0.1:4182"}
        self.gate(self.write("wxgate.toml", files()["wxgate.toml"]), environment)
        self.start_front()

    def start_app(self):
        app = ROOT / "tests" / "packaging" / "hosted_app.py"
        self.app = self.server(["python3", app], 3000, {"APP_LISTEN": "127.0.0.1:3000"})

    def connect(self):
        raise NotImplementedError

    def ask(self, method, path, headers=(), body=None):
        return ask(None, method, path, [("Host", DOMAIN), *headers], body, self.connect())

    def log_in(self, user):
        return log_in(None, user, connection=self.connect())

    def seen(self, token, headers=()):
        """What the app server was sent: a list of names and values."""
        status, _, text = self.ask("GET", "/me", [*headers, bearer(token)])
        self.assertEqual(status, 200, text)
        return [(name.lower(), value) for name, value in json.loads(text)]


class Promises:
    """What must hold behind any of them."""

    def test_who_logged_in_is_who_the_app_server_sees_whatever_is_claimed(self):
        alice, bob = self.log_in("alice"), self.log_in("bob")
        mine = dict(self.seen(alice))
        theirs = dict(self.seen(bob))["x-wx-openid"]
        self.assertNotEqual(mine["x-wx-openid"], theirs)
        for name in ("X-WX-OPENID", "x-wx-openid", "X_WX_OPENID", "X-WX_OPENID"):
            seen = self.seen(alice, [(name, theirs)])
            told = [value for _, value in seen if value in (theirs, mine["x-wx-openid"])]
            self.assertEqual(told, [mine["x-wx-openid"]])
        self.assertEqual(self.ask("GET", "/me", [("X-WX-OPENID", theirs)])[0], 401)

    def test_the_client_is_the_one_who_connected_to_the_proxy(self):
        forged = [(name, "198.51.100.66") for name in ("X-Forwarded-For", "X-Real-IP", "X-Original-Forwarded-For")]
        forged.append(("Forwarded", "for=198.51.100.66"))
        seen = dict(self.seen(self.log_in("alice"), forged))
        self.assertEqual(seen["x-real-ip"], CLIENT)
        self.assertEqual(seen["host"], DOMAIN)
        self.assertEqual(seen["x-forwarded-proto"], self.scheme)

    def test_events_come_as_they_are_sent(self):
        token = self.log_in("alice")
        connection = self.connect()
        connection.request("GET", "/events", headers={"Host": DOMAIN, "Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        self.assertEqual(answer.read1(100), b"data: one\n\n")
        self.assertEqual(self.ask("GET", "/go-on", [bearer(token)])[0], 200)
        self.assertEqual(answer.read(), b"data: two\n\n")
        connection.close()

    def test_an_upload_passes_as_it_comes_and_may_be_large(self):
        token, size = self.log_in("alice"), 20_000_000
        connection = self.connect()
        connection.putrequest("POST", "/upload", skip_host=True)
        for name, value in (("Host", DOMAIN), bearer(token), ("Content-Length", str(size))):
            connection.putheader(name, value)
        connection.endheaders(bytes(100_000))
        end = time.monotonic() + ANSWER_SECONDS_MAX
        while json.loads(self.ask("GET", "/arrived", [bearer(token)])[2]) < 100_000:
            self.assertLess(time.monotonic(), end, "the first piece never arrived")
        connection.send(bytes(size - 100_000))
        answer = connection.getresponse()
        self.assertEqual((answer.status, json.loads(answer.read())), (200, size))
        connection.close()

    def test_a_websocket_is_opened_and_speaks_both_ways(self):
        token = self.log_in("alice")
        connection = self.connect()
        connection.connect()
        lines = [
            "GET /socket HTTP/1.1", f"Host: {DOMAIN}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Authorization: Bearer {token}",
        ]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = connection.sock.makefile("rb")
        self.assertIn(b" 101 ", answer.readline())
        while answer.readline() != b"\r\n":
            pass
        connection.sock.sendall(b"\x81\x85" + bytes(4) + b"hello")
        self.assertEqual(answer.read(7), b"\x81\x05hello")
        connection.close()


class Nginx(Hosted):
    scheme = "https"
    parts = ["nginx/app.conf"]

    def start_front(self):
        self.certificates()
        text = "\n".join(files()[part] for part in self.parts)
        for ours, there in self.places().items():
            self.assertIn(ours, text)
            text = text.replace(ours, str(there))
        self.write("app.conf", text)
        shutil.copy("/etc/nginx/fastcgi_params", self.folder / "fastcgi_params")
        main = (
            f"daemon off; pid {self.folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;\n"
            f"fastcgi_temp_path {self.folder}/fastcgi; include {self.folder}/app.conf; }}\n"
        )
        config = self.write("nginx.conf", main)
        self.nginx = self.server(["nginx", "-c", config, "-p", self.folder, "-e", "stderr"], 443)

    def places(self):
        return {"/etc/nginx/tls": self.folder / "tls"}

    def certificates(self):
        """An authority that clients know, one in between that they do not, and the server's own."""
        tls = self.folder / "tls"
        tls.mkdir()
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        own = ["-addext", f"subjectAltName=DNS:{DOMAIN}", "-addext", "basicConstraints=critical,CA:FALSE"]
        for name, subject, extensions, issuer in (
            ("root", "root", authority, []),
            ("between", "between", authority, ["-CA", "root.pem", "-CAkey", "root.key"]),
            ("own", DOMAIN, own, ["-CA", "between.pem", "-CAkey", "between.key"]),
        ):
            made = ["-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
            run("openssl", "req", "-x509", *new, *extensions, *made, *issuer, cwd=tls)
        shutil.copy(tls / "own.key", tls / "key.pem")
        (tls / "fullchain.pem").write_text((tls / "own.pem").read_text() + (tls / "between.pem").read_text())

    def connect(self):
        context = ssl.create_default_context(cafile=self.folder / "tls" / "root.pem")
        here, address = ("127.0.0.1", 443), (CLIENT, 0)
        connection = http.client.HTTPSConnection(DOMAIN, 443, timeout=ANSWER_SECONDS_MAX, context=context)
        # The domain is nobody's: it is here.
        connection._create_connection = lambda _to, timeout, _from: socket.create_connection(here, timeout, address)
        return connection


@unittest.skipUnless(shutil.which("nginx"), "without nginx")
@unittest.skipUnless(shutil.which("openssl"), "without openssl")
class NginxInFront(Promises, Nginx, unittest.TestCase):
    def test_a_chain_that_is_not_whole_is_refused_by_a_client_that_knows_the_root_only(self):
        tls = self.folder / "tls"
        shutil.copy(tls / "own.pem", tls / "fullchain.pem")
        run("nginx", "-c", self.folder / "nginx.conf", "-p", self.folder, "-e", "stderr", "-s", "reload")
        end = time.monotonic() + ANSWER_SECONDS_MAX
        while time.monotonic() < end:
            try:
                self.ask("GET", "/")
            except ssl.SSLCertVerificationError:
                return
        self.fail("a chain without its middle was believed")


@unittest.skipUnless(shutil.which("nginx"), "without nginx")
@unittest.skipUnless(shutil.which("openssl"), "without openssl")
@unittest.skipUnless(PHP_FPM, "without php-fpm")
class NginxAndPhp(Nginx, unittest.TestCase):
    parts = ["nginx/app.conf", "nginx/php.conf"]

    def start_app(self):
        """PHP-FPM; nginx starts later."""
        public = self.folder / "public"
        public.mkdir()
        php = "<?php header('Content-Type: application/json'); $put = file_get_contents('php://input');\n"
        php += "echo json_encode(['openid' => $_SERVER['HTTP_X_WX_OPENID'] ?? null,\n"
        php += "'address' => $_SERVER['REMOTE_ADDR'], 'proxy' => $_SERVER['HTTP_PROXY'] ?? '',\n"
        php += "'https' => $_SERVER['HTTPS'] ?? null, 'uri' => $_SERVER['REQUEST_URI'], 'size' => strlen($put),\n"
        php += "'host' => $_SERVER['HTTP_HOST']]);\n"
        self.write("public/index.php", php)
        self.write("public/hello.txt", "hello")
        pool = f"[global]\nerror_log = /dev/stderr\n[app]\nlisten = {self.folder}/fpm.sock\nlisten.mode = 0666\n"
        pool += "user = nobody\ngroup = nogroup\npm = static\npm.max_children = 2\n"
        config = self.write("fpm.conf", pool)
        fpm = subprocess.Popen([PHP_FPM, "-F", "-y", str(config)], stderr=subprocess.DEVNULL)
        self.addCleanup(fpm.wait)
        self.addCleanup(fpm.terminate)

    def places(self):
        return {
            **super().places(),
            "/var/www/app/public": self.folder / "public",
            "/run/php/php8.2-fpm.sock": self.folder / "fpm.sock",
        }

    def test_php_knows_the_user_and_the_client_whatever_is_claimed(self):
        alice = bearer(self.log_in("alice"))
        plain = json.loads(self.ask("GET", "/orders?page=2", [alice])[2])
        self.assertRegex(plain["openid"], "^oS")
        self.assertEqual((plain["address"], plain["https"], plain["uri"]), (CLIENT, "on", "/orders?page=2"))
        self.assertEqual(plain["host"], DOMAIN)
        forged = [(name, "forged") for name in ("X-WX-OPENID", "X_WX_OPENID", "Proxy")]
        forged += [(name, "198.51.100.66") for name in ("X-Real-IP", "X-Forwarded-For")]
        forged.append(("X-Forwarded-Proto", "http"))
        status, _, text = self.ask("GET", "/orders?page=2", [*forged, alice])
        self.assertEqual(status, 200, text)
        self.assertEqual(json.loads(text), plain)
        self.assertEqual(plain["proxy"], "")
        self.assertEqual(self.ask("GET", "/orders", forged)[0], 401)

    def test_an_upload_and_a_file_pass(self):
        alice = bearer(self.log_in("alice"))
        status, _, text = self.ask("POST", "/upload", [alice], bytes(5_000_000))
        self.assertEqual((status, json.loads(text)["size"]), (200, 5_000_000))
        self.assertEqual(self.ask("GET", "/hello.txt", [alice])[2], "hello")

    def test_php_fpm_itself_is_no_app_server_and_the_check_says_so(self):
        from world import WXGATE

        text = files()["wxgate.toml"].replace("127.0.0.1:3000", "127.0.0.1:9000")
        (self.folder / "wrong.toml").write_text(text)
        done = subprocess.run(
            [WXGATE, "check", "-c", str(self.folder / "wrong.toml")],
            env={"WX_APP_SECRET": SECRET},
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("FastCGI", done.stderr)


@unittest.skipUnless(shutil.which("caddy"), "without caddy")
class CaddyInFront(Promises, Hosted, unittest.TestCase):
    scheme = "http"

    def start_front(self):
        # Without a certificate, which it would ask an authority for.
        text = files()["Caddyfile"].replace(DOMAIN + " {", "http://:8080 {")
        config = self.write("Caddyfile", "{\nadmin off\n}\n" + text)
        environment = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        self.server(["caddy", "run", "--config", config, "--adapter", "caddyfile"], 8080, environment)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", 8080, timeout=ANSWER_SECONDS_MAX, source_address=(CLIENT, 0))
