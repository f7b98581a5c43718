"""OAR: the group advantage, spread over tokens by how much each matters for the final answer (arXiv
2601.07408)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.backends.oar.report import section
from sage_bench.backends.oar.saliency import Saliency
from sage_bench.backends.oar.spans import AnswerSpan, answer_span
from sage_bench.backends.oar.weights import token_weights
from sage_bench.methods.base import Program, switch
from sage_bench.methods.registry import register_backend
from sage_bench.types import Completion, Group, Problem, Row

Outcome = Literal["last", "answer_mean", "answer_joint"]


class OARConfig(GRPOConfig):
    outcome: Outcome = switch(
        "answer_mean",
        help=(
            "what is read of the answer: first token, mean of the answer's logits, log-probability"
            " of the answer"
        ),
    )
    probe: Literal["own", "gold"] = switch(
        "own",
        paper="own",
        code="gold",
        help="whose answer is probed: the response's own boxed one, or the gold",
    )
    quantile: float = switch(
        0.25, help="tokens below this quantile of importance are suppressed", ge=0, le=1
    )
    boost: float = switch(
        1.0, help="beta: the most important token weighs 1 + boost before rescaling", ge=0
    )
    floor: float = switch(0.1, help="least weight of a suppressed token before rescaling", ge=0)
    preserve: bool = switch(True, help="rescale so that the weights of a span sum to its length")


class OAR(GRPO):
    """Base of both estimators."""

    Config = OARConfig
    needs = frozenset({"sample", "policy"})
    source = "arXiv 2601.07408; Valsure/OAR at HEAD (not runnable as released)"
    notes = [
        (
            "The paper's text was not at hand, and the code misses helpers: `quantile` and `boost`"
            " are from a sister repository, the probe text `\\boxed{` is the response's own, and"
            " rescaling, a flag there, is on."
        ),
        (
            "Repaired here: gradients of embeddings only (theirs mix into the policy's), the"
            " sampled token ids (theirs are tokenised again), outcomes read where the answer is"
            " predicted, negative importance counted as 0, no work on groups without advantage."
        ),
    ]

    def roll(self, problem: Problem) -> Program:
        group = yield from self.attempt(problem)
        if bool(group.rewards.max() == group.rewards.min()):
            return group  # no advantage to spread: nothing is spent
        spans = [self.span(problem, c) for c in group.completions]
        # a response without an answer keeps weight 1
        asked = {i: s for i, s in enumerate(spans) if s is not None}
        scores = yield [self.ask(group, span) for span in asked.values()]
        group.notes["weights"] = [torch.ones(len(c.tokens)) for c in group.completions]
        cfg = self.cfg
        for i, score in zip(asked, scores, strict=True):
            group.notes["weights"][i][: len(score)] = token_weights(
                score,
                quantile=cfg.quantile,
                boost=cfg.boost,
                floor=cfg.floor,
                preserve=cfg.preserve,
            )
        if len(asked) < len(spans):
            self.ctx.record(problem, "no_answer_to_probe", len(spans) - len(asked))
        return group

    def span(self, problem: Problem, completion: Completion) -> AnswerSpan | None:
        found = answer_span(completion.tokens, self.ctx.text)
        if found and self.cfg.probe == "gold":
            found = replace(found, target=self.ctx.renderer.ids(problem.answer))
        return found if found and found.reasoning else None

    def ask(self, group: Group, span: AnswerSpan) -> Saliency:
        raise NotImplementedError

    def credit(self, group: Group) -> list[Row]:
        rows = super().credit(group)
        weights: list[Any] | None = group.notes.get("weights")
        if not weights:
            return rows
        return [replace(r, advantage=r.advantage * w) for r, w in zip(rows, weights, strict=True)]

    def describe_completion(self, group: Group, i: int) -> dict[str, Any]:
        """weights: (text of the token, its weight in the advantage), token by token."""
        if "weights" not in group.notes:
            return {}
        decode = self.ctx.renderer.tokenizer.decode
        pairs = zip(group.completions[i].tokens, group.notes["weights"][i], strict=True)
        return {"weights": [(decode([token]), round(float(w), 4)) for token, w in pairs]}

    @classmethod
    def report_html(cls, runs: Mapping[str, Path]) -> str:
        return section(runs)


class OARPConfig(OARConfig):
    outcome: Outcome = switch(
        "last",
        help=(
            "what is read of the answer: first token, mean of the answer's logits, log-probability"
            " of the answer"
        ),
    )
    positions: int | None = switch(
        None,
        help=(
            "perturbed copies read a response, to bound the cost (an approximation: see `search`);"
            " null = one for every token (the paper)"
        ),
        ge=1,
    )
    search: Literal["fine", "even"] = switch(
        "fine",
        help=(
            "with `positions`: whole blocks first, then the halves of those that matter most; or"
            " tokens at even distances, which misses most spikes"
        ),
    )


@register_backend("oar_p")
class OARP(OAR):
    """Outcome-aware reshaping by perturbation: how the answer changes when a token is replaced by
    the pad token."""

    Config = OARPConfig
    notes = [
        (
            "The paper replaces every token, which is the default; `positions` is ours. The code"
            " can read `last` only."
        ),
    ]

    def ask(self, group: Group, span: AnswerSpan) -> Saliency:
        mask = self.ctx.renderer.tokenizer.pad_token_id
        return Saliency(
            group.prompt,
            span.reasoning,
            span.bridge,
            span.target,
            "perturb",
            self.cfg.outcome,
            mask=mask,
            positions=self.cfg.positions,
            search=self.cfg.search,
        )


class OARGConfig(OARConfig):
    noise: float = switch(
        1e-3, help="standard deviation of the noise on the span's embeddings", gt=0
    )


@register_backend("oar_g")
class OARG(OAR):
    """Outcome-aware reshaping by gradient x input: one backward on embeddings, parameters
    untouched."""

    Config = OARGConfig

    def ask(self, group: Group, span: AnswerSpan) -> Saliency:
        return Saliency(
            group.prompt,
            span.reasoning,
            span.bridge,
            span.target,
            "gradient",
            self.cfg.outcome,
            noise=self.cfg.noise,
        )
