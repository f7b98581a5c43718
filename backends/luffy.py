"""LUFFY: a teacher's trace joins the group as off-policy guidance, with shaped probabilities (arXiv
2504.14945)."""

from __future__ import annotations

import torch

from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.methods.advantage import group_advantage
from sage_bench.methods.base import Program, switch
from sage_bench.methods.columns import Column
from sage_bench.methods.registry import register_backend
from sage_bench.types import Group, Kind, Problem, Row


class LUFFYConfig(GRPOConfig):
    use_std: bool = switch(
        False, help="divide by the standard deviation (eq. 4 has it, experiments and code do not)"
    )
    trace_column: str = switch(
        "trace",
        help="column with the teacher's full response; `solution` takes the reference solution",
    )
    grade_trace: bool = switch(
        True, help="reward the trace by the verifier, as the code does; off = it counts as right"
    )


@register_backend("luffy")
class LUFFY(GRPO):
    """Mixed-policy GRPO: G - 1 rollouts and one stored trace share a group; the trace enters as p /
    (p + gamma), without a ratio."""

    Config = LUFFYConfig
    source = (
        "arXiv 2504.14945 (NeurIPS 2025) eqs. 4-6 and appendix E.1 (no clip); ElliottYan/LUFFY"
        " @01f4ae0"
    )
    columns = [
        Column(
            "trace",
            "a teacher's full response",
            named_by="trace_column",
            without="a problem without one gets G rollouts",
            becomes="plain GRPO",
        ),
    ]
    notes = [
        (
            "Eqs. 4-6 divide by the standard deviation and by all tokens, and clip the rollouts'"
            " ratio; experiments (appendix E.1) and code do neither and divide by a constant"
            " length."
        ),
        (
            "The entropy weight is .01 in the paper and .001 in the script, where it adds up over"
            " micro-batches against 64 times the policy term: about 1e-4 in our means. The code"
            " sums over completions where this harness takes the mean."
        ),
        (
            "The code gives no reward to a response without `</think>`; here the verifier alone"
            " decides."
        ),
    ]
    # no clip, a constant normaliser; the released entropy weight .001 adds up over micro-batches
    # against 64 x the policy term: about 1e-4 in our means
    objective = {"clip": False, "dual_clip": None, "aggregation": "constant", "entropy_coef": 1e-4}

    def roll(self, problem: Problem) -> Program:
        trace = self.ctx.reference(problem, self.cfg.trace_column)
        group = yield from self.attempt(problem, n=self.cfg.group_size - (trace is not None))
        if trace is not None:
            trace = self.opened(group, trace)[
                : self.ctx.sampling.max_tokens
            ]  # a longer trace loses its end, as in the code
            (verdict,) = self.ctx.grader.grade(problem.answer, [self.ctx.text(trace)])
            group.notes["trace"], group.notes["trace_reward"] = (
                trace,
                float(verdict.correct or not self.cfg.grade_trace),
            )
        return group

    def opened(self, group: Group, trace: tuple[int, ...]) -> tuple[int, ...]:
        """Without the `<think>` a prompt of this template already ends with."""
        head = self.ctx.renderer.ids("<think>\n")
        return (
            trace[len(head) :]
            if group.prompt[-len(head) :] == head and trace[: len(head)] == head
            else trace
        )

    def credit(self, group: Group) -> list[Row]:
        if "trace" not in group.notes:
            return super().credit(group)
        rewards = torch.cat([torch.tensor([group.notes["trace_reward"]]), group.rewards])
        advantage = group_advantage(
            rewards, ddof=self.cfg.std_ddof, eps=self.cfg.std_eps, use_std=self.cfg.use_std
        )
        trace, uid = group.notes["trace"], group.problem.uid
        rows = [Row(group.prompt, trace, advantage[0].expand(len(trace)), uid, Kind.OFF)]
        return rows + [
            Row(group.prompt, c.tokens, a.expand(len(c.tokens)), uid, sampler_logp=c.logp)
            for c, a in zip(group.completions, advantage[1:], strict=True)
        ]
