"""docker/observability: every series, label and value that alerts and dashboard name is one that the gate tells."""

import json
import re
import shutil
import subprocess
import unittest

import promql_parser as promql
import yaml

from processes import ask, bearer, log_in
from world import DOCKER, ROOT, SECRET, Case

FOLDER = DOCKER / "observability"
# What Prometheus adds.
OF_PROMETHEUS = {"instance", "job", "le"}
# What Grafana puts in for its variables, more or less.
GRAFANA = {"$__rate_interval": "1m", "$__range": "6h", "$instance": ".*"}


def documented():
    """The labels of every series, by docs/metrics.md; and all values of labels that stand there."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    series, values = text.split("## Values of the labels")
    labels = {}
    for name, kind in re.findall(r"^\| `(\w+)` \| (.*?) \|", series, re.MULTILINE):
        labels[name] = (kind.split(";")[0], set(re.findall(r"`(\w+)`", kind)))
    return labels, set(re.findall(r"`([\w.]+)`", values))


def errcodes():
    """Those of which the gate knows the meaning: others are counted as `other`."""
    return set(re.findall(r"-?\d{5}\b", (ROOT / "src" / "wechat" / "errcode.rs").read_text(encoding="utf-8")))


def alerts():
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))


def queries():
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


class Query:
    """What an expression names."""

    def __init__(self, text):
        for variable, value in GRAFANA.items():
            text = text.replace(variable, value)
        self.selectors, self.grouped = [], []
        promql.walk(promql.parse(text), self._visit, None)

    def _visit(self, node):
        selector = getattr(node, "vector_selector", node)
        if isinstance(selector, promql.VectorSelector) and selector not in self.selectors:
            self.selectors.append(selector)
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            self.grouped.append(set(node.modifier.labels))
        return True

    def names(self):
        return {selector.name for selector in self.selectors}

    def matchers(self):
        for selector in self.selectors:
            for matcher in selector.matchers.matchers:
                yield selector.name, matcher.name, matcher.value


class Names(unittest.TestCase):
    def setUp(self):
        self.series, self.values = documented()

    def labels(self, name):
        """The labels of a series; of `up`, which is Prometheus' own, none but those that it adds."""
        if name == "up":
            return set()
        family = re.sub("_(bucket|count|sum)$", "", name)
        family = family if family in self.series else name
        self.assertIn(family, self.series, "no such series")
        self.assertEqual(family != name, self.series[family][0] == "histogram", name)
        return self.series[family][1]

    def test_the_queries_name_only_what_there_is(self):
        count = 0
        for where, text in queries():
            with self.subTest(where):
                query = Query(text)
                self.assertTrue(query.selectors, text)
                for name, label, value in query.matchers():
                    self.assertIn(label, self.labels(name) | OF_PROMETHEUS, name)
                    self.of_label(label, value)
                    count += 1
                of_all = set().union(*(self.labels(name) for name in query.names())) | OF_PROMETHEUS
                for grouped in query.grouped:
                    self.assertLessEqual(grouped, of_all, text)
        self.assertGreater(count, 50)

    def of_label(self, label, value):
        if label == "http_response_status_code":
            self.assertRegex(value, r"^[1-5](\d\d|\.\.)$")
        elif label == "errcode":
            for one in value.split("|"):
                self.assertTrue(one == "0" or one in errcodes(), one)
        elif label not in OF_PROMETHEUS:
            for one in value.split("|"):
                self.assertIn(one, self.values | {""}, label)

    def test_that_check_fails_when_it_should(self):
        for text in ("wxgate_nothing_total", "wxgate_logins_total_count", "http_server_request_duration_seconds"):
            (name,) = Query(text).names()
            with self.assertRaises(AssertionError):
                self.labels(name)
        with self.assertRaises(AssertionError):
            self.of_label("result", "ok|never")
        with self.assertRaises(AssertionError):
            self.of_label("errcode", "12345")

    def test_every_counter_of_trouble_is_on_the_dashboard(self):
        shown = set()
        for panel in dashboard()["panels"]:
            for target in panel.get("targets", []):
                shown |= {re.sub("_(bucket|count|sum)$", "", name) for name in Query(target["expr"]).names()}
        self.assertEqual(set(self.series) - shown, set())

    def test_an_alert_speaks_of_labels_that_it_has(self):
        for rule in alerts():
            with self.subTest(rule["alert"]):
                query = Query(rule["expr"])
                has = set.union(*query.grouped) if query.grouped else {"instance", "job"}
                if not query.grouped:
                    has |= set().union(*(self.labels(name) for name in query.names()))
                spoken = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
                self.assertLessEqual(spoken, has)
                self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def test_the_panels_do_not_lie_over_each_other(self):
        taken = set()
        for panel in dashboard()["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        ids = [panel["id"] for panel in dashboard()["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    @unittest.skipUnless(shutil.which("promtool"), "without promtool (Debian: prometheus): Prometheus' own word")
    def test_prometheus_takes_rules_and_configuration(self):
        for command in (["rules", "alerts.yaml"], ["config", "--syntax-only", "prometheus.yaml"]):
            check = ["promtool", "check", *command]
            done = subprocess.run(check, cwd=FOLDER, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class AtWork(Case):
    def test_a_gate_at_work_tells_the_documented_labels(self):
        self.mock_wechat()
        config = self.write(
            "wxgate.toml",
            f'[upstream]\nurl = "http://127.0.0.1:3000"\n[[apps]]\nappid = "wx0123456789abcdef"\nsecret = "{SECRET}"\n'
            '[wechat]\nbase_url = "http://127.0.0.1:4182"\n',
        )
        self.gate(config)
        self.assertEqual(ask(4180, "GET", "/me", [bearer(log_in(4180, "alice"))])[0], 502)
        scraped = {}
        for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", ask(4189, "GET", "/metrics")[2], re.MULTILINE):
            scraped.setdefault(name, set()).update(re.findall(r"(\w+)=\"", labels))
        series, _ = documented()
        self.assertGreater(len(scraped), 20)
        for name, labels in scraped.items():
            family = name if name in series else re.sub("_(bucket|count|sum)$", "", name)
            self.assertEqual(labels - {"le"}, series[family][1], name)
        # What Grafana and Prometheus take for granted.
        self.assertLessEqual({"process_resident_memory_bytes", "process_start_time_seconds"}, set(scraped))
