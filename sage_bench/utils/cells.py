"""Text that was written by others, made safe to stand in a table.

A label, a model's name or a question may hold anything: bars and line breaks that forge rows of a
Markdown table, HTML, escape sequences of a terminal, formulas of a spreadsheet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b."
)
# controls, and the marks that turn the direction of text; line breaks are treated apart
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_BREAKS = re.compile(r"[\r\n\t\u2028\u2029\x85]+")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def one_line(text: object) -> str:
    """A text on one line, without escape sequences and control characters.

    >>> one_line("a\\x1b[31mred\\nb\\u202e")
    'ared b'
    """
    found = _ESCAPES.sub("", str(text))
    return _CONTROLS.sub("", _BREAKS.sub(" ", found)).strip()


def printable(text: object) -> str:
    """A text of any number of lines that does nothing to a terminal but show itself.

    >>> printable("a\\x1b[2Jb\\r\\nc\\u202e")
    'ab\\nc'
    """
    found = _ESCAPES.sub("", str(text)).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", found)


def markdown_cell(text: object) -> str:
    """A cell of a Markdown table: no rows, no columns and no HTML of its own.

    >>> markdown_cell("a | b\\n| 99 | <b>x</b>")
    'a \\\\| b \\\\| 99 \\\\| &lt;b>x&lt;/b>'
    """
    return markdown_note(text).replace("\\|", "|").replace("|", "\\|")


def markdown_note(text: object) -> str:
    """A line of text below a table: no line breaks and no HTML of its own."""
    return _TAG.sub("&lt;", one_line(text))


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: a text that a spreadsheet would run as a formula begins with a quote.

    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell(-0.5), csv_cell("grpo")
    ("'=1+1", '-0.5', -0.5, 'grpo')
    """
    if not isinstance(value, str):
        return value
    text = _ESCAPES.sub("", value)
    risky = text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA)
    return f"'{text}" if risky and not _NUMBER.fullmatch(text) else text


def csv_text(table: pd.DataFrame, *, index: bool = False) -> str:
    """A data frame as CSV with safe cells and column names; the one writer of our CSV files."""
    safe = table.rename(columns={name: csv_cell(name) for name in table.columns})
    for name in safe.select_dtypes(exclude=["number", "bool"]).columns:
        safe[name] = safe[name].map(csv_cell)
    return str(safe.to_csv(index=index))
