"""The slow stage of a recipe: which rows have a right trace, and how long it is.

One line a source row is appended to a file, chunk by chunk. A run that was killed goes on after the
last whole line; since a verdict hangs on its row alone, the file ends up the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from sage_bench.data.problems import to_problem
from sage_bench.data.recipes.source import Source
from sage_bench.data.schema import about
from sage_bench.grading.cache import grade
from sage_bench.grading.traces import TraceGrader
from sage_bench.types import Problem
from sage_bench.utils.files import Appender
from sage_bench.utils.rows import DataRow, RejectedRow
from sage_bench.utils.typed_files import RowFormat

CHUNK = 64  # rows that are graded together; a kill loses at most this many


class Tokenizer(Protocol):
    """The part of a tokenizer that counts."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]: ...


@with_config(ConfigDict(extra="allow", strict=True))
class VerdictRow(TypedDict):
    """What was found about one row of the source (work/verdicts.jsonl)."""

    row: Annotated[int, about("its place among the rows, from 0")]
    uid: Annotated[str, about("its name; empty where it has no problem")]
    reason: Annotated[str, about("why it is set aside; empty where it is used")]
    traces: Annotated[int, about("traces it has")]
    right: Annotated[int, about("of them, those that Math-Verify calls right")]
    timeouts: Annotated[int, about("traces whose comparison did not end")]
    trace: Annotated[int | None, about("number of the trace that is used, null = none fits")]
    tokens: Annotated[int | None, about("its tokens, or those of the shortest right one")]


VERDICTS = RowFormat(VerdictRow, "remove the line and run the same command again")


@dataclass(frozen=True)
class Verifier:
    """How a row is judged. column: of the traces. grader: a registered one, or None for the
    recipe's own (`TraceGrader`)."""

    column: str
    tokenizer: Tokenizer
    max_tokens: int
    grader: str | None = None

    def judge(self, rows: Sequence[tuple[int, DataRow | RejectedRow]]) -> list[VerdictRow]:
        """Verdicts on numbered rows; all their traces are compared together."""
        found: list[VerdictRow] = []
        read: list[tuple[VerdictRow, Problem, list[str]]] = []
        for number, row in rows:
            verdict, problem, traces = self._read(number, row)
            found.append(verdict)
            if problem is not None:
                read.append((verdict, problem, traces))
        pairs = [(problem.answer, trace) for _, problem, traces in read for trace in traces]
        replies = iter(self._grades(pairs))
        for verdict, _, traces in read:
            self._settle(verdict, traces, list(islice(replies, len(traces))))
        return found

    def _read(
        self, number: int, row: DataRow | RejectedRow
    ) -> tuple[VerdictRow, Problem | None, list[str]]:
        verdict: VerdictRow = {
            "row": number,
            "uid": "",
            "reason": "",
            "traces": 0,
            "right": 0,
            "timeouts": 0,
            "trace": None,
            "tokens": None,
        }
        if isinstance(row, RejectedRow):
            verdict["reason"] = row.reason
            return verdict, None, []
        try:
            problem = to_problem(row.values, {})
        except ValueError as error:
            verdict["reason"] = str(error)
            return verdict, None, []
        traces = traces_of(row.values, self.column)
        verdict["uid"] = problem.uid
        verdict["traces"] = len(traces)
        if not traces:
            verdict["reason"] = f"no trace in `{self.column}`"
        return verdict, problem, traces

    def _grades(self, pairs: list[tuple[str, str]]) -> list[tuple[bool, bool]]:
        """(right, timed out) of each (gold, trace)."""
        if self.grader is None:
            verdicts = TraceGrader().grade_many(pairs)
        else:
            verdicts = [grade(gold, [trace], self.grader)[0] for gold, trace in pairs]
        return [(v.correct, v.status == "timeout") for v in verdicts]

    def _settle(
        self, verdict: VerdictRow, traces: list[str], replies: list[tuple[bool, bool]]
    ) -> None:
        """The first right trace that is short enough is the one that is used."""
        right = [i for i, (correct, _) in enumerate(replies) if correct]
        verdict["right"] = len(right)
        verdict["timeouts"] = sum(late for _, late in replies)
        lengths: list[int] = []
        for number in right:
            tokens = self.tokenizer.encode(traces[number], add_special_tokens=False)
            lengths.append(len(tokens))
            if len(tokens) < self.max_tokens:
                verdict["trace"] = number
                verdict["tokens"] = len(tokens)
                return
        verdict["tokens"] = min(lengths, default=None)


def traces_of(row: Mapping[str, Any], column: str) -> list[str]:
    """The traces of a row: a list of texts, or one text.

    >>> traces_of({"generations": ["a", "", None]}, "generations"), traces_of({"s": "b"}, "s")
    (['a'], ['b'])
    """
    value = row.get(column)
    if isinstance(value, str):
        value = [value]
    texts = value if isinstance(value, list) else []
    return [text for text in texts if isinstance(text, str) and text.strip()]


def numbered(source: Source, limit: int | None) -> Iterator[tuple[int, DataRow | RejectedRow]]:
    """The first `limit` rows of a source with their places."""
    return enumerate(islice(source.rows(), limit))


def verify(
    source: Source,
    file: Path,
    verifier: Verifier,
    limit: int | None,
    tell: Callable[[int], None] = lambda done: None,
) -> list[VerdictRow]:
    """Judge what is not in `file` yet; the verdicts on all rows, in order.

    tell(done) counts rows.
    """
    known = {row["row"]: row for row in VERDICTS.read(file)}
    appender = Appender(file)
    try:
        todo = (item for item in numbered(source, limit) if item[0] not in known)
        done = len(known)
        while chunk := list(islice(todo, CHUNK)):
            verdicts = verifier.judge(chunk)
            VERDICTS.append(appender, verdicts)
            known |= {row["row"]: row for row in verdicts}
            done += len(chunk)
            tell(done)
        appender.sync()
    finally:
        appender.close()
    return [known[number] for number in sorted(known) if limit is None or number < limit]
