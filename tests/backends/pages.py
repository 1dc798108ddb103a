"""Takes the code that is to be run out of docs/backends. Knows nothing of what it is for.

A block of code is taken when the line above it is `<!-- file: NAME … -->`: it becomes that file, below a folder that is
named after the app. Blocks of one name are put together in the order in which they stand.
"""

import pathlib
import re

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^<!-- file: ([^>]+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^<!-- file:", re.MULTILINE)


def files():
    """The text of every file that the pages have, by its name."""
    found = {}
    for page in sorted((DOCS / "backends").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        blocks = BLOCK.findall(text)
        if len(blocks) != len(MARK.findall(text)):
            raise SystemExit(f"{page}: a mark `<!-- file: … -->` without a block of code right below it")
        for names, code in blocks:
            for name in names.split():
                found[name] = found.get(name, "") + code
    return found


def write(found, app, folder):
    """Writes what the pages have of an app; what is there already is added to if it is settings."""
    names = [name for name in found if name.startswith(app + "/")]
    if not names:
        raise SystemExit(f"docs/backends has no code for {app}")
    for name in names:
        path = folder / name.removeprefix(app + "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.name == "settings.py" else ""
        path.write_text(before + found[name], encoding="utf-8")
