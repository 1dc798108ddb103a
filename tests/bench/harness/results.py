"""What has been measured, as it is kept in a file, and the figures that are read out of it."""

import datetime
import json
import os
import platform
import statistics
from pathlib import Path

from harness import programs
from harness.stage import GATE


def machine():
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "kernel": platform.release(),
    }


def versions(gate):
    found = {
        GATE: programs.first_line(gate, "--version"),
        "rustc": programs.first_line("rustc", "--version"),
    }
    for program in ("nginx", "haproxy"):
        if programs.find(program):
            said = programs.first_line(programs.find(program), "-v")
            # "nginx version: nginx/1.22.1", "HAProxy version 2.6.12-1 2026/10/17 - https://..."
            found[program] = said.removeprefix("nginx version: ").split(" - ")[0]
    return found


def accepted_instructions():
    """Instructions of a request by scene, as they were counted last."""
    return load(programs.BENCH / "instructions.json")["instructions"]


def rounds(results, scene, proxy):
    return results["scenes"].get(scene, {}).get(proxy, [])


def median(results, scene, proxy, field):
    values = [one[field] for one in rounds(results, scene, proxy)]
    return statistics.median(values) if values else None


def ratio(results, scene, proxy, other, field="cpu_us"):
    """Median over the rounds of one proxy's figure by the other's in the same round."""
    both = zip(rounds(results, scene, proxy), rounds(results, scene, other))
    values = [one[field] / two[field] for one, two in both if two[field]]
    return statistics.median(values) if values else None


def idle_kib(results, proxy):
    found = results["idle"].get(proxy)
    if found is None:
        return None
    return (found["held_bytes"] - found["before_bytes"]) / found["connections"] / 1024


def session_bytes(results, proxy):
    found = results["sessions"].get(proxy)
    if found is None:
        return None
    growth = found["many_bytes"] - found["few_bytes"]
    return growth / (found["many"] - found["few"])


def session_cpu_growth(results, proxy):
    """How much more a request costs with many sessions than with few, as a part of it."""
    found = results["sessions"].get(proxy)
    if found is None:
        return None
    pairs = zip(found["many_rounds"], found["few_rounds"])
    return statistics.median(many["cpu_us"] / few["cpu_us"] for many, few in pairs) - 1


def first_request_ms(results, proxy):
    found = results["start"].get(proxy)
    return statistics.median(found["first_request_ms"]) if found else None


def resident_mib(results, proxy):
    found = results["start"].get(proxy)
    return found["resident_bytes"] / 2**20 if found else None


def load(file):
    return json.loads(Path(file).read_text())


def save(results, file):
    Path(file).write_text(written(results, depth=3) + "\n")


def written(value, depth):
    """As JSON, so that a round of a proxy is a line."""
    if depth == 0 or not isinstance(value, (dict, list)) or not value:
        return json.dumps(rounded(value))
    pad = " " * (4 - depth)
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {written(item, depth - 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(pad + item for item in items) + "}"
    return "[\n" + ",\n".join(pad + written(item, depth - 1) for item in value) + "]"


def rounded(value):
    """To as many digits as mean something."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value
