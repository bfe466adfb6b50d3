"""Whether a wheel meets what somebody asks of it: to run on one Pi, with no newer glibc than one."""

from collections.abc import Iterator

from packaging.version import Version

from pibuild.config.pis import Pi
from pibuild.verify.claims import versions_wanted
from pibuild.verify.verdicts import Inspection


def misses(found: Inspection, *, platform_tag: str | None, floor: Version | None) -> Iterator[str]:
    """Say what of it the wheel misses; a Pi is told by the platform tag of its wheels (`linux_armv6l`).

    A Python that no system of the Pi brings is the person's own to bring; all else must fit one of them.
    """
    if platform_tag:
        wanted = platform_tag.removeprefix("linux_")
        first = next((one for one in found.pis if wanted in one.pi.architectures), None)
        if first and first.verdict in ("crashes", "unsure"):
            yield f"not for {first.pi.name}: {first.why[0]}"
        elif first and first.pi not in (*(place.pi for place in found.runs_on), *found.wants_another_python):
            yield f"not for {first.pi.name}: {_refusal(found, first.pi)}"
    version, by_whom = versions_wanted(found.codes).get("GLIBC", (Version("0"), ""))
    if floor and version > floor:
        yield f"{by_whom}, the floor is {floor}"


def _refusal(found: Inspection, pi: Pi) -> str:
    """Say why the system that is nearest to running it does not: the one that brings its Python, if any does."""
    nearest = min(
        (one for one in found.systems if pi.bits in one.system.bits),
        key=lambda one: (not one.takes, len(one.why_not)),
    )
    why = nearest.why_not[-1] if nearest.why_not else f"its pip does not take {' or '.join(found.tags)}"
    return f"{nearest.system.name} {nearest.python}: {why}"
