"""Rows of the data files that lie beside the tests."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any


def rows_of(name: str) -> list[tuple[Any, ...]]:
    """The rows of a JSONL file beside the test that calls, as tuples in the order of the fields."""
    beside = Path(inspect.stack()[1].filename).parent
    lines = (beside / name).read_text(encoding="utf-8").splitlines()
    return [tuple(json.loads(line).values()) for line in lines]
