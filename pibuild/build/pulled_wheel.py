"""Wheels from the shared store: each is compared with its plan and verified as a built one is, before it is used.

A machine that signs its work may still have made something else: an older pibuild, a mistake, or a key that was stolen.
What needs a device, the proof, is not repeated; the static checks are.
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from pibuild.build.container_outputs import is_result
from pibuild.build.context import BuildContext
from pibuild.build.prove import extra_name
from pibuild.errors import ProofError
from pibuild.model import Artifact, Plan, PypiPlace, Wheelhouse
from pibuild.store.local import Entry
from pibuild.store.shared_records import WheelRecord
from pibuild.trees.selection import Selection
from pibuild.trees.stored_tree import unpack
from pibuild.verify.own_wheel import verify_wheel
from pibuild.wheels.wheel import WheelFormatError, WheelName, disagreements, read_wheel, wheel_name

_SYMBOLS = Selection(keep=("/symbols/",))


def pull_wheel(plan: Plan | Wheelhouse, context: BuildContext) -> Entry | None:
    """Return the proven wheel of a plan from the shared store, verified here; None if it has none that can be used."""
    return context.remote.pull_wheel(plan, PlanJudge(plan, context))


@dataclass(frozen=True, slots=True)
class PlanJudge:
    """Decides whether a wheel from the shared store is the one of a plan."""

    house: Plan | Wheelhouse
    context: BuildContext

    @property
    def _plan(self) -> Plan:
        return self.house.plan if isinstance(self.house, Wheelhouse) else self.house

    def check_record(self, record: WheelRecord) -> None:
        """Compare a record with the plan: its key, what it is for, and the names of the wheel and the files beside it.

        Raises ProofError with all differences.
        """
        plan, recorded = self._plan, record["plan"]
        expected = {
            "key": plan.key,
            "target": plan.target.name,
            "python": plan.python,
            "recipe": plan.wheel.recipe.name,
            "version": plan.wheel.release.version,
        }
        found: Mapping[str, Any] = recorded
        faults = [
            f"plan {name}: {found[name]}, not {value}" for name, value in expected.items() if found[name] != value
        ]
        name = _parsed(record["wheel"]["file"])
        wanted = (canonicalize_name(plan.wheel.recipe.package_name), Version(plan.version))
        if (name.name, name.version) != wanted:
            faults.append(f"{record['wheel']['file']} is not a wheel of {wanted[0]} {wanted[1]}")
        pure = self._pure(record)
        measured = [
            record["checks"]["device"],
            *([record["dependencies"]["device"]] if "dependencies" in record else []),
        ]
        if not all(map(is_result, measured)):
            faults.append("the result of the device is invalid")
        extras = {extra["file"]: extra["sha256"] for extra in record["extras"]}
        named = {extra_name(plan, extra) for extra in dict(plan.wheel.env).get("PIBUILD_EXTRAS", "").split()}
        faults += [f"{file} is not a file of this plan" for file in sorted(extras.keys() - named - pure.keys())]
        faults += [f"{file} is missing" for file in sorted((named | pure.keys()) - extras.keys())]
        faults += [f"{file} is recorded twice" for file in pure if extras.get(file) != pure[file]]
        if len(extras) != len(record["extras"]):
            faults.append("a file beside the wheel is recorded twice")
        if faults:
            raise ProofError("its record is of another plan", found="; ".join(faults))

    def check_files(self, wheel_path: Path, record: WheelRecord, extras: Sequence[Path]) -> None:
        """Verify the wheel and each wheel in pure Python beside it. Raises ProofError with all that failed."""
        pure = self._pure(record)
        for path in extras:
            if path.name in pure:
                _verify_pure(path)
            else:
                _verify_packed(path)
        plan = self._plan
        try:
            verify_wheel(wheel_path, target=plan.target, python=plan.python, symbols_dir=None)
        except ProofError as error:
            if not (artifact := self._raw_artifact()):
                raise
            # stripped code can't always be told from data: libraries before strip decide
            with self.context.store.staging() as staging:
                unpack(artifact.path, staging / "raw", _SYMBOLS)
                symbols_dir = staging / "raw/symbols"
                if not symbols_dir.is_dir():
                    raise ProofError(error.what, details=error.details) from error
                verify_wheel(wheel_path, target=plan.target, python=plan.python, symbols_dir=symbols_dir)

    def _raw_artifact(self) -> Entry | None:
        """Return the artifact of which the wheel was made, which has its libraries before strip."""
        wheel = self._plan.wheel
        return self.context.store.artifact(wheel.key) or self.context.remote.pull_artifact(wheel)

    def _pure(self, record: WheelRecord) -> dict[str, str]:
        """Return the sha256 of each wheel in pure Python that a wheelhouse may have. Raises ProofError for others."""
        if not isinstance(self.house, Wheelhouse):
            if "dependencies" in record:
                raise ProofError("its record has dependencies, but the plan has none")
            return {}
        if "dependencies" not in record:
            raise ProofError("its record has no dependencies")
        artifacts = {artifact.key: artifact for artifact in self.house.packages}
        packages = record["dependencies"]["packages"]
        if sorted(package.get("key", "") for package in packages) != sorted(artifacts):
            raise ProofError("its record has packages of other keys than the plan")
        pure = {}
        for package in packages:
            pinned = _pinned(artifacts[package["key"]])
            for wheel in package.get("wheels", []):
                name = _parsed(wheel["file"])
                if (name.name, name.version) not in pinned:
                    raise ProofError(f"{wheel['file']} is not a package of {package['name']}")
                pure[wheel["file"]] = wheel["sha256"]
        return pure


def _pinned(artifact: Artifact) -> set[tuple[str, Version]]:
    """Return the names and versions of the packages that an artifact in pure Python is made of."""
    places = [place for source in artifact.release.sources for place in source.places]
    return {(canonicalize_name(place.pypi), Version(place.version)) for place in places if isinstance(place, PypiPlace)}


def _parsed(file_name: str) -> WheelName:
    try:
        return wheel_name(file_name)
    except WheelFormatError as error:
        raise ProofError(f"{file_name} is not the name of a wheel", found=str(error)) from error


def _verify_pure(path: Path) -> None:
    """Raise ProofError if a wheel is not whole, contradicts itself, or is not in pure Python."""
    try:
        wheel = read_wheel(path)
    except WheelFormatError as error:
        raise ProofError(f"{path.name} is not a wheel", found=str(error)) from error
    faults = [*disagreements(wheel)]
    if wheel.has_machine_code or any(tag.platform != "any" for tag in _parsed(path.name).tags):
        faults.append("it is not in pure Python")
    if faults:
        raise ProofError(f"the contents of {path.name} contradict its name", details=faults)


def _verify_packed(path: Path) -> None:
    """Raise ProofError if a file is not packed as those beside a wheel are."""
    try:
        with gzip.open(path) as file:
            file.read(1)
    except (OSError, EOFError) as error:
        raise ProofError(f"{path.name} is not packed with gzip", found=str(error)) from error
