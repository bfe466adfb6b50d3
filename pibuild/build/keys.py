"""Keys: equal key, equal artifact or proven wheel. What goes into a key, and nothing else, decides what is made again.

An artifact's key is made of its recipe's files, its pins, its image, its environment and the keys of its needs. A
proof's key adds what judges the wheel: when one of these files changes, wheels are proven again. A change in modules
that only carry data, run containers or print changes no key, because they don't judge wheels. A test compares JUDGES
with what `prove` imports. The key of an image is its tag (config/dockerfiles.py).
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pibuild
from pibuild.config.pis import load_pis
from pibuild.config.project_files import project_folder
from pibuild.files import file_sha256, json_digest
from pibuild.model import Artifact, Image, Plan, Release, Target

_FORMAT = 1
"""Increased when the layout of containers or artifacts changes, so that old artifacts are not reused."""

_FOR_PEOPLE = ("models", "aliases")
"""Keys of a target that only people read."""

JUDGES = (
    "build/graph.py",
    "build/prove.py",
    "build/sbom.py",
    "device/*.py",
    "device/*.sh",
    "config/system_libraries.py",
    "config/system_libraries/**/*.txt",
    "machinecode/**/[!_]*.py",
    "machinecode/tables/*.txt",
    "verify/**/[!_rt]*.py",
    "verify/code/target_code.py",
    "wheels/[!_]*.py",
)
"""Files of the package, as patterns."""


def proof_models() -> list[Path]:
    """Return the models that wheels are proven with, their manifest, and what TensorFlow on x86 computed with them."""
    folders = (project_folder("tests/models"), project_folder("tests/references"))
    files = (path for folder in folders for path in sorted(folder.iterdir()))
    return [path for path in files if path.suffix in (".json", ".npz", ".tflite")]


def proof_digest() -> str:
    """Return the sha256 over all that judges a wheel: files by name and content, what CPUs run, allowed libraries."""
    package = Path(pibuild.__file__).parent
    judges = [path for pattern in JUDGES for path in sorted(package.glob(pattern))]
    named = [(path.relative_to(package).as_posix(), path) for path in judges]
    named += [(path.name, path) for path in proof_models()]
    pis = load_pis()
    limits = [[cpu.name, sorted(cpu.runs)] for cpu in pis.cpus], sorted(pis.own_wheel_libraries)
    return json_digest([*([name, file_sha256(path)] for name, path in named), limits])


def artifact_key(release: Release, image: Image, env: Sequence[tuple[str, str]], needs: Sequence[Artifact]) -> str:
    """Return the key of what a release's recipe makes in an image, with this environment and these needs."""
    return json_digest(
        {
            "format": _FORMAT,
            "recipe": release.digest,
            **({} if release.script == "build.sh" else {"script": release.script}),
            "image": image.reference,
            "env": env,
            "sources": sorted((source.into, source.tree) for source in release.sources),
            "needs": sorted((need.recipe.name, need.key) for need in needs),
        }
    )


def plan_key(
    wheel: Artifact, version: str, artifacts: Sequence[Artifact], target: Target, device: Image, digest: str
) -> str:
    """Return the key of a proven wheel; `digest` is that of all that judges it (proof_digest)."""
    return json_digest(
        {
            "artifact": wheel.key,
            "version": version,
            "proven_with": [[artifact.key, artifact.recipe.device] for artifact in artifacts if artifact.recipe.device],
            "device": device.reference,
            "proof": [digest, wheel.recipe.proof, wheel.recipe.package_name],
            "limits": {name: value for name, value in asdict(target).items() if name not in _FOR_PEOPLE},
            "sbom": [
                [source.name, artifact.recipe.name, artifact.recipe.tools, [asdict(place) for place in source.places]]
                for artifact in artifacts
                for source in artifact.release.sources
            ],
        }
    )


def wheelhouse_key(plans: Sequence[Plan], packages: Sequence[Artifact]) -> str:
    """Return the key of a proven wheelhouse: of its wheels, and of the artifacts that hold pure Python wheels."""
    return json_digest({"wheels": [plan.key for plan in plans], "packages": [package.key for package in packages]})
