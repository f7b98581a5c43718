"""A method that fails on one rank, at one stage of one step, once: by the words of `SB_FAULT`,
as in `kill 1 credit 2` (what, rank or `all`, stage, step counted from 0; `nan` takes steps `1,3`).

It notes in `SB_FAULT_NOTE` that it has failed, and is `grpo` from then on.

`SB_ROOM=1:250`: the device of rank 1 holds forwards of 250 padded tokens.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sage_bench.backends.grpo import GRPO
from sage_bench.methods.registry import register_backend
from sage_bench.types import Request

RANK = os.environ.get("RANK", "0")


def fault(stage: str, step: int) -> str | None:
    """What happens here and now."""
    words = os.environ.get("SB_FAULT", "").split()
    if not words:
        return None
    what, rank, where, steps = words
    here = rank in ("all", RANK) and where == stage and str(step) in steps.split(",")
    return what if here else None


@dataclass(frozen=True)
class Slow(Request):
    """A request whose answer does not come."""

    @classmethod
    def answer(cls, access, requests):
        time.sleep(600)


@register_backend("faulty")
class Faulty(GRPO):
    """GRPO with a fault, and with a signal in every group: every rank has a backward."""

    needs = frozenset({"sample", "policy"})

    def __init__(self, *args, **switches):
        super().__init__(*args, **switches)
        self.asked = Counter()

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
        if fault("answer", self.ctx.step):
            yield [Slow()]
        return (yield from super().roll(problem))

    def credit(self, group):
        self.meet("credit")
        rows = super().credit(group)
        return [
            replace(row, advantage=torch.full((len(row.tokens),), (-1.0) ** i))
            for i, row in enumerate(rows)
        ]

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
        # asked before and after a batch is shared by the ranks, then for the checkpoint
        self.asked[self.ctx.step] += 1
        if self.asked[self.ctx.step] == 3:
            self.meet("checkpoint")
        return super().state_dict()


def limit_room() -> None:
    """A device that is full, as torch says it."""
    rank, _, tokens = os.environ.get("SB_ROOM", "").partition(":")
    if rank != RANK:
        return
    from sage_bench.engines.trl.trainer import RowTrainer

    forward = RowTrainer.log_probs

    def limited(self, rows, entropy_gradient):
        found = forward(self, rows, entropy_gradient)
        if len(rows) * max(len(row.prompt) + len(row.tokens) for row in rows) > int(tokens):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return found

    RowTrainer.log_probs = limited


limit_room()
