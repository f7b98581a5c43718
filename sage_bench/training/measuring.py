"""What a run measures beside its updates: the reward without hints, and what hints change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage_bench.methods.driver import Collected
from sage_bench.training.session import Session
from sage_bench.types import Request, Sample, Sampling, Score


def hint_gap(session: Session, items: Sequence[Collected]) -> dict[str, float]:
    """Mean of log pi(o|q) - log pi(o|q, h) a token over some hinted completions.

    How far hinted answers are from what the policy says without the hint; a diagnostic for every
    method that uses hints (docs: HINT specification, A4). Empty where no completion was hinted.
    """
    run = session.run
    hinted = [
        (item.group, completion)
        for item in items
        if item.group.level and not item.group.prompts
        for completion in item.group.completions[:1]
    ]
    chosen = hinted[: run.config.log.gap_rows]
    if not chosen or "score" not in run.engine.capabilities:
        return {}
    asks: list[Request] = []
    for group, completion in chosen:
        asks.append(Score(run.context.prompt(group.problem), completion.tokens))
        asks.append(Score(group.prompt, completion.tokens))
    scores: list[Any] = session.engine.run(asks)
    gaps = [
        float((plain - hint).mean()) for plain, hint in zip(scores[::2], scores[1::2], strict=True)
    ]
    return {"hint_gap": sum(gaps) / len(gaps)}


def validate(session: Session) -> None:
    """Un-hinted reward on the validation problems at the rollout temperature."""
    run, step = session.run, session.state.step
    if not run.validation:
        return
    session.heart.beat(f"validation on {len(run.validation)} problems", limited=False)
    settings = run.config.sampling
    params = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    samples = run.config.validation.samples
    ranks = session.heart.ranks
    share = ranks.share(run.validation)
    asks: list[Request] = [
        Sample(run.context.prompt(p), samples, params, key=("validation", step, p.uid))
        for p in share
    ]
    own = []
    for problem, completions in zip(share, run.engine.run(asks), strict=True):
        answers = [run.context.text(c.tokens) for c in completions]
        verdicts = run.context.grader.grade(problem.answer, answers)
        own.append(sum(v.correct for v in verdicts) / len(verdicts))
    rewards = ranks.joined(own)
    session.sinks.validation(
        step,
        {
            "reward": sum(rewards) / len(rewards),
            "solved": sum(r > 0 for r in rewards) / len(rewards),
            "questions": len(rewards),
        },
    )
