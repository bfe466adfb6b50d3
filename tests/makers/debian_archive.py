"""An archive of Debian packages, as a folder that apt reads, signed with a key of the test's own."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUITE = "bullseye"


@dataclass(frozen=True, slots=True)
class ArchiveKey:
    """A throw-away key."""

    home: Path

    @property
    def public_path(self) -> Path:
        return self.home / "archive.gpg"

    @classmethod
    def make(cls, home: Path) -> "ArchiveKey":
        home.mkdir(mode=0o700)
        key = cls(home)
        key.gpg("--passphrase", "", "--quick-generate-key", "archive@example.org", "ed25519", "sign", "never")
        key.gpg("--output", str(key.public_path), "--export")
        return key

    def gpg(self, *words: str) -> None:
        command = ["gpg", "--batch", "--quiet", "--homedir", str(self.home), "--pinentry-mode", "loopback", *words]
        subprocess.run(command, check=True, capture_output=True)

    def stop(self) -> None:
        """End the agent that gpg started for this folder."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)


def make_deb(folder: Path, name: str, version: str, *, content: str = "", **fields: str) -> Path:
    """Make a package with one file; `fields` are more fields of its control file, such as Depends."""
    root = folder / f"{name}_{version}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/share/tiny").mkdir(parents=True)
    (root / "usr/share/tiny" / name).write_text(content or version)
    plain = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "A Test <test@example.org>"}
    rows = plain | fields | {"Description": "a small package"}
    (root / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in rows.items()))
    path = folder / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(root), str(path)], check=True, capture_output=True)
    return path


def make_archive(
    archive: Path, packages: Mapping[Path, Mapping[str, str]], key: ArchiveKey, *, architecture: str = "amd64"
) -> None:
    """Write an archive of packages, each with its control fields, and sign its index. A former index is replaced."""
    pool = archive / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    stanzas = []
    for deb, fields in packages.items():
        content = deb.read_bytes()
        (pool / deb.name).write_bytes(content)
        rows = {**fields, "Filename": f"pool/{deb.name}", "Size": len(content), "SHA256": sha256(content)}
        stanzas.append("".join(f"{name}: {value}\n" for name, value in rows.items()))
    dists = archive / "dists" / SUITE
    index = dists / "main" / f"binary-{architecture}" / "Packages"
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text("\n".join(stanzas))
    text = index.read_bytes()
    release = dists / "Release"
    release.write_text(
        f"Suite: {SUITE}\nCodename: {SUITE}\nComponents: main\nArchitectures: {architecture}\n"
        "Date: Mon, 30 Nov 2026 00:00:00 UTC\n"
        f"SHA256:\n {sha256(text)} {len(text)} {index.relative_to(dists)}\n"
    )
    key.gpg("--yes", "--output", str(dists / "InRelease"), "--clearsign", str(release))


def control(name: str, version: str, **fields: str) -> dict[str, str]:
    """Return the fields of a package in an index."""
    plain = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "A Test <test@example.org>"}
    return plain | fields | {"Description": "a small package"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
