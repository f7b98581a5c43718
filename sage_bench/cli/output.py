"""Results on stdout, as a table for people or JSON for programs; nothing is cut to a width."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def emit(as_json: bool, value: Any, text: str | Callable[[], str]) -> None:
    """Print a result: `value` as JSON, or `text` (made only when it is wanted).

    Text is printed whole, whatever the width of the terminal or the pipe.
    """
    if as_json:
        print(json.dumps(plain(value), indent=1, ensure_ascii=False))
        return
    shown = text if isinstance(text, str) else text()
    print(shown.rstrip("\n"))


def plain(value: Any) -> Any:
    """A value as JSON has it: no NaN, no infinity, everything unknown as text.

    >>> plain({"p": float("nan"), "run": ("a", 1)})
    {'p': None, 'run': ['a', 1]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "item"):  # a number of numpy
        return plain(value.item())
    return str(value)


def table_text(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, right: int | None = None
) -> str:
    """Aligned text; it reads the same on a terminal, in a file and in a pipe.

    right: columns from this one on are aligned to the right.

    >>> print(table_text(("task", "n"), [("tiny", 4), ("b", None)], right=1))
    task  n
    ----  -
    tiny  4
    b
    """
    cells = [["" if c is None else str(c) for c in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(_line(row, widths, right) for row in cells)


def _line(row: Sequence[str], widths: Sequence[int], right: int | None) -> str:
    parts = []
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        to_the_right = right is not None and i >= right
        parts.append(cell.rjust(width) if to_the_right else cell.ljust(width))
    return "  ".join(parts).rstrip()
