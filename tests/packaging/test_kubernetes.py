"""docker/kubernetes: manifests of the right form, and the gate that they describe, at work as a container."""

import json
import os
import shutil
import unittest

import kubernetes_validate
import yaml

from names import Names
from processes import ask, bearer, log_in
from world import DOCKER, SEAL_KEY, SECRET, Case, image

MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
# The first with `restartPolicy` of init containers and `sleep` of preStop by default, and the last that is known.
VERSIONS = ["1.30", "1.37"]
# server.drain_timeout, when nobody sets it.
DRAIN_SECONDS = 25
SECRETS = {"wx_app_secret": SECRET, "wxgate_seal_key": SEAL_KEY, "redis_url": "redis://redis.test:6379/0"}


def objects(manifest):
    return {entry["kind"]: entry for entry in yaml.safe_load_all(manifest.read_text(encoding="utf-8"))}


def pod(manifest):
    return objects(manifest)["Deployment"]["spec"]["template"]["spec"]


class Form(unittest.TestCase):
    def test_every_object_has_the_form_of_its_kind(self):
        self.assertEqual([path.name for path in MANIFESTS], ["memory.yaml", "redis.yaml"])
        for manifest in MANIFESTS:
            for version in VERSIONS:
                for entry in objects(manifest).values():
                    kubernetes_validate.validate(entry, version, strict=True)
        wrong = objects(MANIFESTS[0])["Deployment"]
        wrong["spec"]["template"]["spec"]["initContainers"][0]["restartpolicy"] = "Always"
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)

    def test_the_gate_is_a_sidecar_that_outlives_the_app_server(self):
        for manifest in MANIFESTS:
            spec = pod(manifest)
            (gate,), (app,) = spec["initContainers"], spec["containers"]
            self.assertEqual(gate["restartPolicy"], "Always")
            # The app server starts when the gate is there.
            self.assertIn("startupProbe", gate)
            pause = app["lifecycle"]["preStop"]["sleep"]["seconds"]
            self.assertGreater(spec["terminationGracePeriodSeconds"], pause + DRAIN_SECONDS)

    def test_two_gates_never_have_a_memory_each(self):
        for manifest in MANIFESTS:
            spec = objects(manifest)["Deployment"]["spec"]
            in_redis = 'kind = "redis"' in objects(manifest)["ConfigMap"]["data"]["wxgate.toml"]
            alone = spec["replicas"] == 1 and spec["strategy"]["type"] == "Recreate"
            self.assertNotEqual(in_redis, alone, manifest)

    def test_the_app_server_listens_on_loopback_and_the_service_leads_to_the_gate(self):
        for manifest in MANIFESTS:
            spec = pod(manifest)
            (app,) = spec["containers"]
            self.assertTrue(app["env"][0]["value"].startswith("127.0.0.1:"))
            self.assertNotIn("ports", app)
            named = {port["name"]: port["containerPort"] for port in spec["initContainers"][0]["ports"]}
            (port,) = objects(manifest)["Service"]["spec"]["ports"]
            self.assertEqual(named[port["targetPort"]], 4180)

    def test_nobody_in_it_has_rights(self):
        for manifest in MANIFESTS:
            spec = pod(manifest)
            user, group = image().user.split(":")
            self.assertEqual(spec["securityContext"]["runAsUser"], int(user))
            self.assertEqual(spec["securityContext"]["fsGroup"], int(group))
            self.assertTrue(spec["securityContext"]["runAsNonRoot"])
            for container in spec["initContainers"] + spec["containers"]:
                context = container["securityContext"]
                self.assertFalse(context["allowPrivilegeEscalation"])
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
            self.assertTrue(spec["initContainers"][0]["securityContext"]["readOnlyRootFilesystem"])


class AtWork(Case):
    def start(self, manifest):
        """The gate of a manifest, with its volumes as the kubelet would make them."""
        spec = pod(manifest)
        (gate,) = spec["initContainers"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = []
        for mount in gate["volumeMounts"]:
            folder = self.folder / mount["name"]
            folder.mkdir()
            folder.chmod(0o755)
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                for name, text in objects(manifest)["ConfigMap"]["data"].items():
                    self.write(f"{mount['name']}/{name}", text, 0o644)
            elif "secret" in volume:
                for name, text in SECRETS.items():
                    file = self.write(f"{mount['name']}/{name}", text, volume["secret"]["defaultMode"])
                    os.chown(file, 0, spec["securityContext"]["fsGroup"])
            else:
                # A volume belongs to root, and fsGroup may write.
                os.chown(folder, 0, spec["securityContext"]["fsGroup"])
                folder.chmod(0o2775)
            mounts.append((folder, mount["mountPath"], not mount.get("readOnly", False)))
        environment = {"WXGATE_WECHAT__BASE_URL": "http://127.0.0.1:4182"}
        for variable in gate.get("env", []):
            environment[variable["name"]] = SECRETS[variable["valueFrom"]["secretKeyRef"]["key"]]
        self.gate = self.container("gate", mounts=mounts, environment=environment)
        self.mock_wechat()
        self.app = self.server(
            ["python3", DOCKER / "compose" / "app.py"], 3000, {"APP_LISTEN": spec["containers"][0]["env"][0]["value"]}
        )
        self.again()

    def again(self):
        self.started = self.gate.start(4180)
        self.addCleanup(self.started.end)

    def check(self, manifest):
        (gate,) = pod(manifest)["initContainers"]
        named = {port["name"]: port["containerPort"] for port in gate["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = gate[probe]["httpGet"]
            # As the kubelet asks: by the address of the pod.
            answer = ask(named[asked["port"]], "GET", asked["path"], [("Host", f"10.1.2.3:{named[asked['port']]}")])
            self.assertEqual(answer[0], 200, f"{probe} {self.started.log()}")
        token = log_in(4180, "alice")
        self.assertEqual(ask(4180, "GET", "/me", [bearer(token)])[0], 200)
        self.assertEqual(self.started.end(), 0, self.started.log())
        self.again()
        status, _, text = ask(4180, "GET", "/me", [bearer(token)])
        self.assertEqual(status, 200, self.started.log())
        self.assertIn("openid", json.loads(text))

    def test_the_one_with_sessions_in_memory_takes_logins_and_keeps_them_over_a_restart(self):
        manifest = DOCKER / "kubernetes" / "memory.yaml"
        self.start(manifest)
        self.check(manifest)

    @unittest.skipUnless(shutil.which("redis-server"), "without redis-server")
    def test_the_one_with_sessions_in_redis_takes_logins_and_keeps_them_over_a_restart(self):
        names = Names({"redis.test"})
        self.addCleanup(names.end)
        self.server(["redis-server", "--appendonly", "yes", "--dir", self.folder], 6379)
        manifest = DOCKER / "kubernetes" / "redis.yaml"
        self.start(manifest)
        self.check(manifest)
