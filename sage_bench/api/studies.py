"""The demo study from Python, and building the tiny policies it starts from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sage_bench.config.registry import MODELS
from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.errors import UsageError, did_you_mean
from sage_bench.utils.registry import load_file


@dataclass(frozen=True)
class DemoResult:
    """A finished study. text: the table in Markdown; summary: the numbers of summary.json."""

    folder: Path
    text: str
    summary: dict[str, Any] = field(repr=False)


def demo(
    out: Path | str,
    methods: str | Sequence[str] = ("grpo", "sage"),
    *,
    model: str = "tiny-llama",
    steps: int = 40,
    n: int = 4,
    seed: int = 0,
    seeds: int = 3,
    equal_seeds: int = 1,
    backend_files: Sequence[str] = (),
    equal_rollouts: bool = True,
    overrides: Sequence[str] = (),
    quiet: bool = True,
) -> DemoResult:
    """Train methods from the same tiny policy, evaluate all without hints, compare.

    methods: backends, or "all". steps: the budget of every method. n: samples a question. seeds:
    how often every method is trained, from `seed` on; equal_seeds: for how many of these GRPO also
    goes on to equal rollouts. Raises `UsageError` for an unknown name.
    """
    from sage_bench.study import demo as study
    from sage_bench.study.demo_config import DemoConfig

    for file in backend_files:
        load_file(file)
    wanted = _methods(methods)
    MODELS.get(model)
    config = DemoConfig(
        Path(out),
        tuple(wanted),
        model,
        tasks=f"tiny:{n}",
        steps=steps,
        seed=seed,
        seeds=seeds,
        equal_seeds=equal_seeds,
        backend_files=tuple(str(Path(file).resolve()) for file in backend_files),
        equal_rollouts=equal_rollouts,
        overrides=tuple(overrides),
    )
    text = study.run(config, quiet=quiet)
    summary = json.loads((Path(out) / "summary.json").read_text(encoding="utf-8"))
    return DemoResult(Path(out), text, summary)


def _methods(words: str | Sequence[str]) -> list[str]:
    if words == "all":
        return BACKENDS.names()
    given = words.split(",") if isinstance(words, str) else words
    wanted = [word.strip() for word in given if word.strip()]
    for method in wanted:
        BACKENDS.get(method)
    if "base" in wanted or not wanted:
        raise UsageError(
            "give at least one backend; the base policy is always in the table", where="--methods"
        )
    return wanted


def build_tiny_policies(
    out: Path | str,
    only: Sequence[str] = (),
    *,
    competence_steps: int | None = None,
    doubt_steps: int | None = None,
    quiet: bool = True,
) -> Iterator[Path]:
    """Make the tiny policies from scratch; gives the folder of each when it is done.

    only: names, all unless given. The steps replace those of the recipe. Raises `UsageError` for
    an unknown name, before anything is made.
    """
    import torch

    from sage_bench.study.tiny_policies import RECIPES

    for name in only:
        if name not in RECIPES:
            raise UsageError(
                f"unknown policy `{name}`; {did_you_mean(name, RECIPES)}".rstrip("; "),
                remedy="one of " + ", ".join(RECIPES),
            )
    torch.set_num_threads(1)  # at this size one thread is faster than two
    for name in only or RECIPES:
        yield _build(name, Path(out), competence_steps, doubt_steps, quiet)


def _build(name: str, out: Path, competence: int | None, doubt: int | None, quiet: bool) -> Path:
    from sage_bench.study import tiny_policies as builder
    from sage_bench.utils.files import make_folder
    from sage_bench.utils.progress import Bar

    recipe = builder.RECIPES[name]
    if competence is not None:
        recipe = replace(recipe, competence_steps=competence)
    if doubt is not None:
        recipe = replace(recipe, doubt_steps=doubt)
    folder = make_folder(out / recipe.family)
    with Bar(f"build {name}", recipe.competence_steps + recipe.doubt_steps, quiet=quiet) as bar:

        def tell(stage: str, step: int, steps: int, loss: float) -> None:
            bar.advance(note=f"{stage} loss {loss:.3f}")

        builder.build(recipe, folder, tell)
    return folder
