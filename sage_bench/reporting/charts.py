"""Charts as data: what is drawn, without how it looks. The page draws them (`page/static`).

Numbers are rounded to what a reader can see, and no axis is stretched until rounding looks like a
signal: a value of 0.99999999994 in every step is a flat line at 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np

Number = float | None
DIGITS = 6  # significant ones that are kept
LEAST_SPAN = 1e-3  # of an axis of numbers: float32 leaves errors of 1e-7
LEAST_SHARE = 0.02  # of an axis, relative to its largest number
Kind = Literal["line", "bars", "points", "intervals"]


@dataclass(frozen=True, slots=True)
class Series:
    """One line (or set of points or bars) of a chart.

    low, high: ends of its band or error bar, empty where it has none. labels: of each point.
    about: what the line is made of.
    """

    name: str
    x: Sequence[Any]
    y: Sequence[Number]
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()
    labels: Sequence[str] = ()
    about: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its axes. y_range: None lets it follow the numbers. front: points no other one
    beats, to be joined."""

    title: str
    caption: str
    x: str
    y: str
    series: Sequence[Series]
    kind: Kind = "line"
    y_range: tuple[float, float] | None = None
    log_x: bool = False
    front: Sequence[tuple[float, float]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """Charts of which the reader picks one, by the names of what differs (a benchmark, say)."""

    title: str
    caption: str
    charts: Mapping[str, Chart]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def rounded(value: Any) -> Number:
    """A number as a chart shows it; None where there is none.

    >>> rounded(0.99999999994), rounded(float("nan")), rounded(1234567.0), rounded(None)
    (1.0, None, 1234570.0, None)
    """
    if value is None or not isfinite(value):
        return None
    return float(f"{float(value):.{DIGITS}g}")


def rounded_all(values: Iterable[Any]) -> list[Number]:
    """`rounded` of each."""
    return [rounded(v) for v in values]


def value_range(values: Iterable[Number]) -> tuple[float, float] | None:
    """Ends of a y axis that shows these numbers, with some air around them.

    At least `LEAST_SPAN` and `LEAST_SHARE` of the largest number high; from 0 where all numbers
    have one sign and come near it. None without numbers.

    >>> value_range([1.0, 1.0]), value_range([0.2, 0.7]), value_range([1e-9, -1e-9])
    ((0.98, 1.02), (0.0, 0.735), (-0.001, 0.001))
    """
    known = [v for v in values if v is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    largest = max(abs(low), abs(high))
    least = max(LEAST_SPAN, LEAST_SHARE * largest)
    if high - low < least:
        middle = 0.0 if largest < least / 2 else rounded(0.5 * (low + high)) or 0.0
        return _tidy(middle - least), _tidy(middle + least)
    air = 0.05 * (high - low)
    if 0 <= low < 0.5 * high:
        return 0.0, _tidy(high + 0.05 * high)
    if 0 >= high > 0.5 * low:
        return _tidy(low + 0.05 * low), 0.0
    return _tidy(low - air), _tidy(high + air)


def _tidy(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def range_of(series: Sequence[Series]) -> tuple[float, float] | None:
    """`value_range` of all numbers of some series, bands included."""
    return value_range(v for s in series for part in (s.y, s.low, s.high) for v in part)


def middle_and_ends(
    values: Sequence[Sequence[Number]],
) -> tuple[list[Number], list[Number], list[Number]]:
    """Median, least and largest of several runs at each place, of those that have a number there.

    >>> middle_and_ends([[1.0, None], [3.0, None], [2.0, 5.0]])
    ([2.0, 5.0], [1.0, 5.0], [3.0, 5.0])
    """
    table = np.array([[np.nan if v is None else v for v in row] for row in values], dtype=float)
    known = ~np.isnan(table).all(axis=0)
    middle, low, high = (np.full(table.shape[1], np.nan) for _ in range(3))
    middle[known] = np.nanmedian(table[:, known], axis=0)
    low[known] = np.nanmin(table[:, known], axis=0)
    high[known] = np.nanmax(table[:, known], axis=0)
    return rounded_all(middle), rounded_all(low), rounded_all(high)
