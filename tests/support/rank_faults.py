"""A method that fails on one rank, at one stage of one step, once: by the words of `SB_FAULT`, as in
`kill 1 credit 2` (what, rank or `all`, stage, step counted from 0; `nan` takes steps `1,3`).

It notes in `SB_FAULT_NOTE` that it has failed, and is `grpo` from then on.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sage_bench.backends.grpo import GRPO
from sage_bench.methods.registry import register_backend

RANK = os.environ.get("RANK", "0")


def fault(stage: str, step: int) -> str | None:
    """What happens here and now."""
    words = os.environ.get("SB_FAULT", "").split()
    if not words:
        return None
    what, rank, where, steps = words
    here = rank in ("all", RANK) and where == stage and str(step) in steps.split(",")
    return what if here else None


@register_backend("faulty")
class Faulty(GRPO):
    """GRPO with a fault."""

    def meet(self, stage: str) -> None:
        what = fault(stage, self.ctx.step)
        note = Path(os.environ.get("SB_FAULT_NOTE", "/nowhere") + f".{RANK}")
        if what not in ("kill", "hang") or note.exists():
            return
        note.write_text(f"{what} {stage} {self.ctx.step}")
        if what == "hang":
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)

    def roll(self, problem):
        self.meet("roll")
        return (yield from super().roll(problem))

    def credit(self, group):
        self.meet("credit")
        return super().credit(group)

    def row_weights(self, rows, ratios, objective):
        self.meet("update")
        return super().row_weights(rows, ratios, objective)

    def token_loss(self, tokens, objective):
        self.meet("backward")
        loss, stats = super().token_loss(tokens, objective)
        if fault("backward", self.ctx.step) == "nan":
            loss = loss * float("nan")
        return loss, stats

    def state_dict(self):
        self.meet("checkpoint")
        return super().state_dict()
