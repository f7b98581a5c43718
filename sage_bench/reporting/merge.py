"""One leaderboard of runs from several folders and machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.protocols import model_names, protocol_differences
from sage_bench.reporting.runs import EvalRun
from sage_bench.reporting.selected import is_selected
from sage_bench.training.selection import NOT_SELECTED
from sage_bench.training.spent import training_cost
from sage_bench.utils.cells import csv_text, markdown_cell
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import make_folder, write_text

WHERE_FROM = [
    "model_sha",
    "dataset",
    "engine",
    "engine_version",
    "train_rollouts",
    "train_tokens",
    "train_hours",
    "date",
]
SHOWN_DIFFERENCES = 6
LONGEST_ROW = 1_000_000  # bytes
AVERAGE = "avg"
# what labels say that does not tell one model from another
BY_THE_WAY = ("select_rule", "training_cost")
RUN = "run"  # number of the run a row is of; not written


def merged(runs: Sequence[EvalRun]) -> pd.DataFrame:
    """The leaderboard's rows of all runs, with where they come from.

    The same evaluation in two folders counts once, the one with more samples. Raises `UsageError`
    where two runs answered one benchmark under different protocols: their numbers cannot be ranked
    in one column.
    """
    once = without_copies(runs)
    found = protocol_differences(once)
    if found:
        more = len(found) - SHOWN_DIFFERENCES
        raise UsageError(
            "different protocols cannot be ranked in one column: "
            + "; ".join(found[:SHOWN_DIFFERENCES])
            + (f"; and {more} more" if more > 0 else ""),
            where=str(once[0].folder),
            remedy="leave the others out, or evaluate them again with the same settings",
        )
    board = leaderboard(once, passes=True)
    models = model_names(once)
    # rows stand in the order of the runs; a fingerprint is not a run's own where models are fakes
    board[RUN] = [
        i for i, run in enumerate(once) for _ in range(len(leaderboard([run], passes=True)))
    ]
    board["model"] = [models[once[i].folder] for i in board[RUN]]
    sources = [source_of(run) for run in once]
    for column in WHERE_FROM:
        board[column] = [sources[i].get(column) for i in board[RUN]]
    board["dataset"] = [
        dataset_of(once[i], task) for i, task in zip(board[RUN], board.task, strict=True)
    ]
    return board


def without_copies(runs: Sequence[EvalRun]) -> list[EvalRun]:
    """Each evaluation once: folders of one fingerprint hold the same samples, some more of them."""
    best: dict[tuple[str, str, str], EvalRun] = {}
    for run in runs:
        own = str(run.manifest.get("fingerprint") or run.folder)
        label = {k: v for k, v in run.label.items() if k not in BY_THE_WAY}
        key = (run.folder.name, own, str(sorted(label.items(), key=str)))
        if key not in best or _preference(run) > _preference(best[key]):
            best[key] = run
    return list(best.values())


def _preference(run: EvalRun) -> tuple[int, bool]:
    """Of copies the one with more samples counts, of equal ones the one that a rule selected."""
    return _samples(run), is_selected(run)


def _samples(run: EvalRun) -> int:
    return sum(r.samples * len(r.means) for r in run.tasks.values())


def source_of(run: EvalRun) -> dict[str, Any]:
    """Weights, engine and date of an evaluation, and what its training cost where that is here."""
    fingerprint: Mapping[str, Any] = run.manifest.get("fingerprint") or {}
    sampler: Mapping[str, Any] = fingerprint.get("sampler") or {}
    engine = str(sampler.get("sampler") or "hf")  # ours does not name itself
    package = {"hf": "transformers"}.get(engine, engine)
    source: dict[str, Any] = {
        "model_sha": sampler.get("weights"),
        "engine": engine,
        "engine_version": (run.manifest.get("versions") or {}).get(package),
        "date": datetime.fromtimestamp(_when(run), UTC).strftime("%Y-%m-%d"),
    }
    cost: Mapping[str, Any] | None = run.label.get("training_cost")
    if cost is None:  # evaluated by an earlier version: the training run may still be here
        cost = training_cost(Path(str(run.manifest["model"])).parent.parent, run.label.get("step"))
    for name, value in cost.items():
        source[f"train_{name}"] = value
    return source


def _when(run: EvalRun) -> float:
    """When the last sample was stored, seconds since 1970; where samples do not say, when the
    manifest was written, which a copy of the folder may have changed."""
    times = [_last_time(file) for file in (run.folder / "samples").glob("*.jsonl")]
    known = [time for time in times if time]
    return max(known, default=(run.folder / "manifest.json").stat().st_mtime)


def _last_time(file: Path) -> float | None:
    """The time of the last row of a samples file; the file is not read whole."""
    with file.open("rb") as rows:
        rows.seek(max(0, file.stat().st_size - LONGEST_ROW))
        lines = rows.read().splitlines()
    for line in reversed(lines):
        try:
            return float(json.loads(line).get("time") or 0.0)
        except ValueError:  # the end of a row that a kill cut off, or the middle of a long one
            continue
    return None


def dataset_of(run: EvalRun, task: str) -> str:
    """The data that a task's questions came from, with their revision.

    `ID@REVISION` of the Hub, or the name of a file or of a task of ours with the digest of its
    rows; of an average those of all its tasks.

    """
    if task == AVERAGE:
        return "; ".join(dataset_of(run, t) for t in (*run.tasks, *run.missing))
    report: Mapping[str, Any] = (run.manifest.get("golds") or {}).get(task) or {}
    source = str(report.get("source") or task)
    if "@" in source and not Path(source).exists():
        return source
    digest = run.manifest["sampling"].get(task, {}).get("data_rev")
    return f"{Path(source).name}@{digest}"


def ranking(board: pd.DataFrame) -> str:
    """Models and methods by their average, as Markdown.

    Incomplete runs, and checkpoints that were not selected, stand last and without a rank.
    """
    averages = board[(board.metric == "avg@n") & (board.task == "avg") & board.value.notna()]
    # ranked among the others they would choose the best checkpoint on the test data
    passed_over = (averages.status == "ok") & (averages.select_rule == NOT_SELECTED)
    averages = averages.assign(status=averages.status.mask(passed_over, NOT_SELECTED))
    tasks = [t for t in dict.fromkeys(board.task) if t != "avg"]
    cells = board[board.metric == "avg@n"].set_index([RUN, "task"])
    heads = ["rank", "model", "method", "seed", "step", "avg", "± se", "95 % CI", *tasks, "status"]
    lines = ["| " + " | ".join(heads) + " |", "|---:|---|---|" + "---:|" * (len(heads) - 3)]
    ranked = averages[averages.status == "ok"].sort_values("value", ascending=False)
    others = averages[averages.status != "ok"].sort_values("value", ascending=False)
    for rank, row in enumerate([*ranked.to_dict("records"), *others.to_dict("records")], 1):
        place = str(rank) if row["status"] == "ok" else "–"
        words = [place, row["model"], row["method"], _or_dash(row["train_seed"])]
        words += [_or_dash(row["step"]), f"**{row['value']:.1f}**", f"{row['se_question']:.1f}"]
        words.append(f"{row['ci_lo']:.1f} to {row['ci_hi']:.1f}")
        for task in tasks:
            key = (row[RUN], task)
            value = cells.value.get(key)
            words.append("–" if value is None or pd.isna(value) else f"{value:.1f}")
        lines.append("| " + " | ".join(markdown_cell(w) for w in [*words, row["status"]]) + " |")
    for run in sorted(set(board[RUN]) - set(averages[RUN])):
        row = board[board[RUN] == run].iloc[0]
        first = ["–", row.model, row.method, _or_dash(row.train_seed), _or_dash(row.step)]
        words = [*first, "–", "–", "–"]
        for task in tasks:
            value = cells.value.get((run, task))
            words.append("–" if value is None or pd.isna(value) else f"{value:.1f}")
        lines.append("| " + " | ".join(markdown_cell(w) for w in [*words, "partial"]) + " |")
    return "\n".join(lines) + "\n"


def _or_dash(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def write_merged(runs: Sequence[EvalRun], out: Path) -> list[Path]:
    """leaderboard.csv and leaderboard.md; returns what was written."""
    board = merged(runs)
    make_folder(out)
    write_text(out / "leaderboard.csv", csv_text(board.drop(columns=RUN)))
    write_text(out / "leaderboard.md", ranking(board))
    return [out / "leaderboard.csv", out / "leaderboard.md"]
