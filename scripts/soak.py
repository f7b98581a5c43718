#!/usr/bin/env python3
"""Kill and resume training and evaluation at random moments, and compare with undisturbed runs.

    python scripts/soak.py --minutes 120 --out /tmp/soak

Each trial runs one command, takes it away again and again (SIGKILL mostly, sometimes SIGTERM or
Ctrl-C), starts it anew until it ends by itself, and compares what it wrote with what the same
command wrote undisturbed: weights, optimiser, ledger and metrics of training; samples and grades of
evaluation. Seconds and dates are left out of the comparison. Prints one line a trial and, at the
end, the counts as JSON. Exit code 1 when any trial differed or failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# asked to stop while Python starts or shuts down, a process dies of the signal itself
BY_SIGNAL = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}
EXPECTED = {*BY_SIGNAL, 128 + signal.SIGTERM, 128 + signal.SIGINT}
MOST_KILLS = 8  # of one trial; then it is left alone, so that it comes to an end
PATIENCE = 900.0  # seconds a command may take undisturbed
SMALL = [
    "train.steps=4",
    "optim.warmup_steps=0",
    "train.save_every=1",
    "train.prompts_per_step=4",
    "method.group_size=4",
    "sampling.max_tokens=32",
    "sampling.hint_max_tokens=96",
    "validation.every=2",
    "validation.limit=4",
    "validation.samples=2",
]


@dataclass(frozen=True)
class Case:
    """A command and what is compared. words: after `sage-bench`; `--out` is added."""

    name: str
    words: tuple[str, ...]

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, "-m", "sage_bench", *self.words, "--out", str(folder)]


def cases() -> list[Case]:
    found = []
    for backend in ("sft", "grpo", "sage", "sgpo"):
        words = ("train", "-q", "--backend", backend, "--model", "tiny-llama", "--data", "tiny")
        found.append(Case(f"train {backend}", (*words, *SMALL)))
    words = ("eval", "-q", "--model", "tiny-llama", "--tasks", "tiny_short:4,tiny_chain:4")
    found.append(Case("eval", (*words, "--limit", "12")))
    return found


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of everything two runs of one command have in common, by file."""
    return {str(name): hashlib.sha256(data).hexdigest() for name, data in contents(folder)}


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Weights and optimiser bit for bit; rows without what a clock says, in order of their keys."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or not file.is_file():
            continue
        if file.suffix == ".safetensors" or file.name == "method.json":
            yield name, file.read_bytes()
        elif file.suffix == ".jsonl":
            rows = [without_clock(json.loads(line)) for line in file.read_text().splitlines()]
            lines = [json.dumps(row, sort_keys=True) for row in rows]
            # evaluation draws in waves, whose order a kill may change; training's order is its own
            ordered = sorted(lines) if "samples" in name.parts or "grades" in name.parts else lines
            yield name, "\n".join(ordered).encode()


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != "time" and not k.startswith("seconds")}


def run_once(case: Case, folder: Path, log: Path, kill: tuple[int, float] | None) -> int:
    """The command's exit code. kill: (signal, seconds after the start)."""
    with log.open("ab") as out:
        process = subprocess.Popen(case.command(folder), stdout=out, stderr=out)
        try:
            process.wait(timeout=kill[1] if kill else PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(kill[0] if kill else signal.SIGKILL)
            try:
                process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return 999  # asked to stop, and went on
    return process.returncode


def before_our_code(chosen: int, code: int, log: Path) -> bool:
    """Whether Ctrl-C came while Python itself was starting, which ends with 1 and a traceback."""
    lines = log.read_text(errors="replace").split()
    return chosen == signal.SIGINT and code == 1 and lines[-1:] == ["KeyboardInterrupt"]


def trial(
    case: Case, folder: Path, rng: random.Random, seconds: float, end: float
) -> tuple[str, Counter[str]]:
    """("equal" or what is wrong, signals sent). seconds: what the command takes undisturbed."""
    log = folder.with_suffix(".log")
    sent: Counter[str] = Counter()
    for number in range(MOST_KILLS + 1):
        last = number == MOST_KILLS or time.monotonic() > end
        chosen = rng.choice(SIGNALS)
        kill = None if last else (chosen, rng.uniform(0.2, 1.1) * seconds)
        code = run_once(case, folder, log, kill)
        if code == 0:
            return "ended", sent
        if last or not (code in EXPECTED or before_our_code(chosen, code, log)):
            tail = log.read_text(errors="replace")[-400:]
            return f"exit code {code} after {dict(sent)}: {tail}", sent
        sent[signal.Signals(chosen).name] += 1
    return "ended", sent


def soak(minutes: float, out: Path, seed: int, only: str | None) -> dict[str, Any]:
    rng = random.Random(seed)
    end = time.monotonic() + 60 * minutes
    known: dict[str, tuple[dict[str, str], float]] = {}
    count: Counter[str] = Counter()
    signals: Counter[str] = Counter()
    problems: list[str] = []
    chosen = [case for case in cases() if only is None or only in case.name]
    while time.monotonic() < end:
        case = chosen[count["trials"] % len(chosen)]
        if case.name not in known:
            folder = out / f"undisturbed-{case.name.replace(' ', '-')}"
            began = time.monotonic()
            code = run_once(case, folder, folder.with_suffix(".log"), None)
            if code != 0:
                raise SystemExit(f"{case.name}: exit code {code}; see {folder}.log")
            known[case.name] = (digests(folder), time.monotonic() - began)
        wanted, seconds = known[case.name]
        folder = out / f"trial-{count['trials']:04d}"
        verdict, sent = trial(case, folder, rng, seconds, end)
        signals += sent
        count["trials"] += 1
        if verdict == "ended":
            found = digests(folder)
            differ = sorted(k for k in {*wanted, *found} if wanted.get(k) != found.get(k))
            verdict = f"differs in {', '.join(differ[:5])}" if differ else "equal"
        count["equal"] += verdict == "equal"
        print(f"{case.name}: {dict(sent)}: {verdict}", flush=True)
        if verdict == "equal":
            shutil.rmtree(folder)
        else:
            problems.append(f"{folder} ({case.name}): {verdict}")
    return {
        "trials": count["trials"],
        "equal": count["equal"],
        "signals": dict(signals),
        "seed": seed,
        "problems": problems,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0, help="begin no trial after this")
    parser.add_argument("--out", type=Path, required=True, help="empty folder for the runs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals")
    parser.add_argument("--only", help="cases whose name contains this")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # a shell starts what runs in the background with Ctrl-C ignored, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    result = soak(options.minutes, options.out, options.seed, options.only)
    print(json.dumps(result, indent=1))
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
