"""Prints the path of the newest CPython that pibuild built for a target: cpython_artifact.py TARGET PYTHON."""

import json
import sys
from pathlib import Path


def main():
    target, python = sys.argv[1:]
    found = []
    for path in (Path.home() / ".cache/pibuild/artifacts").glob("*.json"):
        record = json.loads(path.read_text())
        if (record.get("recipe"), record.get("target"), record.get("python")) == ("cpython", target, python):
            found.append(path)
    if not found:
        sys.exit(
            f"The store has no CPython {python} for {target}; try: pibuild build --target {target} --python {python}"
        )
    print(max(found, key=lambda path: path.stat().st_mtime).with_suffix(".tar"))


main()
