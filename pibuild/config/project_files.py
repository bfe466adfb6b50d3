"""The project's own folders, and digests of what they hold."""

import re
from collections.abc import Iterable
from pathlib import Path

from pibuild.errors import UsageError
from pibuild.files import file_sha256, json_digest

_FOREIGN = re.compile(r"\..*|__pycache__|.*\.pyc|.*~|#.*#")
"""Names of files that Python and editors leave in a folder."""


def project_folder(name: str) -> Path:
    """Return a folder of the project: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent.parent
    for folder in (package.parent / name, package / name, package / Path(name).name):
        if folder.is_dir():
            return folder
    raise UsageError(f"pibuild is incomplete: its folder {name} is missing", hint="install it again, or use a checkout")


def own_files(folder: Path) -> list[Path]:
    """Return the files that belong to a folder: no byte code, no hidden files and none that an editor left."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(_FOREIGN.fullmatch(part) for part in path.relative_to(folder).parts)
    ]


def folder_digest(*folders: Path) -> str:
    """Return the sha256 over the names, modes and contents of what belongs to these folders, or of these files."""
    return json_digest(
        [files_digest(folder.parent, [folder] if folder.is_file() else own_files(folder)) for folder in folders]
    )


def files_digest(folder: Path, files: Iterable[Path]) -> str:
    """Return the sha256 over the names within a folder, modes and contents of files."""
    return json_digest(
        [[path.relative_to(folder).as_posix(), bool(path.stat().st_mode & 0o100), file_sha256(path)] for path in files]
    )
