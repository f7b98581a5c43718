"""What a run would do, in words and numbers, without loading weights."""

from __future__ import annotations

from sage_bench.config.layers import Resolved
from sage_bench.config.schema import RunConfig
from sage_bench.methods import describe
from sage_bench.methods.base import Method, MethodConfig, make_config
from sage_bench.methods.registry import BACKENDS


def deviations(config: MethodConfig) -> list[tuple[str, object, object, object]]:
    """Switches on which paper and released code disagree.

    Each is (name, the value that is on, the paper's, the code's).
    """
    out: list[tuple[str, object, object, object]] = []
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "paper" in extra:
            out.append((name, getattr(config, name), extra["paper"], extra["code"]))
    return out


def _source(backend: str) -> str:
    """Where a method comes from; a child has its own source, or names what it builds on."""
    about = describe.backend(backend)
    if about["source"]:
        return str(about["source"])
    return f"none of its own; builds on {about['builds_on']}" if about["builds_on"] else "none"


def plan(resolved: Resolved[RunConfig]) -> str:
    """The plan `--dry-run` prints."""
    c = resolved.config
    method_class: type[Method] = BACKENDS.get(c.backend)
    method = make_config(method_class, c.method, resolved.origins.get("method", "method"))
    length = f"{c.train.epochs:g} epochs" if c.train.epochs else f"{c.train.steps} steps"
    rollouts = c.train.prompts_per_step * method.group_size if method_class.needs else 0
    lines = [
        f"backend    {c.backend}: {(method_class.__doc__ or '').splitlines()[0]}",
        f"source     {_source(c.backend)}",
        f"model      {c.model.path} (dtype {c.model.dtype}, device {c.model.device})",
        f"data       {c.data.source} (not loaded in a dry run)",
        (
            f"schedule   {length}, {c.train.prompts_per_step} prompts each,"
            f" {c.train.updates_per_step} optimiser steps each, checkpoint every"
            f" {c.train.save_every}"
        ),
        (
            f"rollouts   {rollouts} a step before any re-roll, at most {c.sampling.max_tokens}"
            f" tokens each (T {c.sampling.temperature:g}, top-p {c.sampling.top_p:g})"
        ),
        (
            f"optimiser  AdamW lr {c.optim.lr:g} {c.optim.schedule}, betas {c.optim.betas}, weight"
            f" decay {c.optim.weight_decay:g}, clip {c.optim.grad_clip:g}"
        ),
        (
            f"objective  {c.objective.aggregation}, ratio clip"
            f" {c.objective.clip_low:g}/{c.objective.clip_high:g}, dual clip"
            f" {c.objective.dual_clip}"
        ),
        (
            f"engine     {c.engine.name}; grader {c.grader}; validation"
            f" {c.validation.source or 'none'}"
        ),
        "switches   " + ", ".join(f"{k}={v}" for k, v in method.model_dump().items()),
    ]
    differ = deviations(method)
    if differ:
        lines.append("paper and released code disagree on:")
        lines += [
            f"  {name}: {on} is on (paper {paper}, code {code})" for name, on, paper, code in differ
        ]
    return "\n".join(lines)
