"""The folders of a container: which it can write, which are kept if it fails, and the tar of its inputs."""

import io
import tarfile
from collections.abc import Iterator

from pibuild.model import Run

WORK, CACHE = "/work", "/work/cache"
SHARED = "/remote-socket"
"""The volume that two containers have in common."""
_TEMPORARY = "/tmp"  # noqa: S108  in the container
_FOLDERS = ("/work/src", "/work/in", "/work/build", "/work/out")
_CHUNK_BYTES = 1 << 20


def written_folders(run: Run) -> list[str]:
    """Return the folders that a container can write in, each a volume of its own; none is within another one."""
    folders = sorted({WORK, _TEMPORARY, *(folder for folder, _ in run.inputs)})
    return [folder for folder in folders if not any(_is_below(folder, other) for other in folders)]


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def kept_paths(run: Run) -> list[str]:
    """Return the folders of a failed container that are kept. The cache, which is below /work, is not."""
    of_work = [folder for folder, _ in run.inputs if _is_below(folder, WORK)]
    tops = {f"{WORK}/{folder.split('/')[2]}" for folder in (*_FOLDERS, *of_work)}
    others = [folder for folder in written_folders(run) if folder not in (WORK, _TEMPORARY)]
    return sorted(tops if run.cache else {WORK}) + others


def inputs_tar(run: Run) -> Iterator[bytes]:
    """Yield one tar of all inputs, each under its folder, with every member and folder owned by the run's user.

    Folders that no tar contains would be made by the engine and owned by root, so the user could not write in them. It
    is one tar because the engine takes a twentieth of a second for each tar.
    """
    sink, made = io.BytesIO(), set[str]()
    with tarfile.open(fileobj=sink, mode="w|") as tar:

        def add_folders(folders: list[str]) -> None:
            for folder in folders:
                if folder not in made:
                    made.add(folder)
                    tar.addfile(_owned(tarfile.TarInfo(folder), run, tarfile.DIRTYPE))

        for folder in (*_FOLDERS, *((CACHE,) if run.cache else ()), *((SHARED,) if run.shared else ()), *run.volumes):
            add_folders(_with_parents(folder.strip("/")))
        for folder, tar_path in run.inputs:
            top = folder.strip("/")
            add_folders(_with_parents(top))
            with tarfile.open(tar_path, "r:") as source:
                for info in source:
                    info.name = f"{top}/{info.name}"
                    info.linkname = f"{top}/{info.linkname}" if info.islnk() else info.linkname
                    add_folders(_with_parents(info.name)[:-1])
                    content = source.extractfile(info) if info.isfile() else None
                    tar.addfile(_owned(info, run, info.type))
                    while content and (chunk := content.read(_CHUNK_BYTES)):  # a file may not fit into memory
                        tar.fileobj.write(chunk)
                        tar.offset += len(chunk)
                        if sink.tell() >= _CHUNK_BYTES:
                            yield _taken(sink)
                    padding = -tar.offset % tarfile.BLOCKSIZE
                    tar.fileobj.write(bytes(padding))
                    tar.offset += padding
    yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    """Return what was written, and empty the file."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written


def _with_parents(path: str) -> list[str]:
    """Return a path after the folders that lead to it."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _owned(info: tarfile.TarInfo, run: Run, kind: bytes) -> tarfile.TarInfo:
    info.type, info.uid, info.gid, info.uname, info.gname = kind, run.limits.uid, run.limits.gid, "", ""
    info.pax_headers = {}  # a long path in them would override the new name
    if kind == tarfile.DIRTYPE:
        info.mode = 0o755
    return info
