"""Disturb pibuild in many ways, check after each fault that every promise was kept, and print a table.

ci/faults --minutes 10              faults of all kinds in turn, for ten minutes
ci/faults --faults 3 --only clock   three faults of one kind
ci/faults --seed 7 --only kill-night --faults 1
                                    the fault of this kind and seed again
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import bad_remotes
import clock_changes
import engine_faults
import full_disks
import joint_nights
import kills
import lost_networks
import registry_faults
import two_machines
from campaign import Campaign, open_campaign
from faults_table import as_json, as_markdown, from_json
from model import FaultKind, Result, Trial, ViolationError

from pibuild.signals import INTERRUPTED, raise_interrupts

_MODULES = (
    kills,
    joint_nights,
    full_disks,
    engine_faults,
    bad_remotes,
    registry_faults,
    lost_networks,
    clock_changes,
    two_machines,
)


def main() -> int:
    """Make the faults that are asked for; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="end after so many minutes (default: 10)")
    parser.add_argument("--faults", type=int, help="end after so many faults of each kind")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first fault of each kind (default: 1)")
    parser.add_argument("--only", action="append", metavar="KIND", help="only faults of this kind; may be repeated")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table here as Markdown, and as .json")
    parser.add_argument("--add", action="store_true", help="add to the faults that FILE has already")
    args = parser.parse_args()
    raise_interrupts()  # so that disks are unmounted and engines end
    earlier = from_json(args.table.with_suffix(".json")) if args.add else []
    end_s, results = time.monotonic() + 60 * args.minutes, []
    with (
        tempfile.TemporaryDirectory(prefix="pibuild-faults-", dir=Path.home()) as folder,
        open_campaign(Path(folder)) as campaign,
    ):
        fault_kinds = [kind for module in _MODULES for kind in module.fault_kinds(campaign)]
        chosen = _chosen(fault_kinds, args.only, parser)
        for result in _results(campaign, chosen, args.seed, args.faults, end_s):
            results.append(result)
            if args.table:
                args.table.with_suffix(".json").write_text(as_json([*earlier, *results]))
    table = as_markdown(fault_kinds, [*earlier, *results])
    print(table)
    if args.table:
        args.table.write_text(table)
    return 1 if any(result.violation for result in results) else 0


def _chosen(
    fault_kinds: Sequence[FaultKind], names: Sequence[str] | None, parser: argparse.ArgumentParser
) -> list[FaultKind]:
    """Return the kinds that are asked for and that the machine can do."""
    known = {kind.name: kind for kind in fault_kinds}
    if unknown := [name for name in names or () if name not in known]:
        parser.error(f"no kind {unknown[0]!r}; one of: {', '.join(known)}")
    possible = []
    for kind in fault_kinds:
        if names is None or kind.name in names:
            if lack := kind.lack():
                print(f"{kind.name} is left out: {lack}", file=sys.stderr)
            else:
                possible.append(kind)
    return possible


def _results(
    campaign: Campaign, fault_kinds: Sequence[FaultKind], seed: int, faults: int | None, end_s: float
) -> Iterator[Result]:
    """Make faults of all kinds in turn, and yield their results."""
    for number in count():
        for kind in fault_kinds:
            if time.monotonic() > end_s or number == faults:
                return
            result = _one_fault(campaign, kind, seed + number)
            print(_line(result), file=sys.stderr, flush=True)
            yield result


def _one_fault(campaign: Campaign, kind: FaultKind, seed: int) -> Result:
    folder, began_s, violation, seen = campaign.folder / "fault", time.monotonic(), "", ""
    folder.mkdir()
    try:
        seen = kind.run(Trial(random=random.Random(f"{kind.name} {seed}"), folder=folder))
    except ViolationError as error:
        violation, seen = str(error), "a promise was broken"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    wall_s = round(time.monotonic() - began_s, 1)
    return Result(kind=kind.name, seed=seed, seen=seen, violation=violation, wall_s=wall_s)


def _line(result: Result) -> str:
    line = f"{result.kind} {result.seed}: {result.seen}, {result.wall_s} s"
    if not result.violation:
        return line
    return f"{line}\n{result.violation}\nto repeat it: ci/faults --seed {result.seed} --only {result.kind} --faults 1"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
