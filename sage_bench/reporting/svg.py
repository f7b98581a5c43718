"""Charts as static SVG: grouped bars and lines, each with the range over training seeds.

For README and papers, where plotly's pages do not show. A value is a median with the lowest and the
highest of its seeds.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10

COLOURS = (
    "#4269d0",
    "#ff725c",
    "#3ca951",
    "#a463f2",
    "#efb118",
    "#6cc5b0",
    "#9c6b4e",
    "#97bbf5",
    "#ff8ab7",
    "#9498a0",
    "#1f4e5f",
    "#b5651d",
)
WIDTH = 900
HEIGHT = 360
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 84, 64
LETTER = 7  # width, in pixels
INK = "#222222"
GRID = "#dddddd"


@dataclass(frozen=True, slots=True)
class Span:
    """A median and the range around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Bars:
    """A bar of each series in each category. lines: values drawn across the whole chart."""

    title: str
    y_title: str
    categories: Sequence[str]
    series: Mapping[str, Mapping[str, Span]]
    lines: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """A line of each series over x, with a band from the lowest to the highest seed."""

    title: str
    x_title: str
    y_title: str
    series: Mapping[str, Mapping[float, Span]]


def bars_svg(chart: Bars) -> str:
    """Grouped bars, the median written above each where there is room."""
    spans = [span for row in chart.series.values() for span in row.values()]
    axis = _Axis.of([0.0, *(s.high for s in spans), *(s.low for s in spans), *chart.lines.values()])
    parts = [_frame(chart.title, chart.y_title, axis), _legend(list(chart.series), chart.lines)]
    group = (WIDTH - LEFT - RIGHT) / max(1, len(chart.categories))
    bar = 0.84 * group / max(1, len(chart.series))
    for i, category in enumerate(chart.categories):
        start = LEFT + (i + 0.08) * group
        for j, (name, row) in enumerate(chart.series.items()):
            if category in row:
                colour = _colour(j)
                tip = f"{name}, {category}"
                parts.append(_bar(start + j * bar, bar, row[category], axis, colour, tip))
        middle = LEFT + (i + 0.5) * group
        parts.append(_category(middle, category, group))
    for k, (name, value) in enumerate(chart.lines.items()):
        parts.append(_across(axis.y(value), _colour(len(chart.series) + k), name))
    return _page(parts)


def lines_svg(chart: Lines) -> str:
    """Lines with bands."""
    points = [(x, span) for row in chart.series.values() for x, span in row.items()]
    axis = _Axis.of([0.0, *(s.high for _, s in points)])
    first = min((x for x, _ in points), default=0.0)
    last = max((x for x, _ in points), default=1.0)
    wide = (WIDTH - LEFT - RIGHT) / max(last - first, 1e-9)

    def place(x: float) -> float:
        return LEFT + (x - first) * wide

    parts = [_frame(chart.title, chart.y_title, axis), _legend(list(chart.series), {})]
    for j, (name, row) in enumerate(chart.series.items()):
        parts.append(_line(name, row, place, axis, _colour(j)))
    for x in _Axis.of([first, last]).ticks:
        if first <= x <= last:
            parts.append(_text(place(x), HEIGHT - BOTTOM + 18, _number(x), anchor="middle"))
    parts.append(_text(WIDTH / 2, HEIGHT - 10, chart.x_title, anchor="middle"))
    return _page(parts)


# ---- parts --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Axis:
    """Round numbers that hold all values. ticks: ascending."""

    ticks: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> _Axis:
        low, high = min(values), max(values)
        rough = max(high - low, 1e-6) / 5
        power: float = 10.0 ** floor(log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first, last = floor(low / step), ceil(high / step)
        return cls(tuple(step * i for i in range(first, max(last, first + 1) + 1)))

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _frame(title: str, y_title: str, axis: _Axis) -> str:
    """Title, grid and the numbers of the y axis."""
    parts = [_text(LEFT, 20, title, size=15, weight="bold"), _text(LEFT, 38, y_title)]
    for tick in axis.ticks:
        y = axis.y(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 6, y + 4, _number(tick), anchor="end"))
    return "\n".join(parts)


def _legend(names: Sequence[str], lines: Mapping[str, float]) -> str:
    """Names with their colours, in as many rows as they need; `lines` are drawn across."""
    parts = []
    x, y = float(LEFT), 46
    for i, name in enumerate([*names, *lines]):
        wide = 26 + LETTER * len(name)
        if x > LEFT and x + wide > WIDTH:
            x, y = float(LEFT), y + 16
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="10" height="10" fill="{_colour(i)}"/>')
        parts.append(_text(x + 14, y + 9, name))
        x += wide
    return "\n".join(parts)


def _bar(x: float, width: float, span: Span, axis: _Axis, colour: str, tip: str) -> str:
    zero, top = axis.y(0.0), axis.y(span.median)
    high, low = axis.y(span.high), axis.y(span.low)
    middle = x + width / 2
    shape = (
        f'<rect x="{x:.1f}" y="{min(zero, top):.1f}" width="{0.9 * width:.1f}"'
        f' height="{abs(zero - top):.1f}" fill="{colour}">'
        f"<title>{_clean(tip)}: {_number(span.median)}"
        f" ({_number(span.low)} to {_number(span.high)})</title></rect>"
    )
    whisker = f'<path d="M{middle:.1f} {low:.1f}V{high:.1f}" stroke="{INK}"/>'
    if width < 24:
        return shape + whisker
    return (
        shape + whisker + _text(middle, min(top, high) - 4, _number(span.median), anchor="middle")
    )


def _category(x: float, name: str, room: float) -> str:
    """The name of a category below its bars, in as many lines as it needs."""
    lines = textwrap.wrap(name, max(6, int(room / LETTER)), break_long_words=False)
    at = HEIGHT - BOTTOM + 16
    return "".join(_text(x, at + 13 * i, line, anchor="middle") for i, line in enumerate(lines))


def _across(y: float, colour: str, name: str) -> str:
    return (
        f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{colour}" stroke-dasharray="6 4"'
        f' stroke-width="2"><title>{_clean(name)}</title></path>'
    )


def _line(
    name: str,
    row: Mapping[float, Span],
    place: Callable[[float], float],
    axis: _Axis,
    colour: str,
) -> str:
    xs = sorted(row)
    above = [f"{place(x):.1f} {axis.y(row[x].high):.1f}" for x in xs]
    below = [f"{place(x):.1f} {axis.y(row[x].low):.1f}" for x in reversed(xs)]
    middle = [f"{place(x):.1f} {axis.y(row[x].median):.1f}" for x in xs]
    return (
        f'<path d="M{"L".join([*above, *below])}Z" fill="{colour}" fill-opacity="0.15"/>\n'
        f'<path d="M{"L".join(middle)}" fill="none" stroke="{colour}" stroke-width="2">'
        f"<title>{_clean(name)}</title></path>"
    )


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}"'
        f' text-anchor="{anchor}" fill="{INK}">{_clean(text)}</text>'
    )


def _page(parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _clean(text: str) -> str:
    return html.escape("".join(c for c in text if c.isprintable()))


def _number(value: float) -> str:
    """Three digits at most.

    >>> [_number(x) for x in (40, 2.345, 0.05, 12.5)]
    ['40', '2.3', '0.05', '12.5']
    """
    if value == 0 or abs(value) >= 1:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2g}"
