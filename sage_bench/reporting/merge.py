"""One leaderboard of runs from several folders and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.evaluation.tasks.spec import task_files
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.protocols import model_names, protocol_differences
from sage_bench.reporting.render import harmless, one_line
from sage_bench.reporting.runs import EvalRun, TrainRun, read_train
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
    sources = {run.folder.name: source_of(run) for run in once}
    named = {run.folder.name: models[run.folder] for run in once}
    board["model"] = [named[f] for f in board.fingerprint]
    for column in WHERE_FROM:
        board[column] = [sources[f].get(column) for f in board.fingerprint]
    board["dataset"] = [dataset_of(task) for task in board.task]
    return board


def without_copies(runs: Sequence[EvalRun]) -> list[EvalRun]:
    """Each evaluation once: folders of one fingerprint hold the same samples, some more of them."""
    best: dict[tuple[str, str], EvalRun] = {}
    for run in runs:
        key = (run.folder.name, str(run.manifest.get("fingerprint") or run.folder))
        if key not in best or _samples(run) > _samples(best[key]):
            best[key] = run
    return list(best.values())


def _samples(run: EvalRun) -> int:
    return sum(r.samples * len(r.means) for r in run.tasks.values())


def source_of(run: EvalRun) -> dict[str, Any]:
    """Weights, engine and date of an evaluation, and what its training cost where that is here."""
    fingerprint: Mapping[str, Any] = run.manifest.get("fingerprint") or {}
    sampler: Mapping[str, Any] = fingerprint.get("sampler") or {}
    engine = str(sampler.get("sampler") or "hf")  # ours does not name itself
    package = {"hf": "transformers"}.get(engine, engine)
    written = (run.folder / "manifest.json").stat().st_mtime
    source: dict[str, Any] = {
        "model_sha": sampler.get("weights"),
        "engine": engine,
        "engine_version": (run.manifest.get("versions") or {}).get(package),
        "date": datetime.fromtimestamp(written, UTC).strftime("%Y-%m-%d"),
    }
    train = training_of(run)
    if train is not None:
        until = run.label.get("step")
        source["train_rollouts"] = train.rollouts(until)
        if "step" in train.metrics:
            steps = train.metrics[train.metrics.step < until] if until else train.metrics
            source["train_tokens"] = _sum(steps, "tokens")
            seconds = _sum(steps, "seconds/step")
            source["train_hours"] = None if seconds is None else seconds / 3600
    return source


def training_of(run: EvalRun) -> TrainRun | None:
    """The training run that an evaluated checkpoint lies in, where it is on this machine."""
    folder = Path(str(run.manifest["model"])).parent.parent
    if not (folder / "metrics.jsonl").is_file() or not (folder / "config.json").is_file():
        return None
    return read_train(folder)


def _sum(frame: pd.DataFrame, column: str) -> float | None:
    return float(frame[column].sum()) if column in frame else None


def dataset_of(task: str) -> str | None:
    """The data set of a task, with its revision where the task file names one."""
    file = task_files().get(task)
    source = getattr(file, "dataset", None) if file is not None else None
    return None if source is None else str(source)


def ranking(board: pd.DataFrame) -> str:
    """Models and methods by their average, as Markdown; incomplete runs last and without a rank."""
    averages = board[(board.metric == "avg@n") & (board.task == "avg")]
    tasks = [t for t in dict.fromkeys(board.task) if t != "avg"]
    cells = board[board.metric == "avg@n"].set_index(["fingerprint", "task"])
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
            key = (row["fingerprint"], task)
            value = cells.value.get(key)
            words.append("–" if value is None or pd.isna(value) else f"{value:.1f}")
        lines.append("| " + " | ".join(_cell(w) for w in [*words, row["status"]]) + " |")
    without = [f for f in dict.fromkeys(board.fingerprint) if f not in set(averages.fingerprint)]
    for fingerprint in without:
        row = board[board.fingerprint == fingerprint].iloc[0]
        first = ["–", row.model, row.method, _or_dash(row.train_seed), _or_dash(row.step)]
        words = [*first, "–", "–", "–"]
        for task in tasks:
            value = cells.value.get((fingerprint, task))
            words.append("–" if value is None or pd.isna(value) else f"{value:.1f}")
        lines.append("| " + " | ".join(_cell(w) for w in [*words, "partial"]) + " |")
    return "\n".join(lines) + "\n"


def _or_dash(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _cell(text: Any) -> str:
    return one_line(str(text)).replace("|", "\\|").replace("<", "&lt;")


def write_merged(runs: Sequence[EvalRun], out: Path) -> list[Path]:
    """leaderboard.csv and leaderboard.md; returns what was written."""
    board = merged(runs)
    make_folder(out)
    text = ranking(board)
    for column in ("model", "method", "task", "status"):
        board[column] = [harmless(v) for v in board[column]]
    write_text(out / "leaderboard.csv", board.to_csv(index=False))
    write_text(out / "leaderboard.md", text)
    return [out / "leaderboard.csv", out / "leaderboard.md"]
