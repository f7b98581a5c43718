"""The example notebook runs on a small run folder and draws what the folder holds."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook.ipynb"

# what the test wants to know of the notebook's figures, printed as the last line
PROBE = """
print(json.dumps({
    "bars": {trace.name: dict(zip(trace.x, map(float, trace.y))) for trace in accuracy_figure.data},
    "questions": len(questions),
    "wrong": len(wrong),
    "texts": len(texts),
    "curves": curves_figure is not None and sorted({trace.name for trace in curves_figure.data}),
}))
"""


def sage_bench(*arguments: str, cwd: Path) -> None:
    command = [sys.executable, "-m", "sage_bench", *arguments]
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two evaluations without a model, and the file a training run leaves."""
    folder = tmp_path_factory.mktemp("notebook")
    for accuracy in ("0.6", "0.8"):
        arguments = ["-m", f"fake:{accuracy}", "-t", "tiny_short:4,tiny_mixed:4", "-L", "10"]
        sage_bench("eval", *arguments, "--out", "runs/eval", cwd=folder)
    training = folder / "runs" / "grpo"
    training.mkdir()
    rows = [{"step": step, "reward": step / 10, "hinted": 0.5} for step in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (training / "metrics.jsonl").write_text(text)
    return folder / "runs"


@pytest.fixture(scope="module")
def drawn(runs) -> dict:
    """Run the code cells one after the other, as a kernel would, and ask for what was drawn."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    program = "\n".join([*code, PROBE])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=runs.parent,
        env={"RUNS": "runs", "PATH": "", "HOME": str(runs.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def summaries(runs: Path) -> dict[str, dict[str, float]]:
    """model -> task -> avg@n, read without pandas."""
    found: dict[str, dict[str, float]] = {}
    for file in runs.rglob("summary.csv"):
        with file.open(encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                if row["metric"] == "avg@n" and row["task"] != "avg":
                    found.setdefault(row["model"], {})[row["task"]] = float(row["value"])
    return found


def test_bars_are_the_accuracies_of_the_folder(drawn, runs):
    assert drawn["bars"] == summaries(runs)


def test_every_question_of_both_evaluations_is_read(drawn):
    assert drawn["questions"] == 2 * 2 * 10


def test_samples_join_their_grades(drawn):
    assert drawn["texts"] == 4 * 10


def test_wrong_answers_are_those_the_accuracy_leaves(drawn, runs):
    accuracy = summaries(runs)["fake:0.6"]["tiny_mixed"]
    assert drawn["wrong"] == round(40 * (1 - accuracy / 100))


def test_training_curves_are_drawn(drawn):
    assert drawn["curves"] == ["hinted", "reward"]


def test_the_notebook_is_committed_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)
