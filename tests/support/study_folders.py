"""Write the run folders of a study of the usual size, to measure what reads them.

Nine evaluations (three methods, three training seeds) of 1,530 questions with 16 samples each,
and the nine training runs they come from. Verdicts, lengths and metrics are drawn; the texts of
the completions are real ones from a JSON lines file with a `response` in every row, or filler.

    python tests/support/study_folders.py OUT --texts completions.jsonl --questions BENCHMARKS
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {
    "sb_aime24": 30,
    "sb_aime25": 30,
    "sb_amc23": 40,
    "sb_math500": 500,
    "sb_minerva": 272,
    "sb_olympiadbench": 658,
}
RATES = {
    "sb_aime24": 0.14,
    "sb_aime25": 0.09,
    "sb_amc23": 0.55,
    "sb_math500": 0.77,
    "sb_minerva": 0.38,
    "sb_olympiadbench": 0.42,
}
GAINS = {"base": 0.0, "grpo": 0.02, "sage": 0.05}
HOW = {"temperature": 0.6, "top_p": 0.95, "max_gen_toks": 8192, "prompt_id": "p1", "until": []}
FILLER = "We add the two sides and divide: $\\frac{a+b}{2} = c$, so that \\(c > 0\\). "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--texts", type=Path, help="JSON lines with a `response` in every row")
    parser.add_argument("--questions", type=Path, help="folder of NAME.jsonl with a `problem`")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--share", type=float, default=1.0, help="of the questions, to try it")
    write_study(**vars(parser.parse_args()))


def write_study(
    out: Path,
    texts: Path | Sequence[str] | None = None,
    questions: Path | None = None,
    samples: int = 16,
    steps: int = 500,
    share: float = 1.0,
    seeds: int = 4,
) -> list[Path]:
    """Write the folders; returns those of the evaluations, that of the base policy first."""
    known = completions(texts) if texts is None or isinstance(texts, Path) else texts
    runs = [("base", None), *((m, s) for m in ("grpo", "sage") for s in range(seeds))]
    folders = []
    for number, (method, seed) in enumerate(runs):
        rng = np.random.default_rng(number)
        trained = out / "train" / f"{method}_seed{seed}"
        if seed is not None:
            write_training(trained, method, seed, steps, rng, known)
        model = "Qwen/Qwen2.5-7B-Instruct"
        if seed is not None:
            model = str(trained / "checkpoints" / f"step_{steps:06d}")
        label = {"method": method, "train_seed": seed, "step": steps, "preset": "qwen2.5-7b"}
        if seed is None:
            label = {"method": None, "train_seed": None, "step": None, "preset": "qwen2.5-7b"}
        folder = out / "eval" / f"{method}-{seed}" / f"{number:08x}"
        sizes = {t: max(2, int(n * share)) for t, n in SIZES.items()}
        write_evaluation(folder, model, label, rng, known, sizes, samples, questions)
        folders.append(folder)
    return folders


def completions(file: Path | None) -> list[str]:
    if file is None:
        return [FILLER * int(n) for n in np.random.default_rng(0).integers(5, 60, 400)]
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row["response"] for row in rows]


def problems(folder: Path | None, task: str, count: int) -> list[str]:
    if folder is None:
        return [f"Question {i}: what is $\\sqrt{{{i}^2}}$?" for i in range(count)]
    file = folder / f"{task.removeprefix('sb_')}.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [str(row.get("problem") or row.get("question")) for row in rows[:count]]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_evaluation(
    folder: Path,
    model: str,
    label: Mapping[str, Any],
    rng: np.random.Generator,
    texts: Sequence[str],
    sizes: Mapping[str, int],
    samples: int,
    questions: Path | None,
) -> None:
    for task, count in sizes.items():
        gain = GAINS[label["method"] or "base"]
        hard = np.random.default_rng(len(task)).beta(0.6, 0.6, count) + RATES[task] - 0.5 + gain
        asked = problems(questions, task, count)
        rows = []
        for doc, text in enumerate(asked):
            rows.append(
                {"doc_id": doc, "uid": f"{task}-{doc}", "gold": str(doc % 97), "question": text}
            )
        drawn = list(draw(task, np.clip(hard, 0, 1), rng, texts, samples))
        (folder / "questions").mkdir(parents=True, exist_ok=True)
        (folder / "questions" / f"{task}.json").write_text(json.dumps(rows))
        write_jsonl(folder / "samples" / f"{task}.jsonl", [s for s, _ in drawn])
        for grader, flips in (("robust", 0.0), ("oat", 0.02)):
            flip = rng.random(len(drawn)) < flips
            pairs = zip(drawn, flip, strict=True)
            grades = [g | {"correct": bool(g["correct"] ^ f)} for (_, g), f in pairs]
            write_jsonl(folder / "grades" / f"{task}.{grader}.jsonl", grades)
    manifest = {
        "schema": 1,
        "kind": "eval",
        "model": model,
        "label": dict(label),
        "tasks": dict.fromkeys(sizes, samples),
        "sampling": {t: {**HOW, "questions": n, "data_rev": "d1"} for t, n in sizes.items()},
        "versions": {"torch": "2.13.0", "vllm": "0.30.0", "sage-bench": "0.9"},
        "grader": "robust",
        "graders": dict.fromkeys(sizes, "robust"),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    (folder / "summary.csv").write_text("")


def draw(
    task: str, rates: Any, rng: np.random.Generator, texts: Sequence[str], samples: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for doc, rate in enumerate(rates):
        for number in range(samples):
            text = texts[int(rng.integers(len(texts)))]
            cut = bool(rng.random() < 0.04)
            blank = cut or bool(rng.random() < 0.02)
            right = not blank and bool(rng.random() < rate)
            answer = str(doc % 97) if right else str(int(rng.integers(100, 200)))
            sample = {
                "task": task,
                "doc_id": doc,
                "sample": number,
                "seed": 1000 * doc + number,
                "prompt_hash": "h",
                "text": text if blank else f"{text}\n\nSo the answer is $\\boxed{{{answer}}}$.",
                "finish": "length" if cut else "stop",
                "prompt_tokens": 120,
                "tokens": 8192 if cut else len(text) // 3,
                "time": 1.79e9 + doc,
            }
            grade = {
                "doc_id": doc,
                "sample": number,
                "correct": right,
                "status": "no_answer" if blank else "ok",
                "extracted": None if blank else answer,
                "grader_version": "robust-1",
            }
            yield sample, grade


def write_training(
    folder: Path,
    method: str,
    seed: int,
    steps: int,
    rng: np.random.Generator,
    texts: Sequence[str],
) -> None:
    hints = method == "sage"
    metrics, ledger, validation, groups = [], [], [], []
    for step in range(steps):
        done = step / steps
        solved = 0.25 + 0.3 * done + 0.03 * rng.standard_normal()
        rows = [ledger_row(step, i, solved, hints, rng) for i in range(16)]
        ledger += rows
        metrics.append(metrics_row(step, rows, solved, rng))
        if step % 50 == 0:
            reward = float(np.clip(solved + 0.02 * rng.standard_normal(), 0, 1))
            validation.append({"step": step, "reward": reward, "solved": 0.8, "questions": 64})
        groups.append(group_row(step, int(rows[0]["level"]), rng, texts))
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "metrics.jsonl", metrics)
    write_jsonl(folder / "ledger.jsonl", ledger)
    write_jsonl(folder / "validation.jsonl", validation)
    write_jsonl(folder / "completions.jsonl", groups)
    values = {"backend": method, "model": "qwen2.5-7b", "train.seed": seed, "method.group_size": 8}
    (folder / "config.json").write_text(json.dumps({"values": values}))
    manifest = {
        "kind": "train",
        "backend": method,
        "method": {"group_size": 8},
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "engine": {"name": "local"},
        "grader": "robust-1",
        "data": {"train": "openr1", "problems": 15000},
        "steps": steps,
        "versions": {"torch": "2.13.0"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    status = {"state": "done", "step": steps, "steps": steps, "time": 1.79e9}
    (folder / "status.json").write_text(json.dumps(status))


def ledger_row(
    step: int, i: int, solved: float, hints: bool, rng: np.random.Generator
) -> dict[str, Any]:
    level, outcome = 0, "mixed"
    if rng.random() > solved + 0.2:
        level = int(rng.integers(1, 4)) if hints else 0
        outcome = "rescued" if hints and rng.random() < 0.7 else "dead_wrong"
    rollouts = 8 * (1 + level)
    return {
        "step": step,
        "uid": f"openr1-{16 * step + i}",
        "outcome": outcome,
        "level": level,
        "reward": 0.0 if outcome == "dead_wrong" else 0.5,
        "plain_reward": 0.5 if outcome == "mixed" else 0.0,
        "trail": [[k, 0.0] for k in range(level + 1)],
        "rollouts": rollouts,
        "tokens": 700 * rollouts,
        "truncated": 0,
        "trained_tokens": 5600,
        "dropped": False,
        "hint_calls": level,
        "hint_tokens": 40 * level,
        "judge_calls": 0,
        "rounds": 1 + level,
        "status": {"ok": 8},
        "events": {},
    }


def metrics_row(
    step: int, rows: Sequence[Mapping[str, Any]], solved: float, rng: np.random.Generator
) -> dict[str, Any]:
    shares = {k: sum(r["outcome"] == k for r in rows) / len(rows) for k in ("rescued", "mixed")}
    levels = {}
    for level in (1, 2, 3):
        here = sum(r["level"] == level and r["outcome"] == "rescued" for r in rows)
        if here:
            levels[f"rescued_level_{level}"] = here / len(rows)
    return {
        "step": step,
        "reward": float(np.clip(solved, 0, 1)),
        "plain_reward": float(np.clip(solved - 0.05, 0, 1)),
        "length": 700 + 200 * step / 500 + 20 * float(rng.standard_normal()),
        "dead_wrong": sum(r["outcome"] == "dead_wrong" for r in rows) / len(rows),
        "dead_right": 0.0,
        **shares,
        **levels,
        "graded": 0.0,
        "dropped": 0.0,
        "groups": len(rows),
        "hinted": sum(r["level"] > 0 for r in rows) / len(rows),
        "rollouts": sum(r["rollouts"] for r in rows),
        "extra_rollouts": sum(r["rollouts"] - 8 for r in rows),
        "tokens": sum(r["tokens"] for r in rows),
        "trained_tokens": 16 * 5600,
        "truncated": 0.0,
        "hint_calls": sum(r["hint_calls"] for r in rows),
        "judge_calls": 0,
        "hint_failures": 0,
        "learner/entropy": 0.3 + 0.1 * np.exp(-step / 100) + 0.01 * float(rng.random()),
        "learner/kl_start": 0.0001 * step,
        "learner/affinity": 0.99999999994 + 1e-12 * float(rng.random()),
        "learner/clip_fraction": 0.002 * float(rng.random()),
        "seconds/step": 90 + 10 * float(rng.random()),
    }


def group_row(
    step: int, level: int, rng: np.random.Generator, texts: Sequence[str]
) -> dict[str, Any]:
    question = f"Find all $x$ with $x^2 = {step}^2$."
    hint = "Factor the left side as $(x-a)(x+a)$ first." if level else None
    completions = []
    for _ in range(8):
        text = texts[int(rng.integers(len(texts)))]
        reward = float(rng.random() < 0.4)
        completions.append({"text": text, "finish": "stop", "reward": reward})
    return {
        "step": step,
        "uid": f"openr1-{16 * step}",
        "level": level,
        "prompt": question + (f"\nHere is a hint to help you:\n{hint}" if hint else ""),
        "hint": hint,
        "answer": str(step),
        "completions": completions,
    }


if __name__ == "__main__":
    main()
