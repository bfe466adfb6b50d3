"""Runs on the device: imports what a wheel installed, then runs a person's code; prints JSON.

Any Python from 2.7 on runs it.
"""

import importlib
import json
import os
import sys


def main():  # type: () -> None
    """Import each name of PIBUILD_IMPORTS, then execute PIBUILD_CODE."""
    names = [name for name in os.environ["PIBUILD_IMPORTS"].split(",") if name]
    for name in names:
        importlib.import_module(name)
    code = os.environ.get("PIBUILD_CODE", "")
    if code:
        exec(compile(code, "<--run-command>", "exec"), {"__name__": "__main__"})  # noqa: S102  what a person asked for
    json.dump({"imported": names, "ran": bool(code), "python": sys.version.split()[0]}, sys.stdout)


main()
