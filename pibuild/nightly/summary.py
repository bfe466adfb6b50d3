"""A night as others read it: a table, Markdown for a CI system's page, JUnit for its tests, an exit code."""

import html
from collections.abc import Sequence
from pathlib import Path

from junitparser import Error, JUnitXml, Skipped, TestCase, TestSuite

from pibuild.console import seconds, size
from pibuild.files import write_atomically
from pibuild.nightly.model import Night, Outcome

ALL_GOOD, NOTHING_TO_DO, SOME_FAILED = 0, 3, 11
_SIGNS = {"built": "✓ built", "unchanged": "· unchanged", "failed": "✗ failed"}


def exit_code(night: Night) -> int:
    """Tell all good, nothing to do and some failed apart."""
    if night.failed:
        return SOME_FAILED
    return NOTHING_TO_DO if all(one.status == "unchanged" for one in night.outcomes) else ALL_GOOD


def verdict(night: Night) -> str:
    """Say the same in a sentence."""
    built, failed = (sum(one.status == status for one in night.outcomes) for status in ("built", "failed"))
    parts = [f"{built} built"] if built else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{len(night.outcomes) - built - failed} unchanged"]
    return f"{', '.join(parts)} of {len(night.outcomes)} cells" if built or failed else "nothing to do"


def as_table(night: Night) -> str:
    """Give a line for each cell, in columns."""
    rows = [(one.cell.id, *_row(one)) for one in night.outcomes]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, verdict(night)])


def as_markdown(night: Night) -> str:
    """Give a page's part: a table, and each cause once."""
    lines = [f"### pibuild, night {night.id}: {verdict(night)}", ""]
    lines += ["| cell | status | time | size | what |", "| --- | --- | --- | --- | --- |"]
    for one in night.outcomes:
        status, took, much, what = _row(one)
        lines.append(f"| {_cell(one.cell.id)} | {status} | {took} | {much} | {_cell(what)} |")
    for cause, alike in _by_cause(night.failed):
        names = ", ".join(one.cell.id for one in alike)
        lines += ["", f"<details><summary>{html.escape(names)}</summary>", "", "<pre>"]
        lines += [html.escape(cause, quote=False), "</pre>", "</details>"]
    return "\n".join(lines) + "\n"


def write_junit(night: Night, path: Path) -> None:
    """Write a test case for each cell: an error where it failed, skipped where nothing had to be done."""
    suite = TestSuite("pibuild nightly")
    suite.timestamp = night.began
    for one in night.outcomes:
        case = TestCase(_printable(one.cell.id), classname=_printable(one.cell.recipe), time=one.wall_s)
        if one.status == "failed":
            cause = _printable(one.cause)
            error = Error(cause.splitlines()[0] if cause else "failed", "pibuild")
            error.text = cause
            case.result = [error]
        elif one.status == "unchanged":
            case.result = [Skipped("its proven wheel was there")]
        suite.add_testcase(case)
    xml = JUnitXml("pibuild")
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    write_atomically(path, bytes(xml.tostring()))  # type: ignore[no-untyped-call]


def _row(one: Outcome) -> tuple[str, str, str, str]:
    took = "" if one.status == "unchanged" else seconds(one.wall_s)
    what = one.cause.splitlines()[0] if one.cause else ", ".join(one.changed) or one.wheel
    return _SIGNS[one.status], took, size(one.size_bytes) if one.size_bytes else "", what


def _by_cause(failed: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    causes = dict.fromkeys(one.cause for one in failed)
    return [(cause, [one for one in failed if one.cause == cause]) for cause in causes]


def _cell(text: str) -> str:
    """Escape what a Markdown table would take for its own."""
    return html.escape(text.replace("\n", " "), quote=False).replace("|", "\\|").replace("`", "\\`")


def _printable(text: str) -> str:
    """Leave out what XML can't hold."""
    return "".join(letter for letter in text if letter in "\t\n" or letter.isprintable())
