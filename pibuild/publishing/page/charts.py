"""What was measured night by night, as charts: the geometry of small panels, one for each product and target.

Knows scales, ticks and units. The drawing, and with it the escaping, is templates/chart.html.j2's.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pibuild.console import seconds, size
from pibuild.nightly.model import Night, Outcome
from pibuild.publishing.page.nights import Row, day, grouped

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 350, 24, 150
_THIN, _MINUS = "\N{NARROW NO-BREAK SPACE}", "\N{MINUS SIGN}"
STYLES = 6
"""How many series look different; style.css has a colour for each."""
_Value = tuple[int, float, str, bool]
"""(night counted from the oldest, value, what it says in words, whether it gets a point of its own)."""
_Lines = dict[str, list[_Value]]
"""Values by the name of their line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: its points are (x, y, words)."""

    name: str
    style: int
    newest: str
    path: str
    points: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes, and the same figures as a table."""

    title: str
    description: str
    unit: str
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]
    table: tuple[tuple[str, tuple[str, ...]], ...]
    """(day, a word for each series), the oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One measure of all products and targets that have it."""

    title: str
    lead: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """What one unit of an axis is worth."""

    unit: str
    worth: float


_ScaleFor = Callable[[float], _Scale]
"""Chooses the scale for a largest value."""


def charts(nights: Sequence[Night], table: Sequence[Row]) -> tuple[Chart, ...]:
    """Chart build time, wheel size and instructions; a measure that nobody took has no chart. Newest night first."""
    made = (
        Chart(
            title="Build time",
            lead="From the start of a cell to its proven wheel; nights that built it. A target's first Python also "
            "compiles what the others share.",
            panels=_panels(nights, table, _build_times, _time_scale),
        ),
        Chart(
            title="Wheel size",
            lead="The file that pip downloads. The axis may begin above zero.",
            panels=_panels(nights, table, _sizes, _size_scale),
        ),
        Chart(
            title="Instructions per inference",
            lead="What the emulated Pi ran for one inference, against the first night shown; of a target's Pythons the "
            "one that took most counts.",
            panels=_panels(nights, table, _instructions, _percent_scale),
        ),
    )
    return tuple(chart for chart in made if chart.panels)


def _panels(
    nights: Sequence[Night],
    table: Sequence[Row],
    measure: Callable[[Sequence[Row]], _Lines],
    scale: _ScaleFor,
) -> tuple[Panel, ...]:
    groups = {
        f"{product}, {target}": [row for row in group if row.cell.target == target]
        for product, group in grouped(table).items()
        for target in dict.fromkeys(row.cell.target for row in group)
    }
    measured = {title: {name: one for name, one in measure(group).items() if one} for title, group in groups.items()}
    names = sorted({name for lines in measured.values() for name in lines}, key=_natural)
    return tuple(_panel(title, lines, names, nights, scale) for title, lines in measured.items() if lines)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in name.replace(".", " ").split())


def _panel(title: str, lines: _Lines, names: list[str], nights: Sequence[Night], scale: _ScaleFor) -> Panel:
    values = [value for line in lines.values() for _, value, _, _ in line]
    unit = scale(max(map(abs, values)))
    low, high, step = _axis([value / unit.worth for value in values])
    last = max(len(nights) - 1, 1)

    def x(night: int) -> float:
        return round(LEFT + 6 + (RIGHT - LEFT - 12) * night / last, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value / unit.worth - low) / (high - low), 1)

    days = [day(night.began) for night in reversed(nights)]
    series = tuple(_series(name, names.index(name), lines[name], days, x, y) for name in sorted(lines, key=_natural))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [low + step * number for number in range(round((high - low) / step) + 1)]
    shown = sorted({0, (len(days) - 1) // 2, len(days) - 1})
    return Panel(
        title=title,
        description="; ".join(f"{one.name}: {one.newest} in the end" for one in series),
        unit=unit.unit,
        y_ticks=tuple((y(tick * unit.worth), f"{tick:.{decimals}f}".replace("-", _MINUS)) for tick in ticks),
        x_ticks=tuple((x(night), days[night]) for night in shown),
        series=series,
        table=_table(lines, days),
    )


def _series(
    name: str, style: int, line: list[_Value], days: list[str], x: Callable[[int], float], y: Callable[[float], float]
) -> Series:
    return Series(
        name=name,
        style=style % STYLES,
        newest=line[-1][2],
        path="M" + "L".join(f"{x(night):g} {y(value):g}" for night, value, _, _ in line),
        points=tuple((x(night), y(value), f"{days[night]}: {words}") for night, value, words, marked in line if marked),
    )


def _table(lines: _Lines, days: list[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    ordered = [lines[name] for name in sorted(lines, key=_natural)]
    by_night = [{night: words for night, _, words, marked in line if marked} for line in ordered]
    nights = sorted({night for line in by_night for night in line})
    return tuple((days[night], tuple(line.get(night, "") for line in by_night)) for night in nights)


def _axis(values: list[float]) -> tuple[float, float, float]:
    """Give an axis' begin, end and step, in round numbers; it begins at zero unless all values are far above it."""
    low, high = min(*values, 0.0), max(values)
    if min(values) > high / 2 > 0:
        low = min(values)
    if high - low < abs(high) / 50 or high == low:  # a flat line lies in the middle, and its noise looks like noise
        pad = abs(high) / 50 or 1.0
        low, high = low - pad, high + pad
    step = _round_up((high - low) / 4)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= value * 0.999)


def _build_times(group: Sequence[Row]) -> _Lines:
    def value(one: Outcome) -> tuple[float, str] | None:
        return (one.wall_s, seconds(one.wall_s)) if one.status == "built" else None

    return {f"Python {row.cell.python}": _line(row, value) for row in group}


def _sizes(group: Sequence[Row]) -> _Lines:
    def value(one: Outcome) -> tuple[float, str] | None:
        return (one.size_bytes, size(one.size_bytes)) if one.size_bytes and one.status != "failed" else None

    return {f"Python {row.cell.python}": _line(row, value) for row in group}


def _line(row: Row, value: Callable[[Outcome], tuple[float, str] | None]) -> list[_Value]:
    line: list[_Value] = []
    for night, one in enumerate(reversed(row.outcomes)):
        if one and (found := value(one)):
            amount, words = found
            line.append((night, amount, words, not line or one.status == "built" or line[-1][1] != amount))
    return line


def _instructions(group: Sequence[Row]) -> _Lines:
    """Give how much more each model takes than at first, in percent."""
    nights = list(zip(*(tuple(reversed(row.outcomes)) for row in group), strict=True))
    models = {model for outcomes in nights for one in outcomes if one for model in one.instructions}
    lines: _Lines = {}
    for model in sorted(models):
        line: list[_Value] = []
        first = 0
        for night, outcomes in enumerate(nights):
            most = max(_counts(outcomes, model), default=0)
            if not most:
                continue
            first = first or most
            change = (most / first - 1) * 100
            words = f"{most:,} ({change:+.1f} %)".replace(",", _THIN).replace("-", _MINUS)
            built = any(one and one.status == "built" for one in outcomes)
            line.append((night, change, words, not line or built or line[-1][1] != change))
        lines[model] = line
    return lines


def _counts(outcomes: Iterable[Outcome | None], model: str) -> list[int]:
    return [one.instructions[model] for one in outcomes if one and one.status != "failed" and model in one.instructions]


def _time_scale(most: float) -> _Scale:
    if most >= 7200:
        return _Scale(unit="hours", worth=3600)
    return _Scale(unit="minutes", worth=60) if most >= 120 else _Scale(unit="seconds", worth=1)


def _size_scale(most: float) -> _Scale:
    return _Scale(unit="MB", worth=1e6) if most >= 1e6 else _Scale(unit="kB", worth=1e3)


def _percent_scale(_most: float) -> _Scale:
    return _Scale(unit="change in %", worth=1)
