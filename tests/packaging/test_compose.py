"""docker/compose: one file or two, as Docker would read them, and the services that they describe, at work."""

import json
import pathlib
import shutil
import unittest

import yaml

from names import Names
from processes import ask, bearer, log_in
from world import DOCKER, SEAL_KEY, SECRET, Case, image

COMPOSE = DOCKER / "compose"
FILES = {"compose.yaml": COMPOSE / "compose.yaml", "compose.mock.yaml": COMPOSE / "compose.mock.yaml"}
# As Docker's own network would have it.
GATE_PORT, ADMIN_PORT, APP_PORT, REDIS_PORT = 4180, 4189, 3000, 6379


def read(name):
    return yaml.safe_load(FILES[name].read_text(encoding="utf-8"))


def schema_of_compose():
    import check_jsonschema

    vendor = pathlib.Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor"
    return json.loads((vendor / "compose-spec.json").read_text(encoding="utf-8"))


class Form(unittest.TestCase):
    def test_the_files_have_the_form_of_the_compose_specification(self):
        import jsonschema

        validator = jsonschema.validators.validator_for(schema_of_compose())(schema_of_compose())
        for name in FILES:
            self.assertEqual([error.message for error in validator.iter_errors(read(name))], [], name)
        wrong = read("compose.yaml")
        wrong["services"]["wxgate"]["port"] = []
        self.assertFalse(validator.is_valid(wrong))

    def test_nobody_reaches_the_app_server_and_redis_but_the_gate(self):
        services, networks = read("compose.yaml")["services"], read("compose.yaml")["networks"]
        self.assertTrue(networks["inside"]["internal"])
        for name, service in services.items():
            if name == "wxgate":
                continue
            self.assertEqual(service["networks"], ["inside"], name)
            self.assertNotIn("ports", service)
            self.assertNotIn("network_mode", service)
        # trusted_proxies believes Docker's network: only who is on this machine may come through it.
        for port in services["wxgate"]["ports"]:
            self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_every_file_that_is_mounted_is_there_and_secrets_are_not(self):
        compose = read("compose.yaml")
        for service in compose["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((COMPOSE / source).is_file(), source)
                else:
                    self.assertIn(source, compose["volumes"])
            self.assertLessEqual(set(service.get("secrets", [])), set(compose["secrets"]))
        self.assertFalse((COMPOSE / "secrets").exists() and list((COMPOSE / "secrets").glob("*.md")))


@unittest.skipUnless(shutil.which("redis-server"), "without redis-server")
class AtWork(Case):
    """The services with their commands and environments, the gate and the simulator out of the image."""

    def setUp(self):
        super().setUp()
        self.services = read("compose.yaml")["services"]
        self.mock = read("compose.mock.yaml")["services"]
        names = Names(self.services)
        self.addCleanup(names.end)
        data = self.folder / "redis"
        data.mkdir()
        self.redis = self.server([*self.services["redis"]["command"], "--dir", data], REDIS_PORT)
        app = self.services["app"]
        source, at, _ = app["volumes"][0].split(":")
        command = [COMPOSE / source if part == at else part for part in app["command"]]
        self.app = self.server(command, APP_PORT, app["environment"])
        self.gate = self.gate_container()
        self.started = self.gate.start(GATE_PORT)
        self.addCleanup(self.started.end)
        # In the gate's own network, as compose.mock.yaml says.
        self.assertEqual(self.mock["wechat"]["network_mode"], "service:wxgate")
        wechat = self.container("wechat").start(4182, self.mock["wechat"]["command"])
        self.addCleanup(wechat.end)

    def gate_container(self):
        service = self.services["wxgate"]
        self.assertTrue(service["read_only"])
        secrets = {"wx_app_secret": SECRET, "wxgate_seal_key": SEAL_KEY}
        self.assertEqual(sorted(service["secrets"]), sorted(secrets))
        mounts = []
        for name, text in secrets.items():
            mounts.append((self.write(f"secrets/{name}", text), f"/run/secrets/{name}", False))
        for volume in service["volumes"]:
            source, to, mode = volume.split(":")
            self.assertEqual(mode, "ro")
            mounts.append((COMPOSE / source, to, False))
        environment = {**service["environment"], **self.mock["wxgate"]["environment"]}
        return self.container("gate", mounts=mounts, environment=environment)

    def me(self, token, headers=()):
        status, _, text = ask(GATE_PORT, "GET", "/me", [*headers, bearer(token)])
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def test_a_user_reaches_the_app_server_as_the_one_who_logged_in(self):
        self.assertEqual(self.gate.run(image().healthcheck), (0, ""))
        alice, bob = self.me(log_in(GATE_PORT, "alice")), self.me(log_in(GATE_PORT, "bob"))
        self.assertNotEqual(alice["openid"], bob["openid"])
        for name in ("X-WX-OPENID", "x_wx_openid", "X-WX_OPENID"):
            self.assertEqual(self.me(log_in(GATE_PORT, "alice"), [(name, bob["openid"])]), alice)
        self.assertEqual(ask(GATE_PORT, "GET", "/me", [("X-WX-OPENID", bob["openid"])])[0], 401)

    def test_sessions_outlive_the_gate(self):
        token = log_in(GATE_PORT, "alice")
        before = self.me(token)
        self.assertEqual(self.started.end(), 0)
        self.started = self.gate.start(GATE_PORT)
        self.addCleanup(self.started.end)
        self.assertEqual(self.me(token), before)

    def test_redis_has_what_docs_redis_asks_for(self):
        log_in(GATE_PORT, "alice")
        for complaint in ("maxmemory-policy", "evict", "persist", "redis takes no writes", '"level":"error"'):
            self.assertNotIn(complaint, self.started.log())

    def test_prometheus_reaches_the_admin_listener_and_it_is_not_published(self):
        self.assertEqual(ask(ADMIN_PORT, "GET", "/metrics", [("Host", "wxgate:4189")])[0], 200)
        published = [port.rsplit(":", 1)[1] for port in self.services["wxgate"]["ports"]]
        self.assertEqual(published, [str(GATE_PORT)])
