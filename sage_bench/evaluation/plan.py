"""What an evaluation would ask and cost, without weights: first prompts, counts, upper bounds of
tokens and GPU hours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.evaluation.tasks.loading import DataOptions, grader_of, load, report_of, shown
from sage_bench.generation.model_folders import load_tokenizer
from sage_bench.generation.prompts import Renderer
from sage_bench.utils.errors import SageBenchError

SHOWN = 600  # characters of a first prompt


def plan(
    model: str,
    tasks: Mapping[str, int],
    options: DataOptions,
    *,
    grader: str | None = None,
    sampling: Mapping[str, Any] | None = None,
    limit: int | None = None,
    tokens_per_second: float = 2000.0,
    gpu_price: float | None = None,
) -> str:
    """Text of the plan. Costs are upper bounds: every completion as long as it may be, on GPUs that
    make `tokens_per_second` each."""
    loaded, skipped = load(tasks, options, grader=grader, sampling=sampling)
    renderer, remark = _renderer(model)
    out = [f"model      {model}{remark}"]
    samples = longest = 0
    for name, task in loaded.items():
        docs = list(task.eval_docs)[:limit]
        n = len(docs) * task.config.repeats
        samples += n
        longest += n * int(task.config.generation_kwargs["max_gen_toks"])
        out += _task_lines(name, task, docs, renderer, limited=bool(limit))
    out += ["", *(f"left out: {skip['why']}" for skip in skipped.values())]
    hours = longest / tokens_per_second / 3600
    price = f", {hours * gpu_price:,.2f} at {gpu_price:g} an hour" if gpu_price is not None else ""
    out.append(
        f"total      {samples:,} samples, at most {longest:,} new tokens: at most {hours:,.2f} GPU"
        f" hours at {tokens_per_second:,.0f} tokens a second{price}"
    )
    return "\n".join(out)


def _task_lines(
    name: str, task: Any, docs: list[Any], renderer: Renderer | None, *, limited: bool
) -> list[str]:
    """What is said of one task."""
    kwargs = task.config.generation_kwargs
    repeats = task.config.repeats
    prompts = [_render(renderer, task, doc) for doc in docs]
    watermark = " (LIMITED)" if limited else ""
    return [
        "",
        f"{name}: {len(docs)} questions x {repeats} = {len(docs) * repeats:,} samples, graded by"
        f" {grader_of(task)}{watermark}",
        f"  data       {_data(task)}",
        (
            f"  sampling   temperature {kwargs.get('temperature')}, top_p"
            f" {kwargs.get('top_p', 1.0)}, at most {int(kwargs['max_gen_toks'])} tokens"
        ),
        f"  prompts    {_lengths(renderer, prompts)}",
        "  first prompt:",
        *(f"    | {line}" for line in _short(shown(task, prompts[0])).splitlines()),
    ]


def _data(task: Any) -> str:
    report = report_of(task)
    if report is None:
        return "generated"
    return (
        f"{report['source']}, {len(report['corrected'])} golds corrected,"
        f" {len(report['excluded'])} questions left out"
    )


def _renderer(model: str) -> tuple[Renderer | None, str]:
    if not Path(model).exists() and "/" not in model:
        return None, " (no tokenizer known for it: prompts are shown as messages)"
    try:
        return Renderer(load_tokenizer(model)), ""
    except SageBenchError as error:
        return None, f" (prompts are shown as messages: {error.what})"


def _render(renderer: Renderer | None, task: Any, doc: Mapping[str, Any]) -> str:
    system, user = task.config.description, task.doc_to_text(doc)
    return renderer.text(system, user) if renderer else f"[system] {system}\n[user] {user}"


def _lengths(renderer: Renderer | None, prompts: list[str]) -> str:
    if renderer is None:
        return f"{len(prompts)}, at most {max(map(len, prompts))} characters"
    tokens = [len(renderer.ids(p)) for p in prompts]
    return f"{sum(tokens) / len(tokens):.0f} tokens on average, {max(tokens)} at most"


def _short(text: str) -> str:
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]} ... ({len(text) - SHOWN} more characters)"
