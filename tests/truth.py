"""What really happens with wheels (tests/data/*_wheels.yaml), and how the verdicts of `verify` compare with it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pibuild.config.pis import PiPlace, load_pis
from pibuild.verify.findings import Outcome

_DATA = Path(__file__).with_name("data")
_CPUS = {
    ("ARM1176", 32): "arm1176",
    ("Cortex-A7", 32): "a7",
    ("Cortex-A53", 32): "a53-32",
    ("Cortex-A72", 32): "a72-32",
    ("Cortex-A76", 32): "a76-32",
    ("Cortex-A53", 64): "a53",
    ("Cortex-A72", 64): "a72",
    ("Cortex-A76", 64): "a76",
}
REFUSED = "pip refuses it"
OPEN: dict[str, str] = {}
"""Wheels with verdicts that are known to be wrong, and why."""
Place = tuple[str, str]
"""The release with its Python, and the CPU: `("bookworm 3.11", "a72")`."""


def cpu_name(place: PiPlace) -> str:
    """Return the CPU of a place as the files of truth name it; with `-32`, a 64-bit CPU has a 32-bit system."""
    return _CPUS[place.pi.cpu.name, place.pi.bits]


def release_name(place: PiPlace) -> str:
    """Return the release of a place and its Python as the files of truth name them."""
    return f"{place.system.name} {place.python.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What really happens with a wheel at one place."""

    place: Place
    outcome: Outcome
    seen: str
    """`runs`, `SIGILL`, what Python said, or that pip refuses the wheel."""


@dataclass(slots=True, kw_only=True)
class Score:
    """How verdicts compare with the truth; places where pip refuses the wheel are counted apart."""

    places: int = 0
    wrong_runs: int = 0
    wrong_fails: int = 0
    unsure: int = 0
    refusals: int = 0
    wrong_refusals: int = 0
    """Places where pip refuses the wheel and the verdict is another."""

    @property
    def wrong(self) -> int:
        """Return the number of wrong verdicts."""
        return self.wrong_runs + self.wrong_fails + self.wrong_refusals

    @property
    def unsure_percent(self) -> float:
        """Return how many of 100 places that pip installs the wheel at are unsure."""
        return 100 * self.unsure / self.places if self.places else 0

    def add(self, told: Outcome, truth: Truth) -> None:
        """Count one place."""
        if truth.seen == REFUSED:
            self.refusals += 1
            self.wrong_refusals += told != "fails"
            return
        self.places += 1
        if told == "unsure":
            self.unsure += 1
        elif told != truth.outcome:
            self.wrong_runs += told == "runs"
            self.wrong_fails += told == "fails"


def with_open_ones(names: Iterable[str]) -> list[Any]:
    """Return names as parameters of a test; those with a verdict that is known to be wrong are expected to fail."""
    return [
        pytest.param(name, marks=pytest.mark.xfail(reason=OPEN[name], strict=True)) if name in OPEN else name
        for name in names
    ]


def load(name: str) -> dict[str, dict[str, Any]]:
    """Return the wheels of a file of truth by name (`crafted`) or file name (`real`)."""
    wheels = yaml.safe_load((_DATA / f"{name}_wheels.yaml").read_text())["wheels"]
    return {wheel.get("name") or wheel["file"]: wheel for wheel in wheels}


def truths(wheel: Mapping[str, Any]) -> Iterator[Truth]:
    """Yield the truth of a wheel, place by place."""
    cpus: dict[str, list[str]] = {}
    for place in load_pis().places:
        cpus.setdefault(release_name(place), []).append(cpu_name(place))
    for row in wheel["truth"]:
        for release, named in row["places"].items():
            for cpu in cpus[release] if named == "all" else named:
                yield Truth(place=(release, cpu), outcome=row["outcome"], seen=row["seen"])


def judged(path: Path) -> dict[Place, tuple[Outcome, str]]:
    """Return what `verify` says of a wheel: the outcome and the reasons, place by place."""
    from pibuild.verify.judge import judge  # find_truth.py names places without judging

    return {
        (release_name(verdict.place), cpu_name(verdict.place)): (
            verdict.outcome,
            "; ".join(f"{finding.path}: {finding.reason}" for finding in verdict.findings),
        )
        for verdict in judge(path).verdicts
    }


def mistakes(verdicts: Mapping[Place, tuple[Outcome, str]], wheel: Mapping[str, Any]) -> list[str]:
    """Return a line for each reason and place where a verdict is wrong."""
    lines: dict[str, list[str]] = {}
    for truth in truths(wheel):
        told, reasons = verdicts[truth.place]
        if told not in ("unsure", truth.outcome) or (truth.seen == REFUSED and told != "fails"):
            lines.setdefault(f"said {told} ({reasons}), but: {truth.seen}", []).append(" ".join(truth.place))
    return [f"{text}: {', '.join(places)}" for text, places in lines.items()]


def score(total: Score, verdicts: Mapping[Place, tuple[Outcome, str]], wheel: Mapping[str, Any]) -> None:
    """Count all places of a wheel."""
    for truth in truths(wheel):
        total.add(verdicts[truth.place][0], truth)
