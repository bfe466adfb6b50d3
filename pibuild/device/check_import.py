"""Import the modules of a wheel on the device, then run the code of `--run-command`; print JSON.

This file runs on Python 2.7 and later.
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
        exec(compile(code, "<--run-command>", "exec"), {"__name__": "__main__"})  # noqa: S102  the user's own code
    json.dump({"imported": names, "ran": bool(code), "python": sys.version.split()[0]}, sys.stdout)


main()
