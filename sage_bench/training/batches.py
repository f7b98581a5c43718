"""Which problems a batch takes: a pure function of (seed, number of the batch)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from sage_bench.utils.errors import UsageError
from sage_bench.utils.seeds import derive_seed

T = TypeVar("T")


def steps_per_epoch(total: int, batch: int) -> int:
    """Whole batches of one pass over the data.

    The rest is dropped; the next pass has another order, so other problems are left over then.
    Raises `UsageError` when the data do not fill one batch.

    >>> steps_per_epoch(15000, 128)
    117
    """
    if total < batch:
        raise UsageError(
            f"{total} usable prompts are fewer than one batch of {batch}",
            where="train.prompts_per_step",
            remedy="lower it, or give more data",
        )
    return total // batch


def batch_of(problems: Sequence[T], number: int, batch: int, seed: int) -> list[T]:
    """Batch `number` (0-based) of an endless stream. Every pass over the data has its own order.

    >>> first, second = batch_of(range(4), 0, 2, seed=1), batch_of(range(4), 1, 2, seed=1)
    >>> sorted(first + second)
    [0, 1, 2, 3]
    """
    per_epoch = steps_per_epoch(len(problems), batch)
    epoch, position = divmod(number, per_epoch)
    # the order hangs on the pass alone: a resumed run finds its place without replaying anything
    order = list(range(len(problems)))
    random.Random(derive_seed(seed, "order", epoch)).shuffle(order)
    return [problems[i] for i in order[position * batch : (position + 1) * batch]]
