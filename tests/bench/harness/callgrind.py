"""Counts a program's own instructions, under valgrind, which does not see what the kernel does."""

import re
import subprocess
from collections import Counter
from pathlib import Path

# "1,234 (56.78%)  file.rs:function [object]", as callgrind_annotate writes a function.
FUNCTION = re.compile(r"^\s*([\d,]+)\s+\([\s\d.]+%\)\s+(.*)$")
# What makes a Rust symbol unique; two of the same name are one to a reader.
HASH = re.compile(r"::h[0-9a-f]{16}\b")
PLACE = re.compile(r"^\S*?:(?!:)|\s+\[[^\]]*\]$")


def command(out, argv):
    """Runs a program under callgrind, with a file of counts for each of its threads."""
    tool = ["valgrind", "--tool=callgrind", "--separate-threads=yes"]
    return [*tool, f"--callgrind-out-file={out}", *argv]


def files(out):
    """The files that a run has left, one a thread."""
    out = Path(out)
    return sorted(out.parent.glob(f"{out.name}-*"))


def by_thread(out):
    """Instructions of each thread, in the order in which they were started."""
    counts = []
    for file in files(out):
        totals = [line for line in file.read_text().splitlines() if line.startswith("totals:")]
        counts.append(int(totals[-1].split()[1]) if totals else 0)
    return counts


def by_function(out, inclusive):
    """Instructions of each function, of all threads together."""
    counts = Counter()
    flags = ["--threshold=100", "--auto=no", f"--inclusive={'yes' if inclusive else 'no'}"]
    for file in files(out):
        argv = ["callgrind_annotate", *flags, str(file)]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        for line in said.splitlines():
            found = FUNCTION.match(line)
            if found and "PROGRAM TOTALS" not in line:
                name = PLACE.sub("", HASH.sub("", found.group(2)))
                counts[PLACE.sub("", name)] += int(found.group(1).replace(",", ""))
    return counts
