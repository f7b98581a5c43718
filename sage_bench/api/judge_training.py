"""Teaching a judge from labelled steps: rows, fine-tuning, and its figures before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml

from sage_bench.api.measuring import measure_judge
from sage_bench.api.settings import context_of, training_config
from sage_bench.api.training import run_training
from sage_bench.config.layers import Resolved
from sage_bench.config.schema import RunConfig
from sage_bench.data.rows import RejectedRow
from sage_bench.generation.model_folders import model_path
from sage_bench.judges.base import JUDGE_SYSTEM
from sage_bench.judges.labelled import Labelled, Rows, read_labelled
from sage_bench.judges.report import correlation, percent
from sage_bench.judges.teaching import (
    SPARE_TOKENS,
    Lessons,
    Shown,
    lessons,
    split,
    without_questions,
)
from sage_bench.judges.trained import MAX_TOKENS, TrainedJudge
from sage_bench.utils import rows as data_rows
from sage_bench.utils.cells import markdown_cell
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import make_folder, write_json, write_jsonl, write_text
from sage_bench.utils.progress import stderr

EPOCHS = 3  # passes over the labelled steps, where nobody says train.steps or train.epochs


@dataclass(frozen=True)
class JudgeFiles:
    """Where things lie in the folder of a judge."""

    folder: Path

    @property
    def rows(self) -> Path:
        return self.folder / "data" / "train.jsonl"

    @property
    def held_out(self) -> Path:
        return self.folder / "data" / "held_out.jsonl"

    @property
    def prompts(self) -> Path:
        return self.folder / "data" / "prompts.yaml"

    @property
    def settings(self) -> Path:
        """Keys of `train` that follow from the rows; a --config of the user's stands over it."""
        return self.folder / "data" / "training.yaml"

    @property
    def run(self) -> Path:
        return self.folder / "train"


@dataclass(frozen=True)
class TrainedJudgeResult:
    """A judge that was taught. folder: what `judge_options.model` takes. checkpoint: its weights,
    None where only the rows were prepared. counts: of the rows. parts: one row a measurement.
    text: their table, or what to type next."""

    folder: Path
    checkpoint: Path | None
    counts: Mapping[str, int]
    text: str
    parts: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "folder": self.folder,
            "checkpoint": self.checkpoint,
            "rows": dict(self.counts),
            "parts": self.parts,
        }


def train_judge(
    files: Sequence[str],
    *,
    model: str | None,
    out: Path | str,
    test: Sequence[str] = (),
    held_out: float = 0.1,
    reference: Shown = "shown",
    balance: bool = True,
    quote: bool = False,
    limit: int | None = None,
    solutions: Sequence[str] = (),
    max_tokens: int | None = None,
    sampler: str = "hf",
    before: bool = True,
    prepare: bool = False,
    engine: str | None = None,
    configs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    seed: int = 0,
    quiet: bool = True,
) -> TrainedJudgeResult:
    """Teach a judge to find the first wrong step; the same call goes on where it stopped.

    files: labelled steps (`sage_bench.judges.formats`), or registered datasets of them. model: what
    is fine-tuned. test: labelled steps it is measured on; without, the share `held_out` of the
    questions is. reference: whether it is shown the reference solution, or in half of the rows.
    balance: as many rows with an error as without. quote: the verdict that is taught repeats each
    step before it marks it. max_tokens: room for a verdict. sampler: who draws the verdicts that
    are measured. before: measure the model as it is, too. prepare: write the rows, and stop.
    configs, overrides: of `train`. seed: of split and balance.

    Raises `UsageError` and `DataError` before anything is trained.
    """
    _check(files, reference, held_out)
    lie = JudgeFiles(Path(out))
    settings: dict[str, Any] = {"backend": "sft", "model": model, "engine": engine}
    asked = training_config(**settings, data=files[0], configs=configs, overrides=overrides)
    found = read_labelled(files, limit=limit, solutions=solutions, every_file=True)
    kept_back = None
    if test:
        kept_back = read_labelled(test, limit=limit, solutions=solutions, every_file=True)
    make_folder(lie.rows.parent)
    parted = _parted(found, kept_back, held_out, seed)
    teaching = {"reference": reference, "balance": balance, "quote": quote, "seed": seed}
    taught = _prepare(lie, asked.config, parted, teaching)
    _say_set_aside(taught, lie.folder, quiet)
    _write_settings(lie, asked, taught)
    words = [*overrides, f"prompts={json.dumps(str(lie.prompts))}"]
    resolved = training_config(
        **settings, data=str(lie.rows), configs=[str(lie.settings), *configs], overrides=words
    )
    if prepare:
        return TrainedJudgeResult(lie.folder, None, taught.counts(), _next_command(lie, model))
    base = asked.config.model.path
    room = max_tokens or longest_verdict(taught, context_of(base))
    options = {"sampler": sampler, "max_tokens": room}
    parts = []
    if before:
        first = {**options, "model": base, "words": str(lie.prompts)}
        parts += _measured(lie, "before", reference, first, quiet)
    checkpoint = run_training(resolved, lie.run, quiet=quiet).checkpoint
    write_judge(lie.folder, checkpoint, taught, reference, room, base)
    last = {**options, "model": str(checkpoint)}
    parts += _measured(lie, f"after_{checkpoint.name}", reference, last, quiet)
    text = table(parts, taught)
    write_text(lie.folder / "table.md", text)
    write_json(lie.folder / "summary.json", {"rows": taught.counts(), "parts": _finite(parts)})
    return TrainedJudgeResult(lie.folder, checkpoint, taught.counts(), text, parts)


def _check(files: Sequence[str], reference: str, held_out: float) -> None:
    """Raise `UsageError` for arguments that cannot be meant."""
    if reference not in get_args(Shown):
        raise UsageError(
            f"`{reference}` is none of its values",
            where="--reference",
            remedy=f"give one of {', '.join(get_args(Shown))}",
        )
    if not 0 < held_out < 1:
        raise UsageError(
            f"`{held_out}` is not a share of the questions",
            where="--held-out",
            remedy="give a number between 0 and 1, or --test FILE",
        )
    if not files:
        raise UsageError(
            "no file with labelled steps",
            remedy="give one or more, e.g. processbench.jsonl or tiny-steps",
        )


def _measured(
    lie: JudgeFiles, when: str, reference: Shown, options: Mapping[str, Any], quiet: bool
) -> list[dict[str, Any]]:
    """The held-out figures of some weights: one row for each way they are asked."""
    parts = []
    ways = ("shown", "withheld") if reference == "mixed" else (reference,)
    for way in ways:
        found = measure_judge(
            "policy",
            [str(lie.held_out)],
            out=lie.folder / "measured" / f"{when}_{way}",
            options={**options, "reference": way == "shown"},
            quiet=quiet,
        )
        parts.append({"judge": when, "reference": way, **found.parts[-1]})
    return parts


# ---- rows ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Parted:
    """Labelled rows to teach from and to measure on, and those set aside."""

    taught: Sequence[Labelled]
    held_out: Sequence[Labelled]
    set_aside: Sequence[RejectedRow]


def _parted(found: Rows, test: Rows | None, share: float, seed: int) -> Parted:
    """test: rows to measure on; without, a share of the questions is held out."""
    if test is None:
        return Parted(*split(found.rows, share, seed), found.quarantine)
    rows, overlapping = without_questions(found.rows, test.rows)
    set_aside = [*found.quarantine, *test.quarantine, *overlapping]
    return Parted(rows, test.rows, set_aside)


def _prepare(
    lie: JudgeFiles,
    config: RunConfig,
    parted: Parted,
    teaching: Mapping[str, Any],
) -> Lessons:
    """Write the rows to teach, those held out, those set aside, and the prompts. teaching: further
    arguments of `lessons`."""
    from sage_bench.training.setup import make_renderer

    path = model_path(config.model.path)
    taught = lessons(
        parted.taught,
        make_renderer(config, path),
        context=context_of(path),
        **teaching,
    )
    taught.quarantine[:0] = parted.set_aside
    write_jsonl(lie.rows, taught.rows)
    write_jsonl(lie.held_out, [_labelled_row(row) for row in parted.held_out])
    write_jsonl(lie.folder / "quarantine.jsonl", [r.as_dict() for r in taught.quarantine])
    # the message that every row of the fine-tuning begins with, and the judge's own texts
    texts = {"system": taught.texts[JUDGE_SYSTEM], **taught.texts}
    write_text(lie.prompts, yaml.safe_dump(texts, allow_unicode=True, sort_keys=True))
    return taught


def _labelled_row(row: Labelled) -> dict[str, Any]:
    return {
        "id": row.name,
        "subset": row.subset or row.file,
        "problem": row.problem.question,
        "steps": list(row.steps),
        "label": row.label,
        "gold": row.problem.answer or None,
        "solution": row.problem.solution,
        "why": row.why,
    }


def _say_set_aside(taught: Lessons, folder: Path, quiet: bool) -> None:
    if taught.quarantine and not quiet:
        reasons = data_rows.summary(taught.quarantine)
        listed = folder / "quarantine.jsonl"
        count = len(taught.quarantine)
        stderr().print(f"{count} rows set aside ({reasons}): {listed}", markup=False)


# ---- settings ------------------------------------------------------------------------------------
def _write_settings(lie: JudgeFiles, asked: Resolved[RunConfig], taught: Lessons) -> None:
    """What follows from the rows, for `train --config`."""
    values: dict[str, Any] = {
        "prompts": str(lie.prompts),
        "sampling": {
            "max_prompt_tokens": taught.longest_prompt,
            "max_tokens": taught.longest_target,
        },
        # the judge is measured on held-out steps; a validation set of problems says nothing of it
        "validation": {"source": None},
    }
    if not _chosen(asked, "train.steps"):
        values["train"] = {"epochs": EPOCHS}
    write_text(lie.settings, yaml.safe_dump(values, sort_keys=True))


def _chosen(asked: Resolved[RunConfig], key: str) -> bool:
    """Whether a user said it, rather than a preset."""
    origin = asked.origins.get(key, "default")
    return not origin.startswith(("default", "preset"))


def longest_verdict(taught: Lessons, context: int | None) -> int:
    """Tokens a verdict may have: `MAX_TOKENS`, or what is taught where the context is too short."""
    taught_ones = taught.longest_target + SPARE_TOKENS
    room = MAX_TOKENS if context is None else context - taught.longest_prompt
    return max(taught_ones, min(MAX_TOKENS, room) if room >= MAX_TOKENS else 0)


def _next_command(lie: JudgeFiles, model: str | None) -> str:
    counted = f"the rows are in {lie.rows}; train on them, on as many GPUs as you like, with"
    command = (
        f"sage-bench train --backend sft --model {model} --data {lie.rows}"
        f" --config {lie.settings} --out {lie.run}"
    )
    return f"{counted}\n{command}\nand then give the same `judge-train` command without --prepare"


# ---- the judge -----------------------------------------------------------------------------------
def write_judge(
    folder: Path, checkpoint: Path, taught: Lessons, reference: Shown, room: int, base: str
) -> None:
    """`trained_judge.json` in the judge's folder, and beside its weights."""
    judge = TrainedJudge("", taught.texts, reference, room, base)
    judge.write(checkpoint)
    inside = checkpoint.relative_to(folder).as_posix()
    TrainedJudge(inside, taught.texts, reference, room, base).write(folder)


def table(parts: Sequence[Mapping[str, Any]], taught: Lessons) -> str:
    """The table in Markdown; shares in percent, ± is the standard error clustered by question."""
    head = (
        "| judge | reference | rows | judged | exact | errors found | false alarms | F1"
        " | Spearman |"
    )
    lines = [head, "|---|---|" + "---:|" * (head.count("|") - 3)]
    for part in parts:
        exact = f"{percent(part['exact'])} ± {percent(part['exact_se'])}"
        cells = [
            part["judge"],
            part["reference"],
            part["rows"],
            part["judged"],
            exact,
            percent(part["error_acc"]),
            percent(part["false_alarms"]),
            percent(part["f1"]),
            correlation(part["spearman"]),
        ]
        lines.append("| " + " | ".join(map(markdown_cell, cells)) + " |")
    counts = taught.counts()
    lines += [
        "",
        (
            "Held-out questions. exact: the first wrong step, or rightly none; errors found: the"
            " same where there is one; false alarms: rows without an error in which one is seen;"
            " Spearman: of the score (k - 1) / n, on rows judged."
        ),
        (
            f"Taught from {counts['rows']} rows, {counts['with_error']} of them with an error"
            f" ({counts['repeated']} repeated, {counts['set_aside']} set aside)."
        ),
    ]
    return "\n".join(lines) + "\n"


def _finite(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """NaN is not JSON."""
    return [
        {k: None if isinstance(v, float) and v != v else v for k, v in part.items()}
        for part in parts
    ]
