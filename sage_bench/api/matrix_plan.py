"""`--dry-run` and `--status` of a matrix: what it would do and take, and how its cells stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.api.matrix import Planned
from sage_bench.api.matrix_inputs import entry_of, missing_benchmarks
from sage_bench.api.settings import evaluation_config
from sage_bench.config.nesting import flatten
from sage_bench.config.schema import RunConfig
from sage_bench.evaluation.tasks.spec import parse, task_files
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.weights import weight_files
from sage_bench.methods.base import make_config
from sage_bench.methods.registry import BACKENDS
from sage_bench.study.matrix.cells import Cell, chosen
from sage_bench.study.matrix.estimate import Asked, Estimate, Estimator, Sizes, totals
from sage_bench.study.matrix.study import typed
from sage_bench.utils.progress import duration, reported

TINY_ROWS = 30  # questions of a task that does not say how many it has
BYTES = 4  # of a parameter in the packaged policies


@dataclass(frozen=True)
class Look:
    """What is known of a matrix. text: for people; values: for programs."""

    text: str
    values: dict[str, Any]


# ---- status -------------------------------------------------------------------------------------
def status(planned: Planned, only: Sequence[str] = ()) -> Look:
    """How every cell stands, with what changed and why one failed. Starts nothing."""
    rows = []
    for cell in chosen(planned.cells, only):
        found = planned.study.standing(cell.name)
        record = found.record
        share = 1.0 if found.state == "done" else 0.0
        note = record.reason
        if record.state == "running":
            share, note = reported(planned.study.logs(cell.name) / "progress")
        if found.changed:
            note = "changed: " + "; ".join(found.changed)
        rows.append(
            {
                "cell": cell.name,
                "state": found.state,
                "share": share,
                "seconds": round(record.seconds, 1),
                "host": record.host,
                "note": note,
                "commands": list(record.commands),
            }
        )
    counts = Counter(str(row["state"]) for row in rows)
    summary = ", ".join(f"{n} {state}" for state, n in counts.most_common())
    lines = [_line(row) for row in rows]
    text = "\n".join([*lines, "", f"{len(rows)} cells: {summary}"])
    return Look(text, {"cells": rows, "counts": dict(counts)})


def _line(row: Mapping[str, Any]) -> str:
    done = duration(row["seconds"]) if row["state"] == "done" else f"{row['share']:.0%}"
    return f"{row['state']:<12} {done:>8}  {row['cell']}  {row['note']}".rstrip()


# ---- dry run ------------------------------------------------------------------------------------
def dry_run(planned: Planned, only: Sequence[str] = ()) -> Look:
    """Every cell with its command, what all of them will take, and what is not on this machine."""
    cells = chosen(planned.cells, only)
    estimator = Estimator(planned.study.out, planned.cells, planned.file.spec.assume)
    todo = [c for c in cells if planned.study.standing(c.name).todo]
    estimates = {c.name: estimator.of(c, _size(planned, c)) for c in todo}
    missing = [*planned.checked.missing, *missing_benchmarks(planned.file)]
    values = {
        "cells": [_cell_values(planned, c, estimates.get(c.name)) for c in cells],
        "totals": totals(estimates),
        "assumed": planned.file.spec.assume.model_dump(),
        "missing": missing,
    }
    return Look(_text(planned, cells, todo, estimates, missing), values)


def _cell_values(planned: Planned, cell: Cell, estimate: Estimate | None) -> dict[str, Any]:
    return {
        "cell": cell.name,
        "state": planned.study.standing(cell.name).state,
        "after": list(cell.after),
        "command": typed(cell.words, cell.room.cores) if cell.words else None,
        "estimate": None if estimate is None else estimate.as_dict(),
    }


def _size(planned: Planned, cell: Cell) -> Sizes | Asked | None:
    if cell.kind == "eval":
        return _asked(planned, cell)
    resolved = planned.checked.trainings.get(cell.name)
    if cell.kind != "train" or resolved is None:
        return None
    config = resolved.config
    method = BACKENDS.get(config.backend)
    steps = config.train.steps
    if config.train.epochs is not None:
        rows = planned.checked.rows.get(cell.name, planned.file.spec.assume.rows)
        steps = round(config.train.epochs * rows / config.train.prompts_per_step)
    return Sizes(
        steps,
        config.train.prompts_per_step,
        make_config(method, config.method, "method").group_size,
        samples=bool(method.needs),
        retries=method.rolls_again,
        max_tokens=config.sampling.max_tokens,
        saved=_saved(config, steps),
        parameters=cell.model.parameters or _parameters(config.model.path),
    )


def _saved(config: RunConfig, steps: int) -> int:
    """Checkpoints of a training, with the first and the last."""
    saved = 1 + -(-steps // config.train.save_every)
    return saved if config.train.keep is None else min(saved, config.train.keep)


def _parameters(path: str) -> float | None:
    """From the size of the weights that lie on this machine."""
    files = weight_files(Path(model_path(path)))
    return sum(f.stat().st_size for f in files) / BYTES if files else None


def _asked(planned: Planned, cell: Cell) -> Asked:
    spec = entry_of(planned.file, cell)
    config = evaluation_config(
        flags={"model.path": "fake:0", "tasks": list(spec.tasks)},
        overrides=_dotted(spec.set),
    ).config
    files = task_files()
    samples = longest = 0
    for task, n in parse(config.tasks, config.sampling.n).items():
        values = files[task].values
        rows = (values.get("metadata") or {}).get("rows") or TINY_ROWS
        rows = rows[0] if isinstance(rows, list) else int(rows)
        samples += n * min(rows, spec.limit or rows)
        kwargs = values.get("generation_kwargs") or {}
        longest = max(longest, int(config.sampling.max_tokens or kwargs.get("max_gen_toks") or 0))
    return Asked(samples, longest)


def _dotted(section: Mapping[str, Any]) -> dict[str, Any]:
    return dict(flatten(section))


def _text(
    planned: Planned,
    cells: Sequence[Cell],
    todo: Sequence[Cell],
    estimates: Mapping[str, Estimate],
    missing: Sequence[str],
) -> str:
    spec = planned.file.spec
    lines = [f"{spec.name}: {len(cells)} cells in {planned.study.out}, {len(todo)} to do", ""]
    for model in spec.models:
        lines += _rows_of(model.name, cells, todo, estimates)
    total = totals(estimates)
    assume = spec.assume
    disk = "unknown (no `parameters`)" if total["gib"] is None else f"{total['gib']:,.1f} GiB"
    lines += [
        f"hours      {total['hours']:,.1f} of one cell after another",
        f"tokens     {total['tokens']:,.0f} sampled",
        f"disk       {disk}",
        f"measured   {total['measured']} of {len(todo)} cells are estimated from finished ones",
        (
            f"assumed    {assume.tokens_per_second:,.0f} tokens a second a cell; completions of"
            f" {assume.length:.0%} of max_tokens; updates take {assume.learning:.0%} of the time of"
            f" sampling; methods that retry sample {assume.extra:.0%} more;"
            f" {assume.start_seconds:.0f} s to start (`assume` in {planned.file.path.name})"
        ),
    ]
    if missing:
        lines += ["", "not on this machine:", *(f"  {text}" for text in missing)]
    commands = [typed(c.words, c.room.cores) for c in cells if c.kind == "train"][:1]
    lines += ["", *(f"first command: {command}" for command in commands)]
    return "\n".join(lines)


def _rows_of(
    model: str, cells: Sequence[Cell], todo: Sequence[Cell], estimates: Mapping[str, Estimate]
) -> list[str]:
    """One line a row of a model: its cells, and what they take."""
    lines = [model]
    rows = list(dict.fromkeys(c.row for c in cells if c.model.name == model))
    for row in rows:
        own = [c for c in todo if c.model.name == model and c.row == row]
        seconds = sum(estimates[c.name].seconds for c in own)
        kinds = Counter(c.kind for c in own if c.kind != "select")
        counted = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "done"
        lines.append(f"  {row:<28} {counted:<20} {duration(seconds):>8}")
    return [*lines, ""]
