"""Writes pibuild/verify/imports/standard_names.py: the public names in Python's own library that not every Python has.

    .venv/bin/python ci/standard_names.py PYTHON...

PYTHON are interpreters of CPython 3.6 to 3.13, one of each version. All should be compiled on one machine, so that only
the version differs. Modules that depend on what the machine had when Python was compiled are left out, and so are
constants, which come from the machine's headers. A name counts as public if `__all__` has it, or if it is a function or
a class that the module itself defines.
"""

import json
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "pibuild/verify/imports/standard_names.py"
LEFT_OUT = (
    *("antigravity", "curses", "dbm", "distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "msilib", "opcode"),
    *("posix", "pydoc_data", "readline", "sqlite3", "sre_compile", "sre_constants", "sre_parse", "test", "this"),
    *("tkinter", "token", "turtledemo", "venv", "webbrowser"),
)
FIRST_WITH_LIST = (3, 10)
"""The first Python that tells the names of the modules in its library."""
LIST_MODULES = f"""
import json, pkgutil, sys
modules = [name for name in sys.stdlib_module_names if name[0] != "_" and name not in {LEFT_OUT!r}]
for name in list(modules):
    try:
        path = __import__(name).__path__
    except (ImportError, AttributeError):
        continue
    modules += [each.name for each in pkgutil.iter_modules(path, name + ".") if "._" not in each.name]
print(json.dumps([name for name in modules if ".test" not in name]))
"""
LIST_NAMES = """
import importlib, json, sys, types, warnings
warnings.simplefilter("ignore")
modules, asked = json.load(sys.stdin)
found = {}
def is_public(module, name):
    value = getattr(module, name)
    if name[0] == "_" or isinstance(value, (int, types.ModuleType)) and not isinstance(value, type):
        return False
    defined = getattr(value, "__module__", None) or ""
    home = module.__name__.split(".")[0]
    is_own = defined.lstrip("_").split(".")[0] == home
    return name in getattr(module, "__all__", ()) or (callable(value) and is_own)
for each in modules:
    try:
        module = importlib.import_module(each)
    except Exception:
        continue
    if asked:
        found[each] = [name for name in asked[each] if hasattr(module, name)]
    else:
        found[each] = [name for name in dir(module) if hasattr(module, name) and is_public(module, name)]
print(json.dumps(found))
"""


def main(pythons: list[str]) -> None:
    """Ask all Pythons, and write the module."""
    versions = sorted((version(python), python) for python in pythons)
    newer = [python for number, python in versions if number >= FIRST_WITH_LIST]
    modules = sorted({name for python in newer for name in json.loads(output(python, LIST_MODULES))})
    first = [names(python, modules, None) for _, python in versions]
    asked = {module: sorted({name for each in first for name in each.get(module, ())}) for module in modules}
    has = [names(python, modules, asked) for _, python in versions]
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module in modules:
        numbers = [number for number, _ in enumerate(versions) if module in has[number]]
        for name in asked[module]:
            having = [number for number in numbers if name in has[number][module]]
            is_whole = having == list(range(having[0], having[-1] + 1))
            is_lasting = len(having) > 1 or having[0] == numbers[-1]
            if len(having) < len(numbers) and is_whole and is_lasting:
                begin = "" if having[0] == numbers[0] else dotted(versions[having[0]][0])
                end = "" if having[-1] == numbers[-1] else dotted(versions[having[-1]][0])
                lines[module, f"{begin}-{end}"].append(name)
    told = ", ".join(output(python, "import sys; print(sys.version.split()[0])").strip() for _, python in versions)
    body = "\n".join(
        textwrap.fill(f"{module} {span} {' '.join(found)}", 118, subsequent_indent="  ", break_on_hyphens=False)
        for (module, span), found in sorted(lines.items())
    )
    TARGET.write_text(TEMPLATE.format(told=told, body=body))


def version(python: str) -> tuple[int, int]:
    """Return the version of an interpreter."""
    major, minor = output(python, "import sys; print(*sys.version_info[:2])").split()
    return int(major), int(minor)


def dotted(number: tuple[int, int]) -> str:
    """Return a version as a text."""
    return f"{number[0]}.{number[1]}"


def names(python: str, modules: list[str], asked: dict[str, list[str]] | None) -> dict[str, list[str]]:
    """Return the public names in each module, or those of the asked ones that it has."""
    return json.loads(output(python, LIST_NAMES, json.dumps([modules, asked])))


def output(python: str, code: str, given: str = "") -> str:
    """Return what an interpreter prints."""
    return subprocess.run([python, "-c", code], input=given, capture_output=True, text=True, check=True).stdout


TEMPLATE = '''"""Names in Python's own library that not every Python has. ci/standard_names.py writes this file.

Source: CPython {told}, compiled on one machine.
"""

NAMES = """\\
{body}
"""
"""A module, the first and the last Python that have the names, and the names. Without a first, all from 3.6 on have
them; without a last, all up to 3.13."""
'''

if __name__ == "__main__":
    main(sys.argv[1:])
