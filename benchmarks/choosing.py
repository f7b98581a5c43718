"""Choosing the next token of 64 rows: top-p with the head of the vocabulary in order, with all of
it, and without top-p. Floor: one pass over the logits."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Result, cpu_seconds, machine

ROWS = 64
VOCABULARIES = (464, 32_000, 151_936)
SHARP = {"flat": 1.0, "peaked": 4.0}  # standard deviation of the logits


def run(quick: bool = False) -> Result:
    """One line a vocabulary and shape of the distribution, in CPU ms a token of all rows."""
    import torch

    from sage_bench.generation.local import choosing

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    heads = choosing.HEADS
    rows: list[dict[str, Any]] = []
    for size in VOCABULARIES[:2] if quick else VOCABULARIES:
        for shape, sharp in SHARP.items():
            logits = sharp * torch.randn(ROWS, size, generator=generator)
            u = torch.rand(ROWS, generator=generator, dtype=torch.float64)

            def chosen(top_p: float, logits: Any = logits, u: Any = u) -> float:
                return 1e3 * cpu_seconds(lambda: choosing.choose(logits, 0.6, top_p, u), 5)

            choosing.HEADS = ()
            sorted_whole = chosen(0.95)
            choosing.HEADS = heads
            rows.append(
                {
                    "vocabulary": size,
                    "distribution": shape,
                    "top-p, head ms": round(chosen(0.95), 2),
                    "top-p, all sorted ms": round(sorted_whole, 2),
                    "no top-p ms": round(chosen(1.0), 2),
                    "floor ms": round(1e3 * cpu_seconds(logits.sum, 5), 2),
                }
            )
    about = f"one token of {ROWS} rows at temperature 0.6; `python -m benchmarks choosing`"
    return Result("choosing", about, rows, machine())
