"""Run folders as the evaluation writes them, from arrays: for tests of what is read from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

HOW = {"temperature": 0.6, "top_p": 0.95, "max_gen_toks": 96, "prompt_id": "p1", "data_rev": "d1"}


def write_run(
    folder: Path,
    method: str,
    answers: Mapping[str, np.ndarray],
    *,
    gold: str = "7",
    how: Mapping[str, Mapping[str, Any]] | None = None,
    limit: int | None = None,
    grader: str = "math_verify",
    drop: int = 0,
    label: Mapping[str, Any] | None = None,
    shuffle: int | None = None,
) -> Path:
    """answers: task to (N, n) array of answer texts ("" = none). drop: that many last samples of
    the first task are missing.

    shuffle: the rows stand in the files in another order.
    """
    folder.mkdir(parents=True)
    for sub in ("questions", "samples", "grades"):
        (folder / sub).mkdir()
    for task, table in answers.items():
        cells = [(d, s, str(a)) for d, row in enumerate(table) for s, a in enumerate(row)]
        cells = cells[: len(cells) - drop] if task == next(iter(answers)) else cells
        if shuffle is not None:
            np.random.default_rng(shuffle).shuffle(cells)
            cells = [(int(d), int(s), str(a)) for d, s, a in cells]
        (folder / "questions" / f"{task}.json").write_text(
            json.dumps(
                [{"doc_id": d, "uid": f"{task}-{d}", "gold": gold} for d in range(len(table))]
            )
        )
        samples = [
            {
                "task": task,
                "doc_id": d,
                "sample": s,
                "seed": 1000 * d + s,
                "prompt_hash": "h",
                "text": f"so \\boxed{{{a}}}" if a else "well",
                "finish": "stop" if a else "length",
                "prompt_tokens": 9,
                "tokens": 10 if a else 96,
                "time": 0.0,
            }
            for d, s, a in cells
        ]
        grades = [
            {
                "doc_id": d,
                "sample": s,
                "correct": a == gold,
                "status": "ok" if a else "no_answer",
                "extracted": a or None,
                "grader_version": "t",
            }
            for d, s, a in cells
        ]
        (folder / "samples" / f"{task}.jsonl").write_text(
            "".join(json.dumps(r) + "\n" for r in samples)
        )
        (folder / "grades" / f"{task}.{grader}.jsonl").write_text(
            "".join(json.dumps(r) + "\n" for r in grades)
        )
    manifest = {
        "kind": "eval",
        "model": f"m/{method}",
        "label": {"method": method, "step": 40, "train_seed": 0, "preset": None, **(label or {})},
        "seed": 0,
        "limit": limit,
        "tasks": {t: a.shape[1] for t, a in answers.items()},
        "sampling": {t: {**HOW, **((how or {}).get(t, {}))} for t in answers},
        "grader": grader,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "summary.csv").write_text("")  # what marks an evaluation as finished
    return folder


def draw(
    seed: int, rates: Mapping[str, float], n: int = 4, questions: int = 40, difficulty: int = 1
) -> dict[str, np.ndarray]:
    """Answers of a policy that is right about a `rates[task]` share of the time; questions are
    equally hard for every `seed`."""
    rng, hard = np.random.default_rng(seed), np.random.default_rng(difficulty)
    out = {}
    for task, rate in rates.items():
        p = np.clip(hard.beta(1.0, 1.0, size=(questions, 1)) + rate - 0.5, 0, 1)
        out[task] = np.where(
            rng.random((questions, n)) < p,
            "7",
            rng.choice(["5", "1/2", "0.5", ""], size=(questions, n)),
        )
    return out
