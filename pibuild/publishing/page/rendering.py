"""The files of the page: a set and its nights, rendered by the templates.

Decides which files there are and where links lead. Every template escapes its values. Style and script are inline, and
the content policy names them by their hashes, so that a browser runs and loads nothing else.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pibuild.config.project_files import project_folder
from pibuild.config.targets import load_targets
from pibuild.console import seconds, size
from pibuild.model import CellOutcome, Night
from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.publishing.page import charts as charts_of
from pibuild.publishing.page import nights as nights_of
from pibuild.publishing.page import offers

PLACEHOLDER = "https://…/"
"""The site's address if it is unknown."""
_HERE = Path(__file__).parent
_LOG_SHOWN_BYTES = 200_000
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")
"""Sequences for terminals: colours, titles, control characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Links:
    """Addresses in the site, relative to one page; `up` leads to the set's folder."""

    up: str
    wheels: Mapping[str, PublishedWheel]
    logs: frozenset[str]

    def wheel(self, wheel: PublishedWheel, suffix: str = "") -> str:
        """Return the address of a wheel, or of one of its sidecars."""
        return quote(f"{self.up}../{wheel.folder}{wheel.file}{suffix}")

    def published(self, outcome: CellOutcome) -> PublishedWheel | None:
        """Return the wheel of an outcome; None if the set does not list it."""
        return self.wheels.get(outcome.sha256)

    def cell(self, cell_id: str, night: str = "") -> str:
        """Return the address of a cell's page, at one night if it is given."""
        anchor = f"#{nights_of.file_stem(night)}" if night else ""
        return f"{self.up}cells/{nights_of.file_stem(cell_id)}.html{anchor}"

    def log(self, name: str) -> str:
        """Return the address of a log; empty if it was removed."""
        return f"{self.up}logs/{nights_of.file_stem(name)}.html" if name in self.logs else ""


def render(
    published: PublishedSet,
    nights: Sequence[Night],
    *,
    title: str,
    base_url: str,
    logs: Callable[[str], bytes | None],
) -> dict[str, bytes]:
    """Return the files of a set's page by their path in the set's folder: `index.html`, `cells/…`, `logs/…`.

    `base_url` is the site's address. If it is empty, commands contain a placeholder, which JavaScript replaces by the
    page's own address. `logs` returns the content of a log (CellOutcome.log), None if it was removed.
    """
    latest = nights_of.latest(nights)
    table = nights_of.rows(latest)
    logged = [outcome.log for night in latest for outcome in night.outcomes]
    logged += [rebuild.log for night in latest for rebuild in night.rebuilds]
    names = dict.fromkeys(filter(None, logged))
    log_contents = {name: log for name in names if (log := logs(name)) is not None}
    by_sha256 = {wheel.sha256: wheel for wheel in published.listed}
    links = {up: _Links(up=up, wheels=by_sha256, logs=frozenset(log_contents)) for up in ("", "../")}

    def page(template: str, **values: Any) -> str:  # noqa: ANN401  values of any template
        return _environment().get_template(template).render(title=title, published=published, **values)

    files = {"index.html": page("index.html.j2", **_front(published, latest, table, base_url), links=links[""])}
    for row in table:
        wheels = [wheel for wheel in published.listed if wheel.cell == row.cell.id]
        text = page("cell.html.j2", row=row, nights=latest, wheels=wheels, links=links["../"])
        files[f"cells/{nights_of.file_stem(row.cell.id)}.html"] = text
    for name, content in log_contents.items():
        text = page("log.html.j2", name=name, log=_readable(content), links=links["../"])
        files[f"logs/{nights_of.file_stem(name)}.html"] = text
    return {path: text.encode() for path, text in files.items()}


def _front(
    published: PublishedSet, latest: Sequence[Night], table: Sequence[nights_of.Row], base_url: str
) -> dict[str, Any]:
    """Return the values of index.html."""
    targets = load_targets(project_folder("toolchains"))
    floors = {name: target.glibc_floor for name, target in targets.items()}
    answers = offers.choices(published.listed, floors)
    site = base_url.rstrip("/") + "/" if base_url else PLACEHOLDER
    index = offers.index_options(f"{site}current/simple/") if base_url else f"--index-url {site}current/simple/"
    return {
        "nights": latest,
        "groups": nights_of.grouped(table),
        "failures": nights_of.failures(latest, table),
        "rebuilt": nights_of.rebuilt(latest),
        "charts": charts_of.charts(latest, table),
        "frame": charts_of,
        "targets": {name: targets[name].models for row in table if (name := row.cell.target) in targets},
        "merged": offers.merged(answers),
        "beforehand": offers.beforehand(answers),
        "gaps": offers.gaps(answers),
        "answers": _json({"index": index if base_url else "", "choices": [asdict(choice) for choice in answers]}),
        "index": index,
        "site": site,
        "has_address": bool(base_url),
        "newest": _newest_wheels(published),
        "yanked": [wheel for wheel in published.listed if wheel.yanked is not None],
        "script": Markup(_read("page.js")),  # noqa: S704  our own file
        "script_hash": _hash(_read("page.js")),
    }


def _newest_wheels(published: PublishedSet) -> list[PublishedWheel]:
    """Return the newest wheel of each cell that pip may pick, ordered by recipe, target and Python."""
    oldest_first = sorted(published.listed, key=lambda wheel: wheel.made)
    by_cell = {wheel.cell: wheel for wheel in oldest_first if wheel.yanked is None and wheel.target}

    def order(wheel: PublishedWheel) -> tuple[str, str, list[int], str]:
        return wheel.recipe, wheel.target, [int(part) for part in re.findall(r"\d+", wheel.python)], wheel.cell

    return sorted(by_cell.values(), key=order)


@cache
def _environment() -> Environment:
    """Return the environment of the templates, once for the process: compiling them takes longer than rendering."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for text in (nights_of.day, nights_of.moment, nights_of.short_duration, nights_of.split_cause, seconds, size):
        environment.filters[text.__name__] = text
    environment.filters["anchor"] = nights_of.file_stem
    style = _read("style.css")
    environment.globals |= {
        "signs": nights_of.SIGNS,
        "tally": nights_of.tally,
        "placeholder": offers.INDEX,
        "style": Markup(style),  # noqa: S704  our own file
        "style_hash": _hash(style),
    }
    return environment


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> Markup:  # noqa: ANN401  what JSON can hold
    """Return JSON for a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704  escaped here


def _readable(log: bytes) -> str:
    """Return the end of a log as a terminal would show it, without overwritten text."""
    lines = log[-_LOG_SHOWN_BYTES:].decode(errors="replace").split("\n")
    text = _TERMINAL.sub("", "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))
    left_out = len(log) - _LOG_SHOWN_BYTES
    return text if left_out <= 0 else f"… the first {size(left_out)} are left out …\n{text}"
