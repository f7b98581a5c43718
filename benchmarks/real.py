"""What evaluation adds to a sampler that works, and the demo as a user types it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from benchmarks.measure import Result, command, machine
from benchmarks.models import make_folder
from sage_bench import evaluate
from sage_bench.generation.model_folders import PACKAGED, model_path
from sage_bench.generation.samplers.hf import Hf
from sage_bench.types import Completion, Sample

TOKENS = 64


def run(quick: bool = False) -> Result:
    """A line for the evaluation and one for the demo."""
    limit, samples = (2, 1) if quick else (20, 8)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        asked = {"sampling.limit": limit, "sampling.max_tokens": TOKENS}
        # libraries are loaded before anything is counted
        evaluate("fake:0.5", "tiny:1", out=folder / "warm", overrides=asked)
        drawing = timed_draw()
        model = str(readable("5M" if quick else "50M"))
        began = time.process_time()
        evaluate(model, f"tiny:{samples}", out=folder / "real", overrides=asked)
        total = time.process_time() - began
        rows.append(
            {
                "what": "eval, a sampler of 50 M parameters",
                "wall s": None,
                "CPU s": total,
                "of it drawing": drawing[0],
                "over drawing": total / drawing[0],
            }
        )
        if not quick:
            began = time.monotonic()
            seconds, _ = command("demo", "-q", "--out", str(folder / "demo"))
            rows.append(
                {
                    "what": "demo, three seeds",
                    "wall s": time.monotonic() - began,
                    "CPU s": seconds,
                    "of it drawing": None,
                    "over drawing": None,
                }
            )
    about = (
        f"eval: {6 * limit * samples} completions of {TOKENS} tokens on six benchmarks, loading"
        " the model included, libraries not. demo: the whole command, on all cores"
    )
    return Result("real", about, rows, machine())


def readable(size: str) -> Path:
    """A random policy that reads the questions of the tiny world."""
    tokenizer = AutoTokenizer.from_pretrained(model_path(f"{PACKAGED}data/tiny_policies/llama"))
    folder = make_folder("qwen2", size, len(tokenizer))
    tokenizer.save_pretrained(folder)
    return folder


def timed_draw() -> list[float]:
    """From now on, the CPU seconds spent in our sampler, in a list of one number."""
    seconds = [0.0]
    draw = Hf.draw

    def timed(self: Hf, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        drawn = draw(self, samples)
        while True:
            began = time.process_time()
            item = next(drawn, None)
            seconds[0] += time.process_time() - began
            if item is None:
                return
            yield item

    Hf.draw = timed  # type: ignore[method-assign]
    return seconds
