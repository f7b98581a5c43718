"""CPU seconds and memory of this process, the floor of the machine, and how results are kept.

torch is imported where it is used: a command's peak memory counts that of the process it was forked
from.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("torch", "transformers", "trl", "lm_eval", "math-verify", "numpy", "pandas")


@dataclass
class Result:
    """A table of one benchmark. rows: one a line, all with the same keys. about: what was measured,
    and the command."""

    name: str
    about: str
    rows: list[dict[str, Any]]
    machine: Mapping[str, Any] = field(default_factory=dict)


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """CPU seconds of the fastest of some repeats: the one that was disturbed least."""
    work()  # warm-up
    return min(once(work) for _ in range(repeats))


def once(work: Callable[[], object]) -> float:
    """CPU seconds of one call, all threads of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


class Clock:
    """CPU seconds of every step and of its parts, which are methods or functions of others."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def begin(self) -> None:
        self.steps.append({})
        self._began = time.process_time()

    def end(self) -> None:
        self.steps[-1]["step"] = time.process_time() - self._began

    def part(self, name: str, owner: Any, method: str) -> None:
        """Count the time in `owner.method` as this part of the step it is called in."""
        work = getattr(owner, method)

        def timed(*args: Any, **words: Any) -> Any:
            began = time.process_time()
            try:
                return work(*args, **words)
            finally:
                if self.steps:
                    seconds = self.steps[-1].get(name, 0.0) + time.process_time() - began
                    self.steps[-1][name] = seconds

        setattr(owner, method, timed)

    def median(self, part: str = "step") -> float:
        """Of all steps but the first, which warms up."""
        return median(step.get(part, 0.0) for step in self.steps[1:])


def forget_peak() -> float:
    """Start measuring peak memory anew (Linux); resident MiB now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> float:
    """Most resident MiB since `forget_peak`."""
    return _status("VmHWM")


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(key)


def gemm_gflops(size: int = 1536) -> float:
    """What one thread multiplies in float32, in 1e9 operations a second: the floor of a learner."""
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / cpu_seconds(lambda: a @ b, 5) / 1e9


def copy_gbytes(mib: int = 256) -> float:
    """What one thread reads and writes, in 1e9 bytes a second: the floor of decoding."""
    import torch

    source = torch.zeros(mib << 18)
    target = torch.empty_like(source)
    return 2 * source.nbytes / cpu_seconds(lambda: target.copy_(source), 5) / 1e9


def machine() -> dict[str, Any]:
    """Processor, its measured limits, and versions."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "")
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "processor": model or platform.processor(),
        "python": platform.python_version(),
        "gemm_gflops": round(gemm_gflops(), 1),
        "copy_gbytes": round(copy_gbytes(), 1),
        **{name: v for name, v in versions.items() if v},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return ""


def write(result: Result, folder: Path) -> Path:
    """One JSON file a benchmark, `results/bench/NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result.name}.json"
    file.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return file


def stored(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows that `write` kept. Raises `SystemExit` where that benchmark has not been run."""
    file = folder / f"{name}.json"
    if not file.is_file():
        raise SystemExit(f"{file} is not there: python -m benchmarks {name}")
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return found


def show(result: Result) -> None:
    """The table, numbers to three digits."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=result.about, title_justify="left")
    names = list(result.rows[0])
    for name in names:
        numbers = all(isinstance(row[name], int | float | None) for row in result.rows)
        table.add_column(name, justify="right" if numbers else "left")
    for row in result.rows:
        table.add_row(*(cell(row[name]) for name in names))
    Console(file=sys.stdout, width=160).print(table)


def cell(value: object) -> str:
    """A number to three digits; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def in_a_process(*words: str, python: str = sys.executable, **env: str) -> Any:
    """What `python -m WORDS` prints as JSON on its last line. Raises `SystemExit` with the end of
    its output where it fails."""
    done = subprocess.run(
        [python, "-m", *words], env=os.environ | env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(
            f"{python} -m {' '.join(words)}: exit code {done.returncode}\n{done.stderr[-3000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def command(*words: str) -> tuple[float, float]:
    """(CPU seconds, peak resident MiB) of `sage-bench WORDS` and the children it waited for. Raises
    `SystemExit` with the end of its output where it fails."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "sage_bench", *words], stdout=output, stderr=output
        )
        _, status, usage = os.wait4(child.pid, 0)
        if status != 0:
            output.seek(0)
            tail = output.read()[-3000:].decode(errors="replace")
            raise SystemExit(f"sage-bench {' '.join(words)}: status {status}\n{tail}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
