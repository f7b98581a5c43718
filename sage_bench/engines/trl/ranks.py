"""The processes `torchrun` or accelerate started, as the training loop sees them."""

from __future__ import annotations

import atexit
from datetime import timedelta
from typing import TypeVar

from torch import distributed

from sage_bench.engines.ranks import Ranks
from sage_bench.utils.errors import TrainingError

T = TypeVar("T")


def leave() -> None:
    """End this process's part in all groups."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def is_lost(error: RuntimeError) -> bool:
    """Whether an error is a collective's whose other ranks died or did not come in time."""
    text = str(error).lower()
    words = ("gloo", "timed out waiting", "connection closed by peer", "connection reset by peer")
    return isinstance(error, distributed.DistError) or any(word in text for word in words)


class TorchRanks(Ranks):
    """Ranks that talk over gloo, whatever the gradients go over: small Python values, and a
    time-out that can be caught (NCCL ends the process instead).

    minutes: longest wait for another rank.
    """

    def __init__(self, minutes: float):
        super().__init__()
        self.minutes = minutes
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self.group = distributed.new_group(backend="gloo", timeout=timedelta(minutes=minutes))
        # before the interpreter ends: a process group that is left to it may abort the process
        atexit.register(leave)

    def gather(self, value: T) -> list[T]:
        found: list[T] = [value] * self.size
        try:
            distributed.all_gather_object(found, value, group=self.group)
        except RuntimeError as error:
            raise self.lost(error) from error
        return found

    def lost(self, error: RuntimeError) -> TrainingError:
        """The error of a collective that another rank did not come to."""
        late = any(word in str(error).lower() for word in ("timed out", "timeout"))
        what = f"waited {self.minutes:g} minutes for" if late else "lost the connection to"
        return TrainingError(
            f"rank {self.rank} {what} the other ranks; {self.explain() or str(error)}",
            remedy=(
                "mend what hangs or died there, or raise engine.rank_minutes; the same command goes"
                " on from the last checkpoint"
            ),
        )

    def close(self) -> None:
        """Leave together: gloo aborts a process whose peer is gone."""
        self.gather(None)
