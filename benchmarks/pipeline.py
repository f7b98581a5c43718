"""What evaluation costs around the model: drawing from a sampler that costs nothing, storing,
resuming, topping up, grading again, comparing and reporting. Whole commands, as a user types them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.measure import Result, command, machine
from sage_bench.data.schema import SAMPLES

RUNS = 9
TASKS = ("tiny_short", "tiny_mixed", "tiny_chain", "tiny_long", "tiny_spaced", "tiny_lines")


def run(quick: bool = False) -> Result:
    """One line a command. Rows a second count the rows the command handled."""
    rows: list[dict[str, Any]] = []
    samples = 4 if quick else 41  # 101 questions a benchmark: 25,000 rows at 41 samples
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        many = ",".join(f"{task}:{samples}" for task in TASKS)
        more = ",".join(f"{task}:{10 * samples}" for task in TASKS)

        def line(what: str, count: int, *words: str, repeats: int = 1) -> None:
            # the one that was disturbed least, where a command is short
            seconds, memory = min(command(*words) for _ in range(repeats))
            rows.append(
                {
                    "what": what,
                    "rows": count,
                    "CPU s": seconds,
                    "rows / CPU s": count / seconds if count else None,
                    "peak MiB": memory,
                }
            )

        def evaluate(model: str, tasks: str) -> tuple[str, ...]:
            return ("eval", "-q", "-m", model, "-t", tasks, "--out", str(folder / model[5:]))

        for word in ("--help", "--version"):
            line(word, 0, word, repeats=5)
        for what in ("backends", "tasks"):
            line(f"ls {what}", 0, "ls", what)
        first = folder / "first"
        words = ("--backend", "grpo", "-m", "tiny-llama", "--data", "tiny", "--out", str(first))
        line("train, one step", 0, "train", "-q", *words, "train.steps=1", "validation.source=null")
        line("eval, nothing to draw but 6 rows", 6, *evaluate("fake:0.1", many), "--limit", "1")
        line("eval of a sampler that costs nothing", samples * 606, *evaluate("fake:0.5", many))
        rows.append(beyond_the_start(*rows[-2:]))
        line("the same again: nothing to do", samples * 606, *evaluate("fake:0.5", many))
        line("grade again, oat", samples * 606, "grade", str(folder / "0.5"), "--grader", "oat")
        if not quick:
            line("ten times the samples: topped up", samples * 6060, *evaluate("fake:0.5", more))
            line("the same again: nothing to do", samples * 6060, *evaluate("fake:0.5", more))
        study = folder / "study"
        for i in range(2 if quick else RUNS):
            model = f"fake:0.{i + 1}"
            command("eval", "-q", "-m", model, "-t", many, "--out", str(study / str(i)))
        count = samples * 606 * (2 if quick else RUNS)
        runs = [str(study / str(i)) for i in range(2)]
        line("compare two runs, 10,000 draws", samples * 1212, "compare", *runs)
        line(
            f"report of {2 if quick else RUNS} runs",
            count,
            "report",
            str(study),
            "--out",
            str(folder / "report"),
        )
        line("leaderboard", count, "leaderboard", str(study), "--out", str(folder / "board"))
        line("status", count, "status", str(study))
        rows += reading(folder / "0.5")
    about = (
        "Evaluation around the model: whole commands with start-up, CPU seconds and peak memory of"
        " the command and the children it waited for"
    )
    return Result("pipeline", about, rows, machine())


def beyond_the_start(start: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """What the rows of a command cost, without its start-up."""
    count, seconds = whole["rows"] - start["rows"], whole["CPU s"] - start["CPU s"]
    row = {"what": "of that, without the start", "rows": count, "CPU s": seconds}
    return {**row, "rows / CPU s": count / seconds, "peak MiB": None}


def reading(folder: Path) -> list[dict[str, Any]]:
    """Rows of an evaluation, parsed alone and also checked against their declared form."""
    files = sorted(folder.rglob("samples/*.jsonl"))

    def parsed() -> int:
        return sum(1 for f in files for text in f.read_bytes().splitlines() if json.loads(text))

    def checked() -> int:
        return sum(1 for f in files for _ in SAMPLES.read(f))

    found = []
    for what, read in (("rows parsed alone", parsed), ("rows parsed and checked", checked)):
        began = process_time()
        count = read()
        seconds = process_time() - began
        row = {"what": what, "rows": count, "CPU s": seconds, "rows / CPU s": count / seconds}
        found.append({**row, "peak MiB": None})
    return found
