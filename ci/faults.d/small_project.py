"""A project in which a wheel is built, proven and published in seconds: pibuild's own code with small recipes.

The package is a copy; its recipes, its Dockerfiles and the script that proves on the device are replaced. So every
command runs as for a person, with the real engine. The device is the base image, where the proof only looks for the
wheel. Waits of a minute for a silent server last a second and a half.
"""

import hashlib
import io
import json
import random
import re
import shutil
import tarfile
import tempfile
from pathlib import Path

from pibuild.trees.archives import members_of
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import write_tree
from tests.makers.elfs import SO, make_elf
from tests.makers.wheels import make_wheel

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("1.0", "1.1")
"""Releases of the small recipe; machines begin with the first one in store and index."""
TARGET, PYTHON = "pi-one", "3.11"
CELL = f"thing-{VERSIONS[1]}-{TARGET}-{PYTHON}"
_RAW = "thing-{version}-cp311-cp311-linux_armv6l.whl"
_WHEEL_BYTES, _PART_BYTES = 1_500_000, 600_000
_PROVE = """\
set -euo pipefail
ls -l /work/wheels/*.whl
echo '{"results": 1}' > /work/out/result.json
"""
_BUILD_PART = """\
set -euo pipefail
sleep 0.2
mkdir -p /work/out/part
cp /work/src/part/part.bin /work/out/part
date +%s%N > /work/out/part/stamp # as with some compilers, the same sources give other bytes
"""
_BUILD_THING = """\
set -euo pipefail
cat /work/in/part/part/part.bin > /dev/null
sleep 0.2
mkdir -p /work/out/wheel /work/out/symbols/thing
cp /work/src/thing/*.whl /work/out/wheel
cp /work/src/thing/twin.so "/work/out/symbols/SO"
"""


class SmallProject:
    """The project in a folder, and the archives of its sources, which a server has to serve."""

    def __init__(self, folder: Path, sources_url: str) -> None:
        """Write the project. `sources_url` is where `archives` will be served."""
        self.folder, self.archives = folder, folder / "archives"
        package = folder / "pibuild"
        ignored = shutil.ignore_patterns("recipes", "__pycache__")
        shutil.copytree(ROOT / "pibuild", package, ignore=ignored)
        (folder / "toolchains").mkdir()
        shutil.copy(ROOT / "toolchains" / f"{TARGET}.yaml", folder / "toolchains")
        shutil.copytree(ROOT / "dockerfiles" / "base", folder / "dockerfiles" / "base")
        shutil.copytree(ROOT / "tests" / "conformance", folder / "tests" / "conformance")
        (folder / "tests" / "models").mkdir()
        (folder / "tests" / "references").mkdir()
        (package / "device" / "prove.sh").write_text(_PROVE)
        self._shorten_waits(package / "adapters" / "http.py", _TIMEOUTS_S="(1.0, 1.5)", _LONGEST_WAIT_S="0.2")
        self._shorten_waits(package / "adapters" / "least_speed.py", PERIOD_S="1.5")
        self._shorten_waits(package / "adapters" / "image_transfer.py", _SILENCE_S="4")
        for image in ("builder", "device"):
            (folder / "dockerfiles" / image).mkdir()
            text = f"ARG BASE\nFROM ${{BASE}}\nENV PIBUILD_SMALL={image}\n"
            (folder / "dockerfiles" / image / "Dockerfile").write_text(text)
        self.archives.mkdir()
        self._recipe("part", _BUILD_PART, sources_url)
        self._recipe("thing", _BUILD_THING.replace("SO", SO), sources_url)

    @staticmethod
    def _shorten_waits(path: Path, **constants: str) -> None:
        text = path.read_text()
        for name, seconds in constants.items():
            text, number = re.subn(rf"^{name} = .*$", f"{name} = {seconds}", text, flags=re.MULTILINE)
            assert number == 1, name
        path.write_text(text)

    def _recipe(self, name: str, script: str, sources_url: str) -> None:
        releases, sources = [], {}
        for version in VERSIONS:
            content = _archive(_part_files(version) if name == "part" else _thing_files(version))
            (self.archives / f"{name}-{version}.tar").write_bytes(content)
            place = {
                "archive": f"{sources_url}/{name}-{version}.tar",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            sources[f"{name}-{version}"] = {"tree": _tree(content), "places": [place]}
            releases.append({"version": version, "sources": [f"{name}-{version}"]})
        facts = {"name": name, "summary": "small", "per": ["target"], "image": "builder", "files": ["build.sh"]}
        if name == "thing":
            facts |= {"per": ["target", "python"], "proof": "check_wrapt.py"}
            for release in releases:
                release |= {"pythons": [PYTHON], "needs": ["part"]}
        folder = self.folder / "pibuild" / "recipes" / name
        folder.mkdir(parents=True)
        (folder / "build.sh").write_text(script)
        (folder / "recipe.yaml").write_text(json.dumps(facts | {"releases": releases, "sources": sources}))


def wheel_file(version: str) -> str:
    """Return the file name of the small wheel."""
    return _RAW.format(version=version)


def _part_files(version: str) -> dict[str, bytes]:
    return {f"part-{version}/part.bin": random.Random(f"part {version}").randbytes(_PART_BYTES)}


def _thing_files(version: str) -> dict[str, bytes]:
    twin = make_elf()
    with tempfile.TemporaryDirectory() as folder:
        path = make_wheel(
            Path(folder),
            {SO: twin, "thing/data.bin": random.Random(version).randbytes(_WHEEL_BYTES)},
            file_name=wheel_file(version),
            metadata=f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n",
            dist_info=f"thing-{version}.dist-info",
        )
        return {f"thing-{version}/{path.name}": path.read_bytes(), f"thing-{version}/twin.so": twin}


def _archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _tree(archive: bytes) -> str:
    """Return the hash by which a recipe pins the tree in an archive."""
    with tempfile.TemporaryDirectory() as folder:
        return write_tree(members_of(io.BytesIO(archive)), EVERYTHING, Path(folder) / "tree.tar").tree
