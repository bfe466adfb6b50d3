"""A night as a table, as Markdown for a CI system's page, as JUnit XML for its test view, and as an exit code."""

import html
from pathlib import Path

from junitparser import Error, JUnitXml, Skipped, TestCase, TestSuite

from pibuild.console import seconds, size
from pibuild.files import write_atomically
from pibuild.model import CellOutcome, CellStatus, Night, RebuildOutcome, RebuildStatus

ALL_GOOD, NOTHING_TO_DO, SOME_FAILED = 0, 3, 11
_SIGNS = {"built": "✓ built", "unchanged": "· unchanged", "failed": "✗ failed"}
_REBUILT_SIGNS = {"equal": "✓ equal", "different": "✗ different", "failed": "✗ failed"}


def exit_code(night: Night) -> int:
    """Return 11 if a cell failed or a rebuilt artifact is not equal, 0 if wheels were built or published, else 3."""
    if night.failed or night.wrong_rebuilds:
        return SOME_FAILED
    return NOTHING_TO_DO if night.is_unchanged and not night.set_id else ALL_GOOD


def verdict(night: Night) -> str:
    """Return the counts of a night: `1 built, 1 failed, 10 unchanged of 12 cells; published SET; rebuilt: 1 equal`."""
    statuses: list[CellStatus] = [outcome.status for outcome in night.outcomes]
    parts = [f"{statuses.count(status)} {status}" for status in ("built", "failed") if status in statuses]
    is_news = bool(parts or night.set_id)
    parts.append(f"{statuses.count('unchanged')} unchanged of {len(statuses)} cells")
    published = f"; published {night.set_id}" if night.set_id else ""
    rebuilt: list[RebuildStatus] = [rebuild.status for rebuild in night.rebuilds]
    counts = [f"{rebuilt.count(status)} {status}" for status in _REBUILT_SIGNS if status in rebuilt]
    rebuilds = f"; rebuilt: {', '.join(counts)}" if counts else ""
    return f"{', '.join(parts) if is_news else 'nothing to do'}{published}{rebuilds}"


def as_table(night: Night) -> str:
    """Return a line for each cell and rebuilt artifact, in columns, and the verdict."""
    rows = [(outcome.cell.id, *_row(outcome)) for outcome in night.outcomes]
    rows += [(rebuild.id, *_rebuilt_row(rebuild)) for rebuild in night.rebuilds]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, verdict(night)])


def as_markdown(night: Night) -> str:
    """Return a table of the cells and rebuilt artifacts, and each cause of failure once."""
    lines = [f"### pibuild, night {night.id}: {verdict(night)}", ""]
    lines += ["| cell | status | time | size | details |", "| --- | --- | --- | --- | --- |"]
    by_cause: dict[str, list[str]] = {}
    for outcome in night.outcomes:
        status, duration, wheel_size, details = _row(outcome)
        lines.append(f"| {_cell(outcome.cell.id)} | {status} | {duration} | {wheel_size} | {_cell(details)} |")
        if outcome.status == "failed":
            by_cause.setdefault(outcome.cause, []).append(outcome.cell.id)
    for rebuild in night.rebuilds:
        status, duration, _, details = _rebuilt_row(rebuild)
        lines.append(f"| {_cell(rebuild.id)} | {status} | {duration} | | {_cell(details)} |")
        if rebuild.status != "equal":
            by_cause.setdefault(rebuild.cause, []).append(rebuild.id)
    for cause, cells in by_cause.items():
        lines += ["", f"<details><summary>{html.escape(', '.join(cells))}</summary>", "", "<pre>"]
        lines += [html.escape(cause, quote=False), "</pre>", "</details>"]
    return "\n".join(lines) + "\n"


def write_junit(night: Night, path: Path) -> None:
    """Write a test case for each cell: an error if the cell failed, skipped if it is unchanged.

    Rebuilt artifacts are test cases of the class `rebuild`.
    """
    suite = TestSuite("pibuild nightly")
    suite.timestamp = night.began
    for outcome in night.outcomes:
        case = TestCase(_printable(outcome.cell.id), classname=_printable(outcome.cell.recipe), time=outcome.wall_s)
        if outcome.status == "failed":
            case.result = [_error(outcome.cause, outcome.status)]
        elif outcome.status == "unchanged":
            case.result = [Skipped("the proven wheel exists")]
        suite.add_testcase(case)
    for rebuild in night.rebuilds:
        case = TestCase(_printable(rebuild.id), classname="rebuild", time=rebuild.wall_s)
        if rebuild.status != "equal":
            case.result = [_error(rebuild.cause, rebuild.status)]
        suite.add_testcase(case)
    xml = JUnitXml("pibuild")
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    write_atomically(path, bytes(xml.tostring()))  # type: ignore[no-untyped-call]


def _error(cause: str, status: str) -> Error:
    text = _printable(cause)
    error = Error(text.splitlines()[0] if text else status, "pibuild")
    error.text = text
    return error


def _rebuilt_row(rebuild: RebuildOutcome) -> tuple[str, str, str, str]:
    details = rebuild.cause.splitlines()[0] if rebuild.cause else f"{seconds(rebuild.cpu_s)} of CPU"
    return _REBUILT_SIGNS[rebuild.status], seconds(rebuild.wall_s), "", details


def _row(outcome: CellOutcome) -> tuple[str, str, str, str]:
    duration = "" if outcome.status == "unchanged" else seconds(outcome.wall_s)
    details = outcome.cause.splitlines()[0] if outcome.cause else ", ".join(outcome.changed) or outcome.wheel
    return _SIGNS[outcome.status], duration, size(outcome.size_bytes) if outcome.size_bytes else "", details


def _cell(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return html.escape(text.replace("\n", " "), quote=False).replace("|", "\\|").replace("`", "\\`")


def _printable(text: str) -> str:
    """Remove the characters that XML can't hold."""
    return "".join(letter for letter in text if letter in "\t\n" or letter.isprintable())
