"""The training set of SAGE, made from OpenR1-Math: 94k problems, 64k with a right trace, 15k drawn.

Source: docs/design/sage.md 1.1. What the paper leaves open is decided here and written into
recipe.json: the tokenizer that counts (`tokenizer`), which of several traces is taken (the first
right one that is short enough), the seed of the draw.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sage_bench.config.models import path_of
from sage_bench.data.problems import to_problem
from sage_bench.data.recipes import teacher
from sage_bench.data.recipes.columns import KINDS, Extra, read_extra
from sage_bench.data.recipes.source import SWITCH, Source, open_source
from sage_bench.data.recipes.verify import VerdictRow, Verifier, numbered, traces_of, verify
from sage_bench.data.schema import about
from sage_bench.generation.model_folders import load_tokenizer
from sage_bench.grading import cache
from sage_bench.grading.traces import TraceGrader
from sage_bench.types import Problem
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import locked, make_folder, to_trash, write_jsonl, writing
from sage_bench.utils.progress import Bar
from sage_bench.utils.rows import DataRow
from sage_bench.utils.seeds import derive_seed
from sage_bench.utils.typed_files import Document
from sage_bench.utils.versions import versions

NAME = "openr1-15k"
DATA, RECORD, QUARANTINE = "train.parquet", "recipe.json", "quarantine.jsonl"
WORK = "work"
PAPER = {
    "rows": "94k",
    "with problem, answer and trace": "not stated",
    "with a right trace": "64k",
    "of them with a short trace": "not stated",
    "drawn": "15k",
}


@dataclass(frozen=True)
class Teacher:
    """An endpoint that writes columns. writes: kinds of columns. agreed: the cost is accepted."""

    model: str
    options: Mapping[str, Any]
    writes: Sequence[str]
    agreed: bool = False


@dataclass(frozen=True)
class Recipe:
    """What to make. source: FILE or ORG/NAME. limit: first rows of the source only. size: of the
    draw. extra: kind of columns to the released set they are read from."""

    source: str
    out: Path
    limit: int | None = None
    size: int = 15_000
    seed: int = 0
    tokenizer: str = "Qwen/Qwen2.5-7B-Instruct"
    max_trace_tokens: int = 8192
    trace_column: str = "generations"
    grader: str | None = None
    digest: str | None = None
    accept_other_data: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)
    teacher: Teacher | None = None
    overwrite: bool = False

    @property
    def decides_verdicts(self) -> tuple[str, ...]:
        """The settings that verdicts already made depend on."""
        return ("tokenizer", "max_trace_tokens", "trace_column", "grader_version")


class RecipeRecord(Document):
    """recipe.json: what a training set was made of and how."""

    remedy = "run the same command in another --out"

    recipe: Annotated[str, about("name of the recipe")] = NAME
    source: Annotated[dict[str, Any], about("name, digest and revision of the source")]
    settings: Annotated[dict[str, Any], about("everything that decides the rows")]
    counts: Annotated[dict[str, int], about("rows after each stage")] = Field(default_factory=dict)
    set_aside: Annotated[dict[str, int], about("rows that were not used, by reason")] = Field(
        default_factory=dict
    )
    columns: Annotated[dict[str, Any], about("further columns: origin, rows that have them")] = (
        Field(default_factory=dict)
    )
    sha256: Annotated[str | None, about("of train.parquet")] = None
    limited: Annotated[int | None, about("first rows of the source only; null = all")] = None
    other_data: Annotated[bool, about("data that differ from their pin were accepted")] = False
    versions: Annotated[dict[str, str], about("versions of the packages")] = Field(
        default_factory=dict
    )


@dataclass(frozen=True)
class Made:
    """The result. record: recipe.json. file: the training set."""

    record: RecipeRecord
    file: Path


def make(recipe: Recipe, *, quiet: bool = False) -> Made:
    """Make the training set; the same command again goes on where it stopped.

    Raises `DataError` where the source differs from its pin or from what the folder began with, or
    no row is left, and `UsageError` for settings that do not fit those the folder began with, or a
    teacher whose cost nobody has agreed to.
    """
    tokenizer = load_tokenizer(path_of(recipe.tokenizer))
    source = open_source(recipe.source, digest=recipe.digest, accept_other=recipe.accept_other_data)
    make_folder(recipe.out)
    with locked(recipe.out):
        begun = RecipeRecord.read_or_none(recipe.out / WORK / RECORD)
        is_other = begun is not None and begun.source["digest"] != source.digest
        # verdicts on other rows are worth nothing here
        if recipe.overwrite or (is_other and recipe.accept_other_data):
            to_trash(recipe.out)
        record = _begin(recipe, source)
        verdicts = _verified(recipe, source, tokenizer, quiet)
        _count(record, verdicts)
        drawn = draw(verdicts, recipe.size, recipe.seed)
        if not drawn:
            raise DataError(
                f"no row is left: {record.counts}, set aside: {record.set_aside}",
                where=source.name,
                remedy=f"does `{recipe.trace_column}` hold the traces? --trace-column names it",
            )
        rows = _rows(recipe, source, verdicts, {v["row"] for v in drawn})
        record.counts["drawn"] = len(rows)
        for extra in _extras(recipe, rows, tokenizer, quiet):
            questions = [row["question"] for row in rows]
            kind = {**extra.origin, "rows": extra.count(questions)}
            record.columns[extra.kind] = kind
            for row in rows:
                row.update(extra.of(row["question"]))
        file = recipe.out / DATA
        record.sha256 = _write(rows, file)
        _set_aside(recipe, source, verdicts)
        record.write(recipe.out / RECORD)
    return Made(record, file)


# ---- before -------------------------------------------------------------------------------------
def _begin(recipe: Recipe, source: Source) -> RecipeRecord:
    """The record of this call, checked against what the folder began with."""
    name = recipe.grader
    version = cache.grader(name).version if name else TraceGrader().version
    settings = {
        key: value
        for key, value in asdict(recipe).items()
        if key in ("size", "seed", "tokenizer", "max_trace_tokens", "trace_column")
    }
    record = RecipeRecord(
        source=source.as_dict(),
        settings={**settings, "grader_version": version},
        limited=recipe.limit,
        other_data=recipe.accept_other_data,
        versions=versions(),
    )
    begun = RecipeRecord.read_or_none(recipe.out / WORK / RECORD)
    if begun is None:
        make_folder(recipe.out / WORK)
        record.write(recipe.out / WORK / RECORD)
        return record
    if begun.source["digest"] != source.digest:
        raise DataError(
            f"the folder began with other data: digest {begun.source['digest']} then,"
            f" {source.digest} now",
            where=source.name,
            remedy=f"fetch those data again, or `{SWITCH}` to begin anew with these (what is there"
            " goes to .trash)",
        )
    changed = [
        f"{key}: {begun.settings.get(key)} then, {record.settings[key]} now"
        for key in recipe.decides_verdicts
        if begun.settings.get(key) != record.settings[key]
    ]
    if changed:
        raise UsageError(
            f"the folder began with other settings ({'; '.join(changed)})",
            where=str(recipe.out),
            remedy="give those again, another --out, or --overwrite",
        )
    return record


def _verified(recipe: Recipe, source: Source, tokenizer: Any, quiet: bool) -> list[VerdictRow]:
    verifier = Verifier(recipe.trace_column, tokenizer, recipe.max_trace_tokens, recipe.grader)
    total = source.total or 0
    if recipe.limit is not None:
        total = min(total or recipe.limit, recipe.limit)
    with Bar(f"{NAME}: verify traces", total, quiet=quiet) as bar:
        found = verify(
            source, recipe.out / WORK / "verdicts.jsonl", verifier, recipe.limit, bar.set
        )
    return _once(found)


def _once(verdicts: Sequence[VerdictRow]) -> list[VerdictRow]:
    """Rows that repeat a name are set aside: hint levels and ledgers know problems by it."""
    seen: set[str] = set()
    for verdict in verdicts:
        if verdict["reason"]:
            continue
        if verdict["uid"] in seen:
            verdict["reason"] = "its uid occurs twice"
        seen.add(verdict["uid"])
    return list(verdicts)


def _count(record: RecipeRecord, verdicts: Sequence[VerdictRow]) -> None:
    usable = [v for v in verdicts if not v["reason"]]
    right = [v for v in usable if v["right"]]
    record.counts = {
        "rows": len(verdicts),
        "with problem, answer and trace": len(usable),
        "with a right trace": len(right),
        "of them with a short trace": sum(v["trace"] is not None for v in right),
    }
    for verdict in verdicts:
        if verdict["reason"]:
            before = record.set_aside.get(verdict["reason"], 0)
            record.set_aside[verdict["reason"]] = before + 1


# ---- the draw -----------------------------------------------------------------------------------
def draw(verdicts: Sequence[VerdictRow], size: int, seed: int) -> list[VerdictRow]:
    """A random subset of the rows with a short right trace, in the order of the source; all of them
    where there are not more than `size`."""
    short = [v for v in verdicts if not v["reason"] and v["trace"] is not None]
    if len(short) <= size:
        return short
    chosen = random.Random(derive_seed(seed, NAME)).sample(range(len(short)), size)
    return [short[i] for i in sorted(chosen)]


def _rows(
    recipe: Recipe, source: Source, verdicts: Sequence[VerdictRow], chosen: set[int]
) -> list[dict[str, Any]]:
    """The rows of the training set, in the order of the source."""
    by_row = {v["row"]: v for v in verdicts}
    rows = []
    for number, row in numbered(source, recipe.limit):
        if number in chosen and isinstance(row, DataRow):
            rows.append(_row(row, by_row[number], recipe.trace_column))
    return rows


def _row(row: DataRow, verdict: VerdictRow, column: str) -> dict[str, Any]:
    problem = to_problem(row.values, {})
    number = verdict["trace"]
    traces = traces_of(row.values, column)
    return {
        "uid": problem.uid,
        "question": problem.question,
        "answer": problem.answer,
        "solution": problem.solution,
        "trace": None if number is None else traces[number],
        "trace_tokens": verdict["tokens"],
        "source": row.values.get("source"),
        "place": row.where,
    }


# ---- further columns ----------------------------------------------------------------------------
def _extras(
    recipe: Recipe, rows: Sequence[Mapping[str, Any]], tokenizer: Any, quiet: bool
) -> list[Extra]:
    found = []
    for kind, place in recipe.extra.items():
        opened = open_source(place, accept_other=recipe.accept_other_data)
        found.append(read_extra(kind, opened))
    if recipe.teacher is not None:
        problems = [Problem(r["uid"], r["question"], r["solution"], r["answer"], {}) for r in rows]
        for kind in recipe.teacher.writes:
            found.append(_taught(recipe, recipe.teacher, kind, problems, tokenizer, quiet))
    return found


def _taught(
    recipe: Recipe,
    who: Teacher,
    kind: str,
    problems: Sequence[Problem],
    tokenizer: Any,
    quiet: bool,
) -> Extra:
    first, second = who.options.get("prices", (0.0, 0.0))

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    costs = teacher.cost(kind, problems, count, (first, second))
    if not who.agreed:
        raise UsageError(
            f"asking {who.model} for {kind} ({KINDS[kind].about}) means {costs}",
            where="--teacher",
            remedy="the same command with --yes asks it",
        )
    with Bar(f"{NAME}: {kind} by {who.model}", len(problems), quiet=quiet) as bar:
        extra, failures = teacher.write(
            kind, problems, who.model, who.options, recipe.out / WORK, bar.set
        )
    extra.origin = {**extra.origin, "at_most": costs.money, "failures": failures}
    return extra


# ---- files --------------------------------------------------------------------------------------
def _write(rows: Sequence[Mapping[str, Any]], file: Path) -> str:
    """Write the set and return its SHA-256."""
    import datasets

    partial = file.with_name(f".{file.name}.partial")
    with writing(file):
        datasets.Dataset.from_list([dict(row) for row in rows]).to_parquet(partial)
        partial.replace(file)
        with file.open("rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest()


def _set_aside(recipe: Recipe, source: Source, verdicts: Sequence[VerdictRow]) -> None:
    reasons = {v["row"]: v["reason"] for v in verdicts if v["reason"]}
    rows = []
    for number, row in numbered(source, recipe.limit):
        if number in reasons:
            kept = row.values if isinstance(row, DataRow) else row.row
            rows.append({"place": row.where, "reason": reasons[number], "row": str(kept)[:500]})
    if rows:
        write_jsonl(recipe.out / QUARANTINE, rows)
    else:
        (recipe.out / QUARANTINE).unlink(missing_ok=True)
