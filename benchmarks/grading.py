"""Rows a second of every grader on short answers, hard ones and long texts."""

from __future__ import annotations

import os
import random
import resource
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, machine
from sage_bench.grading.registry import GRADERS

WORDS = ["so", "we", "add", "$x^2$", "and", "$\\frac{1}{3}$", "again", "therefore"]


def plain(a: int, b: int) -> list[tuple[str, str]]:
    """(gold, answer) with two numbers in them, so that no verdict is known from before."""
    return [
        (f"{a}", f"{a}"),
        (f"{a}", f"{b}"),
        (f"\\frac{{{a}}}{{4}}", f"{a / 4}"),
        (f"{a}x+{b}", f"{b}+{a}x"),
        (f"({a}, {b})", f"({a},{b})"),
    ]


def hard(a: int, b: int) -> list[tuple[str, str]]:
    return [
        (f"\\frac{{x^2-{a * a}}}{{x-{a}}}", f"x+{a}"),
        (f"\\begin{{pmatrix}} {a} & 2 \\\\ 3 & {b} \\end{{pmatrix}}", f"[[{a},2],[3,{b}]]"),
        (f"(-\\infty, {a}) \\cup ({a}, \\infty)", f"x \\neq {a}"),
        (f"2^{{10}} - {a}", f"{1024 - a}"),
        (f"\\sqrt{{{8 * a * a}}}", f"{2 * a}\\sqrt{{2}}"),
    ]


def texts(quick: bool) -> dict[str, list[tuple[str, str]]]:
    """kind -> (gold, completion)."""
    rng = random.Random(0)

    def completions(kind: Any, times: int, words: int) -> list[tuple[str, str]]:
        found = []
        for _ in range(times):
            for gold, answer in kind(rng.randint(2, 999), rng.randint(1000, 9999)):
                thought = " ".join(rng.choices(WORDS, k=words))
                found.append((gold, f"{thought} The answer is $\\boxed{{{answer}}}$."))
        return found

    times = 1 if quick else 100
    return {
        "plain answers": completions(plain, times, 30),
        "hard answers": completions(hard, times, 30),
        "8,000 tokens": completions(plain, times // 4 or 1, 6000),
    }


def run(quick: bool = False) -> Result:
    """One line a grader and kind of text."""
    rows: list[dict[str, Any]] = []
    for kind, pairs in texts(quick).items():
        for name in GRADERS.names():
            grader = GRADERS.get(name)()
            grader.grade(*_group(pairs[0]))  # its processes start at the first row
            began, cpu = time.perf_counter(), _cpu()
            for pair in pairs:
                grader.grade(*_group(pair))
            seconds = time.perf_counter() - began
            rows.append(
                {
                    "texts": kind,
                    "grader": name,
                    "rows": len(pairs),
                    "rows / s": len(pairs) / seconds,
                    "CPU ms a row": 1000 * (_cpu() - cpu) / len(pairs),
                }
            )
    about = (
        "Grading one completion at a time. rows / s: wall time. CPU: of this process and of the"
        " workers a grader compares in"
    )
    return Result("grading", about, rows, machine())


def _group(pair: tuple[str, str]) -> tuple[str, list[str]]:
    gold, text = pair
    return gold, [text]


def _cpu() -> float:
    """CPU seconds of this process and all its children, those that have ended too (Linux)."""
    ticks = os.sysconf("SC_CLK_TCK")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total
