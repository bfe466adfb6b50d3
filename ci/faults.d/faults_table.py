"""The table of a fault campaign, as Markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from model import FaultKind, Result


def as_markdown(fault_kinds: Iterable[FaultKind], results: Sequence[Result]) -> str:
    """Return a line for each kind that had faults: how many, what was seen, and how many promises were broken."""
    lines = ["| kind | fault | number | what was seen | broken promises |", "|---|---|---|---|---|"]
    for kind in fault_kinds:
        own = [result for result in results if result.kind == kind.name]
        if not own:
            continue
        counts = Counter(result.seen for result in own if not result.violation)
        seen = "; ".join(f"{words}: {number}" for words, number in sorted(counts.items()))
        broken = sum(bool(result.violation) for result in own)
        lines.append(f"| {kind.name} | {kind.summary} | {len(own)} | {seen} | {broken} |")
    broken = sum(bool(result.violation) for result in results)
    lines.append(f"| | all | {len(results)} | | {broken} |")
    return "\n".join(lines) + "\n"


def as_json(results: Iterable[Result]) -> str:
    """Return every fault with its seed."""
    return json.dumps([asdict(result) for result in results], indent=1) + "\n"


def from_json(path: Path) -> list[Result]:
    """Return the faults of a file that as_json wrote; none if there is no file."""
    return [Result(**facts) for facts in json.loads(path.read_text())] if path.exists() else []
