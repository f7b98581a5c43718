"""SAGE-light: one roll-out a visit; the hint level of a prompt follows its success at the last
visit (SAGE section 4)."""

from __future__ import annotations

from typing import Any, Literal

from sage_bench.backends.sage.method import SAGE, SAGEConfig
from sage_bench.methods.base import Program, switch
from sage_bench.methods.registry import register_backend
from sage_bench.types import Problem


class SAGELightConfig(SAGEConfig):
    up_threshold: float = switch(
        0.35,
        paper=0.35,
        code=0.1,
        help="level goes up when accuracy at the last visit is at or below this",
        ge=0,
        le=1,
    )
    up_strict: bool = switch(
        True,
        paper=True,
        code=False,
        help="strictly below the up threshold (paper), or at it too (code)",
    )
    down_threshold: float | None = switch(
        None,
        paper=None,
        code=0.35,
        help="level goes down when accuracy at the last visit is above this; null = never",
        ge=0,
        le=1,
    )
    hint_fallback: Literal["none", "last"] = switch(
        "none",
        paper="not stated",
        code="last",
        help="when no hint can be had: none, or the last hints written for this prompt",
    )


@register_backend("sage_light")
class SAGELight(SAGE):
    """SAGE at the cost of GRPO: each prompt carries its hint level from visit to visit."""

    Config = SAGELightConfig
    source = (
        "arXiv 2602.03143 section 4 (SAGE-light); BaohaoLiao/SAGE @8722c1a"
        " trainer.method=sage-light"
    )
    columns = SAGE.columns
    notes = [
        (
            "One hint level a visit: the switches `hint_calls`, `on_all_fail` and `fixed_level` of"
            " `sage` do nothing here."
        ),
        (
            "The code's threshold 0.1 means 0 right of at most 9 completions; with 4 a level falls"
            " from 2 right on, with 8 from 3."
        ),
    ]

    def __init__(self, *args: Any, **switches: Any):
        super().__init__(*args, **switches)
        self.level: dict[str, int] = {}
        self.accuracy: dict[str, float] = {}
        self.last_hints: dict[str, list[str | None]] = {}

    def next_level(self, uid: str) -> int:
        """Level for the next visit: 0 at the first, then up, down or the same by the accuracy of
        the last one."""
        cfg, level, accuracy = self.cfg, self.level.get(uid, 0), self.accuracy.get(uid)
        if accuracy is None:
            return 0
        if accuracy < cfg.up_threshold or (accuracy == cfg.up_threshold and not cfg.up_strict):
            return min(level + 1, int(cfg.levels))
        if cfg.down_threshold is not None and accuracy > cfg.down_threshold:
            return max(level - 1, 0)
        return level

    def roll(self, problem: Problem) -> Program:
        level, hint = self.next_level(problem.uid), None
        if level:
            hints = yield from self.hints(
                problem, level if self.cfg.hint_fallback == "none" else None
            )  # what may be used later is written whole
            if not hints and self.cfg.hint_fallback == "last":
                hints = self.last_hints.get(problem.uid, [])
            elif hints and self.cfg.hint_fallback == "last":
                self.last_hints[problem.uid] = hints
            hint = self.usable(problem, hints, level)
        level = (
            level if hint else 0
        )  # the level that really was applied is what the next visit builds on
        group = yield from self.attempt(problem, level, hint, train_plain=self.cfg.score_plain)
        self.level[problem.uid] = level
        self.accuracy[problem.uid] = float((group.rewards > 0).double().mean())
        return group

    def state_dict(self) -> dict[str, Any]:
        return {"level": self.level, "accuracy": self.accuracy, "last_hints": self.last_hints}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.level, self.accuracy, self.last_hints = (
            state.get("level", {}),
            state.get("accuracy", {}),
            state.get("last_hints", {}),
        )
