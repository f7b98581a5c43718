"""Which targets the results of `python -m benchmarks all` meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, stored

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """One number of one benchmark. bound: with `at_least` the smallest that meets it, else the
    largest. where: the row it is in."""

    what: str
    file: str
    column: str
    bound: float
    where: Callable[[Row], bool]
    at_least: bool = False


def step(prompt: int, completion: int) -> Callable[[Row], bool]:
    """The step of the 4.9 M Qwen2 at group size 8, all weights."""
    wanted = {
        "policy": "qwen2",
        "learns": "all",
        "G": 8,
        "prompt": prompt,
        "completion": completion,
        "what": "step",
    }
    return lambda row: wanted.items() <= row.items()


def named(text: str) -> Callable[[Row], bool]:
    return lambda row: str(row["what"]).startswith(text)


def learner(size: str) -> Callable[[Row], bool]:
    return lambda row: (row["parameters"], row["what"]) == (size, "learner, prompt once")


def ours_at_64(lengths: str) -> Callable[[Row], bool]:
    return lambda row: (row["what"], row["rows"], row["lengths"]) == ("ours", 64, lengths)


def sage_at_a_third(row: Row) -> bool:
    return bool(row["method"] == "sage" and 0.2 < row["failing"] < 0.5)


SHARE = "share of the machine's speed"
STEPS = {(512, 64): 5, (128, 48): 2.7, (64, 256): 1.6}  # tokens of prompt and completion
SPEED = [
    Target(f"step beside TRL, {p}/{c}", "trl_step", "TRL / ours", bound, step(p, c), True)
    for (p, c), bound in STEPS.items()
]
MEMORY = [
    Target(f"peak memory beside TRL, {p}/{c}", "trl_step", "memory ours / TRL", 0.6, step(p, c))
    for p, c in STEPS
]
TARGETS = [
    *SPEED,
    *MEMORY,
    Target("learner, 5 M, share of sgemm", "learning", SHARE, 0.7, learner("5M"), True),
    Target("learner, 50 M, share of sgemm", "learning", SHARE, 0.7, learner("50M"), True),
    *(
        Target(f"decoding, 64 {kind}", "decoding", "generate / this", 2, ours_at_64(kind), True)
        for kind in ("equal", "geometric")
    ),
    Target("decoding, 64 equal, over floor", "decoding", "this / floor", 1.5, ours_at_64("equal")),
    Target("eval over its sampler", "real", "over drawing", 1.02, named("eval")),
    Target(
        "eval of a free sampler, rows / s",
        "pipeline",
        "rows / CPU s",
        10_000,
        named("of that, without the start"),
        True,
    ),
    Target("report of 9 runs, CPU s", "pipeline", "CPU s", 2, named("report")),
    Target("--help, CPU s", "pipeline", "CPU s", 0.25, named("--help")),
    Target("demo, three seeds, wall s", "real", "wall s", 240, named("demo")),
    Target(
        "SAGE over GRPO as the field runs it",
        "methods",
        "step, grpo, dead rows too = 1",
        1.4,
        sage_at_a_third,
    ),
    Target("SAGE over our GRPO", "methods", "step, grpo = 1", 1.4, sage_at_a_third),
]


def table(folder: Path) -> Result:
    """One line a target. Raises `SystemExit` where a benchmark it needs has not been run."""
    return Result("targets", f"Targets, and what {folder} has", met_by(folder, TARGETS))


def met_by(folder: Path, targets: Sequence[Target]) -> list[Row]:
    """What was measured of every target, and whether that meets it."""
    rows = []
    for target in targets:
        found = stored(folder, target.file)
        value = next((row[target.column] for row in found if target.where(row)), None)
        if value is None:
            raise SystemExit(f"{target.file}.json has no row for `{target.what}`: it is of --quick")
        met = value >= target.bound if target.at_least else value <= target.bound
        sign = ">=" if target.at_least else "<="
        rows.append(
            {
                "target": target.what,
                "wanted": f"{sign} {target.bound:g}",
                "measured": value,
                "met": "yes" if met else "NO",
            }
        )
    return rows
