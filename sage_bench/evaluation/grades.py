"""Grades: a pure function of the stored samples and the golds, redone at any time without a GPU."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.files import read_jsonl, write_text
from sage_bench.grading import memo
from sage_bench.grading.question import grade_question

COLUMNS = ["task", "doc_id", "uid", "sample", "correct", "status", "finish", "tokens"]


def grade_run(folder: Path, graders: str | Mapping[str, str] = memo.DEFAULT) -> None:
    """Write grades/<task>.<grader>.jsonl for every stored sample: doc_id, sample, correct, status, extracted, grader_version.
    graders: one for all tasks, or one by task (others keep the default)."""
    for file in sorted((folder / "questions").glob("*.json")):
        task = file.stem
        grader = graders if isinstance(graders, str) else graders.get(task, memo.DEFAULT)
        version = memo.grader(grader).version
        questions = {q["doc_id"]: q for q in json.loads(file.read_text(encoding="utf-8"))}
        by_doc: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in stored_samples(folder, task):
            by_doc[row["doc_id"]].append(row)
        lines = []
        for doc_id, rows in sorted(by_doc.items()):
            if doc_id not in questions:
                continue
            question = questions[doc_id]
            for row, v in zip(rows, grade_question(question["gold"], [r["text"] for r in rows], grader, question.get("options")), strict=True):
                lines.append({"doc_id": doc_id, "sample": row["sample"], "correct": v.correct, "status": v.status, "extracted": v.extracted, "grader_version": version})
        (folder / "grades").mkdir(exist_ok=True)
        write_text(folder / "grades" / f"{task}.{grader}.jsonl", "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines))


def stored_samples(folder: Path, task: str) -> list[dict[str, Any]]:
    """Stored rows of a task by (doc_id, sample), the first of each key."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for row in read_jsonl(folder / "samples" / f"{task}.jsonl"):
        rows.setdefault((row["doc_id"], row["sample"]), row)
    return [rows[k] for k in sorted(rows)]


def load_grades(folder: Path, grader: str | None = None) -> pd.DataFrame:
    """All graded samples of a run, one row each (`COLUMNS`). grader: the manifest's unless another is named."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    graders = manifest.get("graders", {})
    out = []
    for task in manifest["tasks"]:
        uids = {q["doc_id"]: q["uid"] for q in json.loads((folder / "questions" / f"{task}.json").read_text(encoding="utf-8"))}
        samples = {(r["doc_id"], r["sample"]): r for r in stored_samples(folder, task)}
        for g in read_jsonl(folder / "grades" / f"{task}.{grader or graders.get(task) or manifest['grader']}.jsonl"):
            s = samples[g["doc_id"], g["sample"]]
            out.append((task, g["doc_id"], uids[g["doc_id"]], g["sample"], g["correct"], g["status"], s["finish"], s["tokens"]))
    return pd.DataFrame(out, columns=COLUMNS)
