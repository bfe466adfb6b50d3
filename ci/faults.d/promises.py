"""The promises that must hold after each fault: nothing is lost, incomplete or left over.

Files are read with hashlib and json, not with pibuild's own checks. Every function raises ViolationError.
"""

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import Ended, Machine
from model import ViolationError

from pibuild.model import STORE_LABEL

Whole = Mapping[str, str]
"""The sha256 of each file that belongs to something whole, by its path."""
_INTERRUPTED = ("interrupted", "is of another set")
"""Words by which `publish check` names a publication that was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Containers and volumes that an interrupted command has left at the engine."""

    containers: frozenset[str]
    volumes: frozenset[str]


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole_store(store_dir: Path) -> Whole:
    """Return the complete files of a store. Each file that the store has under its final name must be complete."""
    whole: dict[str, str] = {}
    for folder in ("artifacts", "sources"):
        for facts_path in sorted((store_dir / folder).glob("[!.]*.json")):
            tar_path = facts_path.with_suffix(".tar")
            _expect(tar_path, _facts(facts_path)["sha256"])
            whole |= {str(path): sha256(path) for path in (tar_path, facts_path)}
    for wheel_dir in sorted((store_dir / "wheels").glob("[!.]*")):
        record = _facts(wheel_dir / "record.json")
        files = {wheel_dir / record["wheel"]["file"]: record["wheel"]["sha256"]}
        files |= {wheel_dir / "extras" / extra["file"]: extra["sha256"] for extra in record["extras"]}
        for path, expected in files.items():
            _expect(path, expected)
        _expect_zip(wheel_dir / record["wheel"]["file"])
        whole |= {str(path): sha256(path) for path in (*files, wheel_dir / "record.json")}
    return whole


def whole_remote(remote_dir: Path) -> Whole:
    """Return the complete files in the folder of a shared store. Each attestation must fit its content."""
    whole: dict[str, str] = {}
    for path in sorted(remote_dir.glob("*/[!.]*.json")):
        statement = json.loads(base64.b64decode(_facts(path)["payload"]))
        whole[str(path)] = sha256(path)
        if statement.get("size_bytes"):
            tar_path = path.with_name(f"{path.stem}-{statement['sha256'][:16]}.tar")
            _expect(tar_path, statement["sha256"])
            whole[str(tar_path)] = statement["sha256"]
    return whole


def remote_names(remote_dir: Path) -> set[str]:
    """Return the names of what the folder of a shared store has, whole or not."""
    return {str(path.relative_to(remote_dir)) for path in remote_dir.glob("*/[!.]*")}


def whole_site(site_dir: Path) -> Whole:
    """Return the complete files of a site: those of each set. The set that the pointer names must be complete."""
    whole: dict[str, str] = {}
    for sums_path in sorted(site_dir.glob("*Z-*/SHA256SUMS")):
        for line in sums_path.read_text().splitlines():
            expected, _, name = line.partition("  ")
            path = (sums_path.parent / name).resolve()
            _expect(path, expected)
            whole[str(path)] = expected
    pointer = site_dir / "current"
    if site_dir.exists() and pointer.is_symlink() and not (pointer / "SHA256SUMS").exists():
        raise ViolationError(f"{pointer} points to {pointer.readlink()}, which is no set")
    return whole


def ended_well(ended: Ended, words: Iterable[str], codes: Iterable[int]) -> None:
    """Compare the exit code of a command."""
    if ended.code not in codes:
        raise ViolationError(f"`pibuild {' '.join(words)}` ended with {ended.code}:\n{ended.err}")


def nothing_lost(before: Whole, after: Whole) -> None:
    """Compare the complete files before a fault with those after it."""
    if lost := sorted(path for path, digest in before.items() if after.get(path) != digest):
        raise ViolationError(f"lost or changed: {', '.join(lost[:5])} and {len(lost[5:])} more")


def whole(machine: Machine) -> Whole:
    """Return the complete files of a machine."""
    return {**whole_store(machine.store_dir), **whole_site(machine.site_dir)}


def left_at_engine(machine: Machine) -> Left:
    """Return the containers of a machine's store at the engine, and their volumes."""
    if not machine.has_engine:
        return Left(containers=frozenset(), volumes=frozenset())
    names = _docker(machine, "ps", "--all", "--quiet", "--filter", f"label={STORE_LABEL}={machine.store_id}").split()
    volumes: set[str] = set()
    for name in names:
        try:
            (facts,) = json.loads(_docker(machine, "inspect", name))
        except subprocess.CalledProcessError:
            continue  # it was removed meanwhile
        volumes |= {mount["Name"] for mount in facts["Mounts"] if mount["Type"] == "volume"}
    return Left(containers=frozenset(names), volumes=frozenset(volumes))


def nothing_left(machine: Machine, left: Left) -> None:
    """Look for containers and volumes that an interrupted command left, after the next command."""
    if not machine.has_engine:
        return
    if containers := left_at_engine(machine).containers:
        raise ViolationError(f"containers are left: {', '.join(sorted(containers))}")
    present = set(_docker(machine, "volume", "ls", "--quiet").split())
    if volumes := sorted(name for name in left.volumes & present if not name.startswith("pibuild-cache-")):
        raise ViolationError(f"volumes are left: {', '.join(volumes)}")


def no_unfinished_files(folders: Iterable[Path]) -> None:
    """Look for files under temporary names, which no command would ever remove."""
    if paths := [str(path) for folder in folders for path in folder.rglob(".*") if path.is_file()]:
        raise ViolationError(f"unfinished files are left: {', '.join(sorted(paths)[:5])}")


def mounts(folder: Path) -> frozenset[str]:
    """Return what is mounted in a folder, as far as this process sees it."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return frozenset(line for line in lines if f" {folder}/" in line)


def nothing_mounted(before: frozenset[str], folder: Path) -> None:
    """Compare what is mounted in a folder with what was."""
    if new := sorted(mounts(folder) - before):
        raise ViolationError(f"mounts are left: {new}")


def checked(machine: Machine, *, is_finished: bool, site: Path | None = None) -> None:
    """Check the site with pibuild and its public key; an interrupted publication may only be named."""
    site = site or machine.site_dir
    if not (site / "current").exists():
        return
    words = ("publish", "check", str(site), "--public-key", str(machine.public_key_path))
    ended = machine.run(*words)
    if ended.code and (is_finished or not any(words in ended.err for words in _INTERRUPTED)):
        raise ViolationError(f"`pibuild publish check` ended with {ended.code}:\n{ended.err}")


def installable(index_url: str, version: str, folder: Path) -> None:
    """Download a wheel with pip, which compares its hash with the index."""
    ended = download(index_url, f"thing=={version}", folder)
    if ended.returncode:
        raise ViolationError(f"pip can't download thing {version}:\n{ended.stderr}")


def download(index_url: str, wanted: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run pip as a Pi would."""
    words = ["download", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--isolated"]
    words += ["--retries", "0", "--timeout", "5", "--only-binary", ":all:", "--implementation", "cp"]
    words += ["--python-version", "3.11", "--abi", "cp311", "--platform", "linux_armv6l"]
    words += ["--index-url", index_url, "--dest", str(folder), wanted]
    return subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)


def _expect(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ViolationError(f"torn: {path} is missing")
    if (found := sha256(path)) != expected:
        raise ViolationError(f"torn: {path} has the sha256 {found}, expected {expected}")


def _expect_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if bad := archive.testzip():
            raise ViolationError(f"torn: {bad} in {path}")


def _facts(path: Path) -> Any:  # noqa: ANN401  what JSON can hold
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ViolationError(f"torn: {path}: {error}") from error


def _docker(machine: Machine, *words: str) -> str:
    done = subprocess.run(["docker", *words], env=machine.environ, capture_output=True, text=True, check=True)
    return done.stdout
