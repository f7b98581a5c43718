"""Grades: a pure function of the stored samples and the golds, redone at any time without a GPU."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.grading import cache
from sage_bench.grading.canary import canaries, packages
from sage_bench.grading.question import grade_question
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import read_jsonl, write_json, write_text

COLUMNS = ["task", "doc_id", "uid", "sample", "correct", "status", "finish", "tokens"]


def grade_run(
    folder: Path,
    graders: str | Mapping[str, str] = cache.DEFAULT,
    tell: Callable[[int], None] = lambda done: None,
) -> None:
    """Write grades/<task>.<grader>.jsonl for every stored sample: doc_id, sample, correct, status,
    extracted, grader_version.

    graders: one for all tasks, or one by task (others keep the default). Grades of other graders
    stay; those of another version of this one move to grades/superseded. grades/<grader>.json says
    what decided: versions of the packages, the canaries, statuses and seconds. tell(done) counts
    samples.
    """
    done, seen = 0, {}
    for file in sorted((folder / "questions").glob("*.json")):
        task, lines, began = file.stem, [], time.perf_counter()
        grader = graders if isinstance(graders, str) else graders.get(task, cache.DEFAULT)
        version = cache.grader(grader).version
        statuses, _ = seen.setdefault(grader, (Counter(), []))
        asked = {q["doc_id"]: q for q in json.loads(file.read_text(encoding="utf-8"))}
        by_doc: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in stored_samples(folder, task):
            by_doc[row["doc_id"]].append(row)
        for doc_id, rows in sorted(by_doc.items()):
            done += len(rows)
            if doc_id not in asked:
                continue
            q = asked[doc_id]
            for row, v in zip(
                rows,
                grade_question(q["gold"], [r["text"] for r in rows], grader, q.get("options")),
                strict=True,
            ):
                statuses[v.status] += 1
                lines.append(
                    {
                        "doc_id": doc_id,
                        "sample": row["sample"],
                        "correct": v.correct,
                        "status": v.status,
                        "extracted": v.extracted,
                        "grader_version": version,
                    }
                )
            tell(done)
        place = folder / "grades" / f"{task}.{grader}.jsonl"
        place.parent.mkdir(exist_ok=True)
        _set_aside(place, version)
        write_text(place, "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines))
        seen[grader][1].append(time.perf_counter() - began)
    for grader, (statuses, seconds) in seen.items():
        write_json(
            folder / "grades" / f"{grader}.json",
            {
                "grader": grader,
                "version": cache.grader(grader).version,
                "packages": packages(),
                "canaries": {
                    f"{c.gold} | {c.answer}": "as expected" if c.well else c.said
                    for c in canaries()
                },
                "samples": sum(statuses.values()),
                "statuses": dict(sorted(statuses.items())),
                "seconds": round(sum(seconds), 3),
            },
        )


def _set_aside(file: Path, version: str) -> None:
    """Grades another version gave are kept beside the new ones."""
    before = next((row.get("grader_version") for row in read_jsonl(file)), None)
    if before is not None and before != version:
        aside = file.parent / "superseded"
        aside.mkdir(exist_ok=True)
        file.replace(
            aside / f"{file.stem}.{hashlib.sha256(str(before).encode()).hexdigest()[:8]}.jsonl"
        )


def stored_samples(folder: Path, task: str) -> list[dict[str, Any]]:
    """Stored rows of a task by (doc_id, sample), the first of each key."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for row in read_jsonl(folder / "samples" / f"{task}.jsonl"):
        rows.setdefault((row["doc_id"], row["sample"]), row)
    return [rows[k] for k in sorted(rows)]


def graders_of(folder: Path) -> list[str]:
    """Names of the graders that have graded a run."""
    return sorted({f.name.split(".")[-2] for f in (folder / "grades").glob("*.*.jsonl")})


def load_grades(folder: Path, grader: str | None = None) -> pd.DataFrame:
    """All graded samples of a run, one row each (`COLUMNS`). grader: the manifest's unless another
    is named.

    Raises `DataError` when that one has not graded the run.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    graders = manifest.get("graders", {})
    if grader is not None:
        _check_graded(folder, grader)
    out = []
    for task in manifest["tasks"]:
        uids = {
            q["doc_id"]: q["uid"]
            for q in json.loads((folder / "questions" / f"{task}.json").read_text(encoding="utf-8"))
        }
        samples = {(r["doc_id"], r["sample"]): r for r in stored_samples(folder, task)}
        for g in read_jsonl(
            folder / "grades" / f"{task}.{grader or graders.get(task) or manifest['grader']}.jsonl"
        ):
            s = samples[g["doc_id"], g["sample"]]
            out.append(
                (
                    task,
                    g["doc_id"],
                    uids[g["doc_id"]],
                    g["sample"],
                    g["correct"],
                    g["status"],
                    s["finish"],
                    s["tokens"],
                )
            )
    return pd.DataFrame(out, columns=COLUMNS)


def verdicts(folder: Path, grader: str) -> pd.DataFrame:
    """What one grader said of every sample, from its grades alone: task, doc_id, sample, correct.
    Raises `DataError` when it has not graded the run."""
    _check_graded(folder, grader)
    files = sorted((folder / "grades").glob(f"*.{grader}.jsonl"))
    return pd.DataFrame(
        [
            (f.name.split(".")[0], g["doc_id"], g["sample"], g["correct"])
            for f in files
            for g in read_jsonl(f)
        ],
        columns=["task", "doc_id", "sample", "correct"],
    )


def _check_graded(folder: Path, grader: str) -> None:
    if grader not in (known := graders_of(folder)):
        raise DataError(
            f"`{grader}` has not graded this run (there are: {', '.join(known) or 'no grades'})",
            where=str(folder),
            remedy=f"sage-bench grade {folder} --grader {grader}",
        )


def agreement(folder: Path, graders: Sequence[str] | None = None) -> pd.DataFrame:
    """How far the graders of a run agree, one row a pair: samples both graded, share of equal
    verdicts, and who alone said yes.

    Columns: a, b, samples, agree (share), both, neither, only_a, only_b. Raises `DataError` with
    fewer than two graders.
    """
    names = list(graders) if graders else graders_of(folder)
    if len(names) < 2:
        raise DataError(
            f"only {', '.join(names) or 'no grader'} has graded this run",
            where=str(folder),
            remedy=f"sage-bench grade {folder} --grader oat",
        )
    correct = {
        n: verdicts(folder, n).set_index(["task", "doc_id", "sample"])["correct"] for n in names
    }
    rows = []
    for a, b in combinations(names, 2):
        both = pd.concat([correct[a], correct[b]], axis=1, join="inner", keys=["a", "b"]).astype(
            bool
        )
        counts = {
            "both": int((both.a & both.b).sum()),
            "neither": int((~both.a & ~both.b).sum()),
            "only_a": int((both.a & ~both.b).sum()),
            "only_b": int((~both.a & both.b).sum()),
        }
        rows.append(
            {
                "a": a,
                "b": b,
                "samples": len(both),
                "agree": (counts["both"] + counts["neither"]) / max(len(both), 1),
                **counts,
            }
        )
    return pd.DataFrame(rows)
