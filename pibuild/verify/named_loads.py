"""Libraries that a wheel's Python code loads by name, and that are neither in the wheel nor in a release.

The loader searches a name without a folder in the system's folders only, even if the wheel has a library of that name.
What a name in the code really leads to can't be told for certain, so that nothing here makes a wheel fail.

Source: dlopen(3); CPython 3.13, Lib/ctypes/__init__.py (CDLL passes the name on).
"""

from collections.abc import Iterator
from dataclasses import replace

from pibuild.config.pis import System
from pibuild.config.system_libraries import known_absent, system_library
from pibuild.verify.findings import Finding
from pibuild.verify.installed_files import InstalledFiles


def named_load_findings(files: InstalledFiles, system: System, bits: int) -> Iterator[Finding]:
    """Yield a finding for each library that the import of a wheel loads and that is not found on a release."""
    for load in dict.fromkeys(files.loads.certain_loads()):
        copies = files.places_by_file_name.get(load.name, ())
        library = system_library(system.name, bits, load.name)
        finding = Finding(
            outcome="unsure",
            check="loader",
            path=load.path,
            subject=load.name,
            reason=f"loads {load.name}",
            at_place=f"{system.name} does not have it",
            remedy="pibuild verify --run",
        )
        if library and load.is_alone and not library.preinstalled:
            reason, remedy = f"loads {load.name}, which is not preinstalled", f"sudo apt install {library.package}"
            yield replace(finding, outcome="note", reason=reason, at_place=f"on {system.name}", remedy=remedy)
        elif library or (copies and not load.is_alone):
            continue
        elif copies:
            reason = f"loads {load.name} by its name alone, for which the loader does not search the wheel"
            yield replace(finding, reason=reason)
        elif known_absent(system.name, bits, load.name):
            yield replace(finding, reason=f"loads {load.name}, which the wheel does not include")
