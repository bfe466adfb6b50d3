"""The binary packages that apt would install now: names and versions from signed indexes. Nothing is installed."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from pibuild.adapters.process import Ended, run
from pibuild.errors import SourceError

_DEADLINE_S = 300.0
_HINT = "use a Debian machine: pibuild lock asks its apt"
_URI = re.compile(r"^'[^']+' (\S+?)_(\S+)_[^_\s]+\.deb \d+ ", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class ChosenPackage:
    """A package as an index has it."""

    name: str
    version: str
    sha256: str


class DebianPackages:
    """The packages of some archives for an architecture, as this machine's apt sees them. Its own state is not used."""

    def __init__(
        self, environ: Mapping[str, str], *, sources: Sequence[str], architecture: str, state_dir: Path
    ) -> None:
        """Download the indexes that `sources` name: lines of a sources.list.

        Raises SourceError if apt is missing or an index can't be downloaded. `state_dir` may be deleted afterwards.
        """
        self._environ, self._state_dir, self._architecture = environ, state_dir, architecture
        for folder in ("lists/partial", "cache/archives/partial", "preferences.d"):
            (state_dir / folder).mkdir(parents=True, exist_ok=True)
        (state_dir / "sources.list").touch(0o600)  # which may have a password
        (state_dir / "sources.list").write_text("".join(f"{line}\n" for line in sources))
        self._have(())
        updated = self._apt("apt-get", "update")
        if updated.exit_code:
            hint = "apt-get install debian-archive-keyring" if "NO_PUBKEY" in updated.err else ""
            raise SourceError("apt can't download an index of packages", found=updated.last_words, hint=hint)

    def minimal_system(self) -> tuple[ChosenPackage, ...]:
        """Return the packages of a new system of the variant `minbase`: essential and required packages, and apt."""
        required = [
            fields["Package"]
            for fields in map(_fields, self._listed.values())
            if fields.get("Essential") == "yes" or fields.get("Priority") == "required"
        ]
        return self.installed((*required, "apt"), ())

    def installed(self, names: Sequence[str], present: Collection[ChosenPackage]) -> tuple[ChosenPackage, ...]:
        """Return the packages that apt would add to a system with `present`, without recommended packages."""
        self._have(present)
        return self._chosen("--yes", "install", *names)

    def downloaded(self, names: Sequence[str]) -> tuple[ChosenPackage, ...]:
        """Return these packages alone."""
        return self._chosen("download", *names)

    def _chosen(self, *words: str) -> tuple[ChosenPackage, ...]:
        ended = self._apt("apt-get", "--print-uris", *words)
        if ended.exit_code:
            raise SourceError(f"apt finds no way to {' '.join(words[:8])} …", found=ended.last_words)
        chosen = [(unquote(name), unquote(version)) for name, version in _URI.findall(ended.out)]
        lacking = [" ".join(pair) for pair in chosen if pair not in self._listed]
        if lacking:
            raise SourceError(f"the index has no sha256 of {', '.join(lacking)}")
        return tuple(sorted(ChosenPackage(*pair, _fields(self._listed[pair])["SHA256"]) for pair in chosen))

    def _have(self, present: Collection[ChosenPackage]) -> None:
        """Write the status of a system that has these packages."""
        stanzas = [self._listed[package.name, package.version] for package in present]
        text = "\n".join(f"{stanza}\nStatus: install ok installed\n" for stanza in stanzas)
        (self._state_dir / "status").write_text(text)

    @cached_property
    def _listed(self) -> dict[tuple[str, str], str]:
        """The part of the indexes about each package, in the version that apt would take; by name and version."""
        parts = (part for part in self._apt("apt-cache", "dumpavail").out.split("\n\n") if part.strip())
        return {(fields["Package"], fields["Version"]): part for part in parts if (fields := _fields(part))}

    def _apt(self, program: str, *words: str) -> Ended:
        folder = self._state_dir
        settings = {
            "APT::Architecture": self._architecture,
            "APT::Architectures::": self._architecture,
            "APT::Install-Recommends": "0",
            "APT::Sandbox::User": "root",
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "Dir::State": folder,
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": folder / "preferences.d",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        command = [program, "-q", *options, *words]
        return run(command, {**self._environ, "LC_ALL": "C"}, hint=_HINT, deadline_s=_DEADLINE_S)


def _fields(stanza: str) -> dict[str, str]:
    """Return the one-line fields of a stanza of an index."""
    rows = (line.partition(": ") for line in stanza.splitlines() if not line.startswith(" "))
    return {name: value for name, _, value in rows}
