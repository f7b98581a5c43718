"""Rows of any source become `Problem`s; bad rows are set aside with their reason, never dropped
silently."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sage_bench.config.schema import DataConfig
from sage_bench.data.registry import DATASETS
from sage_bench.types import Problem
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.seeds import derive_seed

FILES = (".jsonl", ".json", ".parquet", ".csv")
ALIASES = {
    "question": ("question", "problem", "prompt"),
    "answer": ("answer", "gold", "gt", "final_answer"),
    "uid": ("uid", "id", "unique_id", "uuid"),
}

Rows = Iterable[
    tuple[str, Mapping[str, Any] | str]
]  # (place, row), or (place, reason) when a row cannot even be read
Source = Callable[[], Iterable[Mapping[str, Any]]]  # what `@register_dataset` decorates


class GoldCheck(Protocol):
    def gold_error(self, gold: str) -> str | None: ...


@dataclass
class Loaded:
    """problems, and the rows that were set aside: {"place", "reason", "row"}."""

    problems: list[Problem]
    quarantine: list[dict[str, Any]] = field(default_factory=list)

    def write_quarantine(self, file: Path) -> None:
        if self.quarantine:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                "".join(
                    json.dumps(q, ensure_ascii=False, default=str) + "\n" for q in self.quarantine
                ),
                encoding="utf-8",
            )

    def reasons(self) -> dict[str, int]:
        out: dict[str, int] = {}
        for q in self.quarantine:
            out[q["reason"]] = out.get(q["reason"], 0) + 1
        return out


def is_file(source: str) -> bool:
    return source.endswith(FILES) or ("/" in source and source not in DATASETS)


def check_source(source: str) -> None:
    """Raise `UsageError` when there is no such dataset or file."""
    if not is_file(source):
        DATASETS.get(source)
    elif not Path(source).is_file():
        raise UsageError(
            "no such data file",
            where=source,
            remedy=f"give a {', '.join(FILES)} file or one of: {', '.join(DATASETS.names())}",
        )
    elif Path(source).suffix not in FILES:
        raise UsageError(
            f"`{Path(source).suffix}` files are not read",
            where=source,
            remedy=f"give one of {', '.join(FILES)}",
        )


def read_rows(source: str) -> Rows:
    """Rows of a registered dataset or a file. Raises `UsageError` or `DataError` when it cannot be
    read."""
    check_source(source)
    if not is_file(source):
        for i, row in enumerate(DATASETS.get(source)()):
            yield f"{source}:{i}", row
        return
    path = Path(source)
    if path.suffix == ".jsonl":
        yield from _jsonl(path)
        return
    import pandas as pd

    readers = {
        ".parquet": pd.read_parquet,
        ".csv": lambda p: pd.read_csv(p, dtype=str, keep_default_na=False),
        ".json": lambda p: pd.DataFrame(json.loads(Path(p).read_text())),
    }
    try:
        frame = readers[path.suffix](path)
    # pandas, pyarrow and json each raise their own types; the file is what matters to the user
    except Exception as error:
        raise DataError(
            f"cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}", where=source
        ) from error
    for i, row in enumerate(frame.to_dict("records")):
        yield f"{path.name}:{i + 1}", row


def _jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                yield f"{path.name}:{number}", f"not JSON ({error.msg})"
                continue
            yield f"{path.name}:{number}", row if isinstance(row, dict) else "not a JSON object"


def to_problem(row: Mapping[str, Any], columns: Mapping[str, str]) -> Problem:
    """One row as a `Problem`. Raises `ValueError` with the reason when a field is missing or empty.

    >>> to_problem({"problem": " 1+1 ", "answer": 2, "id": 7}, {})
    Problem(uid='7', question='1+1', solution=None, answer='2', extra={})
    """
    used: set[str] = set()

    def take(name: str) -> Any:
        for key in (columns[name],) if name in columns else ALIASES.get(name, (name,)):
            if row.get(key) is not None:
                used.add(key)
                return row[key]
        return None

    question, answer, solution, uid = (
        take("question"),
        take("answer"),
        take("solution"),
        take("uid"),
    )
    if not isinstance(question, str) or not question.strip():
        raise ValueError("no question")
    if answer is None or isinstance(answer, (dict, list)) or not str(answer).strip():
        raise ValueError("no answer")
    text = str(solution).strip() if solution is not None and str(solution).strip() else None
    extra = {k: v for k, v in row.items() if k not in used}
    name = str(uid) if uid is not None else f"q{derive_seed(question.strip()) % 16**10:010x}"
    return Problem(name, question.strip(), text, str(answer).strip(), extra)


def load_problems(
    config: DataConfig,
    grader: GoldCheck,
    prompt_tokens: Callable[[Problem], int],
    max_prompt_tokens: int,
) -> Loaded:
    """Read, check and convert all rows of `config.source`.

    Set aside: rows that cannot be read, lack a question or an answer, repeat a uid, have a gold the
    grader cannot use, or whose prompt is longer than the limit. Raises `DataError` when nothing is
    left.
    """
    loaded = Loaded([])
    seen: set[str] = set()
    for place, row in read_rows(config.source):
        if config.limit is not None and len(loaded.problems) >= config.limit:
            break
        reason: str | None = row if isinstance(row, str) else None
        if reason is None:
            try:
                problem = to_problem(row, config.columns)  # type: ignore[arg-type]
            except ValueError as error:
                reason = str(error)
            else:
                reason = (
                    "its uid occurs twice"
                    if problem.uid in seen
                    else grader.gold_error(problem.answer)
                )
                if reason is None and prompt_tokens(problem) > max_prompt_tokens:
                    reason = "its prompt is over the limit of tokens"
        if reason is not None:
            loaded.quarantine.append({"place": place, "reason": reason, "row": row})
            continue
        seen.add(problem.uid)
        loaded.problems.append(problem)
    if not loaded.problems:
        reasons = ", ".join(f"{n} x {r}" for r, n in loaded.reasons().items()) or "no rows"
        raise DataError(
            f"no usable row ({reasons})",
            where=config.source,
            remedy=(
                "rows need `question` (or `problem`) and `answer`; map other names with"
                " data.columns"
            ),
        )
    return loaded
