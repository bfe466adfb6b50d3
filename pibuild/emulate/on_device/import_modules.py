"""Import modules in a process of their own, tell the parent how it went, and return its challenge.

try_wheel.py passes this text to `python -S -c`, with two descriptors, to read from and to write to, and the work:
{"modules": [], "extensions": [], "code": "", "calls": []}. It runs on Python 2.7 and later.
"""

import importlib
import json
import os
import site
import sys
import traceback
import types


def _failure(name, kind, error):  # type: (str, str, BaseException) -> dict
    frames = traceback.extract_tb(sys.exc_info()[2])
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  the wheel's own class
        text = ""
    return {
        "name": name,
        "kind": kind,
        "error": type(error).__name__,
        "is_import_error": isinstance(error, ImportError),
        "text": text[:2000],
        "missing": str(getattr(error, "name", "") or ""),
        "file": frames[-1][0] if frames else "",
    }


def _call_functions(names):  # type: (list) -> None
    """Call the functions of extension modules without arguments; whether they fail doesn't matter, but a crash does."""
    modules = [sys.modules[name] for name in names if name in sys.modules]
    for function in [value for module in modules for value in vars(module).values()]:
        if isinstance(function, types.BuiltinFunctionType):
            try:
                function()
            except BaseException:  # noqa: BLE001, S112  most want arguments
                continue


def main(source, sink, work):  # type: (int, int, dict) -> None
    """Import, ask for the challenge, and return it with a report.

    Until site.main(), nothing of the wheel has run: Python was started with -S. What this function uses afterwards it
    has by then, and the secret was read: .pth files, sitecustomize and the modules themselves can replace neither.
    """
    read, write, dumps, import_module, failure_of = os.read, os.write, json.dumps, importlib.import_module, _failure
    secret = read(source, 256).strip()
    site.main()
    imported, failures = [], []
    for kind in ("modules", "extensions"):
        for name in work[kind]:
            try:
                write(sink, b"importing " + name.encode() + b"\n")
                import_module(str(name))
                imported.append(name)
            except BaseException as error:  # noqa: BLE001  sys.exit() is a failure, too
                failures.append(failure_of(name, kind, error))
    if work["code"] and not failures:
        try:
            exec(compile(work["code"], "<--run-command>", "exec"), {"__name__": "__main__"})  # noqa: S102  a user's own
        except BaseException as error:  # noqa: BLE001  as above
            traceback.print_exc()
            failures.append(failure_of("--run-command", "code", error))
    _call_functions(work["calls"])
    write(sink, b"imported\n")
    challenge = read(source, 256).strip()
    report = dumps({"imported": imported, "failures": failures}).encode()
    write(sink, secret + b" " + challenge + b" " + report + b"\n")


if __name__ == "__main__":
    arguments, sys.argv = sys.argv, [""]
    main(int(arguments[1]), int(arguments[2]), json.loads(arguments[3]))
