"""Labelled steps of the tiny world as a file: corrupted solutions, or what a policy wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sage_bench.config.models import path_of
from sage_bench.data import tiny_steps
from sage_bench.data.tiny_world import Chain, Family
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import make_folder, write_jsonl
from sage_bench.utils.progress import Bar

LONGEST = 96  # tokens of a completion, as in the presets of the tiny policies


@dataclass(frozen=True)
class LabelledSteps:
    """A file of labelled steps. errors: rows with a wrong step. empty: completions without any,
    which are left out."""

    file: Path
    rows: int
    errors: int
    empty: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"file": self.file, "rows": self.rows, "errors": self.errors, "empty": self.empty}


def label_tiny_steps(
    out: Path | str,
    *,
    model: str | None = None,
    rows: int = 400,
    stars: float = tiny_steps.TAUGHT.stars,
    lengths: tuple[int, int] = tiny_steps.TAUGHT.lengths,
    temperature: float = 1.0,
    seed: int = 0,
    quiet: bool = True,
) -> LabelledSteps:
    """Write labelled steps in the columns of ProcessBench, with exact labels.

    model: a tiny policy, one completion a question; None = solutions, half of them with one
    mistake. stars: share of `*` among the operators; lengths: number of steps, inclusive. No
    question is one of a benchmark, of training or of validation.

    Raises `UsageError` for numbers that cannot be meant.
    """
    if not 0 <= stars <= 1:
        raise UsageError(f"`{stars}` is not a share", where="--stars", remedy="give 0 to 1")
    if not 1 <= lengths[0] <= lengths[1] <= 9:
        raise UsageError(
            f"{lengths[0]} to {lengths[1]} steps are none of the tiny world's",
            where="--shortest, --longest",
            remedy="give 1 to 9",
        )
    file = Path(out)
    make_folder(file.parent)
    name = f"steps-{seed}"
    family = Family(name, lengths, stars, count=rows)
    made = tiny_steps.respond(family, f"sage-bench tiny {name}", tiny_steps.taken())
    if model is None:
        found = list(made)
    else:
        chains = [response.chain for response in made]
        found = list(_completions(model, chains, temperature, seed, quiet))
    table = [response.row(f"{name}-{i:05d}") for i, response in enumerate(found) if response.steps]
    write_jsonl(file, table)
    errors = sum(row["label"] != tiny_steps.NO_ERROR for row in table)
    return LabelledSteps(file, len(table), errors, len(found) - len(table))


def _completions(
    model: str, chains: list[Chain], temperature: float, seed: int, quiet: bool
) -> Iterator[tiny_steps.Response]:
    """What a policy writes to the questions, cut into steps and labelled."""
    from sage_bench.generation.samplers.hf import Hf
    from sage_bench.types import Sample, Sampling

    sampler = Hf(path_of(model))
    params = Sampling(temperature, 1.0, LONGEST)
    rest = iter(chains)
    with Bar("tiny steps", len(chains), quiet=quiet) as bar:
        while batch := list(islice(rest, sampler.block)):
            asked = [
                Sample(sampler.renderer.answer(c.question), 1, params, key=("steps", seed))
                for c in batch
            ]
            for chain, (completion,) in zip(batch, sampler.answer(asked), strict=True):
                steps = tiny_steps.cut(sampler.text_of(completion))
                label = tiny_steps.first_wrong_step(chain, steps)
                yield tiny_steps.Response(chain, steps, label)
            bar.advance(len(batch))
