"""What the proof's key covers is what judges: no module of the judgement is left out, and no other one is in it."""

import ast
from dataclasses import replace
from pathlib import Path

import pibuild
from pibuild.build import keys
from pibuild.build.keys import JUDGES
from pibuild.config.pis import load_pis

PACKAGE = Path(pibuild.__file__).parent
CARRIERS = {
    *("urls", "console", "errors", "files", "model", "times"),
    *("adapters", "sources", "store", "trees", "config.pis", "config.project_files", "config.settings"),
    *("build.artifact_graph", "build.container", "build.container_outputs", "build.context", "build.devices"),
    *("build.executor", "build.keys"),
}
"""Modules and packages that carry data, run containers or print, and decide nothing about a wheel.

Of config.pis, the key covers the two tables that the proof reads.
"""


def path_of(module):
    path = PACKAGE / module.replace(".", "/")
    return path / "__init__.py" if (path / "__init__.py").exists() else path.with_suffix(".py")


def imported(module):
    """Return the modules of pibuild that a module imports, at its top or within a function."""
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pibuild."):
            package = node.module.removeprefix("pibuild.")
            for alias in node.names:
                inner = f"{package}.{alias.name}"
                yield inner if path_of(inner).exists() else package


def judging(module):
    """Return a module and all that it imports directly or not, but for carriers and what only they import."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found and not any(f"{name}.".startswith(f"{carrier}.") for carrier in CARRIERS):
            found.add(name)
            waiting += imported(name)
    return found


def test_the_proofs_key_covers_exactly_the_modules_that_judge():
    declared = {path for pattern in JUDGES if not pattern.startswith("device/") for path in PACKAGE.glob(pattern)}

    assert {path for path in declared if path.suffix == ".py"} == {path_of(name) for name in judging("build.prove")}


def test_every_pattern_of_the_proofs_key_matches_a_file():
    assert [pattern for pattern in JUDGES if not list(PACKAGE.glob(pattern))] == []


def test_the_data_that_judging_modules_read_is_in_the_proofs_key():
    folders = {path_of(name).parent for name in judging("build.prove")}
    data = {path for folder in folders for path in folder.rglob("*.txt")}

    assert data <= {path for pattern in JUDGES for path in PACKAGE.glob(pattern)}


def test_every_script_of_the_device_is_in_the_proofs_key():
    scripts = {path for path in (PACKAGE / "device").iterdir() if path.suffix in (".py", ".sh")}

    assert scripts == {path for pattern in JUDGES if pattern.startswith("device/") for path in PACKAGE.glob(pattern)}


def test_the_proofs_key_depends_on_the_cpu_and_not_on_the_systems_release(monkeypatch):
    before, pis = keys.proof_digest(), load_pis()
    monkeypatch.setattr(keys, "load_pis", lambda: replace(pis, systems=pis.systems[1:]))
    assert keys.proof_digest() == before
    monkeypatch.setattr(keys, "load_pis", lambda: replace(pis, cpus=pis.cpus[1:]))
    assert keys.proof_digest() != before
