"""SGPO: when a whole group fails, each failure earns partial credit by where its first wrong step
stands (arXiv 2505.11595)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch

from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.backends.sgpo.steps import (
    length_score,
    logistic_reward,
    split_steps,
    trajectory_score,
)
from sage_bench.judges.base import NotAsked
from sage_bench.judges.registry import JUDGES
from sage_bench.judges.steps import majority
from sage_bench.methods.base import Program, switch
from sage_bench.methods.columns import Column
from sage_bench.methods.registry import register_backend
from sage_bench.types import Completion, Group, Problem, Row
from sage_bench.utils.errors import UsageError

PRESETS = {"b10_g0.5": (10.0, 0.5), "b0.5_g10": (0.5, 10.0)}


class SGPOConfig(GRPOConfig):
    reward: Literal["b10_g0.5", "b0.5_g10", "raw"] = switch(
        "b10_g0.5",
        help=(
            "slope and midpoint of the logistic reward (eq. 2, either reading of the text), or the"
            " score itself"
        ),
    )
    scope: Literal["all_negative", "all"] = switch(
        "all_negative",
        help=(
            "wrong responses of all-wrong groups (the experiments), or of every group (eq. 2 as"
            " written)"
        ),
    )
    judge: str | None = switch(
        None, help="who finds the first wrong step (`sage-bench ls judges`); it has to be named"
    )
    judge_options: dict[str, Any] = switch(
        {}, help="arguments of the judge, e.g. {base_url: ..., model: ...}"
    )
    judge_epochs: int | None = switch(
        None, help="judge in the first passes over the data only (paper: 3 of 12), inclusive", ge=1
    )
    judge_share: float = switch(
        0.25, help="without judge_epochs: judge in this first share of the steps", ge=0, le=1
    )
    votes: int = switch(
        1, help="judgements a response; their mode counts, ties go to the earliest step", ge=1
    )
    unit: Literal["count", "length"] = switch("count", help="weigh steps alike, or by their tokens")
    denominator: Literal["own", "reference"] = switch(
        "own",
        help=(
            "n of the score (k - 1) / n: the response's own steps (the paper), or at least those of"
            " the reference, so that leaving steps out earns nothing"
        ),
    )
    min_spread: float = switch(
        0.05,
        help=(
            "an all-wrong group whose shares of right steps differ by less gives no signal (ours:"
            " division by the standard deviation would make full advantages of a trifle)"
        ),
        ge=0,
        le=1,
    )
    max_steps: int = switch(200, help="longer responses are merged into this many steps", ge=1)
    step_pattern: str | None = switch(
        None, help="cut after each match instead of after sentences and lines"
    )


@register_backend("sgpo")
class SGPO(GRPO):
    """Stepwise guided policy optimisation: a step judge turns all-wrong groups into graded ones."""

    Config = SGPOConfig
    source = (
        "arXiv 2505.11595 (text of March 2026) eqs. 1-2; no code is public: judge prompt and step"
        " splitter are ours"
    )
    columns = [
        Column(
            "solution",
            "what the judge compares with",
            without="the bare answer where it is missing",
        ),
    ]
    notes = [
        (
            'The text names beta and gamma as "10 and 0.5" without saying which is which: `reward`'
            " has both readings, and the default is the one that gives a half-right response one"
            " half. The first version had the opposite sign in eq. 2."
        ),
        (
            "Not in the paper, so ours: a response that was cut off without a wrong step scores 1"
            " and an empty one 0; where the judge finds no wrong step in a response that came to"
            " its end and to a wrong answer, its last step counts as the wrong one; a group of"
            " which one response could not be judged keeps its rewards; a response too long for"
            " the judge is left out of its group (advantage 0), the others are graded."
        ),
        (
            "The paper's score (k - 1) / n pays for leaving steps out: of fewer steps a larger"
            " share can be right. `denominator=reference` takes that away."
        ),
        (
            "The paper judges in epochs 1 to 3 of 12, which is the default share of the steps. Its"
            " KL weight and learning rate are `verl`'s defaults (not printed); here there is no KL."
        ),
    ]
    uses_progress = True

    def __init__(self, *args: Any, **switches: Any):
        super().__init__(*args, **switches)
        self.judge: Any = None
        if not self.needs_judge:
            return
        if self.cfg.judge is None:
            raise UsageError(
                "no judge is named",
                where="method.judge",
                remedy=(
                    "set method.judge (`sage-bench ls judges`); `reference` needs no model and is"
                    " made for stated arithmetic, where it agrees with the true first wrong step;"
                    " on answers to competition problems it hardly does"
                ),
            )
        self.judge = JUDGES.make(self.cfg.judge, self.cfg.judge_options, "method.judge_options")

    @property
    def needs_judge(self) -> bool:
        """Whether responses are judged at all."""
        return True

    def judging(self) -> bool:
        """Whether this step is one of those in which responses are judged."""
        if self.cfg.judge_epochs:
            return bool(self.ctx.epoch <= self.cfg.judge_epochs)
        return bool(self.ctx.progress < self.cfg.judge_share)

    def roll(self, problem: Problem) -> Program:
        group = yield from self.attempt(problem)
        wrong = [i for i, r in enumerate(group.rewards.tolist()) if r <= 0]
        if not self.judging() or not wrong or (group.solved and self.cfg.scope == "all_negative"):
            return group
        steps = [
            split_steps(
                self.ctx.text(group.completions[i].tokens),
                self.cfg.max_steps,
                self.cfg.step_pattern,
            )
            for i in wrong
        ]
        asked = [s for s in steps if s]  # an empty response needs no judge: its score is 0
        judged = iter(
            (yield from self.judge.judge(self.ctx, problem, asked, self.cfg.votes)) if asked else []
        )
        votes = [next(judged) if s else [None] for s in steps]
        graded = [k for k, v in enumerate(votes) if not isinstance(v, NotAsked)]
        left_out = len(wrong) - len(graded)
        # never a default score for one sample beside judged ones: the group then stays as the
        # verifier left it
        if len(group.completions) - left_out < 2 or not all(votes[k] for k in graded):
            self.ctx.record(problem, "judge_failed")
            return group
        self.ctx.record(problem, "judged", len(asked) - left_out)
        if asked and all(len(own) == 1 for own in asked):
            self.ctx.record(problem, "one_step_responses")
        first_wrong = [
            self.first_wrong(group.completions[wrong[k]], steps[k], majority(votes[k]))
            for k in graded
        ]
        self.grade(group, [wrong[k] for k in graded], [steps[k] for k in graded], first_wrong)
        if left_out:
            group.notes["left_out"] = sorted(set(wrong) - {wrong[k] for k in graded})
        return group

    def first_wrong(
        self, completion: Completion, steps: list[str], judged: int | None
    ) -> int | None:
        """The judge's first wrong step; the last one where it finds none and the answer is wrong.

        Only a response that was cut off can be without a wrong step (docs/design/sgpo.md 1): one
        that came to its end and to a wrong answer went wrong somewhere.
        """
        if judged is None and steps and completion.finish == "stop":
            return len(steps)
        return judged

    def credit(self, group: Group) -> list[Row]:
        """Responses that the judge cannot be asked about have no advantage, and no part in that of
        the others."""
        left_out = group.notes.get("left_out")
        if not left_out or group.scores is None:
            return super().credit(group)
        kept = [i for i in range(len(group.completions)) if i not in left_out]
        rest = replace(
            group,
            completions=[group.completions[i] for i in kept],
            rewards=group.rewards[kept],
            scores=group.scores[kept],
            prompts=[group.prompts[i] for i in kept] if group.prompts else None,
        )
        rows = dict(zip(kept, super().credit(rest), strict=True))
        for i in left_out:
            c = group.completions[i]
            rows[i] = replace(
                rows[kept[0]],
                prompt=group.train_prompt_of(i),
                tokens=c.tokens,
                advantage=torch.zeros(len(c.tokens)),
                sampler_logp=c.logp,
            )
        return [rows[i] for i in sorted(rows)]

    def grade(
        self, group: Group, wrong: list[int], steps: list[list[str]], first_wrong: list[int | None]
    ) -> None:
        """Set the group's scores: 1 for right responses, eq. 2 for wrong ones.

        Where all are wrong and their shares of right steps hardly differ, the scores are made
        equal: no signal.
        """
        scores = group.rewards.clone().double()
        group.notes["trajectory"] = {}
        for i, own, first in zip(wrong, steps, first_wrong, strict=True):
            score = self.score(group.problem, own, first)
            group.notes["trajectory"][i] = score
            if self.cfg.reward == "raw":
                scores[i] = score
            else:
                scores[i] = logistic_reward(score, *PRESETS[self.cfg.reward])
        shares = group.notes["trajectory"].values()
        if not group.solved and max(shares) - min(shares) < self.cfg.min_spread:
            self.ctx.record(group.problem, "scores_too_close")
            scores[:] = scores.mean()
        group.scores = scores.to(torch.float32)

    def score(self, problem: Problem, steps: list[str], first: int | None) -> float:
        """Share of the steps before the first wrong one (eq. 1), by number or by length."""
        reference: list[str] = []
        if self.cfg.denominator == "reference" and problem.solution:
            reference = split_steps(problem.solution, self.cfg.max_steps, self.cfg.step_pattern)
        if self.cfg.unit == "count":
            missing = max(0, len(reference) - len(steps)) if steps else 0
            return trajectory_score(len(steps) + missing, first)
        lengths = [len(self.ctx.renderer.ids(s)) for s in steps]
        missing = sum(len(self.ctx.renderer.ids(s)) for s in reference) - sum(lengths)
        return length_score([*lengths, missing] if missing > 0 else lengths, first)
