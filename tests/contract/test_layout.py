"""The rules of the package's layout: the direction of imports, and names that mean one thing."""

import ast
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from importlinter import cli

import pibuild

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(pibuild.__file__).parent
DATA = ("recipes", "device")
"""Folders of scripts that containers run; nothing imports them."""


def modules() -> list[Path]:
    paths = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in DATA]
    return sorted(path for path in paths if not path.name.startswith("__"))


def duplicates(named: list[tuple[str, Path]]) -> dict[str, list[str]]:
    places = defaultdict(list)
    for name, path in named:
        places[name].append(str(path.relative_to(PACKAGE)))
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def test_imports_keep_the_contracts_of_pyproject(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exit_code = cli.lint_imports(no_cache=True)

    assert exit_code == 0, capsys.readouterr().out


def test_a_new_package_may_not_start_processes(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "pibuild", ignore=shutil.ignore_patterns(*DATA, "__pycache__"))
    (tmp_path / "pibuild/fresh").mkdir()
    (tmp_path / "pibuild/fresh/__init__.py").write_text("import subprocess\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [sys.executable, "-c", "from importlinter import cli; raise SystemExit(cli.lint_imports(no_cache=True))"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "pibuild.fresh -> subprocess" in ended.stdout


def test_no_two_modules_but_model_share_a_base_name():
    named = [(path.stem, path) for path in modules()]
    named += [(path.parent.name, path.parent) for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    shared = {name: paths for name, paths in duplicates(named).items() if name != "model"}

    assert {name: paths for name, paths in shared.items() if paths != [f"commands/{name}.py", name]} == {}
    assert sorted(shared) == ["build", "nightly", "verify"], "commands that are named like the package that they start"


def test_no_two_public_classes_share_a_name():
    classes = [
        (node.name, path)
        for path in modules()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]

    assert duplicates(classes) == {}


def test_names_of_tests_have_at_most_80_characters():
    functions = [
        node.name
        for path in ROOT.glob("tests/*/test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]

    assert [name for name in functions if name.startswith("test_") and len(name) > 80] == []
