#!/usr/bin/env python3
"""Tests of docker/ and of the recipes in docs/: the image, compose, Kubernetes, systemd, Grafana, Prometheus, nginx.

Usage: run.py [NAME …], names of tests or of files beside this one. As root on Linux: everything runs in a network and
with mounts of its own, so every port is free and nothing is left behind. WXGATE names the gate's binary, linked
statically; its size is looked at when docker/build-static made it.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
INSIDE = "WXGATE_TESTS_INSIDE"
FILES = ["test_image", "test_compose", "test_kubernetes", "test_systemd", "test_observability", "test_hosting"]


def main():
    if os.environ.get(INSIDE) is None:
        if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
            sys.exit("run.py: needs root, unshare and ip")
        again = ["unshare", "--net", "--mount", "--", sys.executable, str(HERE / "run.py"), *sys.argv[1:]]
        sys.exit(subprocess.run(again, env={**os.environ, INSIDE: "yes"}, check=False).returncode)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    begin = time.monotonic()
    sys.path.insert(0, str(HERE))
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(sys.argv[1:] or FILES)
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    for test, reason in result.skipped:
        print(f"tests/run: SKIPPED {reason}: {test}", file=sys.stderr)
    print(f"docker and hosting: {result.testsRun} tests, {time.monotonic() - begin:.0f} s")
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
