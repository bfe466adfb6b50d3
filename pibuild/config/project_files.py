"""The project's own folders, and digests of what they hold."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pibuild.errors import UsageError
from pibuild.files import json_digest


def project_folder(name: str) -> Path:
    """Find a folder that belongs to the project: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent.parent
    for folder in (package.parent / name, package / name, package / Path(name).name):
        if folder.is_dir():
            return folder
    raise UsageError(f"pibuild is not whole: its folder {name} is missing", hint="install it again, or use a checkout")


def proof_files() -> list[Path]:
    """Give the files that wheels are proven with: models, their manifest, and what x86 TensorFlow gave."""
    folders = (project_folder("tests/models"), project_folder("tests/references"))
    files = (path for folder in folders for path in sorted(folder.iterdir()))
    return [path for path in files if path.suffix in (".json", ".npz", ".tflite")]


def folder_digest(*folders: Path) -> str:
    """Give the sha256 over the names, modes and contents of everything in these folders or files."""
    found = []
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
        found.append(files_digest(folder.parent, [path for path in files if path.suffix != ".pyc"]))
    return json_digest(found)


def files_digest(folder: Path, files: Iterable[Path]) -> str:
    """Return the sha256 over the names within a folder, modes and contents of files."""
    return json_digest(
        [
            [
                path.relative_to(folder).as_posix(),
                bool(path.stat().st_mode & 0o100),
                hashlib.sha256(path.read_bytes()).hexdigest(),
            ]
            for path in files
        ]
    )
