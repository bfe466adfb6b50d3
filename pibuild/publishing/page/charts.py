"""Measurements night by night as charts: the geometry of small panels, one for each product and target.

templates/chart.html.j2 draws them and escapes their text.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pibuild.console import seconds, size
from pibuild.model import CellOutcome, Night
from pibuild.publishing.page.nights import Row, day, grouped

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 350, 24, 150
_THIN, _MINUS = "\N{NARROW NO-BREAK SPACE}", "\N{MINUS SIGN}"
STYLES = 6
"""Series that look different; style.css has a colour for each."""
_Measured = tuple[float, str, bool]
"""(value, the value as text, whether it was measured in that night)."""
_Value = tuple[int, float, str, bool]
"""(number of the night, the oldest being 0; value; the value as text; whether a point is drawn)."""
_Lines = dict[str, list[_Value]]
"""Values by the name of their line, in the order of the names."""
_Scale = tuple[str, float]
"""(unit of an axis; a value divided by this factor is in the unit)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a panel."""

    name: str
    style: int
    newest: str
    path: str
    points: tuple[tuple[float, float, str], ...]
    """(x, y, text)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes with its lines, and the same values as a table."""

    title: str
    description: str
    unit: str
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]
    table: tuple[tuple[str, tuple[str, ...]], ...]
    """(day, a text for each series), the oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One measure, for all products and targets that have it."""

    title: str
    lead: str
    panels: tuple[Panel, ...]


def charts(nights: Sequence[Night], table: Sequence[Row]) -> tuple[Chart, ...]:
    """Return the charts of build time, wheel size and instructions; a measure without values has none.

    `nights` begins with the newest.
    """
    candidates = (
        Chart(
            title="Build time",
            lead="From the start of a cell to its proven wheel, for the nights that built it. A target's first Python "
            "takes longest: it also compiles what the other Pythons share.",
            panels=_panels(nights, table, partial(_line_by_python, _build_time), _time_scale),
        ),
        Chart(
            title="Wheel size",
            lead="The file that pip downloads. The axis may start above zero.",
            panels=_panels(nights, table, partial(_line_by_python, _wheel_size), _size_scale),
        ),
        Chart(
            title="Instructions per inference",
            lead="Instructions of the emulated Pi for one inference, compared with the first night in the chart. Each "
            "point is the highest count among the Pythons of a target.",
            panels=_panels(nights, table, _instructions, lambda _: ("change in %", 1)),
        ),
    )
    return tuple(chart for chart in candidates if chart.panels)


def _panels(
    nights: Sequence[Night],
    table: Sequence[Row],
    measure: Callable[[Sequence[Row]], _Lines],
    scale: Callable[[float], _Scale],
) -> tuple[Panel, ...]:
    """Return a panel for each product and target; `scale` chooses the unit by the largest value."""
    groups = {
        f"{product}, {target}": measure([row for row in group if row.cell.target == target])
        for product, group in grouped(table).items()
        for target in dict.fromkeys(row.cell.target for row in group)
    }
    measured = {
        title: {name: lines[name] for name in sorted(lines, key=_natural) if lines[name]}
        for title, lines in groups.items()
    }
    names = sorted({name for lines in measured.values() for name in lines}, key=_natural)
    return tuple(_panel(title, lines, names, nights, scale) for title, lines in measured.items() if lines)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which Python 3.9 is before Python 3.11."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in name.replace(".", " ").split())


def _panel(
    title: str, lines: _Lines, names: list[str], nights: Sequence[Night], scale: Callable[[float], _Scale]
) -> Panel:
    values = [value for line in lines.values() for _, value, _, _ in line]
    unit, factor = scale(max(map(abs, values)))
    low, high, step = _axis([value / factor for value in values])
    last = max(len(nights) - 1, 1)
    days = [day(night.began) for night in reversed(nights)]

    def x(night: int) -> float:
        return round(LEFT + 6 + (RIGHT - LEFT - 12) * night / last, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value / factor - low) / (high - low), 1)

    series = tuple(
        Series(
            name=name,
            style=names.index(name) % STYLES,
            newest=line[-1][2],
            path="M" + "L".join(f"{x(night):g} {y(value):g}" for night, value, _, _ in line),
            points=tuple(
                (x(night), y(value), f"{days[night]}: {text}") for night, value, text, marked in line if marked
            ),
        )
        for name, line in lines.items()
    )
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [low + step * number for number in range(round((high - low) / step) + 1)]
    return Panel(
        title=title,
        description="; ".join(f"{line.name}: {line.newest} at the end" for line in series),
        unit=unit,
        y_ticks=tuple((y(tick * factor), f"{tick:.{decimals}f}".replace("-", _MINUS)) for tick in ticks),
        x_ticks=tuple((x(night), days[night]) for night in sorted({0, (len(days) - 1) // 2, len(days) - 1})),
        series=series,
        table=_table(lines, days),
    )


def _table(lines: _Lines, days: list[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    by_night = [{night: text for night, _, text, marked in line if marked} for line in lines.values()]
    nights = sorted({night for line in by_night for night in line})
    return tuple((days[night], tuple(line.get(night, "") for line in by_night)) for night in nights)


def _axis(values: list[float]) -> tuple[float, float, float]:
    """Return an axis' begin, end and step in round numbers; it begins at zero unless all values are far above it."""
    low, high = min(*values, 0.0), max(values)
    if min(values) > high / 2 > 0:
        low = min(values)
    if high - low < abs(high) / 50 or high == low:  # a flat line is drawn in the middle, its noise small
        pad = abs(high) / 50 or 1.0
        low, high = low - pad, high + pad
    step = _round_up((high - low) / 4)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= value * 0.999)


def _build_time(outcome: CellOutcome) -> _Measured | None:
    return (outcome.wall_s, seconds(outcome.wall_s), True) if outcome.status == "built" else None


def _wheel_size(outcome: CellOutcome) -> _Measured | None:
    has_size = outcome.size_bytes and outcome.status != "failed"
    return (outcome.size_bytes, size(outcome.size_bytes), outcome.status == "built") if has_size else None


def _line_by_python(measured: Callable[[CellOutcome], _Measured | None], group: Sequence[Row]) -> _Lines:
    return {
        f"Python {row.cell.python}": _line(measured(outcome) if outcome else None for outcome in reversed(row.outcomes))
        for row in group
    }


def _line(nights: Iterable[_Measured | None]) -> list[_Value]:
    """Return the values of a line. A point is drawn where the value is new."""
    line: list[_Value] = []
    for night, measured in enumerate(nights):
        if measured:
            value, text, is_new = measured
            line.append((night, value, text, not line or is_new or line[-1][1] != value))
    return line


def _instructions(group: Sequence[Row]) -> _Lines:
    """Return each model's change of instructions since the first night, in percent."""
    nights = [
        [outcome for outcome in outcomes if outcome and outcome.status != "failed"]
        for outcomes in zip(*(reversed(row.outcomes) for row in group), strict=True)
    ]
    models = {model for outcomes in nights for outcome in outcomes for model in outcome.instructions}

    def changes(model: str) -> Iterator[_Measured | None]:
        first = 0
        for outcomes in nights:
            most = max((outcome.instructions.get(model, 0) for outcome in outcomes), default=0)
            first = first or most
            change = (most / first - 1) * 100 if most else 0.0
            text = f"{most:,} ({change:+.1f} %)".replace(",", _THIN).replace("-", _MINUS)
            yield (change, text, any(outcome.status == "built" for outcome in outcomes)) if most else None

    return {model: _line(changes(model)) for model in sorted(models)}


def _time_scale(most: float) -> _Scale:
    return ("hours", 3600) if most >= 7200 else ("minutes", 60) if most >= 120 else ("seconds", 1)


def _size_scale(most: float) -> _Scale:
    return ("MB", 1e6) if most >= 1e6 else ("kB", 1e3)
