"""Puts cases before the Python verifier under docs/verify: a JSON list on stdin, a list of verdicts out."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "docs" / "verify"))
sys.dont_write_bytecode = True
from wxgate_proof import is_from_gate


def judge(case):
    keys = [key.encode() for key in case["keys"]]
    return is_from_gate(keys, case["method"], case["target"], case["headers"], case["now"])


json.dump([judge(case) for case in json.load(sys.stdin)], sys.stdout)
