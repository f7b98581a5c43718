"""How many tokens the learner runs at once, and what happens when the device is full."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from sage_bench.engines.ranks import ALONE, Ranks
from sage_bench.utils.errors import TrainingError

Result = TypeVar("Result")


class TokenBudget:
    """Padded tokens of one forward. Halves itself when the device is out of memory, and stays so.

    tokens: the budget now. halvings: how often it was halved since `new_halvings` was last asked.
    """

    def __init__(self, tokens: int):
        self.tokens = tokens
        self.configured = tokens
        self.halvings = 0

    def run(
        self,
        work: Callable[[], Result],
        *,
        undo: Callable[[], None],
        smaller_helps: Callable[[], bool],
        ranks: Ranks = ALONE,
    ) -> Result:
        """What `work` returns, begun anew with half the budget as often as it runs out of memory.

        Begun anew, and not gone on with: so the sums are those of a run that had the smaller budget
        from the start, digit for digit. undo: takes back what a half-done `work` left behind.
        smaller_helps: whether half the budget would cut the work into smaller parts. ranks: who
        does such work at the same time; all begin anew where one is out of memory, so `work` itself
        waits for nobody. Raises `TrainingError` when smaller parts would not help.
        """
        while True:
            reason, helps = "", True
            try:
                found = work()
            except torch.OutOfMemoryError as error:
                # the text alone: the error's frames hold the tensors that filled the device
                reason, helps = reason_of(error), smaller_helps()
            met = ranks.gather((reason, helps))
            full = {rank: text for rank, (text, _) in enumerate(met) if text}
            if not full:
                return found
            undo()
            rank, reason = next(iter(full.items()))
            if ranks.size > 1:
                reason = f"rank {rank}: {reason}"
            if not all(helps for _, helps in met):
                raise self.too_small(reason)
            self._halve(reason, speaks=ranks.first)

    def too_small(self, reason: str) -> TrainingError:
        """The error of a completion that does not fit alone."""
        return TrainingError(
            f"a single completion does not fit the device ({reason})",
            where=f"engine.micro_tokens={self.tokens}",
            remedy=(
                "`sage-bench plan` says what needs the memory;"
                " engine.gradient_checkpointing=true, optim.offload=true,"
                " engine.lora.rank=32 or a lower sampling.max_tokens need less"
            ),
        )

    def _halve(self, reason: str, *, speaks: bool) -> None:
        self.tokens = max(1, self.tokens // 2)
        self.halvings += 1
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if speaks:
            print(
                f"warning: {reason}: the learner goes on with micro-batches of {self.tokens} tokens"
                f" (engine.micro_tokens={self.configured})",
                file=sys.stderr,
                flush=True,
            )

    def agree(self, ranks: Ranks) -> None:
        """Take the smallest budget of all ranks: one may have lowered its own where it answered
        requests."""
        smallest = min(ranks.gather(self.tokens))
        self.halvings += smallest < self.tokens
        self.tokens = smallest

    @property
    def lowered(self) -> bool:
        """Whether the device has been full at the budget that was asked for."""
        return self.tokens < self.configured

    def new_halvings(self) -> int:
        """Halvings since the last call, for the log."""
        count, self.halvings = self.halvings, 0
        return count

    def saved(self) -> dict[str, int]:
        """What a checkpoint keeps: nothing, unless the budget is another than was asked for."""
        return {"micro_tokens": self.tokens} if self.lowered else {}

    def restore(self, saved: int | None) -> None:
        """Go on with the budget a checkpoint was written under, or with a smaller one given now."""
        self.tokens = min(self.configured, saved or self.configured)


def reason_of(error: torch.OutOfMemoryError) -> str:
    """What the device says, in one line."""
    return str(error).splitlines()[0] if str(error) else "out of memory"
