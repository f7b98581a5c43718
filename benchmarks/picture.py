"""One picture of `results/bench/*.json`: how many times the CPU seconds of ours the others take."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import stored
from sage_bench.reporting.svg import Bars, Span, bars_svg


def draw(folder: Path) -> Path:
    """`folder/benchmarks.svg`. Raises `SystemExit` where a benchmark has not been run."""
    step = {}
    for row in stored(folder, "trl_step"):
        plain = row["policy"] == "qwen2" and row["learns"] == "all"
        if plain and row["what"] == "step":
            step[f"{row['prompt']}/{row['completion']}, G {row['G']}"] = row["TRL / ours"]
    decoding = {}
    for row in stored(folder, "decoding"):
        if row["what"] == "ours":
            decoding[f"{row['rows']} {row['lengths']}"] = row["generate / this"]
    learning = {}
    for row in stored(folder, "learning"):
        if row["what"] == "learner, prompt once":
            learning[f"update {row['parameters']}"] = row["padded / this"]
    found = {
        "a GRPO step, TRL (prompt/completion tokens)": step,
        "decoding, generate (rows)": decoding,
        "gradient, rows padded": learning,
    }
    chart = Bars(
        "CPU seconds of others over ours, the same work in one run",
        "times ours",
        [category for row in found.values() for category in row],
        {name: {c: Span(v, v, v) for c, v in row.items()} for name, row in found.items()},
        {"ours": 1.0},
    )
    file = folder / "benchmarks.svg"
    file.write_text(bars_svg(chart), encoding="utf-8")
    return file
