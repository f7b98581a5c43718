"""`scripts/tiny_reasons.py` on a study of one seed whose answers are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sage_bench.data.tiny_world import problems

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/tiny_reasons.py"


def table(text: str, weights: list[float]) -> list[list]:
    return [[token, weight] for token, weight in zip(text, weights, strict=True)]


def study(folder: Path) -> Path:
    """Ten answers each: 2*3 known, 3*3 doubted, 7*7 surely wrong; two logged groups of OAR."""
    samples = folder / "eval/tiny-llama/oar_p/seed_0/samples"
    samples.mkdir(parents=True)
    texts = ["2*3=6 3*3=9 7*7=5"] * 6 + ["2*3=6 3*3=8 7*7=5"] * 4
    lines = [json.dumps({"text": text, "doc_id": 0}) for text in texts]
    (samples / "tiny_short.jsonl").write_text("\n".join(lines))
    run = folder / "runs/tiny-llama/oar_p/seed_0"
    run.mkdir(parents=True)
    group = {
        "step": 12,
        "prompt": "<|system|>x<|end|><|user|>2*3+1<|end|>",
        "completions": [{"text": "2*3=6 6+1=7", "reward": 1.0}, {"text": "2*3=7", "reward": 0.0}],
        "weights": [table("2*3=6", [1, 1, 1, 1.5, 2.0]), table("2*3=7", [1, 1, 1, 1.0, 0.5])],
    }
    equal = {**group, "completions": [{"text": "2*3=6 6+1=7", "reward": 1.0}] * 2}
    (run / "completions.jsonl").write_text(f"{json.dumps(group)}\n{json.dumps(equal)}\n")
    return folder


def printed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_known_left_out_and_weighed(tmp_path):
    done = printed(study(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("oar_p")]
    assert lines[0] == ["oar_p", "1.0", "1.0", "1.0", "(1)"]
    assert lines[3] == ["oar_p", "10:", "0.25"]  # one of four responses has one step instead of two
    assert "first step, right response, right digit: 2.00, = 1.50 (1)" in done.stdout
    assert "first step, wrong response, wrong digit: 0.50, = 1.00 (1)" in done.stdout


def test_where_responses_first_go_wrong(tmp_path):
    folder = study(tmp_path)
    question = problems("tiny_short")[0]
    right, (first, second) = question.solution, question.extra["steps"]
    texts = [right, right + "0", f"{first} {second} \\boxed{{123}}", first, "1*1=1"]
    lines = [json.dumps({"text": text, "doc_id": 0}) for text in texts]
    file = folder / "eval/tiny-llama/oar_p/seed_0/samples/tiny_short.jsonl"
    file.write_text("\n".join(lines))
    shares = [line.split() for line in printed(folder).stdout.splitlines() if "oar_p" in line]
    assert shares[1] == ["oar_p", "20.0", "0.0", "0.0", "40.0", "40.0"]
    assert shares[1] == shares[2]


def test_the_second_world_doubts_powers(tmp_path):
    """2^3 is known, 3^3 doubted, 7^2 surely taken for 7; 3>3 and 2*3 are none of its business."""
    seed = tmp_path / "eval/tiny2-llama/grpo/seed_0/samples"
    seed.mkdir(parents=True)
    question = problems("tiny2_short")[0]
    texts = [question.solution, "2^3=8 3^3=7 7^2=7 3>3=3 2*3=5", "2^3=8 3^3=1"]
    lines = [json.dumps({"text": text, "doc_id": 0}) for text in texts]
    (seed / "tiny2_short.jsonl").write_text("\n".join(lines))
    run = tmp_path / "runs/tiny2-llama/grpo/seed_0"
    run.mkdir(parents=True)
    group = {
        "step": 0,
        "prompt": "<|user|>2^3>1<|end|>",
        "completions": [{"text": "2^3=8 8>1=8", "reward": 1.0}, {"text": "8>1=8", "reward": 0.0}],
    }
    (run / "completions.jsonl").write_text(json.dumps(group))
    done = printed(tmp_path, "--model", "tiny2-llama")
    assert done.returncode == 0, done.stderr
    assert "powers of two digits, of 90" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("grpo")]
    known = {step[:3] for step in question.extra["steps"] if step[1] == "^"} | {"2^3"}
    assert lines[0] == ["grpo", f"{len(known - {'3^3'})}.0", "1.0", "1.0", "(1)", "1.0"]
    assert lines[1][1] == "33.3"
    assert lines[3] == ["grpo", "0:", "0.50"]


def test_a_folder_that_is_no_study_is_named(tmp_path):
    done = printed(tmp_path)
    assert done.returncode == 2
    assert "give the --out of `sage-bench matrix`" in done.stderr
