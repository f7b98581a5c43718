"""Scaf-GRPO: an all-wrong group gets one right answer, found under the least hint of a scaffold
(arXiv 2510.19807)."""

from __future__ import annotations

import random
from itertools import groupby
from math import floor
from typing import Literal

from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.generation.prompts import HintLead, register_wording
from sage_bench.methods.base import Program, switch
from sage_bench.methods.columns import Column
from sage_bench.methods.driver import together
from sage_bench.methods.registry import register_backend
from sage_bench.types import Group, Problem
from sage_bench.utils.seeds import derive_seed

# the hint carries its own label
register_wording("scaf", "Question: {question}\n{hint}")
TIERS = {"paper12": ("knowledge", "planning", "solution"), "released8": ("knowledge", "solution")}


class ScafConfig(GRPOConfig):
    hint_lead: HintLead = switch(
        "scaf", help="wording of the user turn that carries a hint (`scaf`: the authors')"
    )
    tiers: Literal["paper12", "released8"] = switch(
        "paper12",
        paper="paper12",
        code="released8",
        help="knowledge, planning, solution; or without planning, as released",
    )
    levels: int = switch(
        4, help="cumulative levels inside a tier: level k shows its first k items", ge=1
    )
    exempt_share: float = switch(
        0.15, help="plain GRPO in this first share of the steps (paper)", ge=0, le=1
    )
    exempt_steps: int | None = switch(
        None, paper=None, code=50, help="instead: plain GRPO in this many first steps (code)", ge=0
    )
    search: Literal["sequential", "wave", "parallel"] = switch(
        "sequential",
        paper="sequential",
        code="parallel",
        help=(
            "one level after the other; a tier at once; all at once (same distribution of what is"
            " found)"
        ),
    )
    replace: Literal["random", "first"] = switch(
        "random", paper="random", code="first", help="which failure gives way to the right answer"
    )
    train_prompt: Literal["hinted", "plain"] = switch(
        "hinted",
        help=(
            "prompt of the right answer in both log-probabilities (plain: replace_hint_prompt of"
            " the code)"
        ),
    )


@register_backend("scaf_grpo")
class ScafGRPO(GRPO):
    """Scaffolded GRPO: after an exemption phase, failed prompts search tiers of hints."""

    Config = ScafConfig
    rolls_again = True
    source = "arXiv 2510.19807 (ICLR 2026); JIA-Lab-research/Scaf-GRPO @ac9f99e"
    columns = [
        Column(
            ("knowledge", "planning", "solution_parts"),
            "lists of hint items, in order (by DeepSeek-R1 in the authors' data)",
            without="a problem without them is never hinted",
            becomes="plain GRPO",
            kind="list",
        ),
    ]
    notes = [
        (
            "The code has no monitor for the plateau of unsolved prompts (paper, section 3.2); its"
            " `replace_num=2` is not offered. SAGE's row for this method most likely is"
            " `tiers=released8 exempt_steps=50`."
        ),
        (
            "Paper and code clip at 0.2 on both sides; here the objective is that of the comparison"
            " (`objective.clip_high=0.2` is theirs)."
        ),
    ]
    uses_progress = True

    def roll(self, problem: Problem) -> Program:
        group = yield from self.attempt(problem)
        if group.solved or self.exempt():
            return group
        hints = self.ladder(problem)
        if not hints:
            self.ctx.record(problem, "no_scaffold")
        for _, part in groupby(hints, lambda entry: self.wave(entry[0])):
            tried = yield from together(
                [self.attempt(problem, level, hint, n=1) for level, hint in part]
            )
            found = next((g for g in tried if g.solved), None)
            if found is not None:
                return self.replaced(group, found)
        return group

    def wave(self, level: int) -> int:
        """Which hints are tried together: those whose levels share this number."""
        if self.cfg.search == "sequential":
            return level
        return (level - 1) // int(self.cfg.levels) if self.cfg.search == "wave" else 0

    def exempt(self) -> bool:
        cfg, ctx = self.cfg, self.ctx
        steps = cfg.exempt_steps
        if steps is None:
            steps = floor(cfg.exempt_share * ctx.steps + 1e-9)
        return bool(ctx.step < steps)

    def ladder(self, problem: Problem) -> list[tuple[int, str]]:
        """(level 1..12 or 1..8, hint text) from the columns `knowledge`, `planning`,
        `solution_parts`; empty, repeated and overlong hints are skipped."""
        out: list[tuple[int, str]] = []
        for t, tier in enumerate(TIERS[self.cfg.tiers]):
            items = [
                str(x).strip()
                for x in problem.extra.get("solution_parts" if tier == "solution" else tier) or []
            ]
            for k in range(1, self.cfg.levels + 1):
                hint = " ".join(x for x in items[:k] if x)
                if self.cfg.hint_lead == "scaf" and hint:
                    hint = f"{tier.capitalize()} Hints: {hint}"
                if (
                    hint
                    and (not out or out[-1][1] != hint)
                    and len(self.ctx.prompt(problem, hint, lead=self.cfg.hint_lead))
                    <= self.ctx.max_prompt_tokens
                ):
                    out.append((t * self.cfg.levels + k, hint))
        return out

    def sampled_as_trained(self, group: Group, i: int) -> bool:
        plain = self.cfg.train_prompt == "plain"
        return not (plain and group.notes.get("replaced") == i)

    def replaced(self, group: Group, found: Group) -> Group:
        """One failure gives way to the right answer, which keeps the prompt it was sampled from."""
        rng = random.Random(derive_seed(self.ctx.seed, "scaf", self.ctx.step, group.problem.uid))
        i = rng.randrange(len(group.completions)) if self.cfg.replace == "random" else 0
        group.completions[i], group.rewards[i] = found.completions[0], found.rewards[0]
        group.prompts = [group.prompt] * len(group.completions)
        if self.cfg.train_prompt == "hinted":
            group.prompts[i] = found.prompt
        group.level = found.level
        group.notes["hint"] = found.notes["hint"]
        group.notes["replaced"] = i
        return group
