"""SAGE: when a whole group fails, the policy writes itself hints and rolls out again with them
(arXiv 2602.03143).

The reward is unchanged and hints are gone at test time. Training conditions on the prompt the
tokens were sampled from, hint included, so the update stays on-policy (paper section 3).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.backends.sage.hints import write_hints
from sage_bench.methods.base import Hints, Program, switch
from sage_bench.methods.columns import Column
from sage_bench.methods.driver import together
from sage_bench.methods.registry import register_backend
from sage_bench.types import Answer, Group, Problem, Request


class SAGEConfig(GRPOConfig):
    levels: int = switch(
        3, help="hint levels, tried in order until one completion is right", ge=1, le=5
    )
    hint_calls: Literal["per_level", "one"] = switch(
        "per_level",
        paper="per_level",
        code="one",
        help="a fresh hint for every level, or one JSON whose levels are all used",
    )
    probe: Literal["sequential", "speculative"] = switch(
        "sequential",
        help="level after level; or all at once, keeping the lowest that solves (more rollouts)",
    )
    hint_temperature: float = switch(
        1.0, paper=1.0, code=0.0, help="hints are sampled (paper: h ~ q) or greedy (code)", ge=0
    )
    hint_attempts: int = switch(
        2,
        paper="not stated",
        code=3,
        help="calls until hints parse and do not contain the answer",
        ge=1,
    )
    on_all_fail: Literal["last", "plain"] = switch(
        "last",
        help=(
            "which failed group stays in the batch when all levels fail: the last one sampled, or"
            " the one without a hint"
        ),
    )
    fixed_level: int | None = switch(
        None, help="ablation (section 5.2): on failure try this level only", ge=1, le=5
    )
    score_plain: bool = switch(
        False, help="ablation (section 5.2): sample with the hint, score without it (off-policy)"
    )
    hint_source: Literal["online", "offline", "data"] = switch(
        "online",
        help=(
            "current policy; the initial policy, once, before training (ablation, section 5.2);"
            " column `hints` of the data"
        ),
    )
    offline_hints: int = switch(
        1,
        help=(
            "ablation (section 5.2): hints per prompt when offline; with 10, another one at every"
            " step"
        ),
        ge=1,
    )


@register_backend("sage")
class SAGE(GRPO):
    """Self-hinting: re-roll a failed group with progressively stronger hints the policy wrote from
    the solution."""

    Config = SAGEConfig
    rolls_again = True
    source = (
        "arXiv 2602.03143 algorithm 1; BaohaoLiao/SAGE @8722c1a, intended semantics (groups are"
        " never regrouped by position)"
    )
    columns = [
        Column(
            "solution",
            "hints are written from it",
            when="hint_source=online|offline",
            without="a problem without one is never hinted",
            becomes="plain GRPO",
        ),
        Column(
            "hints",
            "a list, least hint first",
            when="hint_source=data",
            kind="list",
            without="a problem without them is never hinted",
            becomes="plain GRPO",
        ),
    ]
    notes = [
        (
            "The released code sorts rows by length before it reads groups by position, so that it"
            " hints and replaces rows of other prompts (trainer.balance_batch); here a group is one"
            " object."
        ),
        (
            "Hints come from the current weights, as in the code; the paper also speaks of a lagged"
            " copy. A call after the first is drawn at temperature 1, since a greedy one would"
            " repeat itself. The wording of the hint prompt is ours."
        ),
        (
            "A hint that contains the answer is refused (neither paper nor code looks); a hinted"
            " prompt over the limit is not used (as in the code). Completions: 8096 tokens in"
            " section 5, 8192 in appendix and code."
        ),
    ]

    def roll(self, problem: Problem) -> Program:
        cfg = self.cfg
        plain = yield from self.attempt(problem)
        if plain.solved:
            return plain
        fresh = cfg.hint_calls == "per_level" and cfg.hint_source == "online"
        hints = None if fresh else (yield from self.hints(problem))
        programs = [
            self.at_level(problem, level, hints)
            for level in ([cfg.fixed_level] if cfg.fixed_level else range(1, cfg.levels + 1))
        ]
        tried: list[Group | None] = []
        if cfg.probe == "speculative":
            tried = yield from together(programs)
        else:
            for program in programs:
                tried.append((yield from program))
                if tried[-1] is not None and tried[-1].solved:
                    break
        groups = [g for g in tried if g is not None]
        return next(
            (g for g in groups if g.solved),
            groups[-1] if groups and cfg.on_all_fail == "last" else plain,
        )

    def at_level(
        self, problem: Problem, level: int, hints: list[str | None] | None
    ) -> Generator[list[Request], list[Answer], Group | None]:
        """The group sampled at a hint level; hints are written now unless given. None without a
        usable hint."""
        hint = self.usable(
            problem, (yield from self.hints(problem, level)) if hints is None else hints, level
        )
        return (
            None
            if hint is None
            else (yield from self.attempt(problem, level, hint, train_plain=self.cfg.score_plain))
        )

    def hints(self, problem: Problem, only: int | None = None) -> Hints:
        """Hints by level, or an empty list (`yield from` it). only: the one level that is needed of
        them."""
        if self.cfg.hint_source == "data":
            return list(problem.extra.get("hints") or [])
        if self.cfg.hint_source == "offline":
            written = [h for h in self.prepared.get(problem.uid, []) if h]
            return written[self.ctx.step % len(written)] if written else []
        return (yield from self.write(problem, only))

    def write(self, problem: Problem, only: int | None = None) -> Hints:
        c, levels = self.cfg, max(self.cfg.levels, self.cfg.fixed_level or 0)
        return (
            yield from write_hints(
                self.ctx,
                problem,
                temperature=c.hint_temperature,
                attempts=c.hint_attempts,
                levels=levels,
                only=only,
            )
        )

    def prepare(self, problem: Problem) -> Any:
        """Offline hints: written by the initial policy before the first step."""
        return self.write_offline(problem) if self.cfg.hint_source == "offline" else None

    def write_offline(self, problem: Problem) -> Any:
        written = []
        for _ in range(self.cfg.offline_hints):
            written.append((yield from self.write(problem)))
        return written

    def usable(self, problem: Problem, hints: list[str | None], level: int) -> str | None:
        """The hint of a level if there is one and the hinted prompt fits; otherwise None, with the
        reason recorded."""
        hint = hints[level - 1] if len(hints) >= level else None
        if hint is None:
            self.ctx.record(problem, "hint_level_missing")
        elif (
            len(
                self.ctx.prompt(
                    problem, hint, lead=self.cfg.hint_lead, position=self.cfg.hint_position
                )
            )
            > self.ctx.max_prompt_tokens
        ):
            self.ctx.record(problem, "hinted_prompt_too_long")
            return None
        return hint
