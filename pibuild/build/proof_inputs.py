"""The files that judge a wheel or write into it: when one of them changes, wheels are proven again.

Modules that only carry data, run containers or print judge nothing, so a change in them leaves every key as it is. A
test compares this list with what `prove` imports.
"""

from pathlib import Path

import pibuild
from pibuild.config.pis import load_pis
from pibuild.config.project_files import project_folder
from pibuild.files import file_sha256, json_digest

JUDGES = (
    "build/graph.py",
    "build/prove.py",
    "build/sbom.py",
    "device/*.py",
    "device/*.sh",
    "machinecode/attributes.py",
    "machinecode/elf.py",
    "machinecode/features.py",
    "machinecode/instructions.py",
    "machinecode/reachable.py",
    "machinecode/segments.py",
    "machinecode/symbols.py",
    "machinecode/tables/*.txt",
    "verify/binary.py",
    "verify/own_wheel.py",
    "verify/target_code.py",
    "wheels/python_tags.py",
    "wheels/relabel.py",
    "wheels/wheel.py",
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
    limits = [[cpu.name, sorted(cpu.runs)] for cpu in pis.cpus], sorted(pis.libraries["allowed_for_own_wheels"])
    return json_digest([*([name, file_sha256(path)] for name, path in named), limits])
