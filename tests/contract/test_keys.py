"""Keys depend on inputs alone: not on how and where pibuild is installed, who runs it, or what programs leave there."""

import compileall
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
FOLDERS = ("pibuild", "dockerfiles", "toolchains", "tests/conformance", "tests/models", "tests/references")
KEYS = """
import hashlib, io, json, os, sys
import pibuild
from pibuild.build.catalogue import load_catalogue
from pibuild.config.project_files import own_files
from pibuild.model import Request
from pibuild.trees.tree import write_files

def packed(folder, paths):
    tar = io.BytesIO()
    write_files(tar, {path.relative_to(folder).as_posix(): path for path in paths})
    return hashlib.sha256(tar.getvalue()).hexdigest()

load_catalogue()  # imports all that this takes: the user may not read the folders of root's Python
if user := os.environ.get("USER_ID"):
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
catalogue = load_catalogue()
answer = {"at": pibuild.__file__, "artifacts": {}, "wheels": {}, "images": {}, "containers": {}}
for target in catalogue.targets:
    for image in catalogue.images[target].values():
        answer["images"][image.reference] = packed(image.folder, own_files(image.folder))
    for recipe in catalogue.recipes.values():
        for release in recipe.releases:
            answer["containers"][f"{recipe.name} {release.version}"] = packed(recipe.folder, release.files)
            for python in release.pythons if recipe.proof and release.is_for(catalogue.targets[target]) else ():
                request = Request(target=target, python=python, recipe=recipe.name, version=release.version)
                plan = catalogue.plan(request)
                answer["wheels"][plan.title] = plan.key
                answer["artifacts"] |= {one.title: one.key for one in plan.artifacts}
json.dump(answer, sys.stdout)
"""


def keys_of(python, folder, *, user="", umask=0o022):
    """Return all keys, and hashes of what containers get, of the pibuild that a Python imports from a folder."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder or ""), "HOME": "/nowhere", "USER_ID": user}
    command = [python, "-c", KEYS]
    done = subprocess.run(command, cwd="/", env=environ, umask=umask, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return Path(answer.pop("at")), answer


@pytest.fixture(scope="module")
def scratch():
    folder = Path(tempfile.mkdtemp(prefix="pibuild-keys-"))  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def checkout():
    return keys_of(sys.executable, ROOT)[1]


def copied(folder):
    """Copy what keys are made of, without what programs left there."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_wheel_that_pip_installed_gives_the_keys_of_the_checkout(scratch, checkout):
    venv_dir = scratch / "venv"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    words = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", scratch, ROOT]
    made = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv_dir], check=True)
    (site,) = venv_dir.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # they stand in the tests' own environment
    python = venv_dir / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", *scratch.glob("*.whl")], check=True)
    at, installed = keys_of(python, None)

    assert at.is_relative_to(site)
    assert list(site.glob("pibuild/recipes/**/*.pyc")), "pip compiles, which is what the keys must not depend on"
    assert installed == checkout


def test_umask_user_folder_and_files_left_by_programs_change_no_key(scratch, checkout):
    folder = copied(scratch / "elsewhere")
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)  # what a checkout under umask 077 has
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    compileall.compile_dir(folder, quiet=2)
    for name in ("pibuild/recipes/tflite-runtime/.build.sh.swp", "dockerfiles/toolchain/Dockerfile~"):
        (folder / name).write_text("left by an editor")
    at, keys = keys_of(sys.executable, folder, umask=0o077, user=str(NOBODY) if os.geteuid() == 0 else "")

    assert at.is_relative_to(folder)
    assert keys == checkout


@pytest.mark.parametrize(
    ("name", "is_proof"),
    [("addresses.py", False), ("adapters/http.py", False), ("build/schedule.py", False), ("build/prove.py", True)],
)
def test_only_modules_that_judge_wheels_change_keys_of_wheels(
    scratch, checkout, name, is_proof
):
    folder = copied(scratch / name.replace("/", "-"))
    with (folder / "pibuild" / name).open("a") as file:
        file.write("# a comment\n")
    keys = keys_of(sys.executable, folder)[1]

    assert {title for title in keys["wheels"] if keys["wheels"][title] != checkout["wheels"][title]} == (
        set(checkout["wheels"]) if is_proof else set()
    )
    assert keys | {"wheels": {}} == checkout | {"wheels": {}}
