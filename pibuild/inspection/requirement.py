"""Whether a wheel meets what somebody asks of it: to run on one Pi, with no newer glibc than one."""

from collections.abc import Iterator

from pibuild.inspection.claims import versions_wanted
from pibuild.inspection.inspect import Inspection


def misses(found: Inspection, *, platform_tag: str | None, floor: tuple[int, ...] | None) -> Iterator[str]:
    """Say what of it the wheel misses; a Pi is told by the platform tag of its wheels (`linux_armv6l`)."""
    if platform_tag:
        wanted = platform_tag.removeprefix("linux_")
        first = next((one for one in found.pis if wanted in one.pi.architectures), None)
        if first and first.verdict in ("crashes", "unsure"):
            yield f"not for {first.pi.name}: {first.why[0]}"
    version, by_whom = versions_wanted(found.codes).get("GLIBC", ((), ""))
    if floor and version > floor:
        yield f"{by_whom}, the floor is {'.'.join(map(str, floor))}"
