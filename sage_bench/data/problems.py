"""Rows of any source become `Problem`s; rows that cannot be used are set aside with their reason,
never dropped silently."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sage_bench.config.schema import DataConfig
from sage_bench.data.rows import RejectedRow, read_source
from sage_bench.types import Problem
from sage_bench.utils import rows
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import write_text
from sage_bench.utils.seeds import derive_seed

ALIASES = {
    "question": ("question", "problem", "prompt"),
    "answer": ("answer", "gold", "gt", "final_answer"),
    "uid": ("uid", "id", "unique_id", "uuid"),
}

Source = Callable[[], Iterable[Mapping[str, Any]]]  # what `@register_dataset` decorates


class GoldCheck(Protocol):
    """The part of a grader that says whether it can use a gold."""

    def gold_error(self, gold: str) -> str | None: ...


@dataclass
class Loaded:
    """Problems, and the rows that were set aside."""

    problems: list[Problem]
    quarantine: list[RejectedRow] = field(default_factory=list)

    def write_quarantine(self, file: Path) -> None:
        """One JSON line a row that was set aside: place, reason, row. No file without such rows."""
        if not self.quarantine:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(q.as_dict(), ensure_ascii=False, default=str) for q in self.quarantine)
        write_text(file, "".join(f"{line}\n" for line in lines))

    def reasons(self) -> dict[str, int]:
        """How many rows were set aside for each reason."""
        return rows.reasons(self.quarantine)


def to_problem(row: Mapping[str, Any], columns: Mapping[str, str]) -> Problem:
    """One row as a `Problem`. Raises `ValueError` with the reason when a field is missing or empty.

    columns: our names to those of the data, where they are none of the usual ones.

    >>> to_problem({"problem": " 1+1 ", "answer": 2, "id": 7}, {})
    Problem(uid='7', question='1+1', solution=None, answer='2', extra={})
    """
    used: set[str] = set()

    def take(name: str) -> Any:
        keys = (columns[name],) if name in columns else ALIASES.get(name, (name,))
        for key in keys:
            if row.get(key) is not None:
                used.add(key)
                return row[key]
        return None

    question = take("question")
    answer = take("answer")
    solution = take("solution")
    uid = take("uid")
    if not isinstance(question, str) or not question.strip():
        raise ValueError("no question")
    if answer is None or isinstance(answer, dict | list) or not str(answer).strip():
        raise ValueError("no answer")
    question = question.strip()
    text = "" if solution is None else str(solution).strip()
    extra = {k: v for k, v in row.items() if k not in used}
    # a row without an id is named by its question, so that its seeds do not hang on its place
    name = f"q{derive_seed(question) % 16**10:010x}" if uid is None else str(uid)
    return Problem(name, question, text or None, str(answer).strip(), extra)


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

    def fault(problem: Problem) -> str | None:
        if problem.uid in seen:
            return "its uid occurs twice"
        if (unusable := grader.gold_error(problem.answer)) is not None:
            return unusable
        if prompt_tokens(problem) > max_prompt_tokens:
            return "its prompt is over the limit of tokens"
        return None

    for row in read_source(config.source):
        if config.limit is not None and len(loaded.problems) >= config.limit:
            break
        if isinstance(row, RejectedRow):
            loaded.quarantine.append(row)
            continue
        try:
            problem = to_problem(row.values, config.columns)
        except ValueError as error:
            loaded.quarantine.append(RejectedRow(row.where, str(error), row.values))
            continue
        if reason := fault(problem):
            loaded.quarantine.append(RejectedRow(row.where, reason, row.values))
            continue
        seen.add(problem.uid)
        loaded.problems.append(problem)
    if not loaded.problems:
        raise DataError(
            f"no usable row ({rows.summary(loaded.quarantine) or 'no rows'})",
            where=config.source,
            remedy=_remedy(loaded),
        )
    return loaded


def _remedy(loaded: Loaded) -> str:
    """What helps where no row can be used."""
    if loaded.quarantine and all("not UTF-8" in row.reason for row in loaded.quarantine):
        return "save the file as UTF-8, e.g. iconv -f latin1 -t utf-8 FILE > NEW"
    return "rows need `question` (or `problem`) and `answer`; map other names with data.columns"
