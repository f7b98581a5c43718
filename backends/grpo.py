"""GRPO: G completions a prompt, the reward standardised within the group.

Source: DeepSeekMath; docs/design/sage.md 3.
"""

from __future__ import annotations

from sage_bench.generation.prompts import HintLead, HintPosition
from sage_bench.methods.advantage import group_advantage
from sage_bench.methods.base import Method, MethodConfig, Program, switch
from sage_bench.methods.registry import register_backend
from sage_bench.types import Group, Problem, Row, Sample


class GRPOConfig(MethodConfig):
    std_ddof: int = switch(
        0,
        paper=0,
        code=1,
        help="standard deviation of the group: population (0) or sample (1)",
        ge=0,
        le=1,
    )
    std_eps: float = switch(1e-6, help="added to the standard deviation", ge=0)
    use_std: bool = switch(
        True, help="divide by the standard deviation; off = Dr. GRPO's mean-only advantage"
    )
    hint_lead: HintLead = switch(
        "paper",
        paper="paper",
        code="code",
        help=(
            "wording of the user turn that carries a hint: of SAGE's paper, of its code, of HINT,"
            " of Scaf-GRPO"
        ),
    )
    hint_position: HintPosition = switch(
        "user_end", help="where a hint stands: end of the user turn, or system message"
    )


@register_backend("grpo")
class GRPO(Method):
    """Group-relative policy optimisation, the baseline every other backend builds on."""

    Config = GRPOConfig
    source = "arXiv 2402.03300; settings of SAGE (arXiv 2602.03143 eq. 2; BaohaoLiao/SAGE @8722c1a)"
    notes = [
        (
            "GRPO's paper averages over the tokens of a completion first and has a KL term; here,"
            " as in SAGE, every token of an update counts the same, the upper clip is 0.28 and no"
            " KL is taken (`objective.*`)."
        ),
        (
            "SAGE's code averages token means of 4 completions at a time"
            " (`objective.aggregation=micro-batch token-mean`). It makes two updates a batch, the"
            " second slightly off-policy, where the paper says on-policy"
            " (`train.updates_per_step`)."
        ),
    ]

    def attempt(
        self,
        problem: Problem,
        level: int = 0,
        hint: str | None = None,
        *,
        train_plain: bool = False,
        n: int | None = None,
    ) -> Program:
        """Sample one group, with a hint if there is one, and verify it. Returns the `Group`.

        train_plain: the update scores the completions under the prompt without the hint
        (off-policy). n: completions, if not the group size.
        """
        cfg, ctx = self.cfg, self.ctx
        prompt = ctx.prompt(problem, hint, lead=cfg.hint_lead, position=cfg.hint_position)
        (completions,) = yield [Sample(prompt, n or cfg.group_size, ctx.sampling)]
        rewards, statuses = ctx.verify(problem, completions, level)
        train_prompt = ctx.prompt(problem) if train_plain else prompt
        return Group(
            problem,
            prompt,
            train_prompt,
            completions,
            rewards,
            level,
            {"status": statuses, "hint": hint},
        )

    def roll(self, problem: Problem) -> Program:
        return (yield from self.attempt(problem))

    def sampled_as_trained(self, group: Group, i: int) -> bool:
        """Whether completion `i` was sampled from the prompt it is trained under."""
        # a group whose prompts differ has each completion's own
        return bool(group.prompts) or group.train_prompt == group.prompt

    def credit(self, group: Group) -> list[Row]:
        """The same advantage on every token of a completion."""
        credit = group.rewards if group.scores is None else group.scores
        advantage = group_advantage(
            credit, ddof=self.cfg.std_ddof, eps=self.cfg.std_eps, use_std=self.cfg.use_std
        )
        return [
            Row(
                group.train_prompt_of(i),
                c.tokens,
                advantage[i].expand(len(c.tokens)),
                group.problem.uid,
                sampler_logp=c.logp,
                same_prompt=self.sampled_as_trained(group, i),
            )
            for i, c in enumerate(group.completions)
        ]
